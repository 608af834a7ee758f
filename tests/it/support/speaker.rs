//! A connection of `throng.v1` on a raw socket: it sends the commands that a test gives it, reads every event in turn,
//! and answers nothing by itself.

use serde_json::{Value, json};

use super::PATIENCE;
use super::frame::{self, Received, text};
use super::raw::{Socket, handshake};
use super::server::Server;

/// The header that offers the dialect.
pub(crate) const OFFER: &str = "Sec-WebSocket-Protocol: throng.v1\r\n";

/// A connection on which `throng.v1` was selected; see the module's documentation.
pub(crate) struct Speaker {
    pub(crate) socket: Socket,
    /// The first event.
    pub(crate) welcome: Value,
    commands: u64,
}

/// Offers the dialect on `path`, with `headers` as further lines, and asserts that the server selects it.
#[track_caller]
pub(crate) fn offered(mut socket: Socket, path: &str, headers: &str) -> Socket {
    socket.send(handshake(path, &format!("{OFFER}{headers}")));
    assert_eq!(socket.expect_upgrade().header("sec-websocket-protocol"), Some("throng.v1"));
    socket
}

impl Speaker {
    /// Connects to `path`, the part behind `/ws/chat/`, and reads the welcome.
    #[track_caller]
    pub(crate) fn enter(server: &Server, path: &str) -> Self {
        Self::on(Socket::connect(server.address()), path, "")
    }

    /// Connects as [`Speaker::enter`] does, and reads the presence event of its own entry.
    #[track_caller]
    pub(crate) fn alone(server: &Server, path: &str) -> Self {
        let mut speaker = Self::enter(server, path);
        speaker.expect("presence_diff");
        speaker
    }

    /// Connects as [`Speaker::enter`] does, on a socket of the test's choice and with further header lines.
    #[track_caller]
    pub(crate) fn on(socket: Socket, path: &str, headers: &str) -> Self {
        let mut speaker = Self::unwelcome(socket, path, headers);
        speaker.welcome = speaker.expect("welcome");
        speaker
    }

    /// Connects with a socket as [`Speaker::on`] does, but does not expect `welcome`: another connection may take the
    /// user id over before it is sent.
    #[track_caller]
    pub(crate) fn unwelcome(socket: Socket, path: &str, headers: &str) -> Self {
        let socket = offered(socket, &format!("/ws/chat/{path}"), headers);
        Self { socket, welcome: Value::Null, commands: 0 }
    }

    /// Returns a field of the welcome.
    #[track_caller]
    pub(crate) fn welcome_field(&self, field: &str) -> &str {
        self.welcome[field].as_str().unwrap_or_else(|| panic!("no {field}: {}", self.welcome))
    }

    /// Sends a command as it is.
    #[track_caller]
    pub(crate) fn send(&mut self, command: &Value) {
        self.socket.send(text(command.to_string()));
    }

    /// Returns the next event as it stands on the wire.
    #[track_caller]
    pub(crate) fn raw(&mut self) -> String {
        self.socket.read_text()
    }

    /// Returns the next event.
    #[track_caller]
    pub(crate) fn event(&mut self) -> Value {
        let raw = self.raw();
        serde_json::from_str(&raw).unwrap_or_else(|error| panic!("{error}: {raw}"))
    }

    /// Returns the next event, which must be of this type.
    #[track_caller]
    pub(crate) fn expect(&mut self, kind: &str) -> Value {
        let event = self.event();
        assert_eq!(event["type"], kind, "{event:.300}");
        event
    }

    /// Skips events up to one of this type, and returns that.
    #[track_caller]
    pub(crate) fn find(&mut self, kind: &str) -> Value {
        loop {
            let event = self.event();
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// Asserts that the next event is this message; returns its offset.
    #[track_caller]
    pub(crate) fn expect_message(&mut self, user: &str, message: &str) -> u64 {
        let event = self.expect("message");
        assert_eq!((&event["user"], &event["message"]), (&json!(user), &json!(message)), "{event}");
        event["offset"].as_u64().expect("an offset")
    }

    /// Sends a command with a new id; returns the id.
    #[track_caller]
    pub(crate) fn command(&mut self, mut command: Value) -> String {
        self.commands += 1;
        let id = format!("c{}", self.commands);
        command["id"] = id.as_str().into();
        self.send(&command);
        id
    }

    /// Sends a command; returns the next event, which must be its answer and of this type.
    #[track_caller]
    pub(crate) fn ask(&mut self, command: Value, kind: &str) -> Value {
        let id = self.command(command);
        let answer = self.expect(kind);
        assert_eq!(answer["re"], id, "{answer:.300}");
        answer
    }

    /// Sends a command that must be refused at once with this code; returns the refusal.
    #[track_caller]
    pub(crate) fn ask_refused(&mut self, command: Value, code: &str) -> Value {
        let shown = command.to_string();
        let error = self.ask(command, "error");
        assert_eq!(error["code"], code, "to {shown:.200}: {error}");
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
        error
    }

    /// Says `message` in `room`; returns the ack, which must come right behind the message.
    #[track_caller]
    pub(crate) fn say(&mut self, room: &str, message: &str) -> Value {
        let id = self.command(json!({"type": "message", "room": room, "message": message}));
        let own = self.expect("message");
        assert_eq!((&own["message"], &own["room"]), (&json!(message), &json!(room)), "{own:.300}");
        let ack = self.expect("ack");
        assert_eq!((&ack["re"], &ack["offset"]), (&json!(id), &own["offset"]), "{ack}");
        ack
    }

    /// Says `message` in `room` without an echo; returns the ack, which comes in place of the message.
    #[track_caller]
    pub(crate) fn say_quietly(&mut self, room: &str, message: &str) -> Value {
        self.ask(json!({"type": "message", "room": room, "message": message, "echo": false}), "ack")
    }

    /// Asserts that nothing has come before the answer to a ping that is sent now.
    #[track_caller]
    pub(crate) fn expect_nothing(&mut self) {
        self.ask(json!({"type": "ping"}), "pong");
    }

    /// Returns the next frame of any kind.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Received {
        self.socket.read_frame()
    }

    /// Asserts that the `disconnect`, the close with this code and reason, and the end come next; returns the
    /// `disconnect`.
    #[track_caller]
    pub(crate) fn expect_end(&mut self, code: u16, reason: &str) -> Value {
        let advice = self.event();
        expect_advice(&advice, code, reason);
        assert_eq!(self.socket.read_close(), (code, reason.to_owned()));
        self.socket.expect_eof();
        advice
    }

    /// Reads up to the close; returns the last event before it and the close's code. `None` when a reset overtook it.
    #[track_caller]
    pub(crate) fn skip_to_end(&mut self) -> Option<(Value, u16)> {
        let mut last = Value::Null;
        loop {
            let Ok(frame) = self.socket.try_frame(PATIENCE) else { return None };
            match frame.opcode {
                frame::CLOSE => return Some((last, frame.closing().0)),
                frame::TEXT => last = serde_json::from_slice(&frame.payload).expect("JSON"),
                _ => {}
            }
        }
    }
}

/// Asserts that an event is the `disconnect` that announces a close with this code and reason, and that its advice
/// about reconnecting fits the code.
#[track_caller]
pub(crate) fn expect_advice(event: &Value, code: u16, reason: &str) {
    let after_ms = event["after_ms"].as_u64().unwrap_or_else(|| panic!("no advice: {event}"));
    let reconnect = matches!(code, 1001 | 1009 | 1011..=1013 | 3000 | 3008 | 4000..4500);
    let expected = json!({
        "type": "disconnect", "code": code, "reason": reason, "reconnect": reconnect, "after_ms": after_ms,
    });
    assert_eq!(event, &expected);
    let range = match code {
        _ if !reconnect => 0..=0,
        1001 | 1012 => 1_000..=5_000,
        1011 | 1013 | 4002 => 5_000..=20_000,
        _ => 0..=1_000,
    };
    assert!(range.contains(&after_ms), "{event}");
}
