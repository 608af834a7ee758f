//! The error that every parser of this crate returns, except those for durations and sizes.

use thiserror::Error;

/// Why a name or an id was refused; the message says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// The text is shorter than the minimum or longer than the maximum.
    #[error("must have {min} to {max} characters")]
    Length {
        /// Fewest characters allowed.
        min: usize,
        /// Most characters allowed.
        max: usize,
    },
    /// The text holds a character outside the allowed set.
    #[error("may only contain letters A-Z and a-z, digits, and _ . : @ -")]
    Character,
    /// The text is blank, or holds a character with which a name could deceive those who read it.
    #[error(
        "must show something, and must not contain control characters or ones that change the direction of text"
    )]
    Display,
    /// The text is not the digits of a 64-bit or 128-bit value as this crate writes them.
    #[error("must be {digits} digits as they were handed out")]
    Digits {
        /// How many digits such a value has.
        digits: usize,
    },
}
