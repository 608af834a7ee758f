//! The beginning of a message, read from the event that the history keeps.

use serde::{Deserialize, Serialize};

use crate::protocol::frame;

/// The field behind the text in the event of a message.
const BEHIND_TEXT: &[u8] = b",\"room\":\"";
const ELLIPSIS: &str = "…";

/// The beginning of a message, and who said it when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// The user's id.
    pub user: String,
    /// The name that people are shown, if the message has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The text, or its beginning and an ellipsis.
    pub message: String,
    /// When it was published, in milliseconds since the Unix epoch.
    pub ts: u64,
}

impl Preview {
    /// Makes the preview of a short message.
    #[must_use]
    pub fn new(user: &str, message: &str, ts: u64) -> Self {
        Self { user: user.to_owned(), name: None, message: message.to_owned(), ts }
    }

    /// Reads the frame of a message as [`message`](super::message()) makes it; `None` for any other frame. The text has
    /// at most `chars` characters, and an ellipsis where there is more. The data of a message is not parsed, because
    /// it may be long.
    #[must_use]
    pub fn of(frame: &[u8], chars: usize) -> Option<Self> {
        let payload = frame::payload(frame);
        let (user, rest) = field(payload.strip_prefix(b"{\"type\":\"message\"")?, b",\"user\":", usize::MAX)?;
        let (message, rest) = field(rest, b",\"message\":", chars)?;
        // In the text before it every quote is escaped, and the data is behind it.
        let rest = &rest[memchr::memmem::find(rest, BEHIND_TEXT)?..];
        let rest = &rest[memchr::memmem::find(rest, b",\"ts\":")? + 6..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (ts, rest) = rest.split_at(digits);
        let ts = std::str::from_utf8(ts).ok()?.parse().ok()?;
        let name = field(rest, b",\"name\":", usize::MAX).map(|(name, _)| name);
        Some(Self { user, name, message, ts })
    }

    /// Returns the most bytes that it takes as JSON, which writes a control character as six bytes.
    #[must_use]
    pub fn max_len(&self) -> usize {
        let texts = [Some(&self.user), self.name.as_ref(), Some(&self.message)];
        let escaped = |text: &str| text.bytes().map(|byte| if byte < b' ' { 6 } else { 2 }).sum::<usize>();
        texts.into_iter().flatten().map(|text| escaped(text)).sum::<usize>() + 80
    }
}

/// Reads a field that begins with `key` and has a text, of which at most `chars` characters. Returns it and what
/// follows what was read.
fn field<'a>(json: &'a [u8], key: &[u8], chars: usize) -> Option<(String, &'a [u8])> {
    let literal = json.strip_prefix(key)?.strip_prefix(b"\"")?;
    let mut at = 0;
    let mut count = 0;
    while *literal.get(at)? != b'"' && count < chars {
        at += match literal[at] {
            b'\\' if literal.get(at + 1) == Some(&b'u') => 6,
            b'\\' | 0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0.. => 4,
            _ => 1,
        };
        count += 1;
    }
    let rest = literal.get(at..)?;
    let mut quoted = [b"\"", &literal[..at], b"\""].concat();
    let mut text: String = simd_json::serde::from_slice(&mut quoted).ok()?;
    if rest.first() != Some(&b'"') {
        text.push_str(ELLIPSIS);
    }
    Some((text, rest.strip_prefix(b"\"").unwrap_or(rest)))
}

#[cfg(test)]
mod tests {
    use super::super::{Content, message};
    use super::*;
    use crate::names::{Epoch, Offset};

    fn preview(text: &str, name: Option<&str>, data: Option<&str>, chars: usize) -> Option<Preview> {
        let name = name.map(|name| name.parse().unwrap());
        let content = Content { text, data, name: name.as_ref() };
        let (user, room) = ("anna".parse().unwrap(), "lobby".parse().unwrap());
        Preview::of(&message(&user, content, &room, Epoch::random(), Offset(7), 12), chars)
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let trap = "say \"hi\", \\ ,\"room\":\"x\",\"ts\":1 \u{1} é € 😀\n";
        let data = r#"{"a":[",\"name\":\"x\"",",\"ts\":9"]}"#;
        for text in ["", "hello", trap, &"long ".repeat(50)] {
            for name in [None, Some("Änna \"A\"")] {
                for data in [None, Some(data)] {
                    let expected = Preview { name: name.map(Into::into), ..Preview::new("anna", text, 12) };
                    assert_eq!(preview(text, name, data, 1_000), Some(expected), "{text} {name:?} {data:?}");
                }
            }
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = "a\"\\\u{1}\né€😀z";
        let all: Vec<char> = text.chars().collect();
        for chars in 0..all.len() {
            let expected = all[..chars].iter().collect::<String>() + ELLIPSIS;
            assert_eq!(preview(text, None, None, chars).unwrap().message, expected);
        }
        assert_eq!(preview(text, None, None, all.len()).unwrap().message, text);
    }

    #[test]
    fn other_frames_have_no_preview() {
        let (frame, json) = (|text: &str| frame::text(text), r#"{"type":"message","user":"a","message":"b"#);
        for text in ["", "{}", r#"{"type":"system","message":"x"}"#, json, &format!("{json}\\")] {
            assert_eq!(Preview::of(&frame(text), 5), None, "{text}");
        }
    }

    #[test]
    fn no_json_is_longer_than_said() {
        for text in ["", "\u{1}\u{2}\n\"\\", "😀é€"] {
            let preview = Preview { name: Some(text.into()), ..Preview::new("anna", text, u64::MAX) };
            let json = simd_json::serde::to_vec(&preview).unwrap();
            assert!(json.len() <= preview.max_len(), "{} {}", json.len(), preview.max_len());
        }
    }
}
