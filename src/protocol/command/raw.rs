//! Finds the bytes of a value in JSON text as its sender wrote them. The parser works in place and overwrites them, so
//! they are found before it runs.
//!
//! Text that is not JSON has no meaning here: anything may be found in it, and the parser refuses it afterwards.

use std::sync::LazyLock;

use memchr::memchr2;
use memchr::memmem::Finder;

/// Searches for the name of the field. Made once, because that takes longer than to search a short command.
static NAME: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"data\""));
/// Searches for a letter that is written as an escape.
static ESCAPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\\u00"));

/// The field that is passed on as it was written.
const DATA: &str = "data";

/// Returns the value of the field `data` of an object, without blanks around it; `None` where there is none. If the
/// field is repeated, returns one of its values.
pub(super) fn data_of(object: &[u8]) -> Option<Box<str>> {
    if !may_have_data(object) {
        return None;
    }
    field(object, DATA).and_then(|value| std::str::from_utf8(value).ok()).map(Box::from)
}

/// Returns false, in a fraction of the time that parsing takes, where no object in the text has a field `data`. The
/// name would stand there as it is, or with a letter escaped.
#[must_use]
pub fn may_have_data(json: &[u8]) -> bool {
    NAME.find(json).is_some() || memchr::memchr(b'\\', json).is_some() && ESCAPE.find(json).is_some()
}

/// Returns the value of an object's field.
#[must_use]
pub fn field<'j>(object: &'j [u8], name: &str) -> Option<&'j [u8]> {
    members(object).find(|(key, _)| is_key(key, name)).map(|(_, value)| value)
}

/// Returns the keys of an object, without their quotes, and its values.
pub fn members(object: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = Some(inside(object, b'{'));
    std::iter::from_fn(move || {
        let (key, behind) = split_value(rest?)?;
        let (value, behind) = split_value(behind.strip_prefix(b":")?)?;
        rest = behind.strip_prefix(b",");
        Some((key.strip_prefix(b"\"")?.strip_suffix(b"\"")?, value))
    })
}

/// Returns the elements of an array.
pub fn elements(array: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(inside(array, b'['));
    std::iter::from_fn(move || {
        let (element, behind) = split_value(rest?)?;
        rest = behind.strip_prefix(b",");
        Some(element)
    })
}

/// Returns the text behind the bracket that opens an object or an array; nothing where it is neither.
fn inside(json: &[u8], bracket: u8) -> &[u8] {
    json.trim_ascii_start().strip_prefix(&[bracket]).unwrap_or_default()
}

/// Splits the first value off, without blanks around it. The rest begins with the byte behind it and its blanks.
fn split_value(json: &[u8]) -> Option<(&[u8], &[u8])> {
    let json = json.trim_ascii_start();
    let len = match json.first()? {
        b'"' => string_len(json),
        b'{' | b'[' => nested_len(json),
        _ => json.iter().take_while(|byte| !b",:]} \t\r\n".contains(byte)).count(),
    };
    let (value, behind) = json.split_at_checked(len).filter(|(value, _)| !value.is_empty())?;
    Some((value, behind.trim_ascii_start()))
}

/// Returns the length of the string that the text begins with, with its quotes; that of all text where the string does
/// not end.
#[must_use]
pub fn string_len(json: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = json.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if json[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    json.len()
}

/// Returns the length of the object or array that the text begins with.
fn nested_len(json: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => {
                at += string_len(&json[at..]);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    json.len()
}

/// Returns true when a key, as it is written, means `name`, which consists of letters.
fn is_key(key: &[u8], name: &str) -> bool {
    if !key.contains(&b'\\') {
        return key == name.as_bytes();
    }
    let mut rest = key;
    let letters = std::iter::from_fn(|| match rest {
        [b'\\', b'u', escape @ ..] => {
            let digits = std::str::from_utf8(escape.get(..4)?).ok()?;
            rest = &escape[4..];
            u8::try_from(u16::from_str_radix(digits, 16).ok()?).ok()
        }
        [letter, behind @ ..] => {
            rest = behind;
            Some(*letter)
        }
        [] => None,
    });
    letters.eq(name.bytes())
}

/// Returns true for a value that every parser of JSON reads: there is no half of a surrogate pair in it, and no number
/// that is infinite as a double. A client could otherwise make the receivers' parsers fail.
#[must_use]
pub fn is_portable(value: &str) -> bool {
    let json = value.as_bytes();
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        at += match byte {
            b'"' => {
                let len = string_len(&json[at..]);
                if !has_whole_pairs(&json[at..at + len]) {
                    return false;
                }
                len
            }
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let len = json[at..].iter().take_while(is_part).count();
                if !value[at..at + len].parse::<f64>().is_ok_and(f64::is_finite) {
                    return false;
                }
                len
            }
            _ => 1,
        };
    }
    true
}

fn has_whole_pairs(string: &[u8]) -> bool {
    let mut at = 0;
    while let Some(found) = string.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        at += found;
        at += match (
            super::normalize::unit(&string[at..]),
            string.get(at + 6..).and_then(super::normalize::unit),
        ) {
            (None, _) => 2,
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
            (Some(0xd800..0xe000), _) => return false,
            (Some(_), _) => 6,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_as_it_was_written() {
        for (json, expected) in [
            (r#"{"data":1}"#, Some("1")),
            (
                " {\t\"message\" : \"hi\" ,\n\"data\"\r\n:\t{ \"a\" : [1 , 2.50] } , \"x\":[]}",
                Some("{ \"a\" : [1 , 2.50] }"),
            ),
            (r#"{"data":"a \"b\\"}"#, Some(r#""a \"b\\""#)),
            (r#"{"d\u0061ta":null}"#, Some("null")),
            (r#"{"\u0064\u0061\u0074\u0061":-1.0e2,"y":1}"#, Some("-1.0e2")),
            (r#"{"x":{"data":1}}"#, None),
            (r#"{"x":"\",\"data\":1","y":"data"}"#, None),
            (r#"{"x":[{"data":1},"]}"],"data":[[]]}"#, Some("[[]]")),
            (r#"{"data\u0000":1,"dat\u0101":2,"\"data":3}"#, None),
            (r#"{"data" 1}"#, None),
            (r#"["data",1]"#, None),
            ("\"data\"", None),
        ] {
            assert_eq!(data_of(json.as_bytes()).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn values_that_some_parsers_refuse_are_not_portable() {
        for good in [
            "1",
            "-0.5e-400",
            "1e308",
            "18446744073709551616",
            r#""\ud83e\udd80 \\ud800 \n""#,
            "{\"a\":[]}",
            "null",
        ] {
            assert!(is_portable(good), "{good}");
        }
        for bad in
            ["1e309", "[-1E+400]", r#""\ud83d""#, r#"{"\udc00":1}"#, r#"["\ud83d\ud83d"]"#, r#""\ud83dx""#]
        {
            assert!(!is_portable(bad), "{bad}");
        }
    }

    /// Looking ends with any text, and finds parts of it alone.
    #[test]
    fn text_that_is_no_json_does_no_harm() {
        let mut random = fastrand::Rng::with_seed(7);
        let pieces =
            ["{", "}", "[", "]", "\"", "\\", ",", ":", "data", "\"data\"", " ", "1", "\\u00", "\\ud83d", "ü"];
        for _ in 0..20_000 {
            let text: String =
                (0..random.usize(..30)).map(|_| pieces[random.usize(..pieces.len())]).collect();
            let found: usize = members(text.as_bytes()).map(|(key, value)| key.len() + value.len()).sum();
            let counted: usize = elements(text.as_bytes()).map(<[u8]>::len).sum();
            assert!(found <= text.len() && counted <= text.len(), "{text}");
            if let Some(data) = data_of(text.as_bytes()) {
                assert!(text.contains(&*data));
                let _ = is_portable(&data);
            }
        }
    }
}
