//! A server of one's own: this same binary as a child process on a free port.

use std::io::BufReader;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, bail};

/// Longest wait until the server listens.
const PATIENCE: Duration = Duration::from_secs(10);
/// Log lines kept for the case that it does not start.
const KEPT_LINES: usize = 64;

/// A child that serves until this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
}

/// How to start it.
#[derive(Debug, Default)]
pub(super) struct Options<'a> {
    /// A command in front of it that ends by becoming it: `taskset -c 0`.
    pub(super) prefix: &'a str,
    /// Worker threads; `None` for its own default.
    pub(super) workers: Option<usize>,
    /// `KEY=VALUE`, later ones win.
    pub(super) settings: Vec<String>,
}

impl Server {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// It cannot be started, ends at once (its last words are in the error) or does not listen in time.
    pub(super) fn start(options: &Options<'_>) -> anyhow::Result<Self> {
        let binary = std::env::current_exe().context("cannot tell which binary this is")?;
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
        // The struct first: should it not listen, Drop must still end the child.
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        std::thread::Builder::new()
            .name("server log".into())
            .spawn(move || follow(BufReader::new(stderr), &send))?;
        server.address = wait_for_address(&lines)?;
        Ok(server)
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // No drain: nobody is left to be told.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the log to its end, so that the server never waits for us; what does not fit is dropped.
fn follow(log: impl std::io::BufRead, lines: &SyncSender<String>) {
    for line in log.lines().map_while(Result::ok) {
        let _ = lines.try_send(line);
    }
}

fn wait_for_address(lines: &Receiver<String>) -> anyhow::Result<SocketAddr> {
    let mut said = Vec::new();
    loop {
        let Ok(line) = lines.recv_timeout(PATIENCE) else {
            bail!("the server does not listen; it said:\n  {}", said.join("\n  "))
        };
        if let Some(address) = address_in(&line) {
            return Ok(address);
        }
        said.push(line);
    }
}

/// The address in the line that says where the server listens.
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
