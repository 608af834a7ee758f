//! A client's part in what it is sent: it keeps its positions, settles its commands, and records everything.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::record::{Event, Name, Position};
use super::super::socket::Socket;
use super::{Life, Pending, RETRY_AFTER, name};

/// Parses the id of a message, as `EPOCH-OFFSET`.
fn id_of(message: &Value) -> Position {
    let (epoch, offset) = message["id"].as_str().and_then(|id| id.rsplit_once('-')).unwrap_or_default();
    Position { epoch: epoch.into(), offset: offset.parse().unwrap_or(0) }
}

impl Life {
    pub(super) async fn heard(&mut self, socket: &mut Socket, event: &Value) {
        let room = name(event, "room");
        let number = |field: &str| event[field].as_u64().unwrap_or(0);
        match event["type"].as_str().unwrap_or_default() {
            "message" => {
                self.step(&room, number("offset"));
                let (user, text) =
                    (name(event, "user"), event["message"].as_str().unwrap_or_default().to_owned());
                self.record(Event::Message { room, offset: number("offset"), id: id_of(event), user, text });
            }
            "gap" => {
                self.step(&room, number("to"));
                self.record(Event::Gap { room, from: number("from"), to: number("to") });
            }
            "epoch" => {
                let epoch = name(event, "epoch");
                if let Some(position) = self.positions.get_mut(&room) {
                    position.epoch = epoch.clone();
                }
                self.record(Event::Epoch { room, epoch, offset: number("offset") });
            }
            "ack" | "joined" | "history" | "error" => self.answered(event, room),
            // A broken connection is noticed by the next read.
            "heartbeat" => drop(socket.send(&json!({"type": "heartbeat_ack"})).await),
            "presence_diff" | "disconnect" => {}
            _ => self.strange(event.to_string()),
        }
    }

    /// Notes that the client has seen a room up to this offset.
    fn step(&mut self, room: &Name, offset: u64) {
        if let Some(position) = self.positions.get_mut(room) {
            position.offset = position.offset.max(offset);
        }
    }

    fn answered(&mut self, event: &Value, room: Name) {
        let command = event["re"].as_str().and_then(|re| re.parse().ok()).unwrap_or(0);
        let Some(pending) = self.pending.remove(&command) else {
            return self.strange(format!("answers nothing: {event}"));
        };
        let number = |field: &str| event[field].as_u64().unwrap_or(0);
        let code = event["code"].as_str().unwrap_or_default();
        match (pending, event["type"].as_str().unwrap_or_default()) {
            (Pending::Message(message), "ack") => {
                let duplicate = event["duplicate"] == true;
                if !message.echo && !duplicate {
                    self.step(&room, number("offset"));
                }
                let at = Position { epoch: name(event, "epoch"), offset: number("offset") };
                self.record(Event::Acked { command, at, duplicate });
            }
            (Pending::Message(message), "error") => {
                self.record(Event::Refused { command, code: code.to_owned() });
                if code == "unavailable" {
                    self.send_again(message, Instant::now() + RETRY_AFTER);
                } else {
                    self.strange(event.to_string());
                }
            }
            (Pending::Join(asked_room, asked), "joined") if asked_room == room => {
                self.enter(&room, asked, event);
            }
            (Pending::Join(room, _), "error") if code == "unavailable" => {
                self.to_join.insert(room, Instant::now() + RETRY_AFTER);
            }
            (Pending::History, "history") => {
                let messages = event["messages"].as_array().into_iter().flatten().map(|message| {
                    let text = message["message"].as_str().unwrap_or_default().to_owned();
                    (id_of(message), name(message, "user"), text)
                });
                let messages = messages.collect();
                self.record(Event::Page { room, epoch: name(event, "epoch"), messages });
            }
            (Pending::History, "error") if code == "unavailable" => {}
            (pending, _) => self.strange(format!("not the answer to {pending:?}: {event}")),
        }
    }
}
