//! The contents of a private message in a control message: its text, and the name and the data that it may carry.

use bytes::Bytes;

use super::parser::Words;
use crate::names::DisplayName;
use crate::protocol::event::{Content, OwnedContent};

/// Returns the parts one behind the other, and the lengths of the text and of the name where there is more than text.
pub(super) fn encode(content: &Content<'_>) -> (Bytes, Option<(usize, usize)>) {
    let Content { text, data, name } = *content;
    let name = name.map_or("", |name| name.as_str());
    let body = [text, name, data.unwrap_or_default()].concat();
    let lens = (body.len() > text.len()).then_some((text.len(), name.len()));
    (body.into(), lens)
}

/// Reads the contents. Where they carry more than text, the next two words say the lengths.
pub(super) fn parse(body: &str, carries: bool, words: &mut Words<'_>) -> Option<OwnedContent> {
    if !carries {
        return Some(Content::from(body).into());
    }
    let mut len = || usize::try_from(words.decimal()?).ok();
    let (text, rest) = body.split_at_checked(len()?)?;
    let (name, data) = rest.split_at_checked(len()?)?;
    let name: Option<DisplayName> = (!name.is_empty()).then(|| name.parse()).transpose().ok()?;
    let data = (!data.is_empty()).then_some(data);
    if name.is_none() && data.is_none() {
        return None;
    }
    Some(Content { text, data, name: name.as_ref() }.into())
}
