//! User ids, room names and idempotency keys.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use arcstr::ArcStr;

use super::error::NameError;

/// Returns true for a byte that names may contain: `[A-Za-z0-9_.:@-]`.
const fn is_name_byte(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b':' | b'@' | b'-')
}

/// Checks that the text has `min` to `max` characters, each of them allowed in names.
fn check(text: &str, min: usize, max: usize) -> Result<(), NameError> {
    if !(min..=max).contains(&text.len()) {
        return Err(NameError::Length { min, max });
    }
    if text.bytes().all(is_name_byte) { Ok(()) } else { Err(NameError::Character) }
}

/// Checks that the text has 1 to `max` characters (Unicode scalar values), of any kind.
pub(crate) fn check_chars(text: &str, max: usize) -> Result<(), NameError> {
    // No text has more characters than bytes, so that short ones need not be counted.
    let is_too_long = text.len() > max && text.chars().count() > max;
    if text.is_empty() || is_too_long { Err(NameError::Length { min: 1, max }) } else { Ok(()) }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $min:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(ArcStr);

        impl $name {
            /// Returns the name as text. It needs no escaping in JSON: quotes and backslashes are not allowed in names.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text, $min, $max)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name!(
    /// The id of a user: 3 to 64 characters of `[A-Za-z0-9_.:@-]`.
    UserId, 3, 64
);
name!(
    /// The name of a room: 1 to 64 characters of `[A-Za-z0-9_.:@-]`.
    RoomName, 1, 64
);

/// An idempotency key: 1 to 64 characters (Unicode scalar values) that the client chooses, hence at most 256 bytes.
///
/// It borrows as `str`, so that a map with such keys can be searched without making a `Key`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Box<str>);

impl Key {
    /// Most characters that a key may have.
    pub const MAX_CHARS: usize = 64;

    /// Checks that the text is a valid key, without allocating one.
    ///
    /// # Errors
    /// [`NameError::Length`] when the text is empty or too long.
    pub fn check(text: &str) -> Result<(), NameError> {
        check_chars(text, Self::MAX_CHARS)
    }

    /// Returns the key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Key {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::check(text)?;
        Ok(Self(text.into()))
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_pointer() {
        // Every connection has several.
        assert_eq!([size_of::<UserId>(), size_of::<Option<RoomName>>()], [8; 2]);
    }

    #[test]
    fn names_are_checked_by_length_and_character() {
        assert!("abc".parse::<UserId>().is_ok());
        assert!("a_b.c:d@e-9".parse::<UserId>().is_ok());
        assert_eq!("ab".parse::<UserId>(), Err(NameError::Length { min: 3, max: 64 }));
        assert_eq!("x".repeat(65).parse::<UserId>(), Err(NameError::Length { min: 3, max: 64 }));
        for bad in ["a b c", "käse", "a/b/c", "a\"bc", "abc\n"] {
            assert_eq!(bad.parse::<UserId>(), Err(NameError::Character), "{bad:?}");
        }
        assert!("x".parse::<RoomName>().is_ok());
        assert!("".parse::<RoomName>().is_err());
    }

    #[test]
    fn a_key_is_counted_in_characters_and_found_by_its_text() {
        let longest = "ü".repeat(64);
        let key: Key = longest.parse().unwrap();
        assert!(std::collections::HashSet::from([key]).contains(longest.as_str()));
        for bad in ["", &"k".repeat(65), &"ü".repeat(65)] {
            assert_eq!(bad.parse::<Key>(), Err(NameError::Length { min: 1, max: 64 }), "{bad:?}");
        }
    }
}
