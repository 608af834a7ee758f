//! Real engines for the tests: Redis or Valkey as one server, with Sentinels, or as a cluster. The servers listen on
//! free ports of loopback and keep their data in a temporary folder. Dropping an [`Engine`] ends them by process id.

pub(crate) mod contents;
pub(crate) mod faults;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::eventually;
use crate::support::redis::{Kind, Process};
use crate::support::resp::Reply;

/// The name under which Sentinels know the master.
pub(crate) const MASTER_NAME: &str = "throng-test";

/// The prefix of the keys of all nodes under test.
pub(crate) const PREFIX: &str = "throng";

/// The arrangement of the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topology {
    /// One server. With a replica there are two, and nothing promotes the second.
    Single,
    /// A master, a replica and three Sentinels, which fail over after two seconds.
    Sentinel,
    /// Three masters, each with a replica if there are replicas, which fail over after three seconds.
    Cluster,
}

/// The differences between one engine and another of the same topology.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Each master has a replica. Sentinels always have one.
    pub(crate) replicas: bool,
    pub(crate) appendonly: bool,
    /// The most memory of a server; it answers OOM beyond.
    pub(crate) maxmemory: Option<&'static str>,
    /// A second port, of TLS alone, with the certificate of the tests. The rig itself uses the plain port.
    pub(crate) tls: bool,
    /// A line of access rights, as `user NAME on >PASSWORD …`. The default user stays.
    pub(crate) acl: Option<String>,
    /// Further lines of the configuration.
    pub(crate) lines: Vec<String>,
    /// The address at which nodes find the servers, which listen on loopback besides.
    pub(crate) host: Ipv4Addr,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            replicas: false,
            appendonly: true,
            maxmemory: None,
            tls: false,
            acl: None,
            lines: Vec::new(),
            host: Ipv4Addr::LOCALHOST,
        }
    }
}

/// Running servers of one topology.
pub(crate) struct Engine {
    topology: Topology,
    options: Options,
    /// Declared before the folder, so that every process has ended when the folder is removed.
    servers: Vec<Process>,
    sentinels: Vec<Process>,
    tls_port: Option<u16>,
    folder: tempfile::TempDir,
}

/// Longest wait for Sentinels and clusters to agree. Sentinels leave an old master alone for some ten seconds, and may
/// take a promotion back that not all of them have heard of.
const AGREEMENT: Duration = Duration::from_secs(60);

/// Polls until `check` holds; panics naming `what` when it does not within a minute.
#[track_caller]
pub(crate) fn slowly(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + AGREEMENT;
    while !check() {
        assert!(Instant::now() < deadline, "not within {AGREEMENT:?}: {what}");
        // The interval between two looks, not the length of the wait.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns the path of a test-only key or certificate.
fn test_key(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name)
}

fn server_lines(topology: Topology, options: &Options, port: u16) -> Vec<String> {
    let yes_no = |on: bool| if on { "yes" } else { "no" };
    let mut lines = vec![
        "enable-debug-command yes".to_owned(),
        "save \"\"".to_owned(),
        format!("appendonly {}", yes_no(options.appendonly)),
        "appendfsync everysec".to_owned(),
        "repl-diskless-sync-delay 0".to_owned(),
        "repl-ping-replica-period 1".to_owned(),
        "maxmemory-policy noeviction".to_owned(),
        // The design asks for at least 256 MiB, so that only a fault cuts a slow subscriber.
        "client-output-buffer-limit pubsub 256mb 256mb 60".to_owned(),
    ];
    lines.extend(options.maxmemory.map(|bytes| format!("maxmemory {bytes}")));
    lines.extend(options.acl.clone());
    if topology == Topology::Cluster {
        lines.push("cluster-enabled yes".to_owned());
        lines.push("cluster-node-timeout 3000".to_owned());
        lines.push(format!("cluster-announce-ip {}", options.host));
    }
    if topology == Topology::Sentinel {
        lines.push(format!("replica-announce-ip {}", options.host));
    }
    if options.tls {
        // The plain port and that of the bus have their own distance; this one lies between them.
        lines.push(format!("tls-port {}", port + 1));
        for (name, file) in [
            ("tls-cert-file", "TEST-ONLY-localhost.certificate.pem"),
            ("tls-key-file", "TEST-ONLY-localhost.private.pem"),
            ("tls-ca-cert-file", "TEST-ONLY-localhost.certificate.pem"),
        ] {
            lines.push(format!("{name} {}", test_key(file).display()));
        }
        lines.push("tls-auth-clients no".to_owned());
    }
    lines.extend(options.lines.iter().cloned());
    lines
}

impl Engine {
    /// Starts an engine with the usual options: replicas where something promotes them.
    #[track_caller]
    pub(crate) fn start(topology: Topology) -> Self {
        let replicas = topology != Topology::Single;
        Self::with(topology, Options { replicas, ..Options::default() })
    }

    /// Starts an engine and waits until it is whole: replicas in sync, Sentinels in touch, all slots served.
    #[track_caller]
    pub(crate) fn with(topology: Topology, options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let masters = if topology == Topology::Cluster { 3 } else { 1 };
        let has_replicas = options.replicas || topology == Topology::Sentinel;
        let count = if has_replicas { masters * 2 } else { masters };
        let servers: Vec<Process> = (0..count)
            .map(|n| {
                let path = folder.path().join(format!("server-{n}"));
                Process::start(Kind::Server, &path, options.host, |port| {
                    server_lines(topology, &options, port)
                })
            })
            .collect();
        let tls_port = options.tls.then(|| servers[0].port() + 1);
        let mut engine = Self { topology, options, servers, sentinels: Vec::new(), tls_port, folder };
        match topology {
            Topology::Single | Topology::Sentinel if has_replicas => engine.replicate(0, 1),
            Topology::Single | Topology::Sentinel => {}
            Topology::Cluster => engine.join_slots(has_replicas),
        }
        if topology == Topology::Sentinel {
            engine.start_sentinels();
        }
        engine
    }

    fn replicate(&self, master: usize, replica: usize) {
        let address = self.servers[master].address();
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        self.servers[replica].expect(&["REPLICAOF", &host, &port]);
        self.wait_in_sync(replica);
    }

    /// Waits until a replica follows its master.
    #[track_caller]
    pub(crate) fn wait_in_sync(&self, replica: usize) {
        slowly("the replica follows its master", || {
            let info = |name| self.servers[replica].info("replication", name);
            info("role").as_deref() == Some("slave") && info("master_link_status").as_deref() == Some("up")
        });
    }

    fn start_sentinels(&mut self) {
        let master = self.servers[0].address();
        let host = self.options.host;
        for n in 0..3 {
            let path = self.folder.path().join(format!("sentinel-{n}"));
            let lines = |_| {
                vec![
                    format!("sentinel monitor {MASTER_NAME} {} {} 2", master.ip(), master.port()),
                    format!("sentinel down-after-milliseconds {MASTER_NAME} 2000"),
                    format!("sentinel failover-timeout {MASTER_NAME} 5000"),
                    format!("sentinel announce-ip {host}"),
                ]
            };
            self.sentinels.push(Process::start(Kind::Sentinel, &path, host, lines));
        }
        eventually("the Sentinels know each other and the replica", || {
            self.sentinels.iter().all(|sentinel| {
                let facts = sentinel.call(&["SENTINEL", "MASTER", MASTER_NAME]).ok();
                let facts = facts.map(|facts| facts.texts()).unwrap_or_default();
                let is = |name: &str, value: &str| facts.chunks(2).any(|pair| pair == [name, value]);
                is("num-slaves", "1") && is("num-other-sentinels", "2")
            })
        });
    }

    fn join_slots(&self, has_replicas: bool) {
        let addresses: Vec<String> = self.servers.iter().map(|server| server.address().to_string()).collect();
        let mut arguments = vec!["--cluster", "create"];
        arguments.extend(addresses.iter().map(String::as_str));
        arguments.extend(["--cluster-replicas", if has_replicas { "1" } else { "0" }, "--cluster-yes"]);
        self.redis_cli(&arguments);
        slowly("the cluster is whole", || self.is_whole());
    }

    /// Runs `redis-cli` to its end. It talks to servers at their own addresses.
    #[track_caller]
    pub(crate) fn redis_cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli").args(arguments).output().expect("redis-cli is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "redis-cli {arguments:?}: {text}");
        text
    }

    pub(crate) fn topology(&self) -> Topology {
        self.topology
    }

    pub(crate) fn server(&self, index: usize) -> &Process {
        &self.servers[index]
    }

    /// Returns the number of servers, Sentinels not counted.
    pub(crate) fn len(&self) -> usize {
        self.servers.len()
    }

    /// Returns the port of the first server on which it speaks TLS.
    pub(crate) fn tls_port(&self) -> Option<u16> {
        self.tls_port
    }

    /// Returns the servers that are masters now. One that does not answer is none.
    pub(crate) fn masters(&self) -> Vec<usize> {
        (0..self.len()).filter(|index| self.servers[*index].is_master()).collect()
    }

    /// Returns the names of the data sets of all masters, in order. One that fails over, or is restarted, has another.
    pub(crate) fn data_sets(&self) -> Vec<String> {
        let of = |master: usize| self.servers[master].info("replication", "master_replid").expect("a master");
        let mut names: Vec<String> = self.masters().into_iter().map(of).collect();
        names.sort_unstable();
        names
    }

    /// Returns the replica that follows a master.
    pub(crate) fn replica_of(&self, master: usize) -> Option<usize> {
        let port = self.servers[master].port().to_string();
        (0..self.len())
            .find(|index| self.servers[*index].info("replication", "master_port").is_some_and(|p| p == port))
    }

    /// Returns the master of the Sentinels, as the first of them says.
    pub(crate) fn elected(&self) -> Option<usize> {
        let reply =
            self.sentinels.first()?.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME]).ok()?;
        let port = reply.list().get(1).map(Reply::text)?.to_owned();
        (0..self.len()).find(|index| self.servers[*index].port().to_string() == port)
    }

    /// Returns the settings with which nodes use this engine.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        let list = |processes: &[Process]| {
            let addresses: Vec<String> = processes.iter().map(|each| each.address().to_string()).collect();
            addresses.join(",")
        };
        let (mode, addresses) = match self.topology {
            Topology::Single => ("single", self.servers[0].address().to_string()),
            Topology::Sentinel => ("sentinel", list(&self.sentinels)),
            Topology::Cluster => ("cluster", list(&self.servers)),
        };
        let mut settings = vec![("engine", "redis".to_owned()), ("redis.mode", mode.to_owned())];
        settings.push(("redis.addresses", addresses));
        settings.push(("redis.prefix", PREFIX.to_owned()));
        if self.topology == Topology::Sentinel {
            settings.push(("redis.master_name", MASTER_NAME.to_owned()));
        }
        settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}
