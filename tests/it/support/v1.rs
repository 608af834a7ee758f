//! A client of `throng.v1` on a bare socket: it keeps its positions, resumes from them, and retries messages that have
//! a key and were not answered. Everything it sends and receives goes to the [checker](super::checker) first.
//!
//! It is small enough that ten thousand fit into a test: a socket, the bytes of an incomplete frame, and names.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::checker::{Checker, End, Position};
use super::client::patiently;
use super::frame::{self, Frame, Received};
use super::link::{Link, ServerAddress, connect};

/// Keyed messages that a client remembers for a retry.
const MAX_UNANSWERED: usize = 64;

/// Close codes that a client which keeps to the rules may get.
const SANE_ENDS: [u16; 5] = [1001, 1012, 1013, 4001, 4003];

/// The judge that all clients of a test share.
pub(crate) type Judge = Rc<RefCell<Checker>>;

/// The position with which a client reconnects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// No position.
    Fresh,
    /// The client's last position.
    Exact,
    /// A position this much earlier than the last.
    Stale(u64),
    /// A position that does not exist yet.
    Future,
    /// The offset of the last position with another epoch.
    WrongEpoch,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The client sends a close frame and reads everything up to its echo.
    Close,
    /// A FIN.
    Fin,
    /// A reset.
    Reset,
}

/// A thing that a client reads from its connection.
#[derive(Debug)]
pub(crate) enum Heard {
    /// An event.
    Event(Value),
    /// The end of the connection.
    End,
}

/// A keyed message that has not been answered yet.
#[derive(Debug, Clone)]
struct Keyed {
    to: Destination,
    key: String,
    text: String,
}

/// The destination of a message.
#[derive(Debug, Clone)]
pub(crate) enum Destination {
    Room(String),
    User(String),
}

/// A client that checks every promise of the protocol; see the module's documentation.
pub(crate) struct V1 {
    server: ServerAddress,
    judge: Judge,
    name: String,
    user: String,
    link: Option<Link>,
    session: Option<String>,
    /// Positions in its rooms when its last connection ended.
    positions: BTreeMap<String, Position>,
    /// Keyed messages without an answer, by the id of the command.
    unanswered: BTreeMap<String, Keyed>,
    counter: u64,
}

impl V1 {
    /// Makes a client that is not connected yet. Several clients may be the same user; names are unique.
    pub(crate) fn new(server: &ServerAddress, judge: &Judge, name: &str, user: &str) -> Self {
        Self {
            server: Rc::clone(server),
            judge: Rc::clone(judge),
            name: name.to_owned(),
            user: user.to_owned(),
            link: None,
            session: None,
            positions: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            counter: 0,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// Returns the rooms it is in, or was in when its connection ended.
    pub(crate) fn rooms(&self) -> Vec<String> {
        match &self.link {
            Some(link) => self.judge.borrow().rooms(link.conn),
            None => self.positions.keys().cloned().collect(),
        }
    }

    fn unique(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Returns a text that nobody has said.
    pub(crate) fn unique_text(&mut self) -> String {
        let number = self.unique();
        format!("{} says {number}", self.name)
    }

    fn unique_key(&mut self) -> String {
        let number = self.unique();
        format!("{}-{number}", self.name)
    }

    /// Returns the position that it asks for when it comes back to `room`.
    fn position(&self, room: &str, resume: Resume) -> Option<Position> {
        let (epoch, offset) = self.positions.get(room)?.clone();
        Some(match resume {
            Resume::Fresh => return None,
            Resume::Exact => (epoch, offset),
            Resume::Stale(back) => (epoch, offset.saturating_sub(back)),
            Resume::Future => (epoch, offset + 1_000_000),
            Resume::WrongEpoch => ("0000000000000".to_owned(), offset),
        })
    }

    /// Connects, enters `room` and every other room it was in, and sends unanswered messages again. Every command is
    /// answered when this returns; false when the server ended the connection meanwhile.
    pub(crate) async fn connect(&mut self, room: &str, resume: Resume) -> bool {
        assert!(self.link.is_none(), "{} is connected", self.name);
        let position = self.position(room, resume);
        let mut path = format!("/ws/chat/{}?room={room}", self.user);
        if let Some((epoch, offset)) = &position {
            path.push_str(&format!("&resume={epoch}:{offset}"));
        }
        if let Some(session) = &self.session {
            path.push_str(&format!("&session={session}"));
        }
        let conn = self.judge.borrow_mut().connect(&self.name, &self.user, room, position);
        let others: Vec<_> = self.positions.keys().filter(|other| *other != room).cloned().collect();
        let others: Vec<_> = others.into_iter().map(|other| (self.position(&other, resume), other)).collect();
        self.positions.clear();
        self.link = Some(patiently("handshake", connect(&self.server, conn, &path)).await);
        let Heard::Event(welcome) = self.next().await else { return false };
        self.session = welcome["session"].as_str().map(str::to_owned);
        for (position, other) in others {
            self.join(&other, position).await;
        }
        self.is_answered().await && self.retry().await
    }

    async fn retry(&mut self) -> bool {
        let rooms = self.rooms();
        for (_, keyed) in std::mem::take(&mut self.unanswered) {
            if !matches!(&keyed.to, Destination::Room(room) if !rooms.contains(room)) {
                self.say_again(keyed).await;
            }
        }
        self.is_answered().await
    }

    /// Sends a command with a new id, and returns the id.
    pub(crate) async fn command(&mut self, mut command: Value) -> String {
        let id = format!("c{}", self.unique());
        command["id"] = id.as_str().into();
        self.send_raw(&command.to_string()).await;
        id
    }

    /// Joins `room`, resuming from `position` if there is one.
    pub(crate) async fn join(&mut self, room: &str, position: Option<Position>) {
        let mut command = json!({"type": "join", "room": room});
        if let Some((epoch, offset)) = position {
            command["resume"] = json!({"epoch": epoch, "offset": offset});
        }
        self.command(command).await;
    }

    /// Says `text`, which nobody has said before, with or without a key.
    pub(crate) async fn say(&mut self, room: &str, text: String, has_key: bool, echo: bool) {
        if has_key && self.unanswered.len() < MAX_UNANSWERED {
            let key = self.unique_key();
            self.say_again(Keyed { to: Destination::Room(room.to_owned()), key, text }).await;
        } else {
            self.command(json!({"type": "message", "room": room, "message": text, "echo": echo})).await;
        }
    }

    /// Sends `user` a private message under a key, `times` times.
    pub(crate) async fn tell(&mut self, user: &str, text: String, times: usize) {
        let keyed = Keyed { to: Destination::User(user.to_owned()), key: self.unique_key(), text };
        for _ in 0..times {
            self.say_again(keyed.clone()).await;
        }
    }

    async fn say_again(&mut self, keyed: Keyed) {
        let Keyed { to, key, text } = &keyed;
        let id = self
            .command(match to {
                Destination::Room(room) => {
                    json!({"type": "message", "room": room, "message": text, "key": key})
                }
                Destination::User(user) => json!({"type": "direct", "to": user, "message": text, "key": key}),
            })
            .await;
        self.unanswered.insert(id, keyed);
    }

    /// Reads rooms from their first message on, up to `ends`.
    pub(crate) async fn read_all(&mut self, ends: &BTreeMap<String, Position>) {
        let Some(first) = ends.keys().next() else { return };
        self.positions = ends.iter().map(|(room, (epoch, _))| (room.clone(), (epoch.clone(), 0))).collect();
        self.connect(first, Resume::Exact).await;
        while let Some(link) = &self.link {
            let is_there = {
                let judge = self.judge.borrow();
                let at = |room: &String| judge.position(link.conn, room).map_or(0, |(_, offset)| offset);
                judge.is_broken() || ends.iter().all(|(room, (_, last))| at(room) >= *last)
            };
            if is_there {
                return self.cut(Cut::Close, first, 1.0).await;
            }
            patiently("what was said", self.next()).await;
        }
    }

    /// Sends a command as it is.
    pub(crate) async fn send_raw(&mut self, command: &str) {
        let Some(link) = &mut self.link else { return };
        self.judge.borrow_mut().sent(link.conn, command);
        // An error means that the link has ended. Reading reports that, after everything that came before it.
        let _ = patiently("the server takes a command", link.stream.write_all(&frame::text(command))).await;
    }

    /// Reads until every command is answered; false when the connection ended instead.
    pub(crate) async fn is_answered(&mut self) -> bool {
        loop {
            match &self.link {
                Some(link) if self.judge.borrow().is_answered(link.conn) => return true,
                Some(_) => {
                    patiently("an answer", self.next()).await;
                }
                None => return false,
            }
        }
    }

    /// Waits for the next event; for ever when there is no connection.
    ///
    /// # Cancel safety
    /// Cancel safe: bytes that were received stay in the buffer.
    pub(crate) async fn next(&mut self) -> Heard {
        loop {
            let Some(link) = &mut self.link else { std::future::pending().await };
            let Some(frame) = Received::take(&mut link.pending) else {
                match link.stream.read_buf(&mut link.pending).await {
                    Ok(1..) => continue,
                    Ok(0) | Err(_) => return self.ended(None),
                }
            };
            match frame.opcode {
                frame::TEXT => {
                    let text = String::from_utf8(frame.payload).expect("checked when it was read");
                    let event = self.heard(&text);
                    if event["type"] == "heartbeat" {
                        self.acknowledge_heartbeat();
                    }
                    return Heard::Event(event);
                }
                frame::PING => {
                    let _ = link.stream.try_write(&Frame::new(frame::PONG, frame.payload).bytes());
                }
                frame::CLOSE => return self.ended(Some(frame.closing().0)),
                _ => {}
            }
        }
    }

    /// Answers a heartbeat. The answer is small enough to be written without waiting, like a pong.
    fn acknowledge_heartbeat(&self) {
        if let Some(link) = &self.link {
            let _ = link.stream.try_write(&frame::text(r#"{"type":"heartbeat_ack"}"#));
        }
    }

    fn heard(&mut self, text: &str) -> Value {
        let Some(link) = &self.link else { return Value::Null };
        let mut judge = self.judge.borrow_mut();
        let event = judge.received(link.conn, text);
        if let Some(re) = event["re"].as_str() {
            self.unanswered.remove(re);
        }
        event
    }

    fn ended(&mut self, code: Option<u16>) -> Heard {
        let is_ours = self.link.as_ref().is_none_or(|link| link.is_closing);
        let is_sane = is_ours || code.is_none_or(|code| SANE_ENDS.contains(&code));
        assert!(is_sane, "{} keeps to the rules and was closed with {code:?}", self.name);
        self.forget(code.filter(|_| !is_ours).map_or(End::Ours, End::Closed));
        Heard::End
    }

    /// Ends the connection's state and keeps the positions.
    fn forget(&mut self, end: End) {
        let Some(link) = self.link.take() else { return };
        let mut judge = self.judge.borrow_mut();
        for room in judge.rooms(link.conn) {
            if let Some(position) = judge.position(link.conn, &room) {
                self.positions.insert(room, position);
            }
        }
        judge.closed(link.conn, end);
    }

    /// Sends a share of a message's bytes, from 0 to 1, and then ends the connection.
    pub(crate) async fn cut(&mut self, cut: Cut, room: &str, share: f64) {
        let text = self.unique_text();
        let key = self.unique_key();
        let id = format!("c{}", self.unique());
        let command = json!({"type": "message", "id": id, "room": room, "message": text, "key": key});
        let Some(link) = &mut self.link else { return };
        if cut == Cut::Close {
            link.is_closing = true;
            let _ = link.stream.write_all(&frame::close(1000, "")).await;
            while let Heard::Event(_) = patiently("the echo of a close", self.next()).await {}
            return;
        }
        let bytes = frame::text(command.to_string());
        let count = (bytes.len() as f64 * share) as usize;
        self.judge.borrow_mut().sent(link.conn, &command.to_string());
        self.unanswered.insert(id, Keyed { to: Destination::Room(room.to_owned()), key, text });
        let _ = link.stream.write_all(&bytes[..count.min(bytes.len())]).await;
        if cut == Cut::Reset {
            let _ = SockRef::from(&link.stream).set_linger(Some(Duration::ZERO));
        }
        self.forget(End::Ours);
    }
}
