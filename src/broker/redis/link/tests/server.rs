//! A real server, which a test starts on a free port and ends. `THRONG_TEST_REDIS` names another program than
//! `redis-server`.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::{Client, Value};
use tempfile::TempDir;

use super::super::{ServerSettings, Timings};

/// The line of a server's log after which it accepts connections.
const READY: &str = "Ready to accept connections";
/// How often a port is tried that another process may have taken meanwhile.
const ATTEMPTS: usize = 10;

/// A server that ends with the test.
pub(super) struct TestServer {
    pub(super) port: u16,
    pub(super) dir: TempDir,
    options: Vec<String>,
    process: Child,
}

impl TestServer {
    pub(super) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further options: `("requirepass", "secret")`.
    pub(super) fn start_with(options: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), options)
    }

    /// Starts a server in a folder that may hold files for it.
    pub(super) fn start_in(dir: TempDir, options: &[(&str, &str)]) -> Self {
        let words = |(name, value): &(&str, &str)| {
            let values = value.split(' ').map(str::to_owned);
            std::iter::once(format!("--{name}")).chain(values).collect::<Vec<_>>()
        };
        let options: Vec<String> = options.iter().flat_map(words).collect();
        for _ in 0..ATTEMPTS {
            let port = free_port();
            if let Some(process) = spawn(dir.path(), port, &options) {
                return Self { port, dir, options, process };
            }
        }
        panic!("redis-server does not start: is it installed?");
    }

    /// Returns settings for a link to this server, with short waits.
    pub(super) fn settings(&self) -> ServerSettings {
        let mut settings = ServerSettings::new("127.0.0.1", self.port, "throng:q:0123456789abcdef");
        settings.timings = Timings { first_retry: Duration::from_millis(10), ..Timings::default() };
        settings
    }

    /// Kills the process at once (SIGKILL).
    pub(super) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts the process again after [`kill`](Self::kill).
    pub(super) fn restart(&mut self) {
        let started = (0..ATTEMPTS).find_map(|_| spawn(self.dir.path(), self.port, &self.options));
        self.process = started.expect("the server starts again");
    }

    /// Stops the process, which keeps its connections (SIGSTOP).
    pub(super) fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets the process go on.
    pub(super) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.process.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Carries out a command on a connection of its own.
    pub(super) fn run(&self, words: &str) -> Value {
        let client = Client::open(("127.0.0.1", self.port)).unwrap();
        let mut connection = client.get_connection().unwrap();
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        words.for_each(|word| _ = command.arg(word));
        command.query(&mut connection).unwrap()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // It may have been killed already.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Starts a process and waits until it is ready. None: it ended before that.
fn spawn(dir: &Path, port: u16, options: &[String]) -> Option<Child> {
    let program = std::env::var("THRONG_TEST_REDIS").unwrap_or_else(|_| "redis-server".into());
    let port_option =
        if options.iter().any(|option| option == "--tls-cert-file") { "--tls-port" } else { "--port" };
    let port = port.to_string();
    let mut process = Command::new(program)
        .args(["--bind", "127.0.0.1", "--save", "", "--enable-debug-command", "yes", "--dir"])
        .arg(dir)
        .args(["--port", "0", port_option, &port])
        .args(options)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let is_ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains(READY));
    if !is_ready {
        process.wait().unwrap();
        return None;
    }
    // The server must not be stopped by a full pipe.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    Some(process)
}
