//! The judge of `throng.v1`: it reads every command that a client sent and every event that it received, as text, and
//! reports which guarantee of the protocol they break. It knows nothing of the server.
//!
//! A check that holds in any order of reading the clients is made at once. [`Checker::unsettled`] makes the checks that
//! hold when nothing is under way any more, and [`Checker::finish`] those that need all events. A logical client keeps
//! its name over its connections: the position from which it resumes is compared with the messages that it saw.
//!
//! `gap` names the first and the last lost offset. When `recovered`, the offset of `welcome` and `joined` is the
//! requested one or any later one of the room; otherwise the client is served from the offset behind it.

mod ledger;
mod log;
mod presence;
mod replies;
mod report;
mod stream;

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use ledger::Ledger;
use log::Log;
pub(crate) use report::{Guarantee, Report, Violation};
use stream::Seat;

impl Counts {
    /// Adds the counts of another judge.
    pub(crate) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.recovered += other.recovered;
        self.not_recovered += other.not_recovered;
        self.duplicates += other.duplicates;
        self.gaps += other.gaps;
    }
}

/// One connection of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conn(usize);

/// A position in a room: epoch and offset.
pub(crate) type Position = (String, u64);

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The client closed, with or without a close frame, or the link broke: commands on their way may have arrived.
    Ours,
    /// The server closed with this code.
    Closed(u16),
}

/// The answer that a command must get.
#[derive(Debug)]
enum Pending {
    Message(usize),
    /// A private message with a key: its recipient and the key.
    Direct(Option<(String, String)>),
    Join {
        room: String,
        resume: Option<Position>,
        known: Option<Position>,
    },
    Leave {
        room: String,
    },
    History {
        room: String,
    },
    Presence {
        room: String,
    },
    Ping,
}

#[derive(Debug)]
struct Connection {
    client: String,
    user: String,
    /// The room of the connection's path, and the position it asked for.
    entry: (String, Option<Position>),
    /// The last message of that room that any client knew of then, on a server that must not lose it.
    known: Option<Position>,
    is_plain: bool,
    is_welcome: bool,
    is_open: bool,
    /// The `disconnect` after which nothing may come.
    farewell: Option<(u64, String)>,
    seats: HashMap<String, Seat>,
    pending: HashMap<String, (Pending, String)>,
    directs: HashMap<(String, String), u64>,
}

/// The judge of one test; see the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    connections: Vec<Connection>,
    log: Log,
    ledger: Ledger,
    /// The last offset that a client has seen or knows to be lost, by client, room and epoch, over all its connections.
    marks: HashMap<(String, String, String), u64>,
    report: Report,
    /// The rooms drop messages for a client that does not read. Presence notices have no offset, so no gap tells of
    /// dropped ones: the users that such a client sees are not checked.
    is_lossy: bool,
    /// Every message that any client knows of must be there after a restart, however the server ended.
    is_durable: bool,
    /// The server is several nodes, which may not hear in time where a private message has come.
    pub(crate) has_several_nodes: bool,
    /// Counts of the events that the test needs to have happened.
    pub(crate) counts: Counts,
}

/// Counts of the events that are hard to get right.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) events: u64,
    /// Requests for a position that were recovered.
    pub(crate) recovered: u64,
    /// Requests for a position that were not recovered.
    pub(crate) not_recovered: u64,
    pub(crate) duplicates: u64,
    pub(crate) gaps: u64,
}

/// Returns a text field; empty when it is missing.
fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or("")
}

/// Returns a number field; 0 when it is missing.
fn number(event: &Value, field: &str) -> u64 {
    event[field].as_u64().unwrap_or(0)
}

impl Checker {
    /// Makes the judge of a server that, if `is_lossy`, drops messages for a client that does not read.
    pub(crate) fn new(is_lossy: bool) -> Self {
        Self { is_lossy, ..Self::default() }
    }

    /// Makes it the judge of a server whose rooms survive a restart (`history.dir`) and keep every message of the test.
    pub(crate) fn durable(self) -> Self {
        Self { is_durable: true, ..self }
    }

    /// Notes that the server was ended and started again.
    pub(crate) fn restarted(&mut self) {
        self.ledger.restarted();
    }

    /// Returns the position of a room's last known message, if the server must not lose it.
    fn known(&self, room: &str) -> Option<Position> {
        if self.is_durable { self.log.end(room) } else { None }
    }

    /// Returns the last position of every room.
    pub(crate) fn ends(&self) -> BTreeMap<String, Position> {
        self.log.rooms().filter_map(|room| Some((room.to_owned(), self.log.end(room)?))).collect()
    }

    /// Notes that `client` connects as `user` to `room`, in `throng.v1`, and resumes from a position if it has one.
    pub(crate) fn connect(&mut self, client: &str, user: &str, room: &str, resume: Option<Position>) -> Conn {
        self.add(client, user, (room.to_owned(), resume), false)
    }

    /// Notes that `client` connects in the plain dialect, whose messages have positions, too.
    pub(crate) fn connect_plain(&mut self, client: &str, user: &str, room: &str) -> Conn {
        let conn = self.add(client, user, (room.to_owned(), None), true);
        self.connections[conn.0].seats.insert(room.to_owned(), Seat::of_plain_client());
        conn
    }

    fn add(&mut self, client: &str, user: &str, entry: (String, Option<Position>), is_plain: bool) -> Conn {
        let known = self.known(&entry.0);
        self.connections.push(Connection {
            client: client.to_owned(),
            user: user.to_owned(),
            entry,
            known,
            is_plain,
            is_welcome: is_plain,
            is_open: true,
            farewell: None,
            seats: HashMap::new(),
            pending: HashMap::new(),
            directs: HashMap::new(),
        });
        Conn(self.connections.len() - 1)
    }

    /// Notes a command that the client is about to send: it may arrive even if the connection breaks meanwhile. Text
    /// that is not a JSON object is ignored.
    pub(crate) fn sent(&mut self, conn: Conn, command: &str) {
        let Ok(value) = serde_json::from_str::<Value>(command) else { return };
        let connection = &self.connections[conn.0];
        let user = connection.user.clone();
        let room = match value["room"].as_str() {
            Some(room) if !connection.is_plain => room.to_owned(),
            _ => connection.entry.0.clone(),
        };
        let kind = if connection.is_plain { "message" } else { text(&value, "type") };
        let pending = match kind {
            "message" => Pending::Message(self.ledger.attempt(&user, &room, &value)),
            "direct" => Pending::Direct(self.ledger.direct(&user, &value)),
            "join" => {
                let resume = &value["resume"];
                let position = || (text(resume, "epoch").to_owned(), number(resume, "offset"));
                let known = self.known(&room);
                Pending::Join { room, resume: resume.is_object().then(position), known }
            }
            "leave" => Pending::Leave { room },
            "history" => Pending::History { room },
            "presence" => Pending::Presence { room },
            "ping" => Pending::Ping,
            _ => return,
        };
        if let Some(id) = value["id"].as_str() {
            let known = self.connections[conn.0].pending.insert(id.to_owned(), (pending, command.to_owned()));
            assert!(known.is_none(), "the test uses the id {id:?} twice on one connection");
        }
    }

    /// Judges a text that the client received; returns it as JSON, `null` when it is none.
    pub(crate) fn received(&mut self, conn: Conn, raw: &str) -> Value {
        self.counts.events += 1;
        let event = serde_json::from_str(raw).unwrap_or_default();
        self.judge(conn, &event, raw);
        event
    }

    fn judge(&mut self, conn: Conn, event: &Value, raw: &str) {
        let kind = text(event, "type");
        let connection = &self.connections[conn.0];
        if let Some((_, farewell)) = &connection.farewell {
            let farewell = farewell.clone();
            return self.blame(conn, Guarantee::Protocol, "", None, "after a disconnect", &farewell, raw);
        }
        if kind != "disconnect" && (kind == "welcome") == connection.is_welcome {
            return self.blame(
                conn,
                Guarantee::Protocol,
                "",
                None,
                "a welcome comes first and once",
                "",
                raw,
            );
        }
        match kind {
            "welcome" => self.welcome(conn, event, raw),
            "message" => self.message(conn, event, raw),
            "gap" => self.gap(conn, event, raw),
            "ack" | "joined" | "left" | "history" | "presence" | "pong" | "error" => {
                self.reply(conn, kind, event, raw);
            }
            "direct" => self.direct(conn, event, raw),
            "presence_diff" => self.presence_diff(conn, event, raw),
            "typing" => {
                self.seat(conn, text(event, "room"), raw);
            }
            "disconnect" => {
                self.connections[conn.0].farewell = Some((number(event, "code"), raw.to_owned()));
            }
            "heartbeat" => {}
            "system" if connection.is_plain => {}
            _ => self.blame(conn, Guarantee::Protocol, "", None, "no such event in this dialect", "", raw),
        }
    }

    /// Notes the end of a connection.
    pub(crate) fn closed(&mut self, conn: Conn, end: End) {
        let connection = &mut self.connections[conn.0];
        connection.is_open = false;
        connection.seats.clear();
        connection.pending.clear();
        let End::Closed(code) = end else { return };
        if connection.is_plain || !connection.is_welcome {
            return;
        }
        let (announced, raw) = connection.farewell.clone().unwrap_or_default();
        if announced != u64::from(code) {
            let what = "every close that the server starts is announced with its code";
            self.blame(conn, Guarantee::Protocol, "", None, what, &raw, &format!("close {code}"));
        }
    }

    /// Returns the client's position in `room`, from which it would resume.
    pub(crate) fn position(&self, conn: Conn, room: &str) -> Option<Position> {
        let seat = self.connections[conn.0].seats.get(room)?;
        Some((seat.epoch.clone()?, seat.last))
    }

    /// Returns every room that the connection is in.
    pub(crate) fn rooms(&self, conn: Conn) -> Vec<String> {
        self.connections[conn.0].seats.keys().cloned().collect()
    }

    /// True when every command with an id has been answered.
    pub(crate) fn is_answered(&self, conn: Conn) -> bool {
        self.connections[conn.0].pending.is_empty()
    }

    /// True once a promise has been broken.
    pub(crate) fn is_broken(&self) -> bool {
        self.report.count > 0
    }

    /// Returns the faults that must vanish once nothing is under way any more: unanswered commands, members behind the
    /// last message of their room, users who are shown in a room that they are not in. Wait until it is empty.
    pub(crate) fn unsettled(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        for connection in self.connections.iter().filter(|connection| connection.is_open) {
            for (_, raw) in connection.pending.values() {
                found.push(connection.violation(Guarantee::Ack, "", None, "not answered", raw, ""));
            }
            for (room, seat) in &connection.seats {
                let last = seat.epoch.as_ref().map_or(0, |epoch| self.log.last(room, epoch));
                if last > seat.last && seat.epoch.is_some() {
                    let offset = Some(seat.last + 1);
                    let missing =
                        seat.epoch.as_ref().map_or("", |epoch| self.log.text(room, epoch, seat.last + 1));
                    let what = "the room has gone on, the client was told nothing";
                    found.push(connection.violation(
                        Guarantee::NoSilentGap,
                        room,
                        offset,
                        what,
                        missing,
                        &seat.text,
                    ));
                }
            }
        }
        self.presence_unsettled(&mut found);
        found
    }

    /// Returns every violation. It does not look at [unsettled](Checker::unsettled) faults again.
    pub(crate) fn finish(mut self) -> Report {
        self.ledger.finish(&self.log, &mut self.report);
        self.report
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a violation has that many parts, and this is its one maker"
    )]
    fn blame(
        &mut self,
        conn: Conn,
        guarantee: Guarantee,
        room: &str,
        offset: Option<u64>,
        what: &str,
        before: &str,
        now: &str,
    ) {
        let violation = self.connections[conn.0].violation(guarantee, room, offset, what, before, now);
        self.report.add(violation);
    }
}

impl Connection {
    fn violation(
        &self,
        guarantee: Guarantee,
        room: &str,
        offset: Option<u64>,
        what: &str,
        before: &str,
        now: &str,
    ) -> Violation {
        Violation {
            guarantee,
            client: self.client.clone(),
            room: room.to_owned(),
            offset,
            what: what.to_owned(),
            before: before.to_owned(),
            now: now.to_owned(),
        }
    }
}
