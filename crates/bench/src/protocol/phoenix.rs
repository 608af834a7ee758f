//! Channels of Phoenix, with the serializer of version 2.0.0:
//! <https://hexdocs.pm/phoenix/writing_a_channels_client.html>.
//!
//! Each text is a list: reference of the join, reference of the message, topic, event, payload. A client has to send
//! heartbeats; the server sends none.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Reaction, parsed, quoted};

/// The path of a server that was not told another one.
pub(super) const PATH: &str = "/socket/websocket?vsn=2.0.0";
/// A heartbeat of the client.
pub(super) const HEARTBEAT: &str = r#"[null,"0","phoenix","heartbeat",{}]"#;

/// The reference of the join.
const JOIN: &str = "1";

/// Reference of the join, reference of the message, topic, event, payload.
type Message = (IgnoredAny, Option<String>, String, String, Payload);

/// The payload of a reply. All other payloads have none of these fields that matters.
#[derive(Deserialize)]
struct Payload {
    status: Option<String>,
    response: Option<Response>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Response {
    Reason { reason: String },
    Other(IgnoredAny),
}

/// Returns the text that joins a topic.
pub(super) fn join(topic: &str) -> String {
    format!(r#"["{JOIN}","{JOIN}",{},"phx_join",{{}}]"#, quoted(topic))
}

/// Returns the text that pushes the event `message` with a payload to a topic with placeholders.
pub(super) fn template(topic: &str) -> String {
    format!(r#"["{JOIN}","2",{},"message",{{"body":"%s"}}]"#, quoted(topic))
}

/// Says what to do about a text of the server.
pub(super) fn react(text: &[u8]) -> Reaction {
    let Some((_, reference, topic, event, payload)) = parsed::<Message>(&mut text.to_vec()) else {
        return Reaction::Keep;
    };
    let is_join = reference.as_deref() == Some(JOIN);
    let is_ok = payload.status.as_deref() == Some("ok");
    match event.as_str() {
        "phx_reply" if is_join && is_ok => Reaction::Joined,
        "phx_reply" if is_ok => Reaction::Nothing,
        "phx_reply" => {
            let reason = match payload.response {
                Some(Response::Reason { reason }) => reason,
                Some(Response::Other(_)) | None => payload.status.unwrap_or_default(),
            };
            let said = format!("{topic}: {reason}");
            if is_join { Reaction::Refused(said) } else { Reaction::Failed(said) }
        }
        "phx_error" => Reaction::Failed(format!("{topic}: the channel has crashed")),
        "phx_close" => Reaction::Failed(format!("{topic}: the channel is closed")),
        "presence_state" | "presence_diff" => Reaction::Nothing,
        _ => Reaction::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Reaction {
        react(text.as_bytes())
    }

    #[test]
    fn a_client_joins_a_topic() {
        assert_eq!(join("room:\"1\""), r#"["1","1","room:\"1\"","phx_join",{}]"#);
        assert_eq!(told(r#"["1","1","room:1","phx_reply",{"status":"ok","response":{}}]"#), Reaction::Joined);
        let refused =
            told(r#"["1","1","room:1","phx_reply",{"status":"error","response":{"reason":"unauthorized"}}]"#);
        assert_eq!(refused, Reaction::Refused("room:1: unauthorized".into()));
    }

    #[test]
    fn later_texts_are_reported_or_left_alone() {
        let ok = r#"["1","2","room:1","phx_reply",{"status":"ok","response":{"id":7}}]"#;
        let beat = r#"[null,"0","phoenix","phx_reply",{"status":"ok","response":{}}]"#;
        assert_eq!((told(ok), told(beat)), (Reaction::Nothing, Reaction::Nothing));
        let failed = told(r#"["1","2","room:1","phx_reply",{"status":"error","response":{}}]"#);
        assert_eq!(failed, Reaction::Failed("room:1: error".into()));
        assert!(matches!(told(r#"["1","1","room:1","phx_error",{}]"#), Reaction::Failed(_)));
        assert!(matches!(told(r#"["1","1","room:1","phx_close",{}]"#), Reaction::Failed(_)));
        assert_eq!(
            told(r#"[null,null,"room:1","presence_diff",{"joins":{},"leaves":{}}]"#),
            Reaction::Nothing
        );
        assert_eq!(told(r#"[null,null,"room:1","news",{"a":1}]"#), Reaction::Keep);
        assert_eq!(told("no JSON"), Reaction::Keep);
    }
}
