//! Characters that deceive: in a terminal, or in a name that people read.

use std::borrow::Cow;

/// Returns true for characters with which a text can look like another one, or control a terminal: control characters
/// (C0, DEL, C1), the separators of lines and of paragraphs, and those that change the direction of writing (Unicode
/// property `Bidi_Control`).
#[must_use]
pub const fn is_dangerous(char: char) -> bool {
    matches!(
        char,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
            | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// Returns the text with every [dangerous](is_dangerous) character replaced by what `spell` writes.
pub fn spelled(text: &str, spell: impl Fn(&mut String, char)) -> Cow<'_, str> {
    if !text.contains(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if is_dangerous(char) {
            spell(&mut out, char);
        } else {
            out.push(char);
        }
    }
    Cow::Owned(out)
}
