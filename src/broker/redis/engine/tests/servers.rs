//! Servers that belong together: a Redis Cluster, or a master with a replica and Sentinels. They end with the test.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::{Value, from_redis_value};
use tempfile::TempDir;

use crate::broker::redis::topology::SLOTS;

/// Longer than anything here takes, on the slowest machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// The name under which Sentinels know the master.
pub(super) const MASTER_NAME: &str = "chat";
/// Distance of the port for other nodes of a cluster from that for clients.
const BUS: u16 = 10_000;

/// Waits until a condition holds.
#[track_caller]
pub(super) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One server or Sentinel.
#[derive(Debug)]
struct Process {
    child: Child,
    port: u16,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Servers that belong together.
#[derive(Debug)]
pub(super) struct Servers {
    processes: Vec<Process>,
    /// Behind the processes, so that they end before it is removed.
    folder: TempDir,
}

impl Servers {
    /// Starts a Redis Cluster of three masters, and as many replicas if there shall be any.
    pub(super) fn cluster(has_replicas: bool) -> Self {
        let count = if has_replicas { 6 } else { 3 };
        let options = ["cluster-enabled yes", "cluster-node-timeout 2000"];
        let servers = Self::start(count, |_| options.map(str::to_owned).to_vec());
        let addresses: Vec<String> = (0..count).map(|index| servers.address(index)).collect();
        let mut create = vec!["--cluster", "create"];
        create.extend(addresses.iter().map(String::as_str));
        create.extend(["--cluster-replicas", if has_replicas { "1" } else { "0" }, "--cluster-yes"]);
        servers.redis_cli(&create);
        for index in 0..count {
            eventually("all nodes know all slots and replicas", || {
                let nodes = servers.text(index, "CLUSTER NODES");
                let replicas = nodes.lines().filter(|line| line.contains("slave")).count();
                let is_ok = servers.text(index, "CLUSTER INFO").contains("cluster_state:ok");
                is_ok && nodes.trim().lines().count() == count && replicas == count - 3
            });
        }
        servers.wait_for_replicas();
        servers
    }

    /// Starts a master, a replica and three Sentinels: the servers 0 to 4.
    pub(super) fn sentinels() -> Self {
        let mut servers = Self::start(2, |_| Vec::new());
        let master = servers.processes[0].port;
        servers.text(1, &format!("REPLICAOF 127.0.0.1 {master}"));
        servers.wait_for_replicas();
        let lines = |_| {
            vec![
                format!("sentinel monitor {MASTER_NAME} 127.0.0.1 {master} 2"),
                format!("sentinel down-after-milliseconds {MASTER_NAME} 1000"),
                format!("sentinel failover-timeout {MASTER_NAME} 5000"),
            ]
        };
        for _ in 0..3 {
            servers.start_one(&["--sentinel"], &lines);
        }
        eventually("the Sentinels know each other and the replica", || {
            (2..5).all(|index| {
                let known = servers.text(index, &format!("SENTINEL MASTER {MASTER_NAME}"));
                known.contains("num-slaves\n1\n") && known.contains("num-other-sentinels\n2\n")
            })
        });
        servers
    }

    fn start(count: usize, lines: impl Fn(u16) -> Vec<String>) -> Self {
        let mut servers = Self { processes: Vec::new(), folder: tempfile::tempdir().unwrap() };
        (0..count).for_each(|_| servers.start_one(&[], &lines));
        servers
    }

    fn start_one(&mut self, arguments: &[&str], lines: &dyn Fn(u16) -> Vec<String>) {
        let folder = self.folder.path().join(self.processes.len().to_string());
        fs::create_dir(&folder).unwrap();
        // Another process can take the port before the server does.
        for _ in 0..5 {
            let port = free_port();
            let mut process = spawn(&folder, port, arguments, lines(port));
            let end = Instant::now() + PATIENCE;
            while process.child.try_wait().unwrap().is_none() {
                if ask(port, "PING").is_ok() {
                    return self.processes.push(process);
                }
                assert!(Instant::now() < end, "no answer at {port}");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        panic!("redis-server does not start: {}", fs::read_to_string(folder.join("log")).unwrap_or_default());
    }

    /// Returns the address of a server.
    pub(super) fn address(&self, index: usize) -> String {
        format!("127.0.0.1:{}", self.processes[index].port)
    }

    /// Carries out a command, and returns the texts of its answer, one a line.
    #[track_caller]
    pub(super) fn text(&self, index: usize, command: &str) -> String {
        match ask(self.processes[index].port, command) {
            Ok(value) => lines_of(value),
            Err(error) => panic!("{command} at server {index}: {error}"),
        }
    }

    /// Returns true when the answer to a command has a text. A server that changes its role answers with an error for a
    /// moment, or closes the connection.
    pub(super) fn shows(&self, index: usize, command: &str, text: &str) -> bool {
        ask(self.processes[index].port, command).is_ok_and(|value| lines_of(value).contains(text))
    }

    /// Runs `redis-cli` against the cluster and returns what it writes.
    #[track_caller]
    pub(super) fn redis_cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli").args(arguments).output().expect("install redis-cli");
        let written = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {written}");
        written
    }

    /// Returns the masters with their numbers of slots.
    pub(super) fn masters(&self) -> Vec<(usize, usize)> {
        let slots = |index: usize| -> Option<usize> {
            let nodes = self.text(index, "CLUSTER NODES");
            let me = nodes.lines().find(|line| line.contains("myself,master"))?.split(' ').skip(8);
            let count = |range: &str| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                last.parse::<usize>().unwrap() - first.parse::<usize>().unwrap() + 1
            };
            Some(me.filter(|range| !range.starts_with('[')).map(count).sum())
        };
        let all = (0..self.processes.len()).map(|index| (index, slots(index).unwrap_or(0)));
        all.filter(|(_, slots)| *slots > 0).collect()
    }

    /// Returns the running replica of a master.
    pub(super) fn replica_of(&self, master: usize) -> usize {
        let port = format!("master_port:{}\r", self.processes[master].port);
        let mut all = 0..self.processes.len();
        all.find(|index| self.text(*index, "INFO replication").contains(&port)).expect("a replica")
    }

    /// Returns the master of a slot.
    pub(super) fn master_of(&self, slot: u16) -> usize {
        assert!(slot < SLOTS);
        let shards = ask(self.processes[0].port, "CLUSTER SLOTS").unwrap();
        let shards: Vec<Vec<Value>> = from_redis_value(shards).unwrap();
        let number =
            |value: &Value| if let Value::Int(number) = value { *number } else { panic!("{value:?}") };
        let shard = shards
            .iter()
            .find(|shard| (number(&shard[0])..=number(&shard[1])).contains(&slot.into()))
            .expect("every slot has a master");
        let Value::Array(master) = &shard[2] else { panic!("{shard:?}") };
        let port = number(&master[1]);
        self.processes.iter().position(|process| i64::from(process.port) == port).expect("one of ours")
    }

    /// Waits until all replicas have what their masters have.
    pub(super) fn wait_for_replicas(&self) {
        for index in 0..self.processes.len() {
            eventually("the replica is in sync", || {
                let info = self.text(index, "INFO replication");
                let is_synced =
                    info.contains("master_link_status:up") && info.contains("master_sync_in_progress:0");
                !info.contains("role:slave") || is_synced
            });
        }
    }

    /// Ends a server at once, as a crash does.
    pub(super) fn kill(&mut self, index: usize) {
        let process = &mut self.processes[index];
        process.child.kill().unwrap();
        process.child.wait().unwrap();
    }
}

fn spawn(folder: &Path, port: u16, arguments: &[&str], lines: Vec<String>) -> Process {
    let mut config = vec![
        format!("port {port}"),
        "bind 127.0.0.1".to_owned(),
        format!("dir {}", folder.display()),
        format!("logfile {}", folder.join("log").display()),
        "repl-diskless-sync-delay 0".to_owned(),
        "save \"\"".to_owned(),
    ];
    if arguments.contains(&"--sentinel") {
        config.truncate(4);
    }
    config.extend(lines);
    let path = folder.join("conf");
    fs::write(&path, config.join("\n") + "\n").unwrap();
    let program = std::env::var("THRONG_TEST_REDIS").unwrap_or_else(|_| "redis-server".to_owned());
    let mut command = Command::new(&program);
    command.arg(&path).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child =
        command.spawn().unwrap_or_else(|error| panic!("{program} cannot be started, install it: {error}"));
    Process { child, port }
}

/// Returns a port that is free, with that of the bus, below those that the system gives to outgoing connections.
fn free_port() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut ports = std::iter::repeat_with(|| fastrand::u16(11_000..22_000)).take(10_000);
    ports.find(|port| is_free(*port) && is_free(port + BUS)).expect("a free port")
}

fn ask(port: u16, command: &str) -> redis::RedisResult<Value> {
    let mut connection = redis::Client::open(format!("redis://127.0.0.1:{port}"))?.get_connection()?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut words = command.split(' ');
    let mut request = redis::cmd(words.next().unwrap_or_default());
    words.for_each(|word| _ = request.arg(word));
    request.query(&mut connection)
}

fn lines_of(value: Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned() + "\n",
        Value::SimpleString(text) => text + "\n",
        Value::Okay => "OK\n".to_owned(),
        Value::Int(number) => format!("{number}\n"),
        Value::Array(values) => values.into_iter().map(lines_of).collect(),
        Value::Map(pairs) => {
            pairs.into_iter().map(|(key, value)| format!("{}{}", lines_of(key), lines_of(value))).collect()
        }
        other => format!("{other:?}\n"),
    }
}
