//! The server under test: one node, or several with one engine, among which the clients are spread at random.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use parking_lot::Mutex;

use super::engine::{self, Engine};
use super::http::{self, Response};
use super::log::Log;
use super::node::Node;

/// The variable with the seed by which the clients of a server are spread over its nodes.
const SEED: &str = "THRONG_TEST_SEED";

/// Most looks at the nodes before the next client is connected although calls to the engine are under way.
const MAX_LOOKS: usize = 100;

/// A running server: a process, or as many as [`engine::nodes`] says. A test does not notice the difference, except in
/// what each node does for itself: figures are sums over the nodes, and a page comes from the first.
pub(crate) struct Server {
    nodes: Vec<Node>,
    spread: Mutex<Rng>,
    seed: u64,
    /// Declared behind the nodes, which must have ended when the engine does.
    _engine: Option<Arc<Engine>>,
}

/// The beginning of the names of the variables that are settings.
pub(super) const PREFIX: &str = "THRONG_";

/// Settings as the documentation names them: `("queue.max_bytes", "64KiB")`.
pub(crate) type Settings<'a> = &'a [(&'a str, &'a str)];

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
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// Returns the command of the binary with `settings` and no other variables of ours, started through `wrapper` if there
/// is one.
pub(crate) fn throng(wrapper: &[&str], settings: Settings<'_>) -> Command {
    let binary = &*super::binary();
    let mut words = wrapper.iter().copied().chain([binary]);
    let mut command = Command::new(words.next().unwrap_or(binary));
    command.args(words);
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()))
    {
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
        for node in &self.nodes {
            let pid = node.pid().to_string();
            let status = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status();
            assert!(status.expect("prlimit runs").success(), "the limit of {pid} stays");
        }
    }

    /// Starts a server that listens on `listen`, through `wrapper`, a command that must replace itself (`exec`).
    #[track_caller]
    pub(crate) fn launch(wrapper: &[&str], listen: &str, settings: Settings<'_>) -> Self {
        let count = engine::nodes().filter(|_| !engine::is_fixed(settings));
        let engine = count.map(|_| Engine::shared());
        let seed =
            std::env::var(SEED).ok().map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect(SEED));
        let common = engine.as_ref().map(|engine| engine.settings()).unwrap_or_default();
        let node = |number: usize| {
            // Two nodes cannot have one name.
            let own = settings.iter().find(|(key, _)| *key == "node" && number > 1);
            let own = own.map(|(key, name)| (*key, format!("{name}-{number}")));
            let more = common.iter().chain(&own).map(|(key, value)| (*key, value.as_str()));
            let all: Vec<_> = settings.iter().copied().chain(more).collect();
            Node::launch(wrapper, listen, &all)
        };
        // The nodes are made before the wait for their lines: if one does not come, `drop` must still end them.
        let nodes = (1..=count.unwrap_or(1)).map(node).collect();
        let mut server = Self { nodes, spread: Mutex::new(Rng::with_seed(seed)), seed, _engine: engine };
        server.nodes.iter_mut().for_each(Node::wait_listening);
        server
    }

    /// Returns the address on which one of the nodes listens, for one client more.
    #[track_caller]
    pub(crate) fn address(&self) -> SocketAddr {
        self.settle();
        self.nodes[self.spread.lock().usize(..self.nodes.len())].address()
    }

    /// Returns the addresses of all nodes, for clients that choose one by themselves.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Node::address).collect()
    }

    /// Waits until the nodes have told each other everything so far, so that a client which connects next finds on
    /// any of them what those before it have done. Under constant load that does not come, and nobody waits for it.
    fn settle(&self) {
        let is_quiet = |node: &Node| node.metrics().contains(&("throng_engine_calls_in_flight".into(), 0.0));
        // Looks twice in turn: the first look may be at a node that has not begun to tell the others yet.
        let looks = if self.nodes.len() > 1 { MAX_LOOKS } else { 0 };
        let mut quiet = 0;
        for _ in 0..looks {
            quiet = if self.nodes.iter().all(is_quiet) { quiet + 1 } else { 0 };
            if quiet == 2 {
                return;
            }
        }
    }

    fn first(&self) -> &Node {
        &self.nodes[0]
    }

    /// Returns the operator's key that the first node has made, from its log.
    #[track_caller]
    pub(crate) fn key(&self) -> String {
        self.first().key()
    }

    /// Returns the log of the first node.
    pub(crate) fn log(&self) -> &Log {
        self.first().log()
    }

    /// Sends `GET path` on a new connection to the first node; returns the response.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        http::get(self.first().address(), path)
    }

    /// Returns every series of `/metrics` by its name with labels, each as the sum over the nodes.
    #[track_caller]
    pub(crate) fn metrics(&self) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for node in &self.nodes {
            for (series, value) in node.metrics() {
                *sums.entry(series).or_default() += value;
            }
        }
        sums
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
        self.nodes.iter().for_each(|node| node.signal(name));
    }

    /// Waits for the processes to end; returns the status of the first that failed, or of all.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self, timeout: Duration) -> ExitStatus {
        let deadline = Instant::now() + timeout;
        let left = || deadline.saturating_duration_since(Instant::now());
        let ended: Vec<_> = self.nodes.iter_mut().map(|node| node.wait_exit(left())).collect();
        *ended.iter().find(|status| !status.success()).unwrap_or(&ended[0])
    }

    /// Returns the resident memory in bytes.
    #[track_caller]
    pub(crate) fn rss(&self) -> usize {
        self.nodes.iter().map(Node::rss).sum()
    }

    /// Waits until resident memory stops changing, because freed pages go back to the kernel with a delay; returns it
    /// in bytes.
    #[track_caller]
    pub(crate) fn settled_rss(&self) -> usize {
        self.nodes.iter().map(Node::settled_rss).sum()
    }

    /// Counts the open descriptors.
    #[track_caller]
    pub(crate) fn fds(&self) -> usize {
        self.nodes.iter().map(Node::fds).sum()
    }

    /// Returns the CPU time used so far, user and system.
    #[track_caller]
    pub(crate) fn cpu(&self) -> Duration {
        self.nodes.iter().map(Node::cpu).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() && self.nodes.len() > 1 {
            eprintln!("--- clients were spread over the nodes with {SEED}={} ---", self.seed);
        }
    }
}
