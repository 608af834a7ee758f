//! Shows the progress of a run as one line on the terminal.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::{Duration, Instant};

/// Shortest time between two updates: frequent enough for a reader, too rare to disturb the measurement.
const UPDATE_INTERVAL: Duration = Duration::from_millis(200);
/// Width of the bar in characters.
const BAR: usize = 24;

/// The progress line. It stays silent if standard error is not a terminal.
#[derive(Debug)]
pub(super) struct Progress {
    shown: bool,
    /// Text before the phase; empty in a run of one round.
    prefix: String,
    next: Instant,
}

impl Progress {
    /// Returns a progress line, which is shown only if it is `wanted`.
    pub(super) fn new(wanted: bool) -> Self {
        Self { shown: wanted && stderr().is_terminal(), prefix: String::new(), next: Instant::now() }
    }

    /// Shows `text` before each phase from now on.
    pub(super) fn set_prefix(&mut self, text: String) {
        self.prefix = text;
    }

    /// Shows that `phase` is `done` (0 to 1), if an update is due; `text` is called only then.
    pub(super) fn tick(&mut self, phase: &str, done: f64, text: impl FnOnce() -> String) {
        if !self.shown || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + UPDATE_INTERVAL;
        // An error is ignored: a terminal that was closed must not end the run.
        let _ = write!(stderr(), "\r\x1b[K{}{phase:16} {} {}", self.prefix, bar(done), text());
    }

    /// Erases the line.
    pub(super) fn finish(&mut self) {
        if self.shown {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

fn bar(done: f64) -> String {
    let full = (done.clamp(0.0, 1.0) * BAR as f64) as usize;
    format!("[{}{}]", "█".repeat(full), "·".repeat(BAR - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_has_the_same_width_for_any_progress() {
        for done in [-1.0, 0.0, 0.5, 1.0, 7.0, f64::NAN] {
            assert_eq!(bar(done).chars().count(), BAR + 2, "{done}");
        }
    }
}
