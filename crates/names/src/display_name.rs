//! The name of a user that people are shown beside the user id.

use std::fmt;
use std::str::FromStr;

use arcstr::ArcStr;

use super::error::NameError;
use super::name::check_chars;
use super::spelling::is_dangerous;

/// A name to show to people: 1 to 64 characters (Unicode scalar values) of any script, hence at most 256 bytes. At
/// least one of them is no blank, and none is a control character, ends a line or changes the direction of text.
///
/// Cheap to clone. It proves nothing about the user, unlike a user id: several users may have the same name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DisplayName(ArcStr);

impl DisplayName {
    /// Most characters that a name may have.
    pub const MAX_CHARS: usize = 64;

    /// Returns the name as text. In JSON it may need escaping.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DisplayName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_chars(text, Self::MAX_CHARS)?;
        if text.contains(is_dangerous) || text.chars().all(char::is_whitespace) {
            return Err(NameError::Display);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_script_are_accepted() {
        for good in
            ["A", "Ann Müller", "山田 太郎", "محمد", "אנה", "\"\\</b>", "👩\u{200d}🚀", &"ü".repeat(64)]
        {
            assert_eq!(good.parse::<DisplayName>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn names_that_could_deceive_are_refused() {
        for bad in ["", &"x".repeat(65), &"ü".repeat(65)] {
            assert_eq!(bad.parse::<DisplayName>(), Err(NameError::Length { min: 1, max: 64 }), "{bad:?}");
        }
        let refused = "\0\u{7}\n\r\t\u{1b}\u{7f}\u{85}\u{9f}\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\
                       \u{202e}\u{2028}\u{2029}\u{2066}\u{2067}\u{2068}\u{2069}";
        for bad in refused.chars() {
            assert_eq!(format!("Ann{bad}x").parse::<DisplayName>(), Err(NameError::Display), "{bad:?}");
        }
        assert_eq!(" \u{a0}\u{3000}".parse::<DisplayName>(), Err(NameError::Display));
    }
}
