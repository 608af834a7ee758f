//! The secret of a connection, which lets its owner take the connection's user id over.

use std::fmt;
use std::str::FromStr;

use super::error::NameError;

/// The secret of one connection. A client that presents it may take the user id over from that connection. It is 128
/// random bits, written as 32 hexadecimal digits in lower case.
///
/// It has no `Display`, and `Debug` hides it, so that it does not get into a log by accident. Comparison takes constant
/// time: its duration does not tell how many digits were right.
#[derive(Clone, Copy)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// Returns a new secret, drawn from the system's random numbers.
    ///
    /// # Errors
    /// The system has no random numbers to give. No weaker source is used for a secret.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits)?;
        Ok(Self(bits))
    }

    /// Returns the 32 digits of the secret. Only its owner may see them.
    #[must_use]
    pub fn digits(&self) -> [u8; 32] {
        let mut text = [0; 32];
        for (index, out) in text.iter_mut().enumerate() {
            let nibble = self.0[index / 2] >> (4 * (1 - index % 2)) & 15;
            *out = b"0123456789abcdef"[usize::from(nibble)];
        }
        text
    }
}

impl FromStr for SessionId {
    type Err = NameError;

    /// Parses the 32 digits that [`SessionId::digits`] writes, and nothing else.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = NameError::Digits { digits: 32 };
        let digits: [u8; 32] = text.as_bytes().try_into().map_err(|_| wrong)?;
        let mut bits = [0; 16];
        for (index, digit) in digits.into_iter().enumerate() {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return Err(wrong),
            };
            bits[index / 2] = bits[index / 2] << 4 | value;
        }
        Ok(Self(bits))
    }
}

impl PartialEq for SessionId {
    fn eq(&self, other: &Self) -> bool {
        // There is no early return, and `black_box` keeps the compiler from adding one.
        let differences =
            self.0.iter().zip(other.0).fold(0, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
        differences == 0
    }
}

impl Eq for SessionId {}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_a_session_and_comparison_sees_all_of_it() {
        let session = SessionId(*b"\x01\x23\x45\x67\x89\xab\xcd\xef\x10\x32\x54\x76\x98\xba\xdc\xfe");
        let text = String::from_utf8(session.digits().to_vec()).unwrap();
        assert_eq!(text, "0123456789abcdef1032547698badcfe");
        assert_eq!(text.parse(), Ok(session));
        assert_eq!(format!("{session:?}"), "SessionId(…)");
        for index in 0..16 {
            let mut other = session;
            other.0[index] ^= 1;
            assert_ne!(other, session, "byte {index}");
        }
        for bad in ["", &text[1..], &format!("{text}0"), &text.to_uppercase(), &text.replace('0', "g")] {
            assert_eq!(bad.parse::<SessionId>(), Err(NameError::Digits { digits: 32 }), "{bad:?}");
        }
        assert_ne!(SessionId::random().unwrap(), SessionId::random().unwrap());
    }
}
