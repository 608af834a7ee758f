//! The server's log, which is read line by line while the server writes it.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use serde_json::Value;

use super::PATIENCE;

/// The lines that a process has written to its standard error so far.
#[derive(Default)]
pub(crate) struct Log {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    /// Reads `output` in a thread of its own, so that the process never blocks on a full pipe.
    pub(crate) fn follow(output: impl Read + Send + 'static) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let writer = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                writer.state.lock().lines.push(String::from_utf8_lossy(&line).into_owned());
                writer.grown.notify_all();
            }
            writer.state.lock().ended = true;
            writer.grown.notify_all();
        });
        log
    }

    /// Returns everything that was written up to now.
    pub(crate) fn text(&self) -> String {
        self.state.lock().lines.join("\n")
    }

    /// Waits until the process has closed its end.
    #[track_caller]
    pub(crate) fn wait_for_end(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state.lock();
        while !state.ended {
            assert!(!self.grown.wait_until(&mut state, deadline).timed_out(), "still open");
        }
    }

    /// Returns the last `count` lines.
    pub(crate) fn tail(&self, count: usize) -> String {
        let state = self.state.lock();
        state.lines[state.lines.len().saturating_sub(count)..].join("\n")
    }

    /// Counts the JSON lines up to now that satisfy `matches`.
    pub(crate) fn count(&self, matches: impl Fn(&Value) -> bool) -> usize {
        self.state
            .lock()
            .lines
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(matches)
            .count()
    }

    /// Waits for the first JSON line that satisfies `matches`, and returns it.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        self.wait(what, |line| serde_json::from_str(line).ok().filter(&matches))
    }

    /// Waits for the first line that satisfies `matches`, and returns it.
    #[track_caller]
    pub(crate) fn wait_for_line(&self, what: &str, matches: impl Fn(&str) -> bool) -> String {
        self.wait(what, |line| matches(line).then(|| line.to_owned()))
    }

    /// Waits for the first line that begins with `start`, and returns it.
    #[track_caller]
    pub(crate) fn wait_for_start(&self, start: &str) -> String {
        self.wait_for_line(start, |line| line.starts_with(start))
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, found: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = 0;
        let mut state = self.state.lock();
        loop {
            if let Some(found) = state.lines[seen..].iter().find_map(|line| found(line)) {
                return found;
            }
            seen = state.lines.len();
            let gone = state.ended || self.grown.wait_until(&mut state, deadline).timed_out();
            assert!(!(gone && seen == state.lines.len()), "no line: {what}\n{}", state.lines.join("\n"));
        }
    }
}
