//! A real server for tests of links, which can be stopped and ended.

use std::process::Command;
use std::time::Duration;

use redis::{Client, Value};

use super::super::{ServerSettings, Timings};
use crate::broker::redis::testing::Server;

/// A server that ends with the test.
pub(super) struct TestServer {
    pub(super) port: u16,
    server: Server,
}

impl TestServer {
    pub(super) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further options: `("requirepass", "secret")`.
    pub(super) fn start_with(options: &[(&str, &str)]) -> Self {
        let words = |(name, value): &(&str, &str)| {
            let values = value.split(' ').map(str::to_owned);
            std::iter::once(format!("--{name}")).chain(values).collect::<Vec<_>>()
        };
        let mut all: Vec<String> = words(&("enable-debug-command", "yes"));
        all.extend(options.iter().flat_map(words));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let server = Server::start(&all);
        Self { port: server.port(), server }
    }

    /// Returns settings for a link to this server, with short waits.
    pub(super) fn settings(&self) -> ServerSettings {
        let mut settings = ServerSettings::new("127.0.0.1", self.port, "throng:q:0123456789abcdef");
        settings.timings = Timings { first_retry: Duration::from_millis(10), ..Timings::default() };
        settings
    }

    /// Kills the process at once (SIGKILL).
    pub(super) fn kill(&mut self) {
        self.server.end();
    }

    /// Starts the process again after [`kill`](Self::kill).
    pub(super) fn restart(&mut self) {
        self.server.restart();
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
        let status = Command::new("kill").args([signal, &self.server.process_id().to_string()]).status();
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
