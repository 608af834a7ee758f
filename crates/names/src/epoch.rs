//! The epoch of a room: the period within which its offsets count upwards without a restart.

use std::fmt;
use std::str::FromStr;

use super::error::NameError;

/// An epoch of a room. Offsets of different epochs cannot be compared. An epoch is a random number of 64 bits that is
/// never used again, written as 13 characters of `[0-9a-v]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

    /// Returns a new epoch, drawn from the system's random numbers: a restarted process must not repeat the epochs of
    /// the process before. Where the system has none, the thread's own generator is used, whose seed includes the time.
    #[must_use]
    pub fn random() -> Self {
        Self(getrandom::u64().unwrap_or_else(|_| fastrand::u64(..)))
    }

    /// Returns the 13 characters that the epoch is written with.
    #[must_use]
    pub fn digits(self) -> [u8; 13] {
        let mut text = [0; 13];
        for (index, out) in text.iter_mut().rev().enumerate() {
            *out = Self::DIGITS[(self.0 >> (5 * index)) as usize & 31];
        }
        text
    }
}

impl FromStr for Epoch {
    type Err = NameError;

    /// Parses the 13 characters that [`Epoch::digits`] writes, and nothing else.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = NameError::Digits { digits: 13 };
        let digits: [u8; 13] = text.as_bytes().try_into().map_err(|_| wrong)?;
        let mut bits: u64 = 0;
        for (index, digit) in digits.into_iter().enumerate() {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'v' => digit - b'a' + 10,
                _ => return Err(wrong),
            };
            // 13 digits hold 65 bits: the first digit has only 4.
            if index == 0 && value > 15 {
                return Err(wrong);
            }
            bits = bits << 5 | u64::from(value);
        }
        Ok(Self(bits))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_written_as_thirteen_name_characters() {
        assert_eq!(Epoch(u64::MAX).to_string(), "fvvvvvvvvvvvv");
        assert_eq!(Epoch(1).to_string(), "0000000000001");
    }

    #[test]
    fn only_the_written_form_of_an_epoch_is_parsed() {
        for bits in [0, 1, 31, 32, u64::MAX, u64::MAX - 1, 1 << 63, fastrand::u64(..)] {
            assert_eq!(Epoch(bits).to_string().parse(), Ok(Epoch(bits)));
        }
        for bad in [
            "",
            "000000000000",
            "00000000000000",
            "g000000000000",
            "000000000000w",
            "000000000000A",
            "+00000",
        ] {
            assert_eq!(bad.parse::<Epoch>(), Err(NameError::Digits { digits: 13 }), "{bad:?}");
        }
        assert_ne!(Epoch::random(), Epoch::random());
    }
}
