//! One node: a process of `throng serve` on a port of its own, which is killed when the test ends.

use std::net::SocketAddr;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::PATIENCE;
use super::http;
use super::log::Log;
use super::server::{Settings, signal, throng, variable};

/// Settings of every server under test unless the test says otherwise. The rate limits per connection and user are
/// off: tests send as fast as they can.
const BASE: Settings<'static> = &[("rate_limit.enabled", "false")];

/// A running `throng serve`.
pub(crate) struct Node {
    child: Child,
    address: SocketAddr,
    log: Log,
    /// Standard output, to which a server writes nothing; a secret least of all.
    _output: Log,
}

impl Node {
    /// Starts a node that listens on `listen`, through `wrapper`, a command that must replace itself (`exec`). It does
    /// not listen yet when this returns: see [`Node::wait_listening`].
    pub(crate) fn launch(wrapper: &[&str], listen: &str, settings: Settings<'_>) -> Self {
        let mut command = throng(wrapper, BASE);
        command.envs(settings.iter().map(|(key, value)| (variable(key), value)));
        command.args(["serve", "--listen", listen, "--log-format", "json"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server starts");
        let output = Log::follow(child.stdout.take().expect("stdout is piped"), &command);
        let log = Log::follow(child.stderr.take().expect("stderr is piped"), &command);
        Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), log, _output: output }
    }

    /// Waits until the node listens, and learns its address.
    #[track_caller]
    pub(crate) fn wait_listening(&mut self) {
        let line = self.log.wait_for("listening", |line| line["message"] == "listening");
        self.address = line["address"].as_str().expect("an address").parse().expect("an address with a port");
    }

    /// Returns the address on which the node listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the operator's key that the node has made, from its log.
    #[track_caller]
    pub(crate) fn key(&self) -> String {
        let names =
            |line: &Value| line["message"].as_str().is_some_and(|text| text.starts_with("dashboard: "));
        let line = self.log.wait_for("the address of the dashboard", names);
        let (_, key) =
            line["message"].as_str().and_then(|text| text.split_once("#key=")).expect("its own key");
        key.to_owned()
    }

    /// Returns the node's log.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Returns every series of `/metrics`, its name with labels and its value.
    #[track_caller]
    pub(crate) fn metrics(&self) -> Vec<(String, f64)> {
        let page = http::get(self.address, "/metrics");
        assert_eq!(page.status, 200, "{page:?}");
        let lines = page.body.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        lines
            .map(|line| {
                let (series, value) = line.rsplit_once(' ').expect("a series and its value");
                (series.to_owned(), value.parse().expect("a number"))
            })
            .collect()
    }

    /// Sends a signal, by its name in the shell, such as `STOP`.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        self.log.files_are_read();
        signal(&self.child, name);
    }

    /// Waits for the process to end.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self, timeout: Duration) -> ExitStatus {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status;
            }
            assert!(Instant::now() < deadline, "still running after {timeout:?}");
            // Polls, because there is no wait for a child's end with a bound.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the resident memory in bytes.
    #[track_caller]
    pub(crate) fn rss(&self) -> usize {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
        kib * 1024
    }

    /// Waits until resident memory stops changing, because freed pages go back to the kernel with a delay; returns it
    /// in bytes.
    #[track_caller]
    pub(crate) fn settled_rss(&self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        let mut last = self.rss();
        let mut unchanged = 0;
        while unchanged < 8 && Instant::now() < deadline {
            // No event tells when pages are given back.
            std::thread::sleep(Duration::from_millis(50));
            let now = self.rss();
            unchanged = if now.abs_diff(last) <= 32 * 1024 { unchanged + 1 } else { 0 };
            last = now;
        }
        last
    }

    /// Counts the open descriptors.
    #[track_caller]
    pub(crate) fn fds(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("/proc").count()
    }

    /// Returns the CPU time used so far, user and system.
    #[track_caller]
    pub(crate) fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        // The command's name, in parentheses, may contain blanks: fields are counted from behind it.
        let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
        let ticks =
            fields.split_whitespace().skip(11).take(2).map(|t| t.parse::<u64>().expect("a number of ticks"));
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    #[track_caller]
    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("the process lives")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the last words of the server at {} ---\n{}", self.address, self.log.tail(40));
        }
    }
}
