//! What clients say: one JSON object per text frame, parsed in place into typed fields.
//!
//! Never into a generic tree, which would keep duplicate keys and let a client choose how much is allocated. All that
//! RFC 8259 allows is read, up to a depth: half of a surrogate pair in a string is U+FFFD, and a number beyond every
//! range is one that no field accepts.

mod mend;
mod v1;
mod value;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};
use simd_json::Buffers;
use std::fmt;

pub use v1::{Command, MAX_HISTORY_LIMIT, MAX_ID_CHARS, MAX_PRESENCE_LIMIT, Rejection, Request, Resume};
use value::Value;

use super::event::CommandError;

/// Deepest nesting that is parsed, also inside fields that are ignored.
const MAX_DEPTH: usize = 16;

/// The parser's scratch memory, one per worker. Grows to the largest message seen.
pub struct Parser(Buffers);

impl fmt::Debug for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parser")
    }
}

impl Default for Parser {
    fn default() -> Self {
        Self(Buffers::with_max_depth(1024, MAX_DEPTH))
    }
}

/// A field that should be text.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
pub enum Field<'a> {
    /// Not there.
    #[default]
    Missing,
    /// There, but not a string (`null` included).
    NotText,
    /// Its text.
    Text(&'a str),
}

/// The fields that the endpoints look at; every other one is ignored.
#[derive(Debug, Default, Deserialize)]
pub struct Fields<'a> {
    /// `type`
    #[serde(borrow, default, rename = "type")]
    pub kind: Field<'a>,
    /// `message`
    #[serde(borrow, default)]
    pub message: Field<'a>,
    /// `content`
    #[serde(borrow, default)]
    pub content: Field<'a>,
}

impl Parser {
    /// Parses one object of the plain dialect, or of the endpoints that speak JSON. The payload is rewritten in the
    /// process.
    ///
    /// # Errors
    /// [`CommandError::InvalidJson`] where the bytes are not JSON or nested deeper than 16 levels,
    /// [`CommandError::InvalidMessage`] where they are JSON but not an object, or repeat a field that is looked at.
    pub fn parse<'a>(&mut self, payload: &'a mut [u8]) -> Result<Fields<'a>, CommandError> {
        self.object(payload)
    }

    /// Parses one command of `throng.v1`. The payload is rewritten in the process.
    ///
    /// Names of rooms and users, epochs, and the length of a message's text are for those to check who know them.
    ///
    /// # Errors
    /// [`CommandError::InvalidJson`] and [`CommandError::InvalidMessage`] as [`Parser::parse`], where every field that
    /// some command has is looked at; [`CommandError::InvalidMessage`] for a field of the command that is of the wrong
    /// type or out of range, `null` included; [`CommandError::MissingField`]; [`CommandError::UnknownType`].
    pub fn parse_v1<'a>(&mut self, payload: &'a mut [u8]) -> Result<Request<'a>, Rejection<'a>> {
        match self.object::<v1::Fields<'a>>(payload) {
            Ok(fields) => fields.request(),
            Err(error) => Err(Rejection { id: None, error }),
        }
    }

    fn object<'a, T: Deserialize<'a>>(&mut self, payload: &'a mut [u8]) -> Result<T, CommandError> {
        mend::mend(payload);
        // A derived struct accepts an array as an object, so the kind is decided by the first byte.
        let first = payload.iter().copied().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
        if first == Some(b'{') {
            return simd_json::serde::from_slice_with_buffers(payload, &mut self.0).map_err(
                |error| match error.error() {
                    simd_json::ErrorType::Serde(_) => TWICE,
                    _ => CommandError::InvalidJson,
                },
            );
        }
        match simd_json::serde::from_slice_with_buffers::<IgnoredAny>(payload, &mut self.0) {
            Ok(_) => Err(CommandError::InvalidMessage("must be an object")),
            Err(_) => Err(CommandError::InvalidJson),
        }
    }
}

/// The one thing that can be wrong with an object before its fields are looked at.
const TWICE: CommandError = CommandError::InvalidMessage("a field occurs twice");

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::Text(text) => Self::Text(text),
            _ => Self::NotText,
        })
    }
}

#[cfg(test)]
mod tests;
