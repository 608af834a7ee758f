//! Checks of the answers to a client's commands, and of private messages.

use serde_json::Value;

use super::ledger::Outcome;
use super::log::Entry;
use super::{Checker, Conn, Guarantee, Pending, number, text};

impl Checker {
    pub(super) fn reply(&mut self, conn: Conn, kind: &str, event: &Value, raw: &str) {
        let Some(re) = event["re"].as_str() else {
            // The answer to a command without an id.
            return;
        };
        let Some((pending, command)) = self.connections[conn.0].pending.remove(re) else {
            return self.blame(conn, Guarantee::Protocol, "", None, "answers nothing", "", raw);
        };
        let named = text(event, "room");
        match (pending, kind) {
            (Pending::Message(index), "ack") => self.ack(conn, index, event, &command, raw),
            (Pending::Message(index), "error") => {
                self.ledger.attempts[index].outcome = Outcome::Refused(text(event, "code").to_owned());
            }
            (Pending::Direct(key), "ack") if number(event, "delivered") > 0 => {
                let from = self.connections[conn.0].user.clone();
                let Some((to, key)) = key else { return };
                if let Err(what) = self.ledger.delivered(&from, &to, &key, number(event, "delivered")) {
                    self.blame(conn, Guarantee::Ack, "", None, &what, &command, raw);
                }
            }
            // A node that may have delivered it did not answer in time.
            (Pending::Direct(_), "ack") if self.has_several_nodes => {}
            (Pending::Join { room, resume, known }, "joined") if named == room => {
                if self.connections[conn.0].seats.contains_key(&room) {
                    let what = "joined, but the client was in the room";
                    self.blame(conn, Guarantee::Protocol, &room, None, what, &command, raw);
                }
                self.enter(conn, &room, resume.as_ref(), event, raw);
                self.remembers(conn, &room, resume.as_ref(), known, event, raw);
            }
            (Pending::Leave { room }, "left") if named == room => {
                if self.connections[conn.0].seats.remove(&room).is_none() {
                    let what = "left, but the client was not in the room";
                    self.blame(conn, Guarantee::Protocol, &room, None, what, &command, raw);
                }
            }
            (Pending::History { room }, "history") if named == room => self.history(conn, &room, event, raw),
            (Pending::Presence { room }, "presence") if named == room => {}
            (Pending::Ping, "pong") => {}
            (Pending::Message(_) | Pending::Ping, _) | (_, "ack" | "joined" | "left" | "pong") => {
                self.blame(conn, Guarantee::Protocol, named, None, "not the answer to this", &command, raw);
            }
            (_, "error") => {}
            _ => self.blame(conn, Guarantee::Protocol, named, None, "not the answer to this", &command, raw),
        }
    }

    fn ack(&mut self, conn: Conn, index: usize, event: &Value, command: &str, raw: &str) {
        let (epoch, offset) = (text(event, "epoch").to_owned(), number(event, "offset"));
        let duplicate = event["duplicate"].as_bool().unwrap_or(false);
        self.counts.duplicates += u64::from(duplicate);
        let attempt = &self.ledger.attempts[index];
        let (room, echo) = (attempt.room.clone(), attempt.echo);
        let entry = Entry {
            user: attempt.user.clone(),
            message: attempt.message.clone(),
            ts: None,
            raw: command.to_owned(),
            client: self.connections[conn.0].client.clone(),
            fresh_acks: u32::from(!duplicate),
        };
        if text(event, "room") != room || epoch.is_empty() || offset == 0 {
            let what = "an ack names room, epoch and offset";
            return self.blame(conn, Guarantee::Ack, &room, Some(offset), what, command, raw);
        }
        if let Err(what) = self.ledger.acked(index, &epoch, offset, duplicate) {
            self.blame(conn, Guarantee::Ack, &room, Some(offset), &what, command, raw);
        }
        self.compare(conn, &room, &epoch, offset, entry);
        if self.log.get(&room, &epoch, offset).is_some_and(|entry| entry.fresh_acks > 1) {
            let before = self.log.text(&room, &epoch, offset).to_owned();
            self.blame(conn, Guarantee::Ack, &room, Some(offset), "acknowledged as new twice", &before, raw);
        }
        // A duplicate names an old position. A client that has left meanwhile has no seat in the room any more.
        let Some(seat) = self.connections[conn.0].seats.get(&room).filter(|_| !duplicate) else { return };
        if seat.epoch.as_ref() != Some(&epoch) {
            let before = seat.text.clone();
            return self.blame(conn, Guarantee::Ack, &room, Some(offset), "another epoch", &before, raw);
        }
        if !echo {
            return self.advance(conn, &room, offset, raw);
        }
        let is_in_sequence = seat.last == offset || seat.last + 1 == offset;
        let is_dropped = (seat.gap.0..=seat.gap.1).contains(&offset);
        if !is_in_sequence && !is_dropped {
            let (what, before) =
                (format!("an ack out of sequence: {} was last", seat.last), seat.text.clone());
            self.blame(conn, Guarantee::Ack, &room, Some(offset), &what, &before, raw);
        }
    }

    fn history(&mut self, conn: Conn, room: &str, event: &Value, raw: &str) {
        let epoch = text(event, "epoch").to_owned();
        let client = self.connections[conn.0].client.clone();
        let mut last = None;
        for message in event["messages"].as_array().into_iter().flatten() {
            let offset = number(message, "offset");
            if last.is_some_and(|last| offset != last + 1) || text(message, "room") != room {
                let what = format!("a history that is not in order behind {last:?}");
                self.blame(conn, Guarantee::Order, room, Some(offset), &what, "", raw);
            }
            last = Some(offset);
            let entry = Entry {
                user: text(message, "user").to_owned(),
                message: text(message, "message").to_owned(),
                ts: Some(number(message, "ts")),
                raw: message.to_string(),
                client: client.clone(),
                fresh_acks: 0,
            };
            self.compare(conn, room, &epoch, offset, entry);
        }
    }

    pub(super) fn direct(&mut self, conn: Conn, event: &Value, raw: &str) {
        let (from, message) = (text(event, "user").to_owned(), text(event, "message").to_owned());
        let to = self.connections[conn.0].user.clone();
        let sent = self.ledger.directs(&from, &to, &message);
        let seen = self.connections[conn.0].directs.entry((from, message)).or_default();
        *seen += 1;
        if *seen > sent {
            let what = format!("seen {seen} times, sent to {to} {sent} times");
            self.blame(conn, Guarantee::Delivery, "", None, &what, "", raw);
        }
    }
}
