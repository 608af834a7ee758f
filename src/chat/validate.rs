//! Checks the text of chat messages, and counts how often a client sends something malformed.

use crate::protocol::command::Field;
use crate::protocol::event::CommandError;

/// Returns the text of a `message` field of at most `max_chars` characters (Unicode scalar values).
///
/// # Errors
/// The field is missing, not a string, or too long.
pub fn text(field: Field<'_>, max_chars: usize) -> Result<&str, CommandError> {
    match field {
        Field::Missing => Err(CommandError::MissingField("message")),
        Field::NotText => Err(CommandError::InvalidMessage("'message' must be a string")),
        Field::Text(text) if is_longer(text, max_chars) => {
            Err(CommandError::MessageTooLong { max: max_chars })
        }
        Field::Text(text) => Ok(text),
    }
}

/// Returns true when the text has more characters than `max`. Counts them only where the number of bytes does not
/// decide.
#[must_use]
pub fn is_longer(text: &str, max: usize) -> bool {
    text.len() > max && text.chars().count() > max
}

/// Counts malformed input, or refusals, within a minute. Eight bytes, because every connection has some: seconds are
/// precise enough, and 32 bits of them last 136 years.
#[derive(Debug, Default, Clone, Copy)]
pub struct Strikes {
    since_s: u32,
    count: u32,
}

impl Strikes {
    /// Counts one more. Returns true when there are more than `limit` in the minute that began with the first of them.
    pub fn add(&mut self, now_ms: u64, limit: usize) -> bool {
        let now_s = (now_ms / 1000) as u32;
        if self.count == 0 || now_s.saturating_sub(self.since_s) >= 60 {
            *self = Self { since_s: now_s, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count as usize > limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_not_bytes() {
        let at_the_limit = "ü".repeat(500);
        assert!(text(Field::Text(&at_the_limit), 500).is_ok());
        assert_eq!(text(Field::Text(&"ü".repeat(501)), 500), Err(CommandError::MessageTooLong { max: 500 }));
    }

    #[test]
    fn strikes_are_forgiven_after_a_minute() {
        let mut strikes = Strikes::default();
        assert!(!strikes.add(0, 2) && !strikes.add(1, 2));
        assert!(strikes.add(2, 2));
        assert!(!strikes.add(60_002, 2));
    }
}
