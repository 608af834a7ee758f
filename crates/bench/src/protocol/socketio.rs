//! Socket.IO 5 over Engine.IO 4, as Socket.IO 3 and 4 speak it: <https://socket.io/docs/v4/socket-io-protocol/>.
//!
//! Each text begins with the type of the Engine.IO packet (0 open, 1 close, 2 ping, 3 pong, 4 message). In a message,
//! the type of the Socket.IO packet follows (0 connect, 1 disconnect, 2 event, 3 ack, 4 connect error).

use super::{Reaction, quoted};

/// The path of a server that was not told another one.
pub(super) const PATH: &str = "/socket.io/?EIO=4&transport=websocket";
/// The event `message` with the payload.
pub(super) const TEMPLATE: &str = r#"42["message","%s"]"#;
/// A ping of the server.
pub(super) const PING: &str = "2";

/// Says what to do about a text of the server.
pub(super) fn react(text: &[u8], token: impl FnOnce() -> Option<String>) -> Reaction {
    let rest = |from: usize| String::from_utf8_lossy(&text[from..]).into_owned();
    match text {
        b"2" => Reaction::Answer("3".into()),
        // The transport is open: connect to the main namespace.
        [b'0', b'{', ..] => Reaction::Answer(match token() {
            Some(token) => format!("40{{\"token\":{}}}", quoted(&token)),
            None => "40".into(),
        }),
        [b'4', b'0', ..] => Reaction::Joined,
        [b'4', b'4', ..] => Reaction::Refused(format!("the namespace refuses: {}", rest(2))),
        [b'4', b'1', ..] => Reaction::Failed("disconnected from the namespace".into()),
        b"1" => Reaction::Failed("the server closes the transport".into()),
        // An ack.
        [b'4', b'3', ..] => Reaction::Nothing,
        _ => Reaction::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_connects_to_the_main_namespace() {
        let open =
            br#"0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
        assert_eq!(react(open, || None), Reaction::Answer("40".into()));
        assert_eq!(react(open, || Some("a\"b".into())), Reaction::Answer(r#"40{"token":"a\"b"}"#.into()));
        assert_eq!(react(br#"40{"sid":"y"}"#, || None), Reaction::Joined);
        let refused = react(br#"44{"message":"no"}"#, || None);
        assert_eq!(refused, Reaction::Refused(r#"the namespace refuses: {"message":"no"}"#.into()));
    }

    #[test]
    fn pings_are_answered_and_ends_are_reported() {
        assert_eq!(react(b"2", || None), Reaction::Answer("3".into()));
        assert!(matches!(react(b"41", || None), Reaction::Failed(_)));
        assert!(matches!(react(b"1", || None), Reaction::Failed(_)));
        assert_eq!(react(b"437[]", || None), Reaction::Nothing);
        assert_eq!(react(br#"42["news","x"]"#, || None), Reaction::Keep);
    }
}
