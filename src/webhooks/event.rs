//! Events as they are posted.

use serde::Serialize;

use crate::config::WebhookEvent;
use crate::names::{DisplayName, RoomName, UserId};

/// Something that happened, as the node saw it.
#[derive(Debug, Clone, Copy)]
pub enum Happening<'a> {
    /// A user has a first connection.
    UserOnline(&'a UserId),
    /// A user has had no connection for a while.
    UserOffline(&'a UserId),
    /// A room has a first member.
    RoomOccupied(&'a RoomName),
    /// A room has had no member for a while.
    RoomVacated(&'a RoomName),
    /// A user came into a room.
    MemberJoined(&'a RoomName, &'a UserId),
    /// A user left a room.
    MemberLeft(&'a RoomName, &'a UserId),
    /// A message has its position.
    Message(Message<'a>),
    /// A connection of the chat ended.
    Disconnected {
        /// Its user.
        user: &'a UserId,
        /// The close code.
        code: u16,
        /// The reason in words.
        reason: &'a str,
    },
}

/// A message of a room.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The room.
    pub room: &'a RoomName,
    /// The sender.
    pub user: &'a UserId,
    /// The room's epoch.
    pub epoch: &'a str,
    /// The offset.
    pub offset: u64,
    /// The message's id.
    pub id: &'a str,
    /// When it came, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The text.
    pub text: &'a str,
    /// The name of the sender that people are shown.
    pub name: Option<&'a DisplayName>,
    /// A JSON value in the bytes that its sender wrote.
    pub data: Option<&'a str>,
}

/// The reason to read all users and rooms again.
#[derive(Debug, Clone)]
pub enum Resync {
    /// This node has started, and knows nothing of what happened before.
    Started,
    /// The receiver was added.
    Added,
    /// Events were dropped.
    Dropped,
    /// A node has ended without saying so, and its events with it.
    NodeLost(String),
}

/// An event that waits for its delivery.
#[derive(Debug)]
pub(super) struct Event {
    /// The event as JSON.
    pub(super) json: String,
    /// When it happened, in milliseconds since the Unix epoch.
    pub(super) at_unix_ms: u64,
}

impl Event {
    /// Appends the data of a message, which was checked to be JSON when it came. It is not parsed again, so that its
    /// numbers, escapes and blanks, line breaks among them, stay as they are.
    fn with_data(mut self, data: Option<&str>) -> Self {
        if let Some(data) = data {
            // Moves the closing brace. The object has an id, hence a field before this one.
            self.json.pop();
            self.json.extend([",\"data\":", data, "}"]);
        }
        self
    }
}

/// The fields of every kind of event but `data`, which is no text.
#[derive(Serialize, Default)]
struct Fields<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    at_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
}

impl Fields<'_> {
    fn event(&self) -> Event {
        // Strings and numbers always are JSON.
        let json = simd_json::to_string(self).unwrap_or_default();
        Event { json, at_unix_ms: self.at_ms }
    }
}

impl<'a> Happening<'a> {
    /// Returns the name under which receivers ask for it.
    pub(super) fn kind(&self) -> WebhookEvent {
        match self {
            Self::UserOnline(_) => WebhookEvent::UserOnline,
            Self::UserOffline(_) => WebhookEvent::UserOffline,
            Self::RoomOccupied(_) => WebhookEvent::RoomOccupied,
            Self::RoomVacated(_) => WebhookEvent::RoomVacated,
            Self::MemberJoined(..) => WebhookEvent::MemberJoined,
            Self::MemberLeft(..) => WebhookEvent::MemberLeft,
            Self::Message(_) => WebhookEvent::Message,
            Self::Disconnected { .. } => WebhookEvent::Disconnected,
        }
    }

    /// Returns the room, for an event that has one.
    pub(super) fn room(&self) -> Option<&'a RoomName> {
        match *self {
            Self::RoomOccupied(room) | Self::RoomVacated(room) => Some(room),
            Self::MemberJoined(room, _) | Self::MemberLeft(room, _) => Some(room),
            Self::Message(message) => Some(message.room),
            Self::UserOnline(_) | Self::UserOffline(_) | Self::Disconnected { .. } => None,
        }
    }

    fn user(&self) -> Option<&'a UserId> {
        match *self {
            Self::UserOnline(user) | Self::UserOffline(user) => Some(user),
            Self::MemberJoined(_, user) | Self::MemberLeft(_, user) => Some(user),
            Self::Message(message) => Some(message.user),
            Self::Disconnected { user, .. } => Some(user),
            Self::RoomOccupied(_) | Self::RoomVacated(_) => None,
        }
    }

    /// Returns the name that all events which must come in order have in common: the room, or else the user.
    pub(super) fn subject(&self) -> &'a str {
        let user = self.user().map_or("", UserId::as_str);
        self.room().map_or(user, RoomName::as_str)
    }

    /// Writes the event. `now_ms` is the time, in milliseconds since the Unix epoch.
    pub(super) fn event(&self, id: &str, now_ms: u64) -> Event {
        let common = Fields {
            id,
            kind: self.kind().name(),
            at_ms: now_ms,
            room: self.room().map(RoomName::as_str),
            user: self.user().map(UserId::as_str),
            ..Fields::default()
        };
        match *self {
            Self::Message(Message { epoch, offset, id, at_unix_ms, text, name, data, .. }) => {
                let fields = Fields {
                    at_ms: at_unix_ms,
                    epoch: Some(epoch),
                    offset: Some(offset),
                    message_id: Some(id),
                    message: Some(text),
                    name: name.map(DisplayName::as_str),
                    ..common
                };
                return fields.event().with_data(data);
            }
            Self::Disconnected { code, reason, .. } => {
                Fields { code: Some(code), reason: Some(reason), ..common }
            }
            _ => common,
        }
        .event()
    }
}

impl Resync {
    /// Writes the event that says why.
    pub(super) fn event(&self, id: &str, now_ms: u64) -> Event {
        let (reason, node) = match self {
            Self::Started => ("started", None),
            Self::Added => ("added", None),
            Self::Dropped => ("dropped", None),
            Self::NodeLost(node) => ("node_lost", Some(node.as_str())),
        };
        let fields =
            Fields { id, kind: "resync", at_ms: now_ms, reason: Some(reason), node, ..Fields::default() };
        fields.event()
    }
}
