//! A Redis server on a free port of loopback, and what it tells about itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longest wait for the server's start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server, which ends with this.
pub(super) struct Server {
    process: Child,
    address: String,
    connection: BufReader<TcpStream>,
    _folder: TempDir,
}

impl Server {
    /// Starts `redis-server`, or the program that `THRONG_TEST_REDIS` names.
    pub(super) fn start() -> Self {
        let program = std::env::var("THRONG_TEST_REDIS").unwrap_or_else(|_| "redis-server".to_owned());
        let folder = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port().to_string();
        let mut command = Command::new(&program);
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--logfile", "log"]);
        command.arg("--dir").arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("install {program}: {error}"));
        let address = format!("127.0.0.1:{port}");
        let began = Instant::now();
        loop {
            match TcpStream::connect(&address) {
                Ok(stream) => {
                    let connection = BufReader::new(stream);
                    return Self { process, address, connection, _folder: folder };
                }
                Err(error) => {
                    let ended = process.try_wait().expect("a process of this one");
                    let waits = ended.is_none() && began.elapsed() < PATIENCE;
                    assert!(waits, "{program} does not listen at {address}: {error}");
                    sleep(Duration::from_millis(5));
                }
            }
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Returns the CPU time of the server's main thread.
    pub(super) fn cpu(&mut self) -> Duration {
        let info = self.ask("INFO cpu");
        let used = |name| Duration::from_secs_f64(field(&info, name, ':').parse().expect("seconds"));
        used("used_cpu_user_main_thread") + used("used_cpu_sys_main_thread")
    }

    /// Returns how many scripts were run that publish something.
    pub(super) fn publications(&mut self) -> u64 {
        let info = self.ask("INFO commandstats");
        let stats = info.lines().find_map(|line| line.strip_prefix("cmdstat_spublish:"));
        stats.map_or(0, |stats| field(&stats.replace(',', "\n"), "calls", '=').parse().expect("a number"))
    }

    /// Returns the id of each connection that has this name, and how many channels it is subscribed to.
    pub(super) fn connections(&mut self, name: &str) -> Vec<(String, usize)> {
        let list = self.ask("CLIENT LIST");
        let lines = list.lines().filter(|line| !line.is_empty()).map(|line| line.replace(' ', "\n"));
        let named = lines.filter(|line| field(line, "name", '=') == name);
        named
            .map(|line| {
                (field(&line, "id", '=').to_owned(), field(&line, "ssub", '=').parse().expect("a number"))
            })
            .collect()
    }

    /// Carries out a command and returns its answer.
    pub(super) fn ask(&mut self, command: &str) -> String {
        self.connection.get_mut().write_all(format!("{command}\r\n").as_bytes()).expect("the server listens");
        let mut head = String::new();
        self.connection.read_line(&mut head).expect("the server answers");
        let Some(len) = head.strip_prefix('$') else {
            assert!(!head.starts_with('-'), "{command}: {head}");
            return head;
        };
        let len: usize = len.trim_end().parse().expect("a length");
        let mut body = vec![0; len + 2];
        self.connection.read_exact(&mut body).expect("the server answers");
        String::from_utf8_lossy(&body).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is ended already when this fails.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the value on the line that begins with this name.
fn field<'t>(lines: &'t str, name: &str, separator: char) -> &'t str {
    let value = |line: &'t str| line.trim_end().strip_prefix(name)?.strip_prefix(separator);
    lines.lines().find_map(value).unwrap_or_else(|| panic!("the server tells no {name}"))
}
