//! A writer of JSON objects for events: field by field in the order that the protocol gives, without a tree, without
//! reflection, without a second copy.

use bytes::Bytes;
use serde::Serialize;

use super::content::Content;
use crate::names::{DisplayName, Epoch, UserId};
use crate::protocol::frame::{self, OpCode};

/// Encodes a text frame with an object whose `type` is `kind` and whose other fields `write` adds. `hint` estimates the
/// bytes of those fields.
pub(super) fn encode(kind: &'static str, hint: usize, write: impl FnOnce(&mut Object<'_>)) -> Bytes {
    frame::encode(OpCode::Text, hint + 32, |out| {
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'"');
        write(&mut Object { out });
        out.push(b'}');
    })
}

/// An object that is being written. It has its first field, so each further one begins with a comma.
pub(super) struct Object<'v> {
    out: &'v mut Vec<u8>,
}

impl Object<'_> {
    fn key(&mut self, key: &'static str) -> &mut Vec<u8> {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// Adds text that needs no escaping: a name, or digits.
    pub(super) fn name(&mut self, key: &'static str, name: &str) -> &mut Self {
        let out = self.key(key);
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.push(b'"');
        self
    }

    /// Adds any text, escaped.
    pub(super) fn text(&mut self, key: &'static str, text: &str) -> &mut Self {
        push_json(self.key(key), text);
        self
    }

    /// Adds the id of the command that is answered, if it had one.
    pub(super) fn re(&mut self, re: Option<&str>) -> &mut Self {
        if let Some(id) = re {
            self.text("re", id);
        }
        self
    }

    pub(super) fn number(&mut self, key: &'static str, number: u64) -> &mut Self {
        self.key(key).extend_from_slice(Digits::of(number).as_bytes());
        self
    }

    pub(super) fn count(&mut self, key: &'static str, count: usize) -> &mut Self {
        self.number(key, count as u64)
    }

    pub(super) fn flag(&mut self, key: &'static str, is_set: bool) -> &mut Self {
        self.key(key).extend_from_slice(if is_set { b"true" } else { b"false" });
        self
    }

    pub(super) fn epoch(&mut self, epoch: Epoch) -> &mut Self {
        let out = self.key("epoch");
        out.push(b'"');
        out.extend_from_slice(&epoch.digits());
        out.push(b'"');
        self
    }

    /// Adds the id `EPOCH-NUMBER`, which is unique.
    pub(super) fn id(&mut self, epoch: Epoch, number: u64) -> &mut Self {
        let out = self.key("id");
        out.push(b'"');
        out.extend_from_slice(&epoch.digits());
        out.push(b'-');
        out.extend_from_slice(Digits::of(number).as_bytes());
        out.push(b'"');
        self
    }

    /// Adds an array of elements that are already JSON.
    pub(super) fn array<'j>(
        &mut self,
        key: &'static str,
        elements: impl Iterator<Item = &'j [u8]>,
    ) -> &mut Self {
        let out = self.key(key);
        out.push(b'[');
        for (index, element) in elements.enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(element);
        }
        out.push(b']');
        self
    }

    pub(super) fn users(&mut self, key: &'static str, users: &[UserId]) -> &mut Self {
        let out = self.key(key);
        out.push(b'[');
        for (index, user) in users.iter().enumerate() {
            out.extend_from_slice(if index > 0 { b",\"" } else { b"\"" });
            out.extend_from_slice(user.as_str().as_bytes());
            out.push(b'"');
        }
        out.push(b']');
        self
    }

    /// Adds the names of users as an object, by user id, if there are any.
    pub(super) fn names(&mut self, names: &[(UserId, DisplayName)]) -> &mut Self {
        for (index, (user, name)) in names.iter().enumerate() {
            let separator = if index == 0 { "\"names\":{" } else { "" };
            self.out.extend_from_slice(format!(",{separator}\"{user}\":").as_bytes());
            push_json(self.out, name.as_str());
        }
        if !names.is_empty() {
            self.out.push(b'}');
        }
        self
    }

    /// Adds what a message carries besides its text.
    pub(super) fn content(&mut self, content: Content<'_>) -> &mut Self {
        content.push_more(self.out);
        self
    }

    /// Adds a value that serde serialises.
    pub(super) fn value(&mut self, key: &'static str, value: &impl Serialize) -> &mut Self {
        push_json(self.key(key), value);
        self
    }
}

/// Appends a value as JSON.
pub(super) fn push_json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Writing to a vector cannot fail, nor can serialising strings, numbers and structs of them.
    let written = simd_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "{written:?}");
}

/// The decimal digits of a number, on the stack.
pub(super) struct Digits {
    text: [u8; 20],
    start: usize,
}

impl Digits {
    pub(super) fn of(mut number: u64) -> Self {
        let mut text = [b'0'; 20];
        let mut start = text.len();
        loop {
            start -= 1;
            text[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return Self { text, start };
            }
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.text[self.start..]
    }
}
