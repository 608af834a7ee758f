//! The pause between attempts that failed.

/// The pause after the first failure.
const FIRST_MS: u64 = 50;
/// The longest pause: a server that is back is found within this time.
const MAX_MS: u64 = 2_000;

/// A pause that grows with each failure.
#[derive(Debug, Default)]
pub(super) struct Pause {
    failures: u8,
    until: u64,
}

impl Pause {
    /// Begins a pause of half to all of the length for this many failures. `hash` spreads the rooms of a node.
    pub(super) fn fail(&mut self, now: u64, hash: u64) {
        let length = (FIRST_MS << self.failures.min(8)).min(MAX_MS);
        self.failures = self.failures.saturating_add(1);
        self.until = now + length / 2 + hash % (length / 2 + 1);
    }

    /// Ends the pause: an attempt succeeded, or there is a new link.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Returns true when the next attempt may begin.
    pub(super) fn is_over(&self, now: u64) -> bool {
        now >= self.until
    }

    /// Returns when the next attempt may begin.
    pub(super) fn until(&self) -> u64 {
        self.until
    }
}
