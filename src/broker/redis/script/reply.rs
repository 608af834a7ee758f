//! The replies of scripts, and their strict reading.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::broker::redis::batch::decimal;
use crate::names::{Epoch, Offset, Position};

/// Most characters that are kept of the text of an error.
const ERROR_CHARS: usize = 300;

/// A value that the server returned. Errors are not among them: a link reports these on their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing.
    Nil,
    /// A number.
    Int(i64),
    /// A string, also a status such as `OK`.
    Bytes(Bytes),
    /// A list.
    Array(Vec<Reply>),
    /// Pairs of keys and values.
    Map(Vec<(Reply, Reply)>),
    /// An error within a list.
    Error(ServerError),
}

/// An error that a server has answered with: nothing was carried out, unless a script had begun to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code} {text}")]
pub struct ServerError {
    /// The first word: `OOM`, `NOREPLICAS`, `READONLY`, `MOVED`, `ERR` and others.
    pub code: String,
    /// The rest.
    pub text: String,
}

impl ServerError {
    /// Creates an error, whose text is cut if it is very long.
    #[must_use]
    pub fn new(code: &str, text: &str) -> Self {
        Self { code: brief(code), text: brief(text) }
    }
}

/// Returns the beginning of a text that another program has sent: enough for every message of a server.
#[must_use]
pub fn brief(text: &str) -> String {
    text.chars().take(ERROR_CHARS).collect()
}

/// A script returned something else than it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the script {script} returned a malformed reply: {wanted} was expected")]
pub struct BadReply {
    /// The name of the script.
    pub script: &'static str,
    /// The part that was missing or malformed.
    pub wanted: &'static str,
}

impl Reply {
    /// Returns the elements of a list.
    #[must_use]
    pub fn array(&self) -> Option<&[Self]> {
        if let Self::Array(values) = self { Some(values) } else { None }
    }

    /// Returns the content of a string.
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// Returns the content of a string that is text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// Returns the number, when it is not negative.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        if let Self::Int(number) = self { u64::try_from(*number).ok() } else { None }
    }

    /// Returns the epoch that is written in a string.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.text()?.parse().ok()
    }

    /// Returns the offset that is written in a string.
    pub(super) fn offset(&self) -> Option<Offset> {
        decimal(self.text()?).map(Offset)
    }

    /// Returns the earlier epochs that are written in a string.
    pub(super) fn lives(&self) -> Option<Lives> {
        Lives::parse(self.text()?)
    }
}

/// The earlier epochs of a room, each with the last of its offsets that survived, newest first.
///
/// Offsets continue over the change of epoch. So a position of an earlier epoch is still good when its offset is at
/// most the one here, and else names a message that was lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lives(pub SmallVec<[(Epoch, Offset); 2]>);

impl Lives {
    /// Most earlier epochs that a room remembers.
    pub const MAX: usize = 8;

    /// Returns true when a position of an earlier epoch names a message, or the state after a message, that survived
    /// all changes of epoch.
    #[must_use]
    pub fn has(&self, position: Position) -> bool {
        self.0.iter().any(|(epoch, last)| *epoch == position.epoch && position.offset <= *last)
    }

    /// Parses `E1=F1,E2=F2…`.
    fn parse(text: &str) -> Option<Self> {
        let mut lives = Self::default();
        for entry in text.split(',').filter(|_| !text.is_empty()) {
            let (epoch, last) = entry.split_once('=')?;
            if lives.0.len() == Self::MAX {
                return None;
            }
            lives.0.push((epoch.parse().ok()?, Offset(decimal(last)?)));
        }
        Some(lives)
    }
}
