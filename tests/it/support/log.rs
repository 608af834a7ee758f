//! The server's log, which is read line by line while the server writes it, and in which no secret may be.

use std::io::{BufRead, BufReader, Read};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde_json::Value;

use super::PATIENCE;
use super::canary::Canary;

/// Longest wait for the end of a log when it is dropped: its process has ended, but a child of that may live on.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The lines that a process has written so far. When it is dropped, no secret may be in them. It must not be dropped
/// before the process has ended.
pub(crate) struct Log {
    shared: Arc<Shared>,
    /// `None` for output that may have secrets.
    canary: Option<Canary>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    /// Reads what the process of `command` writes, in a thread of its own, so that the process never blocks on a full
    /// pipe. No secret of the command or of its clients may be in it.
    pub(crate) fn follow(output: impl Read + Send + 'static, command: &Command) -> Self {
        Self::read(output, Some(Canary::of(command)))
    }

    /// Reads as [`Log::follow`] does what is no log, but the result of a command that may print a token.
    pub(crate) fn follow_result(output: impl Read + Send + 'static) -> Self {
        Self::read(output, None)
    }

    fn read(output: impl Read + Send + 'static, canary: Option<Canary>) -> Self {
        let shared = Arc::new(Shared::default());
        let writer = Arc::clone(&shared);
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                writer.state.lock().lines.push(String::from_utf8_lossy(&line).into_owned());
                writer.grown.notify_all();
            }
            writer.state.lock().ended = true;
            writer.grown.notify_all();
        });
        Self { shared, canary }
    }

    /// Tells the canary that the process reads its files again.
    pub(crate) fn files_are_read(&self) {
        self.canary.iter().for_each(Canary::look_into_files);
    }

    /// Returns everything that was written up to now.
    pub(crate) fn text(&self) -> String {
        self.shared.state.lock().lines.join("\n")
    }

    /// Waits until the process has closed its end.
    #[track_caller]
    pub(crate) fn wait_for_end(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.state.lock();
        while !state.ended {
            assert!(!self.shared.grown.wait_until(&mut state, deadline).timed_out(), "still open");
        }
    }

    /// Returns the last `count` lines.
    pub(crate) fn tail(&self, count: usize) -> String {
        let state = self.shared.state.lock();
        state.lines[state.lines.len().saturating_sub(count)..].join("\n")
    }

    /// Counts the JSON lines up to now that satisfy `matches`.
    pub(crate) fn count(&self, matches: impl Fn(&Value) -> bool) -> usize {
        let state = self.shared.state.lock();
        state.lines.iter().filter_map(|line| serde_json::from_str(line).ok()).filter(matches).count()
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
        let mut state = self.shared.state.lock();
        loop {
            if let Some(found) = state.lines[seen..].iter().find_map(|line| found(line)) {
                return found;
            }
            seen = state.lines.len();
            let gone = state.ended || self.shared.grown.wait_until(&mut state, deadline).timed_out();
            assert!(!(gone && seen == state.lines.len()), "no line: {what}\n{}", state.lines.join("\n"));
        }
    }
}

impl Drop for Log {
    /// Panics if a secret is in the log. A test that fails already is told as well, but a second panic would abort it.
    fn drop(&mut self) {
        let Some(canary) = &self.canary else { return };
        let deadline = Instant::now() + LAST_WORDS;
        let mut state = self.shared.state.lock();
        while !state.ended && !self.shared.grown.wait_until(&mut state, deadline).timed_out() {}
        let Some(leak) = canary.leak(state.lines.iter().map(String::as_str)) else { return };
        drop(state);
        if std::thread::panicking() {
            eprintln!("--- besides, {leak} ---");
        } else {
            panic!("{leak}");
        }
    }
}
