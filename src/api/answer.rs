//! The answers of calls as JSON.

use serde::{Serialize, Serializer};

use super::error::ApiError;
use crate::broker::{Position, Published};
use crate::names::{Epoch, RoomName};
use crate::node::survey::{ConnectionRow, RoomRow, SlowRow, UsersRow};

/// The outcome of a call or of one of its parts: `{"result":…}` or `{"error":{"code","message"}}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was carried out.
    Result(Answer),
    /// It was not, or nobody knows.
    #[serde(serialize_with = "error")]
    Error(ApiError),
}

/// The result of a call.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// A message has its position.
    Published {
        /// The room.
        #[serde(serialize_with = "displayed")]
        room: RoomName,
        /// The room's epoch.
        #[serde(serialize_with = "displayed")]
        epoch: Epoch,
        /// The message's offset.
        offset: u64,
        /// The message's id.
        id: String,
        /// True when an earlier call with the same key had published it.
        duplicate: bool,
    },
    /// A private message was delivered.
    Delivered {
        /// The number of connections that get it.
        delivered: usize,
    },
    /// The connections of a user end.
    Closed {
        /// The number of connections.
        closed: usize,
    },
    /// Tokens hold no longer.
    Revoked {
        /// The number of connections that end.
        closed: usize,
        /// True when the revocation outlives a restart.
        durable: bool,
    },
    /// The connections of a user leave a room.
    Left {
        /// The number of connections.
        left: usize,
    },
    /// A page of rooms.
    Rooms {
        /// The rooms, by name.
        rooms: Vec<RoomRow>,
        /// Where the next page begins; `None` when this is the last one.
        next: Option<String>,
        /// The nodes that did not answer.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        unanswered: Vec<String>,
    },
    /// One room.
    Room(RoomRow),
    /// A page of the users in a room.
    Presence {
        /// `presence`: the object is the event of that name of `throng.v1`.
        r#type: &'static str,
        /// The room.
        room: String,
        /// The page.
        #[serde(flatten)]
        page: UsersRow,
    },
    /// A page of the users who are online.
    Users {
        /// The users, by name.
        users: Vec<String>,
        /// Where the next page begins; `None` when this is the last one.
        next: Option<String>,
        /// The nodes that did not answer.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        unanswered: Vec<String>,
    },
    /// The connections of a user, or those with the longest queues.
    Connections {
        /// The user.
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// The connections.
        connections: Connections,
        /// True when there are more than fit into the answer.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        more: bool,
        /// The nodes that did not answer.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        unanswered: Vec<String>,
    },
    /// JSON that is written already.
    #[serde(skip)]
    Written(String),
    /// Every part has an outcome of its own.
    #[serde(skip)]
    Results(Results),
    /// The settings were read again.
    Reloaded {
        /// The keys whose new values are in force.
        changed: Vec<&'static str>,
        /// The keys whose new values need a restart.
        restart: Vec<&'static str>,
    },
}

/// The rows of [`Answer::Connections`].
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Connections {
    /// Of a user.
    Of(Vec<ConnectionRow>),
    /// With the longest queues.
    Slow(Vec<SlowRow>),
}

impl Answer {
    /// Returns the answer about a message in a room.
    pub(super) fn published(room: RoomName, published: Published) -> Self {
        let Published { position: Position { epoch, offset }, is_duplicate } = published;
        let id = format!("{epoch}-{offset}");
        Self::Published { room, epoch, offset: offset.0, id, duplicate: is_duplicate }
    }
}

impl Outcome {
    /// Returns the HTTP status of a call with this outcome.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Result(_) => 200,
            Self::Error(error) => error.status(),
        }
    }

    /// Returns the word for the outcome in logs: `ok`, or the code of the error.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Result(_) => "ok",
            Self::Error(error) => error.code(),
        }
    }

    /// Returns how many parts of a call failed.
    #[must_use]
    pub const fn failed(&self) -> usize {
        match self {
            Self::Result(Answer::Results(results)) => results.failed,
            Self::Result(_) => 0,
            Self::Error(_) => 1,
        }
    }

    /// Writes the outcome as JSON.
    ///
    /// # Errors
    /// It cannot be written, which no value in it can cause.
    pub fn json(&self) -> Result<String, simd_json::Error> {
        match self {
            Self::Result(Answer::Written(json)) => Ok(format!("{{\"result\":{json}}}")),
            Self::Result(Answer::Results(Results { json, .. })) => {
                Ok(format!("{{\"result\":{{\"results\":[{json}]}}}}"))
            }
            _ => simd_json::serde::to_string(self),
        }
    }
}

/// The outcomes of the parts of a call, in their order. Each of them is written as JSON when it is added, so that a
/// long answer is written in slices.
#[derive(Debug, Default)]
pub struct Results {
    json: String,
    /// How many parts failed.
    failed: usize,
}

impl Results {
    /// Adds the outcome of the next part.
    ///
    /// # Errors
    /// It cannot be written, which no value in it can cause.
    pub(super) fn push(&mut self, outcome: &Outcome) -> Result<(), simd_json::Error> {
        if !self.json.is_empty() {
            self.json.push(',');
        }
        self.json.push_str(&outcome.json()?);
        self.failed += outcome.failed();
        Ok(())
    }
}

impl From<Result<Answer, ApiError>> for Outcome {
    fn from(result: Result<Answer, ApiError>) -> Self {
        match result {
            Ok(answer) => Self::Result(answer),
            Err(error) => Self::Error(error),
        }
    }
}

fn displayed<S: Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn error<S: Serializer>(error: &ApiError, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Error<'a> {
        code: &'a str,
        message: String,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        mistakes: &'a [String],
    }
    let mistakes = if let ApiError::InvalidSettings(mistakes) = error { &**mistakes } else { &[] };
    Error { code: error.code(), message: error.to_string(), mistakes }.serialize(serializer)
}
