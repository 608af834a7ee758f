//! Rewrites valid JSON that simd-json refuses into JSON that it accepts: half of a surrogate pair becomes U+FFFD, as
//! encoders write it, and a number that is not a `u64` becomes `null`, which no field accepts either.
//!
//! The text is rewritten in place, before it is parsed: the parser overwrites strings with escapes as it goes. Invalid
//! JSON stays invalid.

use memchr::{memchr, memchr2};

/// Bytes below which [`may_overflow`] is asked first. A longer text is walked through in any case, because its strings
/// are skipped quickly.
const SHORT: usize = 256;
/// Distance in bytes between the bytes that [`may_overflow`] tests for digits.
const STRIDE: usize = 8;

/// Rewrites the text so that the parser accepts it if it is JSON.
pub(super) fn normalize(json: &mut [u8]) {
    if json.len() < SHORT && memchr(b'\\', json).is_none() && !may_overflow(json) {
        return;
    }
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        at = match byte {
            b'"' => string(json, at + 1),
            b'-' | b'0'..=b'9' => number(json, at),
            _ => at + 1,
        };
    }
}

/// Returns false where no number can be out of range, in a fraction of the time that parsing takes. An integer out of
/// range has at least nineteen digits, which cover two consecutive multiples of [`STRIDE`]; any other number out of
/// range has as many digits, or an exponent.
fn may_overflow(json: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.wrapping_sub(b'0') < 10;
    let are_digits = |at: usize| [at, at + STRIDE].iter().all(|at| json.get(*at).is_some_and(is_digit));
    if (0..json.len()).step_by(STRIDE).any(are_digits) {
        return true;
    }
    // Without a branch, so that the compiler vectorises it: a digit before an `e`.
    let next = json.get(1..).unwrap_or_default();
    let pairs = json.iter().zip(next);
    pairs.fold(0, |found, (byte, next)| found | (u8::from(is_digit(byte)) & u8::from(next | 0x20 == b'e')))
        != 0
}

/// Rewrites the string whose content begins at `at`, and returns the index after its closing quote.
fn string(json: &mut [u8], mut at: usize) -> usize {
    while let Some(found) = json.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if json[at] == b'"' {
            return at + 1;
        }
        at += escape(&mut json[at..]);
    }
    json.len()
}

/// Rewrites the escape that `text` begins with, and returns its length.
fn escape(text: &mut [u8]) -> usize {
    let follower = text.get(6..).and_then(unit);
    match unit(text) {
        // Another escape, or an invalid one, which the parser refuses.
        None => 2,
        Some(0xd800..0xdc00) if matches!(follower, Some(0xdc00..0xe000)) => 12,
        Some(0xd800..0xe000) => {
            text[2..6].copy_from_slice(b"fffd");
            6
        }
        Some(_) => 6,
    }
}

/// Returns the code unit of the `\uXXXX` that `text` begins with.
pub(super) fn unit(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
}

/// Rewrites the number that begins at `at`, and returns the index after its end.
fn number(json: &mut [u8], at: usize) -> usize {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let len = json[at..].iter().take_while(|byte| is_part(byte)).count();
    let token = &mut json[at..at + len];
    // Shorter numbers are never out of range.
    if token.len() >= 4 && is_number(token) && !is_u64(token) {
        token.fill(b' ');
        token[..4].copy_from_slice(b"null");
    }
    at + len
}

fn is_u64(token: &[u8]) -> bool {
    std::str::from_utf8(token).is_ok_and(|token| token.parse::<u64>().is_ok())
}

/// Returns true for a number as RFC 8259, section 6 defines it.
fn is_number(token: &[u8]) -> bool {
    let mut rest = token.strip_prefix(b"-").unwrap_or(token);
    rest = match rest {
        [b'0', rest @ ..] => rest,
        _ => match digits(rest) {
            Some(rest) => rest,
            None => return false,
        },
    };
    if let [b'.', fraction @ ..] = rest {
        let Some(behind) = digits(fraction) else { return false };
        rest = behind;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = exponent.strip_prefix(b"+").or(exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let Some(behind) = digits(exponent) else { return false };
        rest = behind;
    }
    rest.is_empty()
}

/// Returns the text after the digits that it begins with, `None` where it begins with none.
fn digits(text: &[u8]) -> Option<&[u8]> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (count > 0).then(|| &text[count..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(json: &str) -> String {
        let mut bytes = json.as_bytes().to_vec();
        normalize(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn half_a_pair_is_replaced_wherever_it_stands() {
        for (json, expected) in [
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\uDC00a""#, r#""\ufffda""#),
            (r#""\ud83e\udd80""#, r#""\ud83e\udd80""#),
            (r#""\ud83d\ud83e\udd80""#, r#""\ufffd\ud83e\udd80""#),
            (r#""\udd80\ud83e""#, r#""\ufffd\ufffd""#),
            (r#""\ud83d\n\udd80""#, r#""\ufffd\n\ufffd""#),
            // An escaped backslash, followed by plain text.
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\\\ud83d""#, r#""\\\ufffd""#),
            (r#"{"\ud800":["\"\ud800"]}"#, r#"{"\ufffd":["\"\ufffd"]}"#),
            // Invalid JSON stays as it is.
            (r#""\ud83"#, r#""\ud83"#),
            (r#""\ud8+1""#, r#""\ud8+1""#),
            (r#""\"#, r#""\"#),
            (r#""\u"#, r#""\u"#),
        ] {
            assert_eq!(normalized(json), expected, "{json}");
        }
    }

    #[test]
    fn numbers_out_of_range_become_null_and_no_others() {
        for (json, expected) in [
            ("18446744073709551616", "null                "),
            ("[-9223372036854775809]", "[null                ]"),
            (r#"{"a":1e400,"b":"1e400"}"#, r#"{"a":null ,"b":"1e400"}"#),
            ("1E+400", "null  "),
            ("9.9e309", "null   "),
            ("18446744073709551615", "18446744073709551615"),
            // Not numbers.
            ("01e400", "01e400"),
            ("-01e400", "-01e400"),
            ("1.e400", "1.e400"),
            ("1e+", "1e+"),
            ("1e400e400", "1e400e400"),
            ("+1e400", "+null "),
            ("--1e400", "--1e400"),
            (".5e400", ".null "),
        ] {
            assert_eq!(normalized(json), expected, "{json}");
        }
        let long = "9".repeat(19);
        assert!((0..40).all(|at| may_overflow(format!("{}{long}", " ".repeat(at)).as_bytes())));
        assert!((0..40).all(|at| may_overflow(format!("{}1e400", " ".repeat(at)).as_bytes())));
        let usual = br#"{"type":"message","message":"hello at 12:30, 2026-11-28","room":"den","id":"12345"}"#;
        assert!(!may_overflow(usual));
        // Texts on both sides of SHORT.
        for blanks in [0, 255, 256, 5_000] {
            let json = |number: &str| format!("{}[{number}]", " ".repeat(blanks));
            assert_eq!(normalized(&json("1e400")), json("null "));
            assert_eq!(normalized(&json("1")), json("1"));
        }
    }
}
