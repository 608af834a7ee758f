//! One process of Redis or Valkey: a server or a Sentinel, in a folder of its own, ended by its process id.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::resp::{self, Reply};
use crate::support::server::signal;
use crate::support::{PATIENCE, eventually};

/// Distance of the port of a cluster's bus from that of its clients.
const BUS: u16 = 10_000;

/// Ports in which a server is tried: below those that the system gives to outgoing connections.
const PORTS: std::ops::Range<u16> = 11_000..22_000;

/// Attempts to start a server. Another process may take a free port between the look and the start.
const ATTEMPTS: usize = 10;

/// The kind of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Server,
    Sentinel,
}

/// A running or ended process of the engine.
pub(crate) struct Process {
    kind: Kind,
    child: Child,
    host: Ipv4Addr,
    port: u16,
    folder: PathBuf,
}

/// Returns the server's binary: that of `THRONG_TEST_REDIS`, or else `redis-server`.
pub(crate) fn binary() -> String {
    std::env::var("THRONG_TEST_REDIS").unwrap_or_else(|_| "redis-server".to_owned())
}

/// Returns a port that is free on all addresses, and whose port of the bus is free, too.
fn free_port() -> u16 {
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
    let free = std::iter::repeat_with(|| fastrand::u16(PORTS)).take(10_000);
    free.into_iter().find(|port| is_free(*port) && is_free(port + BUS)).expect("a free port")
}

impl Process {
    /// Starts a process in `folder`, which is made. `lines` returns the lines of its configuration besides port,
    /// addresses and folder; it gets the port. `host` is the address at which others find it.
    #[track_caller]
    pub(crate) fn start(
        kind: Kind,
        folder: &Path,
        host: Ipv4Addr,
        lines: impl Fn(u16) -> Vec<String>,
    ) -> Self {
        fs::create_dir_all(folder).expect("a folder");
        for _ in 0..ATTEMPTS {
            let port = free_port();
            let bind =
                if host == Ipv4Addr::LOCALHOST { "127.0.0.1".into() } else { format!("127.0.0.1 {host}") };
            let mut config = vec![
                format!("port {port}"),
                format!("bind {bind}"),
                format!("dir {}", folder.display()),
                "protected-mode no".into(),
                "daemonize no".into(),
                format!("logfile {}", folder.join("log").display()),
            ];
            config.extend(lines(port));
            fs::write(folder.join("conf"), config.join("\n") + "\n").expect("a configuration");
            let child = Self::spawn(kind, folder, &[]);
            let mut process = Self { kind, child, host, port, folder: folder.to_owned() };
            if process.answers() {
                return process;
            }
        }
        panic!("{} does not start {ATTEMPTS} times: {}", binary(), last_words(folder));
    }

    fn spawn(kind: Kind, folder: &Path, arguments: &[&str]) -> Child {
        let mut command = Command::new(binary());
        command.arg(folder.join("conf"));
        if kind == Kind::Sentinel {
            command.arg("--sentinel");
        }
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap_or_else(|error| panic!("{}: {error}: install redis-server", binary()))
    }

    /// Waits until the process answers, and has loaded its data; false when it has ended instead.
    fn answers(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            // The answers LOADING and NOAUTH are no pong: the first goes away, and the second is never configured for
            // the default user.
            if self.call(&["PING"]).is_ok_and(|reply| reply == Reply::Text("PONG".into())) {
                return true;
            }
            if self.child.try_wait().expect("a child of ours").is_some() {
                return false;
            }
            // The interval between two looks, not the length of the wait.
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Returns the address at which nodes and other servers find it.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((self.host, self.port))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the address at which the rig finds it.
    fn near(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Sends a command and returns its reply; an error when the server does not answer.
    pub(crate) fn call(&self, words: &[&str]) -> std::io::Result<Reply> {
        resp::call(self.near(), words)
    }

    /// Sends a command that must succeed, and returns its reply.
    #[track_caller]
    pub(crate) fn expect(&self, words: &[&str]) -> Reply {
        match self.call(words) {
            Ok(Reply::Error(error)) => panic!("{words:?} at {}: {error}", self.port),
            Ok(reply) => reply,
            Err(error) => panic!("{words:?} at {}: {error}: {}", self.port, last_words(&self.folder)),
        }
    }

    /// Sends a command and does not wait for its reply; see [`resp::send`].
    #[track_caller]
    pub(crate) fn send(&self, words: &[&str]) -> std::net::TcpStream {
        resp::send(self.near(), words).expect("a server that takes connections")
    }

    /// Returns the value of a line of `INFO section`.
    pub(crate) fn info(&self, section: &str, name: &str) -> Option<String> {
        let reply = self.call(&["INFO", section]).ok()?;
        let value = reply.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(value.to_owned())
    }

    pub(crate) fn is_master(&self) -> bool {
        self.info("replication", "role").is_some_and(|role| role == "master")
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// Ends the process with SIGKILL and waits for its end.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Stops the process with SIGSTOP until [`Process::resume`].
    #[track_caller]
    pub(crate) fn pause(&self) {
        signal(&self.child, "STOP");
    }

    #[track_caller]
    pub(crate) fn resume(&self) {
        signal(&self.child, "CONT");
    }

    /// Starts an ended process again, with the data in its folder.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.restart_with(&[]);
    }

    #[track_caller]
    fn restart_with(&mut self, arguments: &[&str]) {
        assert!(!self.is_running(), "the server at {} runs", self.port);
        self.child = Self::spawn(self.kind, &self.folder, arguments);
        assert!(self.answers(), "no restart at {}: {}", self.port, last_words(&self.folder));
    }

    /// Removes the data of an ended server, and nothing that it knows of its cluster.
    #[track_caller]
    pub(crate) fn empty(&mut self) {
        assert!(!self.is_running(), "the server at {} runs", self.port);
        let data = [self.folder.join("dump.rdb"), self.folder.join("appendonlydir")];
        let _ = fs::remove_file(&data[0]);
        let _ = fs::remove_dir_all(&data[1]);
        assert!(data.iter().all(|path| !path.exists()), "data is left in {}", self.folder.display());
    }

    /// Writes the data of a server into a file, as it is now.
    #[track_caller]
    pub(crate) fn snapshot(&self, to: &Path) {
        self.expect(&["SAVE"]);
        fs::copy(self.folder.join("dump.rdb"), to).expect("a snapshot");
    }

    /// Starts an ended server again with the data of a snapshot.
    #[track_caller]
    pub(crate) fn restart_from(&mut self, snapshot: &Path) {
        self.empty();
        fs::copy(snapshot, self.folder.join("dump.rdb")).expect("a snapshot");
        // A server with an append-only file reads no snapshot, not even when it has no such file yet.
        let is_appending = fs::read_to_string(self.folder.join("conf")).expect("a configuration");
        self.restart_with(&["--appendonly", "no"]);
        if is_appending.contains("appendonly yes") {
            self.expect(&["CONFIG", "SET", "appendonly", "yes"]);
            eventually("the append-only file is written", || {
                self.info("persistence", "aof_rewrite_in_progress").is_some_and(|value| value == "0")
                    && self.info("persistence", "aof_rewrite_scheduled").is_some_and(|value| value == "0")
            });
        }
    }
}

fn last_words(folder: &Path) -> String {
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- the last words of the engine at {} ---\n{}", self.port, last_words(&self.folder));
        }
    }
}
