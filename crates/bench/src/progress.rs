//! One line on the terminal while a run goes on.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::{Duration, Instant};

/// Fast enough to look alive, slow enough to cost nothing.
const EVERY: Duration = Duration::from_millis(200);
/// Characters of the bar.
const BAR: usize = 24;

/// The progress line. Says nothing where standard error is no terminal.
#[derive(Debug)]
pub(super) struct Progress {
    shown: bool,
    next: Instant,
}

impl Progress {
    /// A line, unless it is not `wanted`.
    pub(super) fn new(wanted: bool) -> Self {
        Self { shown: wanted && stderr().is_terminal(), next: Instant::now() }
    }

    /// The phase is `done` (0 to 1); `text` is made only if it is shown.
    pub(super) fn tick(&mut self, phase: &str, done: f64, text: impl FnOnce() -> String) {
        if !self.shown || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + EVERY;
        // A terminal that is gone must not end the run.
        let _ = write!(stderr(), "\r\x1b[K{phase:16} {} {}", bar(done), text());
    }

    /// Takes the line away.
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
    fn the_bar_is_as_long_whatever_is_done() {
        for done in [-1.0, 0.0, 0.5, 1.0, 7.0, f64::NAN] {
            assert_eq!(bar(done).chars().count(), BAR + 2, "{done}");
        }
    }
}
