//! The events of `throng.v1` that the server sends, parsed and validated. Nothing that breaks the protocol gets past
//! this module.

use std::fmt::Display;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::value::RawValue;

use super::event::Message;
use throng_names::{DisplayName, Epoch, RoomName, SessionId, UserId};

/// An event from the server. `re` is the id of the command that it answers.
#[derive(Debug, serde::Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ServerEvent {
    Welcome(Welcome),
    Heartbeat,
    Message(RoomMessage),
    Direct {
        #[serde(deserialize_with = "parse_text")]
        user: UserId,
        message: String,
        id: String,
        ts: u64,
        #[serde(default, deserialize_with = "parse_name")]
        name: Option<DisplayName>,
        #[serde(skip)]
        data: Option<String>,
    },
    Ack(AckEvent),
    Joined(JoinedEvent),
    Left {
        /// `None` where an operator took the client out of the room.
        re: Option<String>,
        #[serde(deserialize_with = "parse_text")]
        room: RoomName,
    },
    History {
        re: Option<String>,
        #[serde(deserialize_with = "parse_text")]
        epoch: Epoch,
        messages: Vec<RoomMessage>,
        more: bool,
    },
    Presence {
        re: Option<String>,
        members: u64,
        users: Vec<UserEntry>,
        more: bool,
    },
    Pong {
        re: Option<String>,
    },
    PresenceDiff {
        #[serde(deserialize_with = "parse_text")]
        room: RoomName,
        #[serde(default)]
        joined: Vec<UserEntry>,
        #[serde(default)]
        left: Vec<UserEntry>,
        members: u64,
    },
    Typing {
        #[serde(deserialize_with = "parse_text")]
        room: RoomName,
        #[serde(deserialize_with = "parse_text")]
        user: UserId,
    },
    Gap {
        #[serde(deserialize_with = "parse_text")]
        room: RoomName,
        to: u64,
    },
    /// The room goes on in another epoch, and nothing that this client was shown is lost.
    Epoch {
        #[serde(deserialize_with = "parse_text")]
        room: RoomName,
        #[serde(deserialize_with = "parse_text")]
        epoch: Epoch,
        offset: u64,
    },
    Disconnect(DisconnectAdvice),
    Error(ErrorEvent),
    /// An event that only later versions of the protocol have.
    #[serde(other)]
    Unknown,
}

#[derive(Debug, serde::Deserialize)]
pub(super) struct Welcome {
    #[serde(deserialize_with = "parse_text")]
    pub(super) session: SessionId,
    #[serde(default)]
    pub(super) node: String,
    #[serde(deserialize_with = "parse_text")]
    pub(super) user: UserId,
    #[serde(deserialize_with = "parse_text")]
    pub(super) room: RoomName,
    #[serde(deserialize_with = "parse_text")]
    pub(super) epoch: Epoch,
    pub(super) offset: u64,
    pub(super) recovered: bool,
    pub(super) heartbeat_ms: u64,
    #[serde(default)]
    pub(super) limits: ServerLimits,
    /// Where the server demands a token.
    pub(super) expires_ms: Option<u64>,
}

#[derive(Debug, Default, Clone, Copy, serde::Deserialize)]
pub(super) struct ServerLimits {
    pub(super) max_message_chars: Option<usize>,
    /// `None` when the server has no limit.
    pub(super) messages_per_second: Option<u32>,
}

#[derive(Debug, serde::Deserialize)]
pub(super) struct RoomMessage {
    #[serde(deserialize_with = "parse_text")]
    room: RoomName,
    #[serde(deserialize_with = "parse_text")]
    user: UserId,
    message: String,
    offset: u64,
    id: String,
    ts: u64,
    #[serde(default, deserialize_with = "parse_name")]
    name: Option<DisplayName>,
    #[serde(skip)]
    data: Option<String>,
}

/// The data of an event, or of its messages, in the bytes of their senders. It is read apart from the other fields,
/// which go through a form that does not keep bytes.
#[derive(Debug, Default, serde::Deserialize)]
struct Carried<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    messages: Vec<Carried<'a>>,
}

/// The answer to `message`, with a position; to `direct`, with the number of connections that it was delivered to; or
/// to `token`, with the time for which it holds.
#[derive(Debug, serde::Deserialize)]
pub(super) struct AckEvent {
    pub(super) re: Option<String>,
    #[serde(default, deserialize_with = "parse_optional_text")]
    pub(super) epoch: Option<Epoch>,
    pub(super) offset: Option<u64>,
    #[serde(default)]
    pub(super) duplicate: bool,
    pub(super) delivered: Option<usize>,
    pub(super) expires_ms: Option<u64>,
}

#[derive(Debug, serde::Deserialize)]
pub(super) struct JoinedEvent {
    pub(super) re: Option<String>,
    #[serde(deserialize_with = "parse_text")]
    pub(super) epoch: Epoch,
    pub(super) offset: u64,
    pub(super) recovered: bool,
    pub(super) members: Option<u64>,
}

/// The event `disconnect`: what to do after the close that follows it.
#[derive(Debug, serde::Deserialize)]
pub(super) struct DisconnectAdvice {
    pub(super) code: u16,
    #[serde(default)]
    pub(super) reason: String,
    pub(super) reconnect: bool,
    #[serde(default)]
    pub(super) after_ms: u64,
}

#[derive(Debug, serde::Deserialize)]
pub(super) struct ErrorEvent {
    pub(super) re: Option<String>,
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
    pub(super) retry_after_ms: Option<u64>,
}

/// A user id as an element of a list, where `deserialize_with` cannot be used.
#[derive(Debug, serde::Deserialize)]
pub(super) struct UserEntry(#[serde(deserialize_with = "parse_text")] pub(super) UserId);

/// Deserializes a string and parses it, for types that validate in `FromStr`.
fn parse_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

/// Reads a value that is there: serde alone would take `null` for a field that is missing.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads a name for people. One that must not be shown is left out: it is no reason to lose the message.
fn parse_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DisplayName>, D::Error> {
    Ok(String::deserialize(deserializer)?.parse().ok())
}

fn parse_optional_text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    parse_text(deserializer).map(Some)
}

impl From<RoomMessage> for Message {
    fn from(message: RoomMessage) -> Self {
        let RoomMessage { room, user, message: text, offset, id, ts: ts_ms, name, data } = message;
        Self { room, user, text, offset, id, ts_ms, name, data }
    }
}

impl ServerEvent {
    /// Parses a text frame. Returns `None` when it is no valid event. The parser refuses JSON that is nested deeper
    /// than 128 levels, also inside fields that are ignored.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // The parser would accept an array instead of an object.
        if !text.trim_ascii_start().starts_with('{') {
            return None;
        }
        let mut event: Self = serde_json::from_str(text).ok()?;
        if text.contains("\"data\"") {
            event.carry(serde_json::from_str(text).ok()?);
        }
        Some(event)
    }

    /// Adds the data that the event or its messages carry.
    fn carry(&mut self, carried: Carried<'_>) {
        let text = |data: Option<&RawValue>| data.map(|data| data.get().to_owned());
        match self {
            Self::Message(message) => message.data = text(carried.data),
            Self::Direct { data, .. } => *data = text(carried.data),
            Self::History { messages, .. } => {
                let all = messages.iter_mut().zip(carried.messages);
                all.for_each(|(message, carried)| message.data = text(carried.data));
            }
            _ => {}
        }
    }

    /// Returns the id of the command that the event answers.
    pub(super) fn re(&self) -> Option<&str> {
        match self {
            Self::Ack(AckEvent { re, .. })
            | Self::Joined(JoinedEvent { re, .. })
            | Self::Left { re, .. }
            | Self::History { re, .. }
            | Self::Presence { re, .. }
            | Self::Pong { re }
            | Self::Error(ErrorEvent { re, .. }) => re.as_deref(),
            Self::Welcome(_) | Self::Heartbeat | Self::Message(_) | Self::Direct { .. } => None,
            Self::PresenceDiff { .. } | Self::Typing { .. } | Self::Gap { .. } => None,
            Self::Epoch { .. } | Self::Disconnect(_) | Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<ServerEvent> {
        ServerEvent::parse(text)
    }

    #[test]
    fn events_are_parsed() {
        let welcome = r#"{"type":"welcome","session":"0123456789abcdef0123456789abcdef","node":"n","user":"ann",
            "room":"lobby","epoch":"000000000000a","offset":18446744073709551615,"recovered":false,
            "heartbeat_ms":25000,"limits":{"max_message_chars":500,"burst":1},"later":[{}]}"#;
        let Some(ServerEvent::Welcome(welcome)) = parse(welcome) else { panic!() };
        assert_eq!((welcome.offset, welcome.limits.max_message_chars), (u64::MAX, Some(500)));
        assert!(matches!(parse(r#"{"type":"heartbeat","x":1}"#), Some(ServerEvent::Heartbeat)));
        assert!(matches!(parse(r#" {"x":{"y":[]},"type":"novelty"}"#), Some(ServerEvent::Unknown)));
        let ack = parse(r#"{"type":"ack","re":"7","delivered":2}"#);
        assert!(
            matches!(&ack, Some(ServerEvent::Ack(AckEvent { delivered: Some(2), epoch: None, .. }))),
            "{ack:?}"
        );
        let diff = parse(r#"{"type":"presence_diff","room":"r","members":3}"#);
        assert!(matches!(diff, Some(ServerEvent::PresenceDiff { members: 3, .. })), "{diff:?}");
        let epoch = parse(r#"{"type":"epoch","room":"r","epoch":"000000000000b","offset":7}"#);
        assert!(matches!(epoch, Some(ServerEvent::Epoch { offset: 7, .. })), "{epoch:?}");
        assert_eq!(parse(r#"{"type":"left","re":"9","room":"r"}"#).unwrap().re(), Some("9"));
    }

    #[test]
    fn data_keeps_its_bytes_and_a_bad_name_is_left_out() {
        let message = |more: &str| {
            format!(
                r#"{{"type":"message","room":"r","user":"ann","message":"x","offset":1,"id":"i","ts":0{more}}}"#
            )
        };
        let data = r#"{ "data" : [1.50,1E2,"\u00fc"] }"#;
        for (name, expected) in [("Ann", Some("Ann")), ("a\\u202eb", None)] {
            let text = message(&format!(r#","name":"{name}","data": {data} "#));
            let Some(ServerEvent::Message(found)) = parse(&text) else { panic!("{text}") };
            let found = Message::from(found);
            assert_eq!(found.name.as_ref().map(DisplayName::as_str), expected);
            assert_eq!(found.data.as_deref(), Some(data));
        }
        let history = format!(
            r#"{{"type":"history","re":"1","room":"r","epoch":"000000000000a","more":false,"messages":[{},{}]}}"#,
            message(""),
            message(",\"data\":null")
        );
        let Some(ServerEvent::History { messages, .. }) = parse(&history) else { panic!("{history}") };
        assert_eq!(
            messages.iter().map(|message| message.data.as_deref()).collect::<Vec<_>>(),
            [None, Some("null")]
        );
    }

    #[test]
    fn frames_that_are_no_events_are_refused() {
        let deep = format!(r#"{{"type":"heartbeat","x":{}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
        for text in [
            "",
            "nonsense",
            "null",
            "[]",
            r#"["heartbeat"]"#,
            "{}",
            r#"{"type":7}"#,
            r#"{"type":"message"}"#,
            r#"{"type":"message","room":"r","user":"ann","message":"x","offset":-1,"id":"i","ts":0}"#,
            r#"{"type":"message","room":"r","user":"ann","message":"x","offset":1e300,"id":"i","ts":0}"#,
            r#"{"type":"message","room":"r","user":"ann","message":"x","offset":18446744073709551616,"id":"i","ts":0}"#,
            r#"{"type":"message","room":"r","user":"\u001b[2J","message":"x","offset":1,"id":"i","ts":0}"#,
            r#"{"type":"gap","room":7,"from":1,"to":2}"#,
            r#"{"type":"epoch","room":"r","epoch":"not an epoch","offset":7}"#,
            r#"{"type":"presence","users":["x y"],"members":1,"more":false}"#,
            r#"{"type":"disconnect","code":70000,"reconnect":true}"#,
            &deep,
        ] {
            assert!(parse(text).is_none(), "{text:.80}");
        }
    }
}
