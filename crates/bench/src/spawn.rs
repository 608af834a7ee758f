//! Starts a server for the run: this binary as a child process on a free port.

use std::io::BufReader;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, bail};

/// Longest wait until the server listens.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Log lines kept for the error message if the server does not start.
const KEPT_LINES: usize = 64;

/// A child process that serves until this value is dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
}

/// How a server is started.
#[derive(Debug, Default)]
pub(super) struct Options<'a> {
    /// A command that starts the server and is replaced by it, such as `taskset -c 0`; may be empty.
    pub(super) prefix: &'a str,
    /// Number of worker threads; `None` for the server's default.
    pub(super) workers: Option<usize>,
    /// Settings as `KEY=VALUE`; later ones win.
    pub(super) settings: Vec<String>,
}

impl Server {
    /// Starts the server and waits until it listens.
    ///
    /// # Errors
    /// The server cannot be started, ends at once (the error contains its log) or does not listen in time.
    pub(super) fn start(options: &Options<'_>) -> anyhow::Result<Self> {
        let binary = std::env::current_exe().context("cannot find the path of this binary")?;
        let mut words = options.prefix.split_whitespace();
        let mut command = match words.next() {
            Some(first) => {
                let mut command = Command::new(first);
                command.args(words).arg(&binary);
                command
            }
            None => Command::new(&binary),
        };
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        command.args(options.workers.iter().flat_map(|workers| ["--workers".into(), workers.to_string()]));
        command.args(options.settings.iter().flat_map(|setting| ["--set", setting.as_str()]));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let stderr = child.stderr.take().context("standard error is piped")?;
        let (send, lines) = sync_channel(KEPT_LINES);
        // The value is made before the server listens, so that an error below drops it and thereby ends the child.
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        std::thread::Builder::new()
            .name("server log".into())
            .spawn(move || read_log(BufReader::new(stderr), &send))?;
        server.address = wait_for_address(&lines)?;
        Ok(server)
    }

    /// Returns the process id of the server.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Killed without a drain: all clients have left. An error means that the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the log to its end, so that the server never blocks on writing it; lines that do not fit are dropped.
fn read_log(log: impl std::io::BufRead, lines: &SyncSender<String>) {
    for line in log.lines().map_while(Result::ok) {
        let _ = lines.try_send(line);
    }
}

fn wait_for_address(lines: &Receiver<String>) -> anyhow::Result<SocketAddr> {
    let mut seen = Vec::new();
    loop {
        let Ok(line) = lines.recv_timeout(TIMEOUT) else {
            bail!("the server did not start to listen; its log:\n  {}", seen.join("\n  "))
        };
        if let Some(address) = address_in(&line) {
            return Ok(address);
        }
        seen.push(line);
    }
}

/// Returns the address in `line` if it is the log line that says where the server listens.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("\"address\":\"")?;
    let (address, _) = rest.split_once('"')?;
    line.contains("\"message\":\"listening\"").then(|| address.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_line_that_says_listening() {
        let line = r#"{"level":"INFO","message":"listening","address":"127.0.0.1:4711","workers":2}"#;
        assert_eq!(address_in(line), Some(SocketAddr::from(([127, 0, 0, 1], 4711))));
        assert_eq!(address_in(r#"{"message":"closed","address":"127.0.0.1:1"}"#), None);
        assert_eq!(address_in("plain text"), None);
    }
}
