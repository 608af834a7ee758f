//! Revoking tokens: new connections with them are refused, and those that are open end.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::shared::Node;
use crate::broker::redis::RevokeFailure;
use crate::revocation::{Full, Revocation, Seconds, TokenMark, seconds};

/// Time for which the revocation of a user is remembered where the life of tokens is not limited.
const DEFAULT_LIFE_S: Seconds = 30 * 86_400;

/// A revocation that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revoked {
    /// The number of connections that end.
    pub closed: usize,
    /// True when the revocation outlives this process.
    pub is_durable: bool,
}

/// Why tokens were not revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokeError {
    /// There are as many revocations as can be remembered.
    Full,
    /// The engine is not available.
    NoEngine,
    /// Nobody knows: the engine did not answer.
    Unknown,
}

impl From<Full> for RevokeError {
    fn from(Full: Full) -> Self {
        Self::Full
    }
}

impl Node {
    /// Returns true when the token with this mark is revoked.
    #[must_use]
    pub fn is_revoked(&self, mark: &TokenMark) -> bool {
        self.revocations.has(mark)
    }

    /// Returns the milliseconds until a moment, which is in milliseconds since the Unix epoch.
    #[must_use]
    pub fn ms_until(&self, unix_ms: i64) -> u64 {
        u64::try_from(unix_ms.saturating_sub(self.clock.wall_ms())).unwrap_or(0)
    }

    /// Returns the moment at which the last token of a user has expired that was issued before the moment `before_s`.
    #[must_use]
    pub fn life_ends_s(&self, before_s: Seconds) -> Seconds {
        let config = self.config();
        let auth = &config.auth;
        let life_s = auth.max_token_life.map_or(DEFAULT_LIFE_S, |life| seconds(life.as_secs() as i64));
        before_s.saturating_add(life_s).saturating_add(auth.leeway.as_secs() as Seconds + 1)
    }

    /// Revokes tokens, and ends the connections that were made with them.
    ///
    /// # Errors
    /// Nothing was revoked.
    pub async fn revoke(&self, revocation: Revocation) -> Result<Revoked, RevokeError> {
        if let Some(cluster) = self.engine.cluster() {
            let known = self.revocations.find(revocation.subject);
            let revocation = known.map_or(revocation, |known| revocation.with(&known));
            let (answer, revoked) = oneshot::channel();
            // The caller may have stopped waiting.
            let answer = Box::new(move |closed| {
                let _ = answer.send(closed);
            });
            cluster.revoke(revocation, known, answer);
            return match revoked.await.unwrap_or(Err(RevokeFailure::Unknown)) {
                Ok(closed) => Ok(Revoked { closed, is_durable: true }),
                Err(RevokeFailure::Full) => Err(RevokeError::Full),
                Err(RevokeFailure::NoEngine) => Err(RevokeError::NoEngine),
                Err(RevokeFailure::Unknown) => Err(RevokeError::Unknown),
            };
        }
        self.revocations.add(revocation, self.unix_s())?;
        let closed = self.registry.end_revoked(Arc::new([revocation])).await;
        let is_durable = match &self.journal {
            Some(journal) => journal.write(revocation).await,
            None => false,
        };
        Ok(Revoked { closed, is_durable })
    }

    /// Returns the seconds since the Unix epoch.
    pub(super) fn unix_s(&self) -> Seconds {
        seconds(self.clock.wall_s())
    }
}
