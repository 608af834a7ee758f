//! Makes texts from other users harmless for a terminal. Pure functions.
//!
//! A message may hold any character. Control characters can move the cursor, set the title, or make some terminals
//! answer as if the user had typed. Characters that change the direction of writing can make a line appear to have
//! another text or another sender. Both are spelled out: ESC as `\x1b`, U+202E as `\u{202e}`.

use std::borrow::Cow;
use std::fmt::Write as _;

pub(super) use throng_names::is_dangerous;
use throng_names::spelled;

/// Returns the text with dangerous characters spelled out. The result is always a single line.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    spelled(text, |out, char| match char {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        // Writing to a string cannot fail.
        '\0'..='\x7f' => _ = write!(out, "\\x{:02x}", char as u32),
        _ => _ = write!(out, "\\u{{{:x}}}", char as u32),
    })
}

/// Returns the JSON text with dangerous characters spelled out as `\u` and four digits. They can occur only within
/// strings, so that the meaning does not change.
pub(super) fn clean_json(json: &str) -> Cow<'_, str> {
    spelled(json, |out, char| _ = write!(out, "\\u{:04x}", char as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelled_out() {
        for (text, shown) in [
            ("plain, ünïcode, 日本, 👩‍👩‍👧, שלום", "plain, ünïcode, 日本, 👩‍👩‍👧, שלום"),
            ("\x1b]0;title\x07\x1b[2J", "\\x1b]0;title\\x07\\x1b[2J"),
            ("two\nlines\r\tand a tab", "two\\nlines\\r\\tand a tab"),
            ("one byte: \u{9b}2J, \x7f, \0", "one byte: \\u{9b}2J, \\x7f, \\x00"),
            ("\u{202e}desrever\u{2066}\u{200f}", "\\u{202e}desrever\\u{2066}\\u{200f}"),
            ("\u{2028}", "\\u{2028}"),
        ] {
            assert_eq!(clean(text), shown);
        }
    }

    #[test]
    fn no_dangerous_character_is_left() {
        for code in 0..=0x2_ffff_u32 {
            let Some(char) = char::from_u32(code) else { continue };
            let text = char.to_string();
            assert!(!clean(&text).contains(is_dangerous), "{code:x}");
            assert!(!char.is_control() || is_dangerous(char), "{code:x}");
        }
    }

    #[test]
    fn json_keeps_its_meaning() {
        let text = "\u{9b}2J \u{202e} \x7f \x1b";
        let json = serde_json::to_string(text).expect("a string");
        let cleaned = clean_json(&json);
        assert!(!cleaned.contains(is_dangerous), "{cleaned}");
        assert_eq!(serde_json::from_str::<String>(&cleaned).expect("JSON"), text);
    }
}
