//! The output of the chat in lines: one line for each event, as text or as JSON. Pure functions.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::escape;
use super::requests::{Request, Response, code_of};
use throng_client::{DisplayName, Event, Message, SendError, State};

/// A line of output. As JSON, its fields are those of the variant, and `event` is the variant's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum OutputLine {
    Connecting {
        attempt: u32,
    },
    Connected {
        user: String,
        room: String,
        node: String,
    },
    Reconnecting {
        attempt: u32,
        delay_ms: u64,
        code: Option<u16>,
        reason: String,
    },
    Stopped {
        code: Option<u16>,
        reason: String,
    },
    Recovered {
        room: String,
        messages: u64,
    },
    Missed {
        room: String,
        messages: Option<u64>,
    },
    Gap {
        room: String,
        from: u64,
        to: u64,
    },
    Message {
        room: String,
        user: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<Box<str>>,
        text: Box<str>,
        offset: u64,
        id: Box<str>,
        ts: u64,
    },
    Direct {
        user: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<Box<str>>,
        text: String,
        id: String,
        ts: u64,
    },
    Presence {
        room: String,
        joined: Vec<String>,
        left: Vec<String>,
        members: u64,
    },
    Acked {
        room: String,
        offset: u64,
        duplicate: bool,
    },
    Delivered {
        user: String,
        text: String,
        connections: usize,
    },
    Joined {
        room: String,
        members: Option<u64>,
    },
    Left {
        room: String,
    },
    Speaking {
        room: String,
    },
    Who {
        room: String,
        members: u64,
        users: Vec<String>,
    },
    History {
        room: String,
        messages: usize,
    },
    Limited {
        retry_after_ms: u64,
    },
    Error {
        code: String,
        message: String,
        retry_after_ms: Option<u64>,
    },
    Help {
        usage: &'static str,
        meaning: &'static str,
    },
}

/// The format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

impl OutputLine {
    /// Returns the line for an event, or `None` for an event that only the screen shows.
    pub(super) fn from_event(event: Event) -> Option<Self> {
        let names = |users: Vec<_>| users.iter().map(ToString::to_string).collect();
        Some(match event {
            Event::State(State::Connecting { attempt }) => Self::Connecting { attempt },
            Event::State(State::Waiting { attempt, delay, reason }) => Self::Reconnecting {
                attempt,
                delay_ms: ms(delay),
                code: reason.code,
                reason: reason.to_string(),
            },
            Event::State(State::Stopped { reason }) => {
                Self::Stopped { code: reason.code, reason: reason.to_string() }
            }
            // `Online` is followed by the welcome, which says more. Later clients may have more states.
            Event::State(_) => return None,
            Event::Welcome { room, user, node, .. } => {
                Self::Connected { user: user.to_string(), room: room.to_string(), node }
            }
            Event::Recovered { room, messages } => Self::Recovered { room: room.to_string(), messages },
            Event::Missed { room, messages } => Self::Missed { room: room.to_string(), messages },
            Event::Expelled { room, code, message } => {
                Self::error(code, format!("you are out of {room}: {message}"), None)
            }
            Event::Message { room, user, text, offset, id, ts_ms, name, data } => {
                Self::message(Message { room, user, text, offset, id, ts_ms, name, data })
            }
            Event::Direct { user, text, id, ts_ms, name, .. } => {
                Self::Direct { user: user.to_string(), name: name.map(boxed), text, id, ts: ts_ms }
            }
            Event::PresenceDiff { room, joined, left, members } => {
                Self::Presence { room: room.to_string(), joined: names(joined), left: names(left), members }
            }
            Event::Typing { .. } => return None,
            Event::Gap { room, from, to } => Self::Gap { room: room.to_string(), from, to },
            Event::Limited { retry_after } => Self::Limited { retry_after_ms: ms(retry_after) },
            Event::Refused { code, message, retry_after } => Self::error(code, message, retry_after),
            // Later clients may have more events.
            _ => return None,
        })
    }

    /// Returns the lines for the response to a request.
    pub(super) fn from_response(request: Request, answer: Response) -> Vec<Self> {
        match (request, answer) {
            (_, Response::Acked(ack)) => {
                vec![Self::Acked { room: ack.room.to_string(), offset: ack.offset, duplicate: ack.duplicate }]
            }
            (Request::Direct { user, text }, Response::Delivered(connections)) => {
                vec![Self::Delivered { user: user.to_string(), text, connections }]
            }
            (_, Response::Joined(joined)) => {
                vec![Self::Joined { room: joined.room.to_string(), members: joined.members }]
            }
            (Request::Leave { room }, Response::Left) => vec![Self::Left { room: room.to_string() }],
            (Request::Users { room }, Response::Users(page)) => {
                let users = page.users.iter().map(ToString::to_string).collect();
                vec![Self::Who { room: room.to_string(), members: page.members, users }]
            }
            (Request::History { room, .. }, Response::History(page)) => {
                let header = Self::History { room: room.to_string(), messages: page.messages.len() };
                [header].into_iter().chain(page.messages.into_iter().map(Self::message)).collect()
            }
            (_, Response::Delivered(_) | Response::Left | Response::Users(_) | Response::History(_)) => {
                Vec::new()
            }
        }
    }

    /// Returns the line for a request that failed.
    pub(super) fn from_error(error: &SendError) -> Self {
        match error {
            SendError::Refused { code, message, retry_after } => {
                Self::error(code.clone(), message.clone(), *retry_after)
            }
            other => Self::error(code_of(other).to_owned(), other.to_string(), None),
        }
    }

    pub(super) fn error(code: String, message: String, retry_after: Option<Duration>) -> Self {
        Self::Error { code, message, retry_after_ms: retry_after.map(ms) }
    }

    fn message(message: Message) -> Self {
        let Message { room, user, text, offset, id, ts_ms, name, .. } = message;
        let user = user.to_string();
        let (name, text, id) = (name.map(boxed), text.into(), id.into());
        Self::Message { room: room.to_string(), user, name, text, offset, id, ts: ts_ms }
    }

    /// Returns the text of the line without its end, harmless for a terminal. Returns `None` when the format leaves the
    /// line out.
    pub(super) fn render(&self, format: Format) -> Option<String> {
        match (format, self) {
            // The message itself comes back from the room and is printed then.
            (Format::Text, Self::Acked { .. }) => None,
            (Format::Text, _) => Some(self.to_string()),
            (Format::Json, _) => {
                // Serializing strings and numbers cannot fail.
                let json = simd_json::to_string(self).unwrap_or_default();
                Some(escape::clean_json(&json).into_owned())
            }
        }
    }
}

fn boxed(name: DisplayName) -> Box<str> {
    name.as_str().into()
}

/// Returns the name of a user as it stands behind the user id, which it cannot replace: anybody may have it.
fn in_brackets(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!(" ({})", clean(name)))
}

/// Writes the line as text. Every text of a server or a user goes through [`escape::clean`].
impl fmt::Display for OutputLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message { room, user, name, text, .. } => {
                write!(f, "{room} {user}{}: {}", in_brackets(name.as_deref()), clean(text))
            }
            Self::Direct { user, name, text, .. } => {
                write!(f, "@{user}{}: {}", in_brackets(name.as_deref()), clean(text))
            }
            Self::Error { code, message, .. } => write!(f, "! {}: {}", clean(code), clean(message)),
            other => {
                f.write_str("-- ")?;
                other.fmt_notice(f)
            }
        }
    }
}

impl OutputLine {
    /// Writes the text behind `-- `.
    fn fmt_notice(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting { attempt: 0 } => f.write_str("connecting"),
            Self::Connecting { attempt } => write!(f, "connecting, attempt {}", attempt + 1),
            Self::Connected { user, room, .. } => write!(f, "connected as {user} in {room}"),
            Self::Reconnecting { delay_ms, reason, .. } => {
                write!(f, "reconnecting in {}: {}", seconds(*delay_ms), clean(reason))
            }
            Self::Stopped { reason, .. } => write!(f, "stopped: {}", clean(reason)),
            Self::Recovered { room, messages } => {
                write!(f, "recovered {} in {room}", count(*messages, "message"))
            }
            Self::Missed { room, messages: None } => write!(f, "you missed some messages in {room}"),
            Self::Missed { room, messages: Some(messages) } => {
                write!(f, "you missed {} in {room}", count(*messages, "message"))
            }
            Self::Gap { room, from, to } => write!(f, "you missed messages {from} to {to} in {room}"),
            Self::Presence { room, joined, left, members } => fmt_presence(f, room, joined, left, *members),
            Self::Delivered { user, text, .. } => write!(f, "to {user}: {}", clean(text)),
            Self::Joined { room, members: Some(members) } => {
                write!(f, "joined {room} ({})", count(*members, "member"))
            }
            Self::Joined { room, members: None } => write!(f, "joined {room}"),
            Self::Left { room } => write!(f, "left {room}"),
            Self::Speaking { room } => write!(f, "speaking in {room}"),
            Self::Who { room, members, users } => {
                let more = if (users.len() as u64) < *members { ", …" } else { "" };
                write!(f, "who in {room} ({members}): {}{more}", users.join(", "))
            }
            Self::History { room, messages } => {
                write!(f, "history of {room}: {}", count(*messages as u64, "message"))
            }
            Self::Limited { retry_after_ms } => {
                write!(f, "too fast, going on in {}", seconds(*retry_after_ms))
            }
            Self::Help { usage, meaning } => write!(f, "{usage}: {meaning}"),
            Self::Acked { room, offset, .. } => write!(f, "said in {room} as message {offset}"),
            Self::Message { .. } | Self::Direct { .. } | Self::Error { .. } => Ok(()),
        }
    }
}

fn fmt_presence(
    f: &mut fmt::Formatter<'_>,
    room: &str,
    joined: &[String],
    left: &[String],
    members: u64,
) -> fmt::Result {
    write!(f, "{room}: ")?;
    let changes: Vec<_> = [(joined, "came"), (left, "went")]
        .into_iter()
        .filter(|(users, _)| !users.is_empty())
        .map(|(users, change)| format!("{} {change}, ", users.join(", ")))
        .collect();
    write!(f, "{}{} now", changes.concat(), count(members, "member"))
}

fn clean(text: &str) -> Cow<'_, str> {
    escape::clean(text)
}

/// Returns a number with its noun: `1 message`, `2 messages`.
pub(super) fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Returns milliseconds as whole seconds, rounded up and at least 1: a wait of "0 s" would look as if it were over.
pub(super) fn seconds(ms: u64) -> String {
    format!("{} s", ms.div_ceil(1000).max(1))
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
