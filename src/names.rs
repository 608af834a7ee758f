//! The newtypes of the domain. Parsing is validation: a value that exists is valid.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

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

/// A message's place in its room: counts from 1 without a hole; 0 is "before the first message".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Offset(pub u64);

impl Offset {
    /// The offset of the message after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life of a room's offsets: random, never used again. 64 bits, written as 13 characters of `[0-9a-v]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// A fresh epoch.
    #[must_use]
    pub fn random() -> Self {
        Self(fastrand::u64(..))
    }
}

impl Epoch {
    /// Its 13 characters.
    #[must_use]
    pub fn digits(self) -> [u8; 13] {
        let mut text = [0; 13];
        for (place, out) in text.iter_mut().rev().enumerate() {
            *out = b"0123456789abcdefghijklmnopqrstuv"[(self.0 >> (5 * place)) as usize & 31];
        }
        text
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.digits()).unwrap_or_default())
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
    fn an_epoch_is_written_as_thirteen_name_characters() {
        assert_eq!(Epoch(u64::MAX).to_string(), "fvvvvvvvvvvvv");
        assert_eq!(Epoch(1).to_string(), "0000000000001");
    }
}
