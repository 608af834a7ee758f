//! Checks of the messages that one client sees in one room: guarantees G1, G2, G3 and G5.

use std::collections::HashMap;

use serde_json::Value;

use super::log::Entry;
use super::{Checker, Conn, Guarantee, Position, number, text};

/// A connection's view of a room.
#[derive(Debug)]
pub(super) struct Seat {
    /// `None` for a plain client that has seen no message yet.
    pub(super) epoch: Option<String>,
    /// The last offset that was seen or that a `gap` named as lost.
    pub(super) last: u64,
    /// The offset that `welcome` or `joined` named. It may be the room's last: up to there, a hole is a broken resume.
    pub(super) top: u64,
    /// The room was recovered and no message has come yet: the next one must be the first missed message.
    pub(super) is_recovering: bool,
    /// The event that named the current position.
    pub(super) text: String,
    /// The offsets of the last `gap`.
    pub(super) gap: (u64, u64),
    /// Users, each with whether the last event about it was a join.
    pub(super) users: HashMap<String, bool>,
    /// The number of members that the last presence event gave.
    pub(super) members: Option<u64>,
}

impl Seat {
    /// Makes the seat of a plain client, which is not told its position.
    pub(super) fn of_plain_client() -> Self {
        Self {
            epoch: None,
            last: 0,
            top: 0,
            is_recovering: false,
            text: String::new(),
            gap: (0, 0),
            users: HashMap::new(),
            members: None,
        }
    }
}

impl Checker {
    pub(super) fn welcome(&mut self, conn: Conn, event: &Value, raw: &str) {
        let connection = &mut self.connections[conn.0];
        connection.is_welcome = true;
        let (room, resume) = connection.entry.clone();
        let known = connection.known.clone();
        if text(event, "room") != room || text(event, "user") != connection.user {
            let what = format!("asked for room {room:?} as {:?}", connection.user);
            self.blame(conn, Guarantee::Protocol, &room, None, &what, "", raw);
        }
        self.enter(conn, &room, resume.as_ref(), event, raw);
        self.remembers(conn, &room, resume.as_ref(), known, event, raw);
    }

    /// Checks, for rooms that survive a restart, that every message is there that was known when the client asked.
    pub(super) fn remembers(
        &mut self,
        conn: Conn,
        room: &str,
        resume: Option<&Position>,
        known: Option<Position>,
        event: &Value,
        raw: &str,
    ) {
        let Some((epoch, last)) = known else { return };
        let is_recovered = event["recovered"] == true;
        let is_there = resume.is_some_and(|(asked, offset)| *asked == epoch && *offset <= last);
        let what = if text(event, "epoch") != epoch {
            "another epoch, though the room had messages"
        } else if !is_recovered && number(event, "offset") < last {
            "a room that is not as long as it was"
        } else if is_there && !is_recovered {
            "a position that the room had, and has no more"
        } else {
            return;
        };
        let before = self.log.text(room, &epoch, last).to_owned();
        self.blame(conn, Guarantee::Ack, room, Some(last), what, &before, raw);
    }

    /// Checks `welcome` or `joined`: from now on the client is in the room, at this position.
    pub(super) fn enter(
        &mut self,
        conn: Conn,
        room: &str,
        resume: Option<&Position>,
        event: &Value,
        raw: &str,
    ) {
        let (epoch, top) = (text(event, "epoch"), number(event, "offset"));
        let recovered = event["recovered"].as_bool();
        if resume.is_some() {
            self.counts.recovered += u64::from(recovered == Some(true));
            self.counts.not_recovered += u64::from(recovered == Some(false));
        }
        let wrong = match (recovered, resume) {
            _ if epoch.is_empty() || !event["offset"].is_u64() => Some("no position"),
            (None, _) => Some("not said whether recovered"),
            (Some(true), None) => Some("recovered without having asked"),
            (Some(true), Some((asked, _))) if asked != epoch => Some("recovered from another epoch"),
            (Some(true), Some((_, asked))) if *asked > top => Some("recovered from the future"),
            _ => None,
        };
        let client = self.connections[conn.0].client.clone();
        let mark = self.marks.entry((client, room.to_owned(), epoch.to_owned())).or_insert(0);
        let seen = *mark;
        let last = match resume {
            Some((_, asked)) if recovered == Some(true) => *asked,
            _ => top,
        };
        *mark = if recovered == Some(true) { seen.max(last) } else { last };
        let seat = Seat {
            epoch: Some(epoch.to_owned()),
            last,
            top,
            is_recovering: recovered == Some(true),
            text: raw.to_owned(),
            members: event["members"].as_u64(),
            ..Seat::of_plain_client()
        };
        let asked = resume.map_or("no position".to_owned(), |(epoch, offset)| format!("{epoch}:{offset}"));
        if let Some(what) = wrong {
            self.blame(conn, Guarantee::Resume, room, Some(top), what, &asked, raw);
        } else if recovered == Some(false) && top < seen {
            let before = self.log.text(room, epoch, seen).to_owned();
            self.blame(
                conn,
                Guarantee::Resume,
                room,
                Some(top),
                "behind the messages seen already",
                &before,
                raw,
            );
        }
        self.connections[conn.0].seats.insert(room.to_owned(), seat);
    }

    /// Returns the client's seat in the room of an event; a violation when it is not in that room.
    pub(super) fn seat(&mut self, conn: Conn, room: &str, raw: &str) -> Option<&mut Seat> {
        if !self.connections[conn.0].seats.contains_key(room) {
            self.blame(conn, Guarantee::Delivery, room, None, "of a room that the client is not in", "", raw);
        }
        self.connections[conn.0].seats.get_mut(room)
    }

    pub(super) fn message(&mut self, conn: Conn, event: &Value, raw: &str) {
        let (room, offset) = (text(event, "room").to_owned(), number(event, "offset"));
        let Some((epoch, offset_text)) = text(event, "id").rsplit_once('-') else {
            return self.blame(conn, Guarantee::Protocol, &room, Some(offset), "no id", "", raw);
        };
        let epoch = epoch.to_owned();
        let offset_is_right = offset_text.parse() == Ok(offset);
        let Some(seat) = self.seat(conn, &room, raw) else { return };
        if seat.epoch.is_none() {
            (seat.epoch, seat.last) = (Some(epoch.clone()), offset.saturating_sub(1));
        }
        if seat.epoch.as_ref() != Some(&epoch) || !offset_is_right {
            let before = seat.text.clone();
            let what = "an id of another offset or epoch, without a close";
            return self.blame(conn, Guarantee::Order, &room, Some(offset), what, &before, raw);
        }
        let client = self.connections[conn.0].client.clone();
        let entry = Entry {
            user: text(event, "user").to_owned(),
            message: text(event, "message").to_owned(),
            ts: Some(number(event, "ts")),
            raw: raw.to_owned(),
            client,
            fresh_acks: 0,
        };
        self.compare(conn, &room, &epoch, offset, entry);
        self.advance(conn, &room, offset, raw);
    }

    /// Adds a message that the client has seen to the common log, and compares it with what other clients saw.
    pub(super) fn compare(&mut self, conn: Conn, room: &str, epoch: &str, offset: u64, entry: Entry) {
        let (raw, is_ack) = (entry.raw.clone(), entry.ts.is_none());
        if let Err(clash) = self.log.add(room, epoch, offset, entry) {
            let guarantee = if is_ack || clash.is_of_ack { Guarantee::Ack } else { Guarantee::Order };
            let what = format!("client {} saw another message there", clash.client);
            self.blame(conn, guarantee, room, Some(offset), &what, &clash.raw, &raw);
        }
    }

    /// Notes that the client has seen the message at `offset`.
    pub(super) fn advance(&mut self, conn: Conn, room: &str, offset: u64, raw: &str) {
        let connection = &mut self.connections[conn.0];
        let Some(seat) = connection.seats.get_mut(room) else { return };
        let wrong = if offset == seat.last + 1 {
            None
        } else if seat.is_recovering || (seat.last < seat.top && offset > seat.last) {
            Some((Guarantee::Resume, "not exactly what was missed"))
        } else if offset <= seat.last {
            Some((Guarantee::Delivery, "seen on this connection already"))
        } else {
            Some((Guarantee::NoSilentGap, "a hole"))
        };
        let expected = seat.last + 1;
        let before = std::mem::replace(&mut seat.text, raw.to_owned());
        seat.last = seat.last.max(offset);
        seat.is_recovering = false;
        let epoch = seat.epoch.clone().unwrap_or_default();
        if let Some((guarantee, what)) = wrong {
            let what = format!("{what}: {expected} should be next");
            self.blame(conn, guarantee, room, Some(offset), &what, &before, raw);
            return;
        }
        self.account(conn, room, &epoch, offset, offset, raw);
    }

    /// Checks that a client sees the offsets of a room without a hole over all of its connections, duplicates dropped.
    fn account(&mut self, conn: Conn, room: &str, epoch: &str, from: u64, to: u64, raw: &str) {
        let client = self.connections[conn.0].client.clone();
        let is_plain = self.connections[conn.0].is_plain;
        let mark = self.marks.entry((client, room.to_owned(), epoch.to_owned())).or_insert(0);
        let seen = *mark;
        *mark = seen.max(to);
        if from > seen + 1 && !is_plain {
            let before = self.log.text(room, epoch, seen).to_owned();
            let what = format!("neither seen nor told of on any connection: {}", seen + 1);
            self.blame(conn, Guarantee::Delivery, room, Some(from), &what, &before, raw);
        }
    }

    pub(super) fn gap(&mut self, conn: Conn, event: &Value, raw: &str) {
        let (room, from, to) = (text(event, "room").to_owned(), number(event, "from"), number(event, "to"));
        self.counts.gaps += 1;
        let Some(seat) = self.seat(conn, &room, raw) else { return };
        let expected = seat.last + 1;
        let before = std::mem::replace(&mut seat.text, raw.to_owned());
        seat.last = seat.last.max(to);
        seat.gap = (from, to);
        seat.is_recovering = false;
        let epoch = seat.epoch.clone().unwrap_or_default();
        if from != expected || to < from {
            let what = format!("a gap that does not begin at {expected}");
            return self.blame(conn, Guarantee::NoSilentGap, &room, Some(from), &what, &before, raw);
        }
        self.account(conn, &room, &epoch, from, to, raw);
    }
}
