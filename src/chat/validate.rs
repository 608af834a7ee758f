//! Checks the text and the data of chat messages.

use crate::protocol::command::{Field, raw};
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

/// Returns the error text for data that some parsers of JSON refuse.
pub const NOT_PORTABLE: &str = "'data' must not hold half of a surrogate pair, or a number beyond 1e308";

/// Checks the value of a `data` field, which is JSON: at most `max_bytes`, and readable for every parser.
///
/// # Errors
/// The value is too long, or some parser would refuse it.
pub fn data(value: &str, max_bytes: usize) -> Result<(), CommandError> {
    if value.len() > max_bytes {
        return Err(CommandError::DataTooLong { max: max_bytes });
    }
    if raw::is_portable(value) { Ok(()) } else { Err(CommandError::InvalidMessage(NOT_PORTABLE)) }
}

/// Returns true when the text has more characters than `max`. Counts them only where the number of bytes does not
/// decide.
#[must_use]
pub fn is_longer(text: &str, max: usize) -> bool {
    text.len() > max && text.chars().count() > max
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
}
