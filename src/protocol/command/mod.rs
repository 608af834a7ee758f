//! Commands, which clients send: one JSON object per text frame, parsed in place into typed fields.
//!
//! There is no generic tree, which would keep duplicate keys and let a client choose how much is allocated. Everything
//! that RFC 8259 allows is accepted, up to a depth: half of a surrogate pair in a string is read as U+FFFD, and a
//! number out of every range is read as one that no field accepts.

mod normalize;
pub mod raw;
mod v1;
mod value;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};
use simd_json::Buffers;
use std::fmt;

pub use v1::{Command, MAX_HISTORY_LIMIT, MAX_ID_CHARS, MAX_PRESENCE_LIMIT};
pub use v1::{Rejection, Request, Resume, TokenText};
use value::{FIELD_TWICE, Value};

use super::event::CommandError;

/// Deepest nesting that is accepted, also inside fields that are ignored.
const MAX_DEPTH: usize = 16;

/// A parser of commands. Each worker has one, because it contains scratch memory, which grows to the largest command
/// seen.
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

/// A field that must be text, as it was found.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
pub enum Field<'a> {
    /// The object has no such field.
    #[default]
    Missing,
    /// The field is not a string (`null` included).
    NotText,
    /// The field is this text.
    Text(&'a str),
}

/// The fields that commands of the plain dialect and of the small endpoints have; others are ignored.
#[derive(Debug, Default, Deserialize)]
pub struct Fields<'a> {
    /// The field `type`.
    #[serde(borrow, default, rename = "type")]
    pub kind: Field<'a>,
    /// The field `message`.
    #[serde(borrow, default)]
    pub message: Field<'a>,
    /// The field `content`.
    #[serde(borrow, default)]
    pub content: Field<'a>,
    /// The value of the field `data` as it was written.
    #[serde(skip)]
    pub data: Option<Box<str>>,
    /// Makes a repeated `data` an error as other repeated fields are.
    #[serde(default, rename = "data")]
    _data: IgnoredAny,
}

impl Parser {
    /// Parses one command of the plain dialect or of the small endpoints. Parsing overwrites the payload.
    ///
    /// # Errors
    /// [`CommandError::InvalidJson`] where the bytes are not JSON or nested deeper than 16 levels,
    /// [`CommandError::InvalidMessage`] where they are JSON but not an object, or repeat a field of [`Fields`].
    pub fn parse<'a>(&mut self, payload: &'a mut [u8]) -> Result<Fields<'a>, CommandError> {
        let data = raw::data_of(payload);
        let fields = self.object(payload)?;
        Ok(Fields { data, ..fields })
    }

    /// Parses one command of `throng.v1`. Parsing overwrites the payload.
    ///
    /// Names of rooms and users, epochs, and the length of a message's text are not checked here.
    ///
    /// # Errors
    /// [`CommandError::InvalidJson`] and [`CommandError::InvalidMessage`] as in [`Parser::parse`], where the fields of
    /// all commands must not be repeated; [`CommandError::InvalidMessage`] for a field of this command that has the
    /// wrong type (`null` included) or is out of range; [`CommandError::MissingField`]; [`CommandError::UnknownType`].
    pub fn parse_v1<'a>(&mut self, payload: &'a mut [u8]) -> Result<Request<'a>, Rejection<'a>> {
        let data = raw::data_of(payload);
        match self.object::<v1::Fields<'a>>(payload) {
            Ok(fields) => fields.request(data),
            Err(error) => Err(Rejection { id: None, error }),
        }
    }

    /// Parses an object whose fields accept any value. Parsing overwrites the payload.
    ///
    /// # Errors
    /// As in [`Parser::parse`]; an error that `T` itself returns counts as a repeated field.
    pub fn object<'a, T: Deserialize<'a>>(&mut self, payload: &'a mut [u8]) -> Result<T, CommandError> {
        normalize::normalize(payload);
        // A derived struct would accept an array for an object, so the first byte decides which it is.
        let first = payload.iter().copied().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
        if first == Some(b'{') {
            return simd_json::serde::from_slice_with_buffers(payload, &mut self.0).map_err(
                |error| match error.error() {
                    // Fields accept any value, so a repeated field is the only error that they can cause.
                    simd_json::ErrorType::Serde(_) => FIELD_TWICE,
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
