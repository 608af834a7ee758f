//! The words that the chat server throng and its clients share: user ids, rooms' names, positions, secrets. Parsing is
//! validation: a value that exists is valid.
//!
//! Nothing here does any I/O, and nothing but [`Epoch::random`] and [`SessionId::random`] asks the system for anything.
//!
//! ```
//! use throng_names::{NameError, RoomName, UserId};
//!
//! let room: RoomName = "lobby".parse()?;
//! assert_eq!(room.as_str(), "lobby");
//! assert_eq!("no blanks".parse::<UserId>(), Err(NameError::Character));
//! # Ok::<(), NameError>(())
//! ```
//!
//! ```text
//! src/
//!   lib.rs       user ids, rooms' names, idempotency keys, connections; patterns of names
//!   epoch.rs     one life of a room's offsets
//!   position.rs  a message's place in its room
//!   session.rs   the secret of a connection
//!   units.rs     durations and sizes as people write them
//! ```

#![forbid(unsafe_code)]

mod epoch;
mod position;
mod session;
pub mod units;

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

pub use epoch::Epoch;
pub use position::{Offset, Position};
pub use session::SessionId;
pub use units::parse_duration;

/// What a name was refused for; the text says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// Shorter than the minimum or longer than the maximum.
    #[error("must have {min} to {max} characters")]
    Length {
        /// Fewest characters allowed.
        min: usize,
        /// Most characters allowed.
        max: usize,
    },
    /// A character outside the allowed set.
    #[error("may only contain letters A-Z and a-z, digits, and _ . : @ -")]
    Character,
    /// Not the digits that a value of 64 or 128 bits is written with.
    #[error("must be {digits} digits as they were handed out")]
    Digits {
        /// How many there are.
        digits: usize,
    },
}

/// True for the characters that names are made of: `[A-Za-z0-9_.:@-]`.
const fn is_name_byte(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b':' | b'@' | b'-')
}

fn check(text: &str, min: usize, max: usize) -> Result<(), NameError> {
    if !(min..=max).contains(&text.len()) {
        return Err(NameError::Length { min, max });
    }
    if text.bytes().all(is_name_byte) { Ok(()) } else { Err(NameError::Character) }
}

/// True when `name` is as `pattern` says, in which `*` stands for any characters, none included.
///
/// A later `*` never needs an earlier one to be taken otherwise, so that the work is at most the product of the two
/// lengths.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut in_pattern, mut in_name) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match pattern.get(in_pattern) {
            Some(b'*') => {
                in_pattern += 1;
                retry = Some((in_pattern, in_name));
            }
            Some(byte) if *byte == name[in_name] => {
                in_pattern += 1;
                in_name += 1;
            }
            _ => {
                let Some((behind_star, taken)) = &mut retry else { return false };
                *taken += 1;
                (in_pattern, in_name) = (*behind_star, *taken);
            }
        }
    }
    pattern[in_pattern..].iter().all(|byte| *byte == b'*')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $min:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text. Needs no escaping in JSON: the allowed characters exclude quotes and backslashes.
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
    /// A user id: 3 to 64 of `[A-Za-z0-9_.:@-]`.
    UserId, 3, 64
);
name!(
    /// A room's name: 1 to 64 of `[A-Za-z0-9_.:@-]`.
    RoomName, 1, 64
);

/// An idempotency key: 1 to 64 characters (Unicode scalar values) of the client's choice, at most 256 bytes.
///
/// A map with such keys can be asked with a `&str`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Box<str>);

impl Key {
    /// Most characters.
    pub const MAX_CHARS: usize = 64;

    /// Whether the text would be a key, without making one.
    ///
    /// # Errors
    /// [`NameError::Length`].
    pub fn check(text: &str) -> Result<(), NameError> {
        let is_too_long = text.len() > Self::MAX_CHARS && text.chars().count() > Self::MAX_CHARS;
        if text.is_empty() || is_too_long {
            return Err(NameError::Length { min: 1, max: Self::MAX_CHARS });
        }
        Ok(())
    }

    /// The key as text.
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

/// One connection, for as long as the process lives: the shard that owns it, its slot there, and the slot's
/// generation, so that an id that outlives its connection names nobody.
///
/// 8 bits of shard, 24 of slot, 32 of generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// Most shards an id can name.
    pub const MAX_SHARDS: usize = 1 << 8;
    /// Most slots of a shard an id can name.
    pub const MAX_SLOTS: usize = 1 << 24;

    /// Puts an id together.
    ///
    /// # Panics
    /// When `shard` or `slot` is beyond the limits above.
    #[must_use]
    pub fn new(shard: usize, slot: usize, generation: u32) -> Self {
        assert!(shard < Self::MAX_SHARDS && slot < Self::MAX_SLOTS, "connection id out of range");
        Self((shard as u64) << 56 | (slot as u64) << 32 | u64::from(generation))
    }

    /// The shard that owns the connection.
    #[must_use]
    pub const fn shard(self) -> usize {
        (self.0 >> 56) as usize
    }

    /// Tells it from those that had its slot before.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.0 as u32
    }

    /// Its slot there.
    #[must_use]
    pub const fn slot(self) -> usize {
        (self.0 >> 32) as usize & (Self::MAX_SLOTS - 1)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.shard(), self.slot(), self.0 as u32)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_connection_id_keeps_its_parts() {
        let id = ConnectionId::new(255, ConnectionId::MAX_SLOTS - 1, u32::MAX);
        assert_eq!((id.shard(), id.slot()), (255, ConnectionId::MAX_SLOTS - 1));
        assert_ne!(ConnectionId::new(1, 2, 3), ConnectionId::new(1, 2, 4));
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

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, yes, no) in [
            ("lobby", &["lobby"][..], &["lobb", "lobby2", "Lobby", ""][..]),
            ("*", &["a", "a-b:c"], &[]),
            ("live-*", &["live-", "live-1", "live-*"], &["live", "a-live-1"]),
            ("*-live", &["-live", "a-live", "-live-live"], &["a-live-1", "live"]),
            ("a*b*c", &["abc", "a-b-c", "abcbc", "aabbcc"], &["ab", "acb", "abcd"]),
            ("**x", &["x", "ax"], &["xa"]),
        ] {
            assert!(yes.iter().all(|name| matches(pattern, name)), "{pattern}");
            assert!(!no.iter().any(|name| matches(pattern, name)), "{pattern}");
        }
        assert!(!matches(&"*a".repeat(32), &format!("{}b", "a".repeat(63))), "and the worst case ends");
    }
}
