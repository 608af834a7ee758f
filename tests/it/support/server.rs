//! The server under test: a child process on a port of its own, killed when the test ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::{self, Response};
use super::log::Log;

/// A running `throng serve`.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    log: Arc<Log>,
}

/// Settings as the documentation names them: `("queue.max_bytes", "64KiB")`.
pub(crate) type Settings<'a> = &'a [(&'a str, &'a str)];

/// Settings of every server under test unless the test says otherwise. The rate limits per connection and user are
/// off: tests send as fast as they can.
const BASE: Settings<'static> = &[("rate_limit.enabled", "false")];

/// Settings for clients that do not read all the time and would not answer a ping.
pub(crate) const UNPINGED: Settings<'static> = &[("heartbeat.interval", "1h")];

/// Settings under which a client that does not read is soon behind, however much the system buffers: small queues
/// without a limit of age, large messages, no presence notices.
pub(crate) const SMALL_QUEUES: Settings<'static> = &[
    ("queue.max_bytes", "64KiB"),
    ("queue.max_age", "5m"),
    ("socket.send_buffer", "16KiB"),
    ("chat.max_message_chars", "8000"),
    ("presence.notice_limit", "0"),
    ("presence.interval", "1h"),
];

/// Returns the environment variable of a setting: `queue.max_bytes` is `THRONG_QUEUE__MAX_BYTES`.
fn variable(key: &str) -> String {
    format!("THRONG_{}", key.to_uppercase().replace('.', "__"))
}

/// Returns the command of the binary with `settings` and no other variables of ours, started through `wrapper` if there
/// is one.
pub(crate) fn throng(wrapper: &[&str], settings: Settings<'_>) -> Command {
    let binary = &*super::binary();
    let mut words = wrapper.iter().copied().chain([binary]);
    let mut command = Command::new(words.next().unwrap_or(binary));
    command.args(words);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"THRONG_")) {
        command.env_remove(name);
    }
    command.envs(settings.iter().map(|(key, value)| (variable(key), value)));
    command
}

/// Sends a signal, by its name in the shell, to a child. After `STOP` it waits until every thread has stopped.
#[track_caller]
pub(crate) fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("kill runs");
    assert!(status.success(), "no process {pid} to signal");
    if name == "STOP" {
        // One thread takes the signal when it gets to run, and only then the kernel stops the others.
        super::eventually("all of its threads have stopped", || {
            let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
            threads.flatten().all(|thread| {
                let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
                stat.rsplit_once(')').is_none_or(|(_, state)| state.trim_start().starts_with('T'))
            })
        });
    }
}

/// Runs the binary to its end. A process that goes on (a server that started against expectation) is killed; no test
/// expects the status of that.
#[track_caller]
pub(crate) fn run(arguments: &[&str], settings: Settings<'_>) -> Output {
    let mut command = throng(&[], settings);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("throng runs");
    let deadline = Instant::now() + super::PATIENCE;
    // The output of these commands fits in a pipe: it can be read when they are done.
    while child.try_wait().expect("a child of ours").is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
        }
        // Polls, because there is no wait for a child's end with a bound.
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("a child of ours")
}

impl Server {
    /// Starts a server with `settings` on a free port of loopback and waits until it listens.
    #[track_caller]
    pub(crate) fn start(settings: Settings<'_>) -> Self {
        Self::launch(&[], "127.0.0.1:0", settings)
    }

    /// Starts a server as [`Server::start`] does, with at most `descriptors` open at once.
    #[track_caller]
    pub(crate) fn start_with_descriptors(descriptors: usize, settings: Settings<'_>) -> Self {
        let script = format!("ulimit -n {descriptors}; exec \"$@\"");
        Self::launch(&["bash", "-c", &script, "bash"], "127.0.0.1:0", settings)
    }

    /// Starts a server as [`Server::start`] does, with files of at most `kib` KiB: a write that would make one longer
    /// fails, as on a full disk, until [`Server::lift_file_limit`].
    #[track_caller]
    pub(crate) fn start_with_short_files(kib: usize, settings: Settings<'_>) -> Self {
        // The limit's signal would end the process. `trap` ignores it, also after `exec`: the write fails instead.
        let script = format!("trap '' XFSZ; ulimit -S -f {kib}; exec \"$@\"");
        Self::launch(&["bash", "-c", &script, "bash"], "127.0.0.1:0", settings)
    }

    /// Lets the server's files be of any length from now on.
    #[track_caller]
    pub(crate) fn lift_file_limit(&self) {
        let pid = self.child.id().to_string();
        let status = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status();
        assert!(status.expect("prlimit runs").success(), "the limit of {pid} stays");
    }

    /// Starts a server that listens on `listen`, through `wrapper`, a command that must replace itself (`exec`).
    #[track_caller]
    pub(crate) fn launch(wrapper: &[&str], listen: &str, settings: Settings<'_>) -> Self {
        let mut command = throng(wrapper, BASE);
        command.envs(settings.iter().map(|(key, value)| (variable(key), value)));
        command.args(["serve", "--listen", listen, "--log-format", "json"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server starts");
        let log = Log::follow(child.stderr.take().expect("stderr is piped"));
        // Made before the wait for the line: if the line does not come, `drop` must still end the child.
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), log };
        let line = server.log.wait_for("listening", |line| line["message"] == "listening");
        server.address =
            line["address"].as_str().expect("an address").parse().expect("an address with a port");
        server
    }

    /// Returns the address on which the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the operator's key that the server has made, from its log.
    #[track_caller]
    pub(crate) fn key(&self) -> String {
        let names =
            |line: &Value| line["message"].as_str().is_some_and(|text| text.starts_with("dashboard: "));
        let line = self.log.wait_for("the address of the dashboard", names);
        let (_, key) =
            line["message"].as_str().and_then(|text| text.split_once("#key=")).expect("its own key");
        key.to_owned()
    }

    /// Returns the server's log.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Sends `GET path` on a new connection; returns the response.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        http::get(self.address, path)
    }

    /// Returns every series of `/metrics` by its name with labels.
    #[track_caller]
    pub(crate) fn metrics(&self) -> BTreeMap<String, f64> {
        let page = self.get("/metrics");
        assert_eq!(page.status, 200, "{page:?}");
        let lines = page.body.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        lines
            .map(|line| {
                let (series, value) = line.rsplit_once(' ').expect("a series and its value");
                (series.to_owned(), value.parse().expect("a number"))
            })
            .collect()
    }

    /// Returns the sum over the series of metric `name` whose labels contain `label` (all of them when it is empty).
    #[track_caller]
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        let all = self.metrics();
        let ours = all.iter().filter(|(series, _)| {
            let (base, labels) = series.split_once('{').unwrap_or((series, ""));
            base == name && labels.contains(label)
        });
        ours.map(|(_, value)| value).sum()
    }

    /// Returns the number of open WebSocket connections, as the server counts them.
    #[track_caller]
    pub(crate) fn connections(&self) -> f64 {
        self.metric("throng_connections", "")
    }

    /// Sends SIGTERM.
    #[track_caller]
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal, by its name in the shell, such as `STOP`.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
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
        let deadline = Instant::now() + super::PATIENCE;
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

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the server's last words ---\n{}", self.log.tail(40));
        }
    }
}
