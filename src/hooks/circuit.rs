//! Decides when a hook that fails is not asked for a while.

/// Failures in a row after which nothing is asked.
const FAILURES: u32 = 5;
/// Time for which nothing is asked, in milliseconds.
const PAUSE_MS: u64 = 5_000;

/// The failures of a hook in a row.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    failures: u32,
    /// Nothing is asked before this time of the node's clock.
    until_ms: u64,
}

impl Circuit {
    /// Returns true when the hook is to be asked.
    pub(super) fn is_closed(&self, now_ms: u64) -> bool {
        now_ms >= self.until_ms
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Notes a failure. Returns true when nothing is asked from now on. After the pause, the first failure begins
    /// another one.
    pub(super) fn failed(&mut self, now_ms: u64) -> bool {
        self.failures = (self.failures + 1).min(FAILURES);
        let opens = self.failures == FAILURES && self.is_closed(now_ms);
        if opens {
            self.until_ms = now_ms + PAUSE_MS;
        }
        opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_begin_a_pause() {
        let mut circuit = Circuit::default();
        for _ in 0..3 {
            assert!((0..4).all(|_| !circuit.failed(0)) && circuit.is_closed(0));
            circuit.succeeded();
        }
        let opened: Vec<bool> = (0..7).map(|_| circuit.failed(10)).collect();
        assert_eq!(opened, [false, false, false, false, true, false, false]);
        assert!(!circuit.is_closed(10 + PAUSE_MS - 1) && circuit.is_closed(10 + PAUSE_MS));
        assert!(circuit.failed(10 + PAUSE_MS), "one more failure is enough");
        circuit.succeeded();
        assert!(circuit.is_closed(0) && !circuit.failed(0));
    }
}
