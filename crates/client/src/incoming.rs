//! What the server says, read into types: what is not as the protocol has it never gets further than this.

use std::fmt::Display;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};

use super::event::Message;
use throng_names::{Epoch, RoomName, SessionId, UserId};

/// One event. `re` is the id of the command that it answers.
#[derive(Debug, serde::Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Incoming {
    Welcome(Welcome),
    Heartbeat,
    Message(Heard),
    Direct {
        #[serde(deserialize_with = "parsed")]
        user: UserId,
        message: String,
        id: String,
        ts: u64,
    },
    Ack(Acked),
    Joined(Entered),
    Left {
        re: Option<String>,
    },
    History {
        re: Option<String>,
        #[serde(deserialize_with = "parsed")]
        epoch: Epoch,
        messages: Vec<Heard>,
        more: bool,
    },
    Presence {
        re: Option<String>,
        members: u64,
        users: Vec<Name>,
        more: bool,
    },
    Pong {
        re: Option<String>,
    },
    PresenceDiff {
        #[serde(deserialize_with = "parsed")]
        room: RoomName,
        #[serde(default)]
        joined: Vec<Name>,
        #[serde(default)]
        left: Vec<Name>,
        members: u64,
    },
    Typing {
        #[serde(deserialize_with = "parsed")]
        room: RoomName,
        #[serde(deserialize_with = "parsed")]
        user: UserId,
    },
    Gap {
        #[serde(deserialize_with = "parsed")]
        room: RoomName,
        to: u64,
    },
    Disconnect(Advice),
    Error(Refusal),
    /// What a later version says.
    #[serde(other)]
    Unknown,
}

#[derive(Debug, serde::Deserialize)]
pub(super) struct Welcome {
    #[serde(deserialize_with = "parsed")]
    pub(super) session: SessionId,
    #[serde(default)]
    pub(super) node: String,
    #[serde(deserialize_with = "parsed")]
    pub(super) user: UserId,
    #[serde(deserialize_with = "parsed")]
    pub(super) room: RoomName,
    #[serde(deserialize_with = "parsed")]
    pub(super) epoch: Epoch,
    pub(super) offset: u64,
    pub(super) recovered: bool,
    pub(super) heartbeat_ms: u64,
    #[serde(default)]
    pub(super) limits: Limits,
}

#[derive(Debug, Default, Clone, Copy, serde::Deserialize)]
pub(super) struct Limits {
    pub(super) max_message_chars: Option<usize>,
    /// Left out where there is no limit.
    pub(super) messages_per_second: Option<u32>,
}

#[derive(Debug, serde::Deserialize)]
pub(super) struct Heard {
    #[serde(deserialize_with = "parsed")]
    room: RoomName,
    #[serde(deserialize_with = "parsed")]
    user: UserId,
    message: String,
    offset: u64,
    id: String,
    ts: u64,
}

/// Of a `message` with a place, of a `direct` with a count.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Acked {
    pub(super) re: Option<String>,
    #[serde(default, deserialize_with = "perhaps")]
    pub(super) epoch: Option<Epoch>,
    pub(super) offset: Option<u64>,
    #[serde(default)]
    pub(super) duplicate: bool,
    pub(super) delivered: Option<usize>,
}

#[derive(Debug, serde::Deserialize)]
pub(super) struct Entered {
    pub(super) re: Option<String>,
    #[serde(deserialize_with = "parsed")]
    pub(super) epoch: Epoch,
    pub(super) offset: u64,
    pub(super) recovered: bool,
    pub(super) members: Option<u64>,
}

/// `disconnect`: what to do after the close that follows.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Advice {
    pub(super) code: u16,
    #[serde(default)]
    pub(super) reason: String,
    pub(super) reconnect: bool,
    #[serde(default)]
    pub(super) after_ms: u64,
}

#[derive(Debug, serde::Deserialize)]
pub(super) struct Refusal {
    pub(super) re: Option<String>,
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
    pub(super) retry_after_ms: Option<u64>,
}

/// A user id in a list.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Name(#[serde(deserialize_with = "parsed")] pub(super) UserId);

fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

fn perhaps<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    parsed(deserializer).map(Some)
}

impl From<Heard> for Message {
    fn from(heard: Heard) -> Self {
        let Heard { room, user, message: text, offset, id, ts: ts_ms } = heard;
        Self { room, user, text, offset, id, ts_ms }
    }
}

impl Incoming {
    /// Reads one text frame. `None` when it makes no sense. The parser itself goes no deeper than 128 levels, also
    /// inside fields that are ignored.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // An array would do for an object otherwise.
        if !text.trim_ascii_start().starts_with('{') {
            return None;
        }
        serde_json::from_str(text).ok()
    }

    /// The id of the command that is answered.
    pub(super) fn re(&self) -> Option<&str> {
        match self {
            Self::Ack(Acked { re, .. })
            | Self::Joined(Entered { re, .. })
            | Self::Left { re }
            | Self::History { re, .. }
            | Self::Presence { re, .. }
            | Self::Pong { re }
            | Self::Error(Refusal { re, .. }) => re.as_deref(),
            Self::Welcome(_) | Self::Heartbeat | Self::Message(_) | Self::Direct { .. } => None,
            Self::PresenceDiff { .. } | Self::Typing { .. } | Self::Gap { .. } => None,
            Self::Disconnect(_) | Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Incoming> {
        Incoming::parse(text)
    }

    #[test]
    fn events_are_read() {
        let welcome = r#"{"type":"welcome","session":"0123456789abcdef0123456789abcdef","node":"n","user":"ann",
            "room":"lobby","epoch":"000000000000a","offset":18446744073709551615,"recovered":false,
            "heartbeat_ms":25000,"limits":{"max_message_chars":500,"burst":1},"later":[{}]}"#;
        let Some(Incoming::Welcome(welcome)) = parse(welcome) else { panic!() };
        assert_eq!((welcome.offset, welcome.limits.max_message_chars), (u64::MAX, Some(500)));
        assert!(matches!(parse(r#"{"type":"heartbeat","x":1}"#), Some(Incoming::Heartbeat)));
        assert!(matches!(parse(r#" {"x":{"y":[]},"type":"novelty"}"#), Some(Incoming::Unknown)));
        let ack = parse(r#"{"type":"ack","re":"7","delivered":2}"#);
        assert!(
            matches!(&ack, Some(Incoming::Ack(Acked { delivered: Some(2), epoch: None, .. }))),
            "{ack:?}"
        );
        let diff = parse(r#"{"type":"presence_diff","room":"r","members":3}"#);
        assert!(matches!(diff, Some(Incoming::PresenceDiff { members: 3, .. })), "{diff:?}");
        assert_eq!(parse(r#"{"type":"left","re":"9","room":"r"}"#).unwrap().re(), Some("9"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
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
            r#"{"type":"presence","users":["x y"],"members":1,"more":false}"#,
            r#"{"type":"disconnect","code":70000,"reconnect":true}"#,
            &deep,
        ] {
            assert!(parse(text).is_none(), "{text:.80}");
        }
    }
}
