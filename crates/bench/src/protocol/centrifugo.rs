//! The bidirectional protocol of Centrifugo 4 and later, in JSON:
//! <https://centrifugal.dev/docs/transports/client_protocol>.
//!
//! A text has one or more messages, each in its own line. A reply repeats the id of its command; a push has none, and
//! `{}` is a ping that demands the same text.

use serde::Deserialize;

use super::{Reaction, parsed, quoted};

/// The path of a server that was not told another one.
pub(super) const PATH: &str = "/connection/websocket";
/// A ping of the server, and its answer.
pub(super) const PING: &str = "{}";

/// A reply of the server, as far as it matters here.
#[derive(Deserialize)]
struct Reply {
    id: Option<u32>,
    error: Option<Problem>,
    push: Option<Push>,
}

#[derive(Deserialize)]
struct Problem {
    code: u32,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Push {
    disconnect: Option<Disconnect>,
    unsubscribe: Option<Disconnect>,
}

#[derive(Deserialize)]
struct Disconnect {
    code: u32,
    #[serde(default)]
    reason: String,
}

/// Returns the first command, which authenticates.
pub(super) fn connect(token: Option<&str>) -> String {
    match token {
        Some(token) => format!(r#"{{"id":1,"connect":{{"token":{}}}}}"#, quoted(token)),
        None => r#"{"id":1,"connect":{}}"#.into(),
    }
}

/// Returns the command that publishes a payload in a channel with placeholders.
pub(super) fn template(channel: &str) -> String {
    format!(r#"{{"id":3,"publish":{{"channel":{},"data":"%s"}}}}"#, quoted(channel))
}

/// Says what to do about a line of the server.
pub(super) fn react(line: &[u8], channel: impl FnOnce() -> String) -> Reaction {
    if line == PING.as_bytes() {
        return Reaction::Answer(PING.into());
    }
    let Some(reply) = parsed::<Reply>(&mut line.to_vec()) else { return Reaction::Keep };
    match reply {
        Reply { id: Some(id @ (1 | 2)), error: Some(Problem { code, message }), .. } => {
            let what = if id == 1 { "connect" } else { "subscribe" };
            Reaction::Refused(format!("{what}: {code} {message}"))
        }
        Reply { id: Some(_), error: Some(Problem { code, message }), .. } => {
            Reaction::Failed(format!("publish: {code} {message}"))
        }
        Reply { id: Some(1), .. } => {
            Reaction::Answer(format!(r#"{{"id":2,"subscribe":{{"channel":{}}}}}"#, quoted(&channel())))
        }
        Reply { id: Some(2), .. } => Reaction::Joined,
        Reply { id: Some(_), .. } => Reaction::Nothing,
        Reply { push: Some(Push { disconnect: Some(end), .. }), .. } => {
            Reaction::Failed(format!("disconnected: {} {}", end.code, end.reason))
        }
        Reply { push: Some(Push { unsubscribe: Some(end), .. }), .. } => {
            Reaction::Failed(format!("unsubscribed: {} {}", end.code, end.reason))
        }
        // Somebody comes or goes.
        Reply { push: Some(_), .. } => Reaction::Nothing,
        Reply { .. } => Reaction::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> Reaction {
        react(line.as_bytes(), || "room \"7\"".into())
    }

    #[test]
    fn a_client_connects_and_subscribes() {
        assert_eq!(connect(None), r#"{"id":1,"connect":{}}"#);
        assert_eq!(connect(Some("a\"b")), r#"{"id":1,"connect":{"token":"a\"b"}}"#);
        let subscribe = r#"{"id":2,"subscribe":{"channel":"room \"7\""}}"#;
        let connected = r#"{"id":1,"connect":{"client":"c","version":"6.0","ping":25,"pong":true}}"#;
        assert_eq!(told(connected), Reaction::Answer(subscribe.into()));
        assert_eq!(told(r#"{"id":2,"subscribe":{}}"#), Reaction::Joined);
        let unauthorized = told(r#"{"id":1,"error":{"code":101,"message":"unauthorized"}}"#);
        assert_eq!(unauthorized, Reaction::Refused("connect: 101 unauthorized".into()));
    }

    #[test]
    fn later_lines_are_answered_reported_or_left_alone() {
        assert_eq!(told("{}"), Reaction::Answer("{}".into()));
        assert_eq!(told(r#"{"id":3,"publish":{}}"#), Reaction::Nothing);
        assert_eq!(
            told(r#"{"id":3,"error":{"code":103,"message":"permission denied"}}"#),
            Reaction::Failed("publish: 103 permission denied".into())
        );
        assert_eq!(told(r#"{"push":{"channel":"c","join":{"info":{"client":"x"}}}}"#), Reaction::Nothing);
        assert!(matches!(told(r#"{"push":{"disconnect":{"code":3001,"reason":"x"}}}"#), Reaction::Failed(_)));
        assert_eq!((told("what"), told("[]")), (Reaction::Keep, Reaction::Keep));
    }
}
