//! The contents of a message: its text, and the data and the name that it may carry besides.

use super::object::push_json;
use crate::names::DisplayName;

/// Most bytes of a message event besides its text, with names of 64 characters.
pub(super) const MESSAGE_OVERHEAD: usize = 320;
/// The fields' names with their punctuation.
const NAME_FIELD: &[u8] = b",\"name\":";
const DATA_FIELD: &[u8] = b",\"data\":";

/// The contents of a message.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// The text.
    pub text: &'a str,
    /// A JSON value in the bytes that its sender wrote.
    pub data: Option<&'a str>,
    /// The name of the sender that people are shown.
    pub name: Option<&'a DisplayName>,
}

impl<'a> From<&'a str> for Content<'a> {
    fn from(text: &'a str) -> Self {
        Self { text, data: None, name: None }
    }
}

impl<'a> From<&'a String> for Content<'a> {
    fn from(text: &'a String) -> Self {
        Self::from(text.as_str())
    }
}

impl Content<'_> {
    /// Returns the most bytes that the event of a message with these contents can take: JSON writes a control character
    /// as six bytes.
    #[must_use]
    pub fn max_len(&self) -> usize {
        self.text.len() * 6 + MESSAGE_OVERHEAD + 2 * self.more_len()
    }

    /// Returns how many bytes there are besides the text.
    #[must_use]
    pub fn more_len(&self) -> usize {
        let name = self.name.map_or(0, |name| NAME_FIELD.len() + 2 + name.as_str().len());
        name + self.data.map_or(0, |data| DATA_FIELD.len() + data.len())
    }

    /// Appends the fields besides the text, each with a comma before it. There are none in most messages.
    pub(super) fn push_more(&self, out: &mut Vec<u8>) {
        if let Some(name) = self.name {
            out.extend_from_slice(NAME_FIELD);
            push_json(out, name.as_str());
        }
        if let Some(data) = self.data {
            push_data(out, data.as_bytes());
        }
    }
}

/// Appends the field `data` with a comma before it.
fn push_data(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(DATA_FIELD);
    out.extend_from_slice(data);
}

/// The name and the data of a message, already as JSON.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonMore<'a> {
    /// The name as a string literal; empty where there is none.
    pub name: &'a [u8],
    /// The data; empty where there is none.
    pub data: &'a [u8],
}

impl JsonMore<'_> {
    pub(super) fn len(&self) -> usize {
        self.name.len() + self.data.len() + NAME_FIELD.len() + DATA_FIELD.len()
    }

    pub(super) fn push(&self, out: &mut Vec<u8>) {
        if !self.name.is_empty() {
            out.extend_from_slice(NAME_FIELD);
            out.extend_from_slice(self.name);
        }
        if !self.data.is_empty() {
            push_data(out, self.data);
        }
    }
}

/// The contents of a message that waits, and so owns them. A message without data and name takes one allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedContent {
    text: Box<str>,
    more: Option<Box<OwnedMore>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct OwnedMore {
    data: Option<Box<str>>,
    name: Option<DisplayName>,
}

impl From<Content<'_>> for OwnedContent {
    fn from(content: Content<'_>) -> Self {
        let Content { text, data, name } = content;
        let has_more = data.is_some() || name.is_some();
        let more = has_more.then(|| Box::new(OwnedMore { data: data.map(Box::from), name: name.cloned() }));
        Self { text: text.into(), more }
    }
}

impl From<&str> for OwnedContent {
    fn from(text: &str) -> Self {
        Content::from(text).into()
    }
}

impl OwnedContent {
    /// Returns the contents.
    #[must_use]
    pub fn get(&self) -> Content<'_> {
        let more = self.more.as_ref();
        Content {
            text: &self.text,
            data: more.and_then(|more| more.data.as_deref()),
            name: more.and_then(|more| more.name.as_ref()),
        }
    }
}
