//! Helpers that the tests share: the server as a child process, clients that keep to the rules, and a raw socket that
//! can break them.

pub(crate) mod bridge;
pub(crate) mod canary;
pub(crate) mod checker;
pub(crate) mod client;
pub(crate) mod deflate;
pub(crate) mod engine;
pub(crate) mod fake;
pub(crate) mod feed;
pub(crate) mod frame;
pub(crate) mod http;
pub(crate) mod link;
pub(crate) mod log;
pub(crate) mod node;
pub(crate) mod raw;
pub(crate) mod receiver;
#[allow(dead_code, reason = "the tests of many nodes need more of it")]
pub(crate) mod redis;
#[allow(dead_code, reason = "the tests of many nodes need more of it")]
pub(crate) mod resp;
pub(crate) mod rust_client;
pub(crate) mod server;
pub(crate) mod speaker;
pub(crate) mod swarm;
pub(crate) mod terminal;
#[allow(dead_code, reason = "the tests of TLS alone need it")]
pub(crate) mod tls;
#[allow(dead_code, reason = "the tests of TLS alone need it")]
pub(crate) mod tls_server;
pub(crate) mod token;
pub(crate) mod v1;
pub(crate) mod vocabulary;

use std::process::Child;
use std::time::{Duration, Instant};

/// Longest wait for anything that must happen: far above what a slow machine under load needs, and above the longest
/// wait of the server, which holds users for 20 seconds after a takeover.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A process that is killed when the test ends.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Polls until `check` holds; panics naming `what` when it does not within [`PATIENCE`].
#[track_caller]
pub(crate) fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        // The interval between two looks, not the length of the wait.
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Lets time pass between two signs of life, in tests that are about time. No outcome depends on its length.
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}

/// Returns the path of the server to test: that of `THRONG_TEST_BINARY`, or else the one that cargo has built.
pub(crate) fn binary() -> String {
    std::env::var("THRONG_TEST_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_throng").to_owned())
}

/// Returns the quick size of a test, or the full one with `THRONG_LONG=1`.
pub(crate) fn sized(quick: usize, full: usize) -> usize {
    if std::env::var_os("THRONG_LONG").is_some_and(|value| value == "1") { full } else { quick }
}
