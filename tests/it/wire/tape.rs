//! The recorder of a socket's traffic, line by line. Values that differ from run to run are masked.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use crate::support::frame::{self, text};
use crate::support::raw::Socket;
use crate::support::server::Server;
use crate::support::speaker::{expect_advice, offered};

/// Numbers that differ from run to run, in events and in heads.
const NUMBERS: [&str; 4] = ["ts", "after_ms", "retry_after_ms", "expires_ms"];

/// A recording; see the module's documentation.
#[derive(Default)]
pub(super) struct Tape {
    pub(super) text: String,
    /// Commands that were accepted, as JSON.
    pub(super) sent: Vec<Value>,
    /// Events that were received, as JSON.
    pub(super) heard: Vec<Value>,
    /// Ends of connections: code and reason.
    pub(super) ends: BTreeSet<(u16, String)>,
    /// Random words, each with the mask that is recorded instead.
    words: Vec<(String, &'static str)>,
}

impl Tape {
    /// Begins a section of the recording.
    pub(super) fn section(&mut self, name: &str) {
        write!(self.text, "\n# {name}\n\n").expect("a string");
    }

    pub(super) fn line(&mut self, line: &str) {
        let masked = self.words.iter().fold(line.to_owned(), |line, (word, mask)| line.replace(word, mask));
        writeln!(self.text, "{masked}").expect("a string");
    }

    /// Records a mask instead of a word from now on.
    pub(super) fn hide(&mut self, word: &str, mask: &'static str) {
        self.words.push((word.to_owned(), mask));
    }

    /// Records an event that `who` received; returns it.
    pub(super) fn event(&mut self, who: &str, raw: &str) -> Value {
        let event: Value = serde_json::from_str(raw).unwrap_or_else(|error| panic!("{error}: {raw}"));
        for (field, mask) in [("epoch", "EPOCH"), ("session", "SESSION")] {
            if let Some(word) = event[field].as_str().filter(|word| !word.is_empty()) {
                self.words.push((word.to_owned(), mask));
            }
        }
        // Each node of a server has a name of its own, which begins with the configured one.
        if let Some(node) = event["node"].as_str().filter(|node| node.starts_with("n1-")) {
            self.words.push((format!("\"node\":\"{node}\""), "\"node\":\"n1\""));
        }
        // The ids of private messages have an epoch of their own.
        if let Some((epoch, _)) = event["id"].as_str().and_then(|id| id.rsplit_once('-')) {
            self.words.push((epoch.to_owned(), "EPOCH"));
        }
        self.heard.push(event.clone());
        let mut masked = raw.to_owned();
        let inner = event["messages"].as_array().into_iter().flatten();
        for object in inner.chain([&event]) {
            let ranges: &[&str] = if object["type"] == "gap" { &["from", "to"] } else { &[] };
            for field in NUMBERS.iter().chain(ranges) {
                if let Some(number) = object.get(field) {
                    masked = masked.replace(&format!("\"{field}\":{number}"), &format!("\"{field}\":N"));
                }
            }
            if let Some(wait_ms) = object.get("retry_after_ms") {
                masked = masked.replace(&format!(" {wait_ms} ms"), " N ms");
            }
        }
        self.line(&format!("{who} < {masked}"));
        event
    }

    pub(super) fn end(&mut self, who: &str, (code, reason): (u16, String)) {
        self.line(&format!("{who} x {code} {reason}"));
        self.ends.insert((code, reason));
    }
}

/// A client whose traffic is recorded.
pub(super) struct TapedClient {
    name: &'static str,
    pub(super) socket: Socket,
}

impl TapedClient {
    /// Connects to `path`, the part behind `/ws/chat/`; asserts that it is let in and receives events of the types in
    /// `heard`.
    #[track_caller]
    pub(super) fn enter(
        tape: &mut Tape,
        name: &'static str,
        server: &Server,
        path: &str,
        heard: &[&str],
    ) -> Self {
        let mut voice = Self::offer(tape, name, server, path);
        voice.hears(tape, heard);
        voice
    }

    /// Connects to `path` offering `throng.v1`, and reads no event yet.
    #[track_caller]
    pub(super) fn offer(tape: &mut Tape, name: &'static str, server: &Server, path: &str) -> Self {
        Self::on(tape, name, Socket::connect(server.address()), path)
    }

    /// Connects as [`TapedClient::offer`] does, on a socket of the test's choice.
    #[track_caller]
    pub(super) fn on(tape: &mut Tape, name: &'static str, socket: Socket, path: &str) -> Self {
        let shown = path.split("token=").next().unwrap_or(path);
        tape.line(&format!("{name} > /ws/chat/{shown}"));
        Self { name, socket: offered(socket, &format!("/ws/chat/{path}"), "") }
    }

    /// Makes a client of a socket that has offered the dialect already.
    pub(super) fn with(name: &'static str, socket: Socket) -> Self {
        Self { name, socket }
    }

    /// Sends a command.
    #[track_caller]
    pub(super) fn say(&mut self, tape: &mut Tape, command: &str) {
        tape.line(&format!("{} > {command}", self.name));
        self.socket.send(text(command));
    }

    /// Sends a command that must be accepted and answered with events of these types.
    #[track_caller]
    pub(super) fn does(&mut self, tape: &mut Tape, command: &str, heard: &[&str]) {
        self.say(tape, command);
        tape.sent.push(serde_json::from_str(command).expect("JSON"));
        self.hears(tape, heard);
    }

    /// Asserts that the next events are of these types; returns the last of them.
    #[track_caller]
    pub(super) fn hears(&mut self, tape: &mut Tape, kinds: &[&str]) -> Value {
        let mut last = Value::Null;
        for kind in kinds {
            let raw = self.socket.read_text();
            last = tape.event(self.name, &raw);
            assert_eq!(last["type"], *kind, "{raw}");
        }
        last
    }

    /// Sends a command that must be answered with this error.
    #[track_caller]
    pub(super) fn fails(&mut self, tape: &mut Tape, command: &str, code: &str) {
        self.say(tape, command);
        assert_eq!(self.hears(tape, &["error"])["code"], code, "{command}");
    }

    /// Asserts that the `disconnect`, the close and the end come next.
    #[track_caller]
    pub(super) fn ends(mut self, tape: &mut Tape, code: u16, reason: &str) {
        let advice = self.hears(tape, &["disconnect"]);
        expect_advice(&advice, code, reason);
        let end = self.socket.read_close();
        assert_eq!(end, (code, reason.to_owned()));
        self.socket.expect_eof();
        tape.end(self.name, end);
    }

    /// Skips events without recording them up to one of this type, which is recorded.
    #[track_caller]
    pub(super) fn finds(&mut self, tape: &mut Tape, kind: &str) {
        loop {
            let frame = self.socket.read_frame();
            let raw = String::from_utf8_lossy(&frame.payload).into_owned();
            if frame.opcode == frame::TEXT && raw.starts_with(&format!("{{\"type\":\"{kind}\"")) {
                tape.event(self.name, &raw);
                return;
            }
        }
    }
}

/// Records the refusal of a command that comes too fast, which answers it by its id.
pub(super) fn too_fast(tape: &mut Tape) {
    let server = Server::start(&[
        ("node", "n1"),
        ("rate_limit.enabled", "true"),
        ("rate_limit.messages_per_second", "1"),
        ("rate_limit.burst", "1"),
    ]);
    tape.section("A client that is too fast.");
    let alice = &mut TapedClient::enter(tape, "alice", &server, "alice", &["welcome", "presence_diff"]);
    // In one write, so that no time passes between them.
    let commands = ["1", "2"].map(|id| {
        let command = format!(r#"{{"type":"direct","id":"{id}","to":"nobody","message":"hi","key":"{id}"}}"#);
        tape.line(&format!("alice > {command}"));
        text(&command)
    });
    alice.socket.send(commands.concat());
    for code in ["user_not_found", "rate_limited"] {
        assert_eq!(alice.hears(tape, &["error"])["code"], code);
    }
}
