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

/// What every server of the tests runs with unless a test says otherwise. Rates are limited per connection and user:
/// tests send as fast as they can.
const BASE: Settings<'static> = &[("rate_limit.enabled", "false")];

/// Settings for clients that do not listen all the time: they would not answer a ping.
pub(crate) const UNPINGED: Settings<'static> = &[("heartbeat.interval", "1h")];

/// Settings under which who does not read is soon behind, whatever the system buffers: small queues that nothing is
/// too old for, large messages, no news of those who come and go.
pub(crate) const SMALL_QUEUES: Settings<'static> = &[
    ("queue.max_bytes", "64KiB"),
    ("queue.max_age", "5m"),
    ("socket.send_buffer", "16KiB"),
    ("chat.max_message_chars", "8000"),
    ("presence.notice_limit", "0"),
    ("presence.interval", "1h"),
];

/// The environment variable of a setting: `queue.max_bytes` is `THRONG_QUEUE__MAX_BYTES`.
fn variable(key: &str) -> String {
    format!("THRONG_{}", key.to_uppercase().replace('.', "__"))
}

/// The binary with `settings` and nothing else of ours in its environment, started through `wrapper` if there is one.
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

/// Sends a signal to a child: `STOP`, as the shell calls it, after which it does nothing more.
#[track_caller]
pub(crate) fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("kill runs");
    assert!(status.success(), "no process {pid} to signal");
    if name == "STOP" {
        // One thread takes the signal, when it gets to run, and only then the others are told.
        super::eventually("all of its threads have stopped", || {
            let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
            threads.flatten().all(|thread| {
                let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
                stat.rsplit_once(')').is_none_or(|(_, state)| state.trim_start().starts_with('T'))
            })
        });
    }
}

/// Runs the binary to its end. One that goes on (a server that started after all) is killed, which no status that a
/// test expects looks like.
#[track_caller]
pub(crate) fn run(arguments: &[&str], settings: Settings<'_>) -> Output {
    let mut command = throng(&[], settings);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("throng runs");
    let deadline = Instant::now() + super::PATIENCE;
    // What these commands print fits in a pipe: it can be read when they are done.
    while child.try_wait().expect("a child of ours").is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
        }
        // How often is looked: a child's end cannot be waited for with a bound.
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

    /// As [`Server::start`], with at most `descriptors` open at once.
    #[track_caller]
    pub(crate) fn start_with_descriptors(descriptors: usize, settings: Settings<'_>) -> Self {
        let script = format!("ulimit -n {descriptors}; exec \"$@\"");
        Self::launch(&["bash", "-c", &script, "bash"], "127.0.0.1:0", settings)
    }

    /// As [`Server::start`], with files of at most `kib` KiB: what would make one longer fails, as on a full disk,
    /// until [`Server::lift_file_limit`].
    #[track_caller]
    pub(crate) fn start_with_short_files(kib: usize, settings: Settings<'_>) -> Self {
        // The limit's signal would end the process: ignored, as it stays over `exec`, it leaves the error.
        let script = format!("trap '' XFSZ; ulimit -S -f {kib}; exec \"$@\"");
        Self::launch(&["bash", "-c", &script, "bash"], "127.0.0.1:0", settings)
    }

    /// Its files may be of any length from now on.
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
        // The struct first: should the line not come, Drop must still end the child.
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), log };
        let line = server.log.wait_for("listening", |line| line["message"] == "listening");
        server.address =
            line["address"].as_str().expect("an address").parse().expect("an address with a port");
        server
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The key of the operator that it has made, as its log tells.
    #[track_caller]
    pub(crate) fn key(&self) -> String {
        let names =
            |line: &Value| line["message"].as_str().is_some_and(|text| text.starts_with("dashboard: "));
        let line = self.log.wait_for("the address of the dashboard", names);
        let (_, key) =
            line["message"].as_str().and_then(|text| text.split_once("#key=")).expect("its own key");
        key.to_owned()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// `GET path` on a connection of its own.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        http::get(self.address, path)
    }

    /// Every series of `/metrics`, by its name with labels.
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

    /// The sum over the series of metric `name` whose labels contain `label` (all of them when it is empty).
    #[track_caller]
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        let all = self.metrics();
        let ours = all.iter().filter(|(series, _)| {
            let (base, labels) = series.split_once('{').unwrap_or((series, ""));
            base == name && labels.contains(label)
        });
        ours.map(|(_, value)| value).sum()
    }

    /// Open WebSocket connections, as the server counts them.
    #[track_caller]
    pub(crate) fn connections(&self) -> f64 {
        self.metric("throng_connections", "")
    }

    /// Sends SIGTERM.
    #[track_caller]
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal: `STOP`, as the shell calls it.
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
            // As above.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Resident memory in bytes.
    #[track_caller]
    pub(crate) fn rss(&self) -> usize {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
        kib * 1024
    }

    /// Resident memory once it has stopped changing: freed pages go back to the kernel with a delay.
    #[track_caller]
    pub(crate) fn settled_rss(&self) -> usize {
        let deadline = Instant::now() + super::PATIENCE;
        let mut last = self.rss();
        let mut unchanged = 0;
        while unchanged < 8 && Instant::now() < deadline {
            // Nobody tells when pages are given back.
            std::thread::sleep(Duration::from_millis(50));
            let now = self.rss();
            unchanged = if now.abs_diff(last) <= 32 * 1024 { unchanged + 1 } else { 0 };
            last = now;
        }
        last
    }

    /// Open descriptors.
    #[track_caller]
    pub(crate) fn fds(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("/proc").count()
    }

    /// CPU time used so far, user and system.
    #[track_caller]
    pub(crate) fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        // The command's name, in parentheses, may contain blanks: count fields behind it.
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
