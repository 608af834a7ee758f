//! What clients say: one JSON object per text frame, parsed in place into typed fields.
//!
//! Never into a generic tree, which would keep duplicate keys and let a client choose how much is allocated.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use simd_json::Buffers;
use std::fmt;

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
    /// Parses one object. The payload is rewritten in the process.
    ///
    /// # Errors
    /// [`CommandError::InvalidJson`] where the bytes are not JSON or nested deeper than 16 levels,
    /// [`CommandError::InvalidMessage`] where they are JSON but not an object, or repeat a field that is looked at.
    pub fn parse<'a>(&mut self, payload: &'a mut [u8]) -> Result<Fields<'a>, CommandError> {
        // A derived struct accepts an array as an object, so the kind is decided by the first byte.
        let first = payload.iter().copied().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
        if first == Some(b'{') {
            return simd_json::serde::from_slice_with_buffers(payload, &mut self.0).map_err(
                |error| match error.error() {
                    simd_json::ErrorType::Serde(_) => CommandError::InvalidMessage("a field occurs twice"),
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
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Field<'de>, E> {
        Ok(Field::Text(text))
    }
    // The parser hands out borrowed text only; owned text could not live long enough.
    fn visit_str<E>(self, _: &str) -> Result<Field<'de>, E> {
        Ok(Field::NotText)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Field<'de>, E> {
        Ok(Field::NotText)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Field<'de>, E> {
        Ok(Field::NotText)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Field<'de>, E> {
        Ok(Field::NotText)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Field<'de>, E> {
        Ok(Field::NotText)
    }
    fn visit_unit<E>(self) -> Result<Field<'de>, E> {
        Ok(Field::NotText)
    }
    fn visit_none<E>(self) -> Result<Field<'de>, E> {
        Ok(Field::NotText)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Field<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::NotText)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::NotText)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> Result<String, CommandError> {
        let mut bytes = json.as_bytes().to_vec();
        let mut parser = Parser::default();
        parser.parse(&mut bytes).map(|fields| format!("{:?}", fields.message))
    }

    #[test]
    fn every_kind_of_input_has_its_answer() {
        let bomb = "[".repeat(65_536);
        let deep = format!("{{\"x\":{}1{},\"message\":\"m\"}}", "[".repeat(40), "]".repeat(40));
        let not_object = Err(CommandError::InvalidMessage("must be an object"));
        let cases: &[(&str, Result<&str, CommandError>)] = &[
            (r#"{"message":"hi"}"#, Ok("Text(\"hi\")")),
            (" \n\t{\"message\":\"\\u0000\"}", Ok("Text(\"\\0\")")),
            (r#"{"message":null}"#, Ok("NotText")),
            (r#"{"message":1}"#, Ok("NotText")),
            (r#"{"message":[{"a":[1]}]}"#, Ok("NotText")),
            (r#"{"message":{"a":{}}}"#, Ok("NotText")),
            (r#"{"other":{"a":[true,null,1.5,-1]}}"#, Ok("Missing")),
            ("{}", Ok("Missing")),
            (r#"{"message":"a","message":"b"}"#, Err(CommandError::InvalidMessage("a field occurs twice"))),
            (r#"{"message":"hi"} x"#, Err(CommandError::InvalidJson)),
            (r#"{"message":"hi"}{}"#, Err(CommandError::InvalidJson)),
            (r#"{"message":"\ud800"}"#, Err(CommandError::InvalidJson)),
            (r#"{"message":"hi""#, Err(CommandError::InvalidJson)),
            ("", Err(CommandError::InvalidJson)),
            ("nonsense", Err(CommandError::InvalidJson)),
            ("\u{feff}{}", Err(CommandError::InvalidJson)),
            (&bomb, Err(CommandError::InvalidJson)),
            (&deep, Err(CommandError::InvalidJson)),
            (r#"["message","hi","x"]"#, not_object),
            ("12", not_object),
            ("\"text\"", not_object),
            ("null", not_object),
        ];
        for (json, expected) in cases {
            let expected = expected.map(str::to_owned);
            assert_eq!(message(json), expected, "{:?}", &json[..json.len().min(60)]);
        }
        for json in [r#"{"n":18446744073709551616}"#, r#"{"n":1e400}"#] {
            // Whether such a number is JSON is the parser's to say; that it says so without harm is ours.
            let _ = message(json);
        }
    }

    /// Random JSON, most of it valid: objects with a `message` among other fields, then a byte or two changed. Numbers
    /// are small: about those beyond 64 bits the parsers are known to differ.
    fn random_document(random: &mut fastrand::Rng) -> Vec<u8> {
        fn value(random: &mut fastrand::Rng, depth: usize, out: &mut String) {
            match random.u8(..if depth == 0 { 6 } else { 8 }) {
                0 => out.push_str("null"),
                1 => out.push_str("true"),
                2 => out.push_str(&random.i16(..).to_string()),
                3 => out.push_str("-1.5"),
                4 => out.push_str("\"a \\\" \\u00e9 \\n\""),
                5 => out.push_str("\"\u{1f600}\""),
                6 => {
                    out.push('[');
                    value(random, depth - 1, out);
                    out.push(',');
                    value(random, depth - 1, out);
                    out.push(']');
                }
                _ => {
                    out.push_str("{\"k\":");
                    value(random, depth - 1, out);
                    out.push('}');
                }
            }
        }
        let mut out = String::from("{\"a\": ");
        value(random, 3, &mut out);
        out.push_str(", \"message\" :");
        value(random, 1, &mut out);
        out.push('}');
        let mut bytes = out.into_bytes();
        for _ in 0..random.usize(..3) {
            let at = random.usize(..bytes.len());
            match random.u8(..3) {
                0 => bytes[at] = random.u8(..),
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, random.u8(b' '..=b'~')),
            }
        }
        bytes
    }

    #[test]
    fn what_is_json_is_what_another_parser_says() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut parser = Parser::default();
        let mut accepted = 0;
        for _ in 0..20_000 {
            let bytes = random_document(&mut random);
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            let reference = serde_json::from_slice::<serde_json::Value>(&bytes);
            let mut copy = bytes.clone();
            match (parser.parse(&mut copy), reference) {
                (Ok(fields), Ok(value)) => {
                    accepted += 1;
                    let text = if let Field::Text(text) = fields.message { Some(text) } else { None };
                    assert_eq!(text, value["message"].as_str(), "{shown}");
                    assert_eq!(fields.message == Field::Missing, value.get("message").is_none(), "{shown}");
                }
                (Err(CommandError::InvalidMessage(_)), Ok(_)) | (Err(_), Err(_)) => {}
                (ours, theirs) => panic!("{shown}\nours: {ours:?}\ntheirs: {theirs:?}"),
            }
        }
        assert!(accepted > 5_000, "only {accepted} were JSON: the test says little");
    }
}
