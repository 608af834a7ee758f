//! `throng chat` as a child process, driven line by line.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Stdio};

use super::log::Log;
use super::server::{Server, signal, throng};
use super::{PATIENCE, eventually};

/// A running `throng chat` with pipes instead of a terminal.
pub(crate) struct Chat {
    child: Child,
    input: Option<ChildStdin>,
    pub(crate) output: Log,
    errors: Log,
}

impl Chat {
    /// Starts a chat of `user` and waits until it is connected.
    #[track_caller]
    pub(crate) fn enter(server: &Server, user: &str) -> Self {
        let chat = Self::start(server, user, &[], &[]);
        chat.sees(&format!("-- connected as {user} in lobby"));
        chat
    }

    /// Starts a chat of `user` with further arguments and variables.
    #[track_caller]
    pub(crate) fn start(server: &Server, user: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_at(server.address(), user, arguments, variables)
    }

    /// Starts a chat as [`Chat::start`] does, with any server.
    #[track_caller]
    pub(crate) fn start_at(
        server: SocketAddr,
        user: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let url = format!("ws://{server}");
        let arguments = [&["chat", &url, "--user", user], arguments].concat();
        let mut command = throng(&[], &[]);
        command.args(arguments).envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the chat starts");
        let output = Log::follow(child.stdout.take().expect("stdout is piped"), &command);
        let errors = Log::follow(child.stderr.take().expect("stderr is piped"), &command);
        let input = child.stdin.take();
        Self { child, input, output, errors }
    }

    /// Types a line.
    #[track_caller]
    pub(crate) fn types(&mut self, line: &str) {
        let input = self.input.as_mut().expect("the input is open");
        input.write_all(format!("{line}\n").as_bytes()).expect("the chat reads");
    }

    /// Waits for a line that equals `line`.
    #[track_caller]
    pub(crate) fn sees(&self, line: &str) {
        self.output.wait_for_line(line, |seen| seen == line);
    }

    /// Waits for a line that begins with `start`, and returns it.
    #[track_caller]
    pub(crate) fn sees_like(&self, start: &str) -> String {
        self.output.wait_for_start(start)
    }

    /// Sends a signal.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Closes the chat's standard input.
    pub(crate) fn ends(&mut self) {
        drop(self.input.take());
    }

    /// Waits for the end; returns the exit code, the lines of standard output and the text of standard error.
    #[track_caller]
    pub(crate) fn ended(mut self) -> (i32, Vec<String>, String) {
        let mut status = None;
        eventually("the chat ends", || {
            status = self.child.try_wait().expect("a child of ours");
            status.is_some()
        });
        self.output.wait_for_end();
        self.errors.wait_for_end();
        let code = status.and_then(|status| status.code()).expect("an exit code");
        (code, self.output.text().lines().map(str::to_owned).collect(), self.errors.text())
    }

    /// Closes the input and waits for the end as [`Chat::ended`] does.
    #[track_caller]
    pub(crate) fn finish(mut self) -> (i32, Vec<String>, String) {
        self.ends();
        self.ended()
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let (output, errors) = (self.output.tail(40), self.errors.tail(10));
            eprintln!("--- a chat's last words, within {PATIENCE:?} ---\n{output}\n{errors}");
        }
    }
}
