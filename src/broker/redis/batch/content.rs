//! The contents of a message in a record: the text as a JSON string literal, and behind it, only where the message
//! carries more, `,"data":VALUE` if it has data and `,"name":LITERAL`, which is `""` without a name.
//!
//! This order has a reason. Nodes of the version before take all of it for the text, and put it in front of the event's
//! other fields: their clients get the data and the name too. Such a node wants a quote at the end.

use bytes::Bytes;
use memchr::memmem;

use crate::protocol::command::raw;
use crate::protocol::event::{Content, JsonMore, json_text};

const DATA: &[u8] = b",\"data\":";
const NAME: &[u8] = b",\"name\":";

/// The name and the data of a message, as JSON.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct More {
    /// The name of the sender that people are shown, as a string literal; empty without a name.
    name: Bytes,
    /// The data; empty without data.
    data: Bytes,
}

impl More {
    /// Returns what the event of the message is made of.
    #[must_use]
    pub fn json(more: Option<&Self>) -> JsonMore<'_> {
        more.map(|more| JsonMore { name: &more.name, data: &more.data }).unwrap_or_default()
    }

    /// Returns how many bytes there are.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.name.len() + self.data.len()
    }
}

/// Writes the contents of a message.
#[must_use]
pub fn encode(content: &Content<'_>) -> Vec<u8> {
    let mut json = json_text(content.text);
    if content.data.is_none() && content.name.is_none() {
        return json;
    }
    if let Some(data) = content.data {
        json.extend_from_slice(DATA);
        json.extend_from_slice(data.as_bytes());
    }
    json.extend_from_slice(NAME);
    json.extend_from_slice(&json_text(content.name.map_or("", |name| name.as_str())));
    json
}

/// Splits written contents into the literal of the text and the rest, which share the memory of `content`. Returns
/// `None` for contents that [`encode`] does not write.
pub(super) fn split(content: &Bytes) -> Option<(Bytes, Option<Box<More>>)> {
    let is_literal = |bytes: &[u8]| {
        bytes.len() >= 2
            && bytes.starts_with(b"\"")
            && bytes.ends_with(b"\"")
            && raw::string_len(bytes) == bytes.len()
    };
    if !content.starts_with(b"\"") {
        return None;
    }
    let text = content.slice(..raw::string_len(content));
    if !is_literal(&text) {
        return None;
    }
    let rest = content.slice(text.len()..);
    if rest.is_empty() {
        return Some((text, None));
    }
    // The last occurrence is that of the field: within the literal behind it, every quote is escaped.
    let name_at = memmem::rfind(&rest, NAME)?;
    let name = rest.slice(name_at + NAME.len()..);
    let data = rest.slice(..name_at);
    let data = if data.is_empty() { data } else { data.slice_ref(data.strip_prefix(DATA)?) };
    if !is_literal(&name) || (data.is_empty() && name_at > 0) {
        return None;
    }
    let name = if &name[..] == b"\"\"" { Bytes::new() } else { name };
    Some((text, Some(Box::new(More { name, data }))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_split_as_they_were_written() {
        let name = "a \"b\" ,\"name\":".parse().unwrap();
        for text in ["", "hi", "say \"hi\\\"", ",\"name\":\"x\""] {
            for data in
                [None, Some("1"), Some("{\"name\":\"x\",\"data\":[\"\\\"\"]}"), Some("\",\\\"name\\\":\"")]
            {
                for name in [None, Some(&name)] {
                    let content = Content { text, data, name };
                    let (literal, more) = split(&encode(&content).into()).unwrap();
                    assert_eq!(literal, json_text(text));
                    let JsonMore { name: json_name, data: json_data } = More::json(more.as_deref());
                    assert_eq!(json_data, data.unwrap_or_default().as_bytes());
                    assert_eq!(json_name, name.map(|name| json_text(name.as_str())).unwrap_or_default());
                }
            }
        }
    }

    #[test]
    fn a_node_of_the_version_before_makes_an_event_of_it() {
        let name = "Ann".parse().unwrap();
        for name in [None, Some(&name)] {
            let content = encode(&Content { text: "hi", data: Some("{\"a\":1}"), name });
            assert!(content.starts_with(b"\"") && content.ends_with(b"\""));
            let event = format!("{{\"message\":{},\"room\":\"r\"}}", String::from_utf8(content).unwrap());
            let event: serde_json::Value = serde_json::from_str(&event).unwrap();
            assert_eq!((&event["message"], &event["data"]["a"]), (&"hi".into(), &1.into()));
        }
    }

    #[test]
    fn other_contents_are_refused() {
        for bad in [
            "\"",
            "\"a\"b\"",
            "\"a\",\"name\":",
            "\"a\",\"name\":\"",
            "\"a\",\"data\":1",
            "\"a\",\"data\":,\"name\":\"\"",
            "\"a\",\"name\":\"x\"y\"",
            "\"a\",\"dada\":1,\"name\":\"\"",
            "x\"a\"",
            "\"a\" ,\"name\":\"b\"",
            "",
        ] {
            assert_eq!(split(&Bytes::from(bad)), None, "{bad}");
        }
    }
}
