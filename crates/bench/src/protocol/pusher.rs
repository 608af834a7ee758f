//! Pusher Channels, version 7 of the protocol:
//! <https://pusher.com/docs/channels/library_auth_reference/pusher-websockets-protocol/>.
//!
//! Clients publish by client events, which are only allowed in private channels, and which everybody gets but the
//! sender. A subscription to such a channel is signed with the secret of the application.

use std::ops::RangeInclusive;

use anyhow::Context as _;
use ring::hmac;
use serde::Deserialize;

use super::{Reaction, parsed, quoted};

/// The query of a URL that has none.
pub(super) const QUERY: &str = "?protocol=7&client=throng-bench&version=1";
/// A ping, which either side may send.
pub(super) const PING: &str = r#"{"event":"pusher:ping","data":{}}"#;
const PONG: &str = r#"{"event":"pusher:pong","data":{}}"#;
/// Lengths in bytes of a ping of the server: without data, up to some blanks in it.
pub(super) const PING_LENS: RangeInclusive<usize> = 23..=60;

#[derive(Deserialize)]
struct Event {
    event: String,
    /// The data of the server's own events is JSON in a string; some servers send the object itself.
    data: Option<Data>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Data {
    Text(String),
    Object(Fields),
    Other(serde::de::IgnoredAny),
}

#[derive(Deserialize, Default)]
struct Fields {
    socket_id: Option<String>,
    code: Option<u32>,
    message: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    error: Option<String>,
}

impl Data {
    fn fields(self) -> Fields {
        match self {
            Self::Text(text) => parsed(&mut text.into_bytes()).unwrap_or_default(),
            Self::Object(fields) => fields,
            Self::Other(_) => Fields::default(),
        }
    }
}

/// Returns the key of the application, which is in the path.
///
/// # Errors
/// The URL has no such path.
pub(super) fn key_in(url: &str) -> anyhow::Result<String> {
    let key = url.split_once("/app/").map(|(_, rest)| rest.split(['?', '/']).next().unwrap_or_default());
    let key = key.filter(|key| !key.is_empty());
    let key = key.with_context(|| format!("{url}: must end with /app/ and the application's key"))?;
    Ok(key.to_owned())
}

/// Returns the client event that carries a payload, in a channel with placeholders.
pub(super) fn template(channel: &str) -> String {
    format!(r#"{{"event":"client-message","channel":{},"data":{{"text":"%s"}}}}"#, quoted(channel))
}

/// Returns the text that subscribes to a private channel.
fn subscribe(key: &str, secret: &str, socket_id: &str, channel: &str) -> String {
    let signing = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&signing, format!("{socket_id}:{channel}").as_bytes());
    let signature: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let auth = quoted(&format!("{key}:{signature}"));
    let channel = quoted(channel);
    format!(r#"{{"event":"pusher:subscribe","data":{{"channel":{channel},"auth":{auth}}}}}"#)
}

/// Says what to do about a text of the server.
pub(super) fn react(text: &[u8], key: &str, secret: &str, channel: impl FnOnce() -> String) -> Reaction {
    let Some(Event { event, data }) = parsed(&mut text.to_vec()) else { return Reaction::Keep };
    let fields = data.map(Data::fields).unwrap_or_default();
    match event.as_str() {
        "pusher:ping" => Reaction::Answer(PONG.into()),
        "pusher:connection_established" => match fields.socket_id {
            Some(id) => Reaction::Answer(subscribe(key, secret, &id, &channel())),
            None => Reaction::Refused("connection_established without a socket_id".into()),
        },
        "pusher_internal:subscription_succeeded" => Reaction::Joined,
        "pusher:subscription_error" => {
            let reason = fields.error.or(fields.kind).unwrap_or_default();
            Reaction::Refused(format!("the subscription is refused: {reason}"))
        }
        "pusher:error" => {
            let code = fields.code.map(|code| format!("{code} ")).unwrap_or_default();
            Reaction::Failed(format!("{code}{}", fields.message.unwrap_or_default()))
        }
        "pusher:pong" | "pusher_internal:subscription_count" => Reaction::Nothing,
        "pusher_internal:member_added" | "pusher_internal:member_removed" => Reaction::Nothing,
        _ => Reaction::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Reaction {
        // The example of <https://pusher.com/docs/channels/library_auth_reference/auth-signatures/>.
        react(text.as_bytes(), "278d425bdf160c739803", "7ad3773142a6692b25b8", || "private-foobar".into())
    }

    #[test]
    fn a_client_signs_its_subscription() {
        let subscribe = Reaction::Answer(
            "{\"event\":\"pusher:subscribe\",\"data\":{\"channel\":\"private-foobar\",\"auth\":\"278d425bdf160c739803:\
             58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4\"}}"
                .into(),
        );
        let established = concat!(
            r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1234.1234\","#,
            r#"\"activity_timeout\":120}"}"#
        );
        assert_eq!(told(established), subscribe);
        let as_object = r#"{"event":"pusher:connection_established","data":{"socket_id":"1234.1234"}}"#;
        assert_eq!(told(as_object), subscribe);
        let succeeded = r#"{"event":"pusher_internal:subscription_succeeded","data":"{}"}"#;
        assert_eq!(told(succeeded), Reaction::Joined);
    }

    #[test]
    fn later_texts_are_answered_reported_or_left_alone() {
        for ping in [PING, r#"{"event":"pusher:ping"}"#, r#"{"event":"pusher:ping","data":"{}"}"#] {
            assert_eq!(told(ping), Reaction::Answer(PONG.into()));
            assert!(PING_LENS.contains(&ping.len()), "{ping}");
        }
        assert_eq!(told(PONG), Reaction::Nothing);
        let refused = r#"{"event":"pusher:error","data":{"code":4009,"message":"not authorized"}}"#;
        assert_eq!(told(refused), Reaction::Failed("4009 not authorized".into()));
        let refused =
            r#"{"event":"pusher:subscription_error","data":"{\"type\":\"AuthError\",\"error\":\"no\"}"}"#;
        assert_eq!(told(refused), Reaction::Refused("the subscription is refused: no".into()));
        assert_eq!(told(r#"{"event":"news","data":[1]}"#), Reaction::Keep);
    }

    #[test]
    fn the_key_is_in_the_path() {
        assert_eq!(key_in("ws://h:1/app/k1?protocol=7").ok().as_deref(), Some("k1"));
        assert_eq!(key_in("ws://h:1/x/app/k2").ok().as_deref(), Some("k2"));
        assert!(key_in("ws://h:1/app/").is_err() && key_in("ws://h:1/").is_err());
    }
}
