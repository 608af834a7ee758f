//! The hash of a session's secret, which is all that the engine gets to know of it.

use std::fmt;

use bytes::Bytes;
use sha1::{Digest, Sha1};

use crate::names::SessionId;

/// The hash of a session's secret: equal for equal secrets, and without a way back to them. The secret has 128 random
/// bits, so that no guessing helps, and finding it from a SHA-1 is as hard as it ever was: the known attacks make two
/// texts with one hash, which proves nothing here.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionHash(Bytes);

impl SessionHash {
    /// Hashes a secret.
    #[must_use]
    pub fn new(session: &SessionId) -> Self {
        // The words before the secret make this hash differ from any other use of the secret.
        let hash = Sha1::new().chain_update(b"throng session ").chain_update(session.digits()).finalize();
        Self(hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
    }

    /// Returns the 40 hexadecimal digits of the hash.
    pub(super) fn digits(&self) -> Bytes {
        self.0.clone()
    }
}

impl fmt::Debug for SessionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_secrets_have_equal_hashes_that_do_not_contain_them() {
        let (one, two): (SessionId, SessionId) =
            ("0".repeat(32).parse().unwrap(), "1".repeat(32).parse().unwrap());
        assert_eq!(SessionHash::new(&one), SessionHash::new(&one));
        assert_ne!(SessionHash::new(&one), SessionHash::new(&two));
        let digits = SessionHash::new(&one).digits();
        assert_eq!(digits.len(), 40);
        assert!(!digits.windows(8).any(|part| part == b"00000000"), "{digits:?}");
        assert_eq!(format!("{:?}", SessionHash::new(&one)), "SessionHash(…)");
    }
}
