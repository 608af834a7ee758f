//! Tokens that hold no longer although they have not expired: the table of revocations, and the few bytes by which a
//! connection's token is recognised in it. Nothing here reads a clock: the time is an argument.
//!
//! Users and tokens are known by 64 bits of a hash, so that an entry is small and the file of revocations names nobody.
//! Two different ones share a hash with a chance of one in 2^64, and it takes as many attempts to find a user id that
//! shares the hash of a given one.

pub mod journal;
mod table;

use sha1::{Digest as _, Sha1};

pub use self::table::{Full, Revocations};

/// Moments are in whole seconds since the Unix epoch, which 32 bits hold until the year 2106.
pub type Seconds = u32;

/// A token, as far as a connection has to remember it. A shard keeps one for each connection while tokens are demanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenMark {
    user: u64,
    /// The hash of `jti`; 0 where the token has none.
    jti: u64,
    /// `iat`, rounded down; 0 where the token has none.
    issued_s: Seconds,
}

impl TokenMark {
    /// The mark of a connection without a token, which no revocation covers.
    pub const NONE: Self = Self { user: 0, jti: 0, issued_s: Seconds::MAX };

    /// Makes the mark of a token with these claims; `issued_unix_ms` is in milliseconds since the Unix epoch.
    #[must_use]
    pub fn new(user: &str, jti: Option<&str>, issued_unix_ms: Option<i64>) -> Self {
        let issued_s = issued_unix_ms.map_or(0, |ms| seconds(ms.div_euclid(1000)));
        // A token of the last second that can be told must not look like none.
        let issued_s = issued_s.min(Seconds::MAX - 1);
        Self { user: hash(b'u', user), jti: jti.map_or(0, |jti| hash(b't', jti)), issued_s }
    }

    /// Returns the subjects of revocations that may cover the token.
    #[must_use]
    pub fn subjects(&self) -> [Subject; 2] {
        [Subject::Token(self.jti), Subject::User(self.user)]
    }
}

/// The tokens that a revocation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// The token whose `jti` has this hash.
    Token(u64),
    /// The tokens of the user whose id has this hash.
    User(u64),
}

/// A revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// The tokens.
    pub subject: Subject,
    /// Of a user's tokens, those that were issued before this moment are revoked, and those that do not say when. Not
    /// looked at for a single token.
    pub before_s: Seconds,
    /// From this moment on, all these tokens have expired.
    pub until_s: Seconds,
}

impl Revocation {
    /// Revokes a token, which expires at `until`.
    #[must_use]
    pub fn of_token(jti: &str, until_s: Seconds) -> Self {
        Self { subject: Subject::Token(hash(b't', jti)), before_s: 0, until_s }
    }

    /// Revokes the tokens of a user that were issued before a moment. The last of them expires at `until`.
    #[must_use]
    pub fn of_user(user: &str, before_s: Seconds, until_s: Seconds) -> Self {
        Self { subject: Subject::User(hash(b'u', user)), before_s, until_s }
    }

    /// Returns the revocation of all that this one or another one of the same subject covers.
    #[must_use]
    pub fn with(self, other: &Self) -> Self {
        let (before_s, until_s) = (self.before_s.max(other.before_s), self.until_s.max(other.until_s));
        Self { before_s, until_s, ..self }
    }

    /// Returns true when the token with this mark is revoked.
    #[must_use]
    pub fn covers(&self, mark: &TokenMark) -> bool {
        match self.subject {
            Subject::Token(jti) => mark.jti == jti,
            Subject::User(user) => mark.user == user && mark.issued_s < self.before_s,
        }
    }
}

/// Returns a moment in whole seconds, the nearest that can be told.
#[must_use]
pub fn seconds(unix_s: i64) -> Seconds {
    Seconds::try_from(unix_s.max(0)).unwrap_or(Seconds::MAX)
}

/// Returns 64 bits of a hash that is the same on every node and in every version; never 0, which stands for none.
fn hash(kind: u8, text: &str) -> u64 {
    let digest = Sha1::new().chain_update([kind]).chain_update(text).finalize();
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_small() {
        assert_eq!(size_of::<TokenMark>(), 24);
    }

    #[test]
    fn a_revocation_covers_its_tokens_and_no_others() {
        let issued = |jti, ms| TokenMark::new("alice", jti, ms);
        let token = Revocation::of_token("7", 200);
        assert!(
            token.covers(&issued(Some("7"), None)) && token.covers(&TokenMark::new("bob", Some("7"), None))
        );
        assert!(!token.covers(&issued(Some("8"), None)) && !token.covers(&issued(None, None)));
        let user = Revocation::of_user("alice", 100, 200);
        for (ms, is_covered) in [
            (None, true),
            (Some(-5_000), true),
            (Some(99_999), true),
            (Some(100_000), false),
            (Some(i64::MAX), false),
        ] {
            assert_eq!(user.covers(&issued(Some("7"), ms)), is_covered, "{ms:?}");
        }
        assert!(!user.covers(&TokenMark::new("7", None, None)) && !user.covers(&TokenMark::NONE));
        assert!(!Revocation::of_user("alice", Seconds::MAX, 0).covers(&TokenMark::NONE));
        // A user and a token of the same name are not the same.
        assert!(!Revocation::of_token("alice", 200).covers(&issued(None, None)));
    }

    /// Other nodes and later versions read what this one has written.
    #[test]
    fn hashes_stay_what_they_are() {
        assert_eq!(Revocation::of_token("7", 0).subject, Subject::Token(0x7ff8_b5e8_d30d_c1fc));
        assert_eq!(Revocation::of_user("alice", 0, 0).subject, Subject::User(0x9ed1_994d_6b93_cb63));
    }
}
