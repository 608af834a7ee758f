//! `/ws/heartbeat`: sends application heartbeats that the client has to acknowledge.

use std::time::Duration;

use serde::Serialize;

use super::peer::Peer;
use crate::protocol::close::EndReason;
use crate::protocol::command::Field;
use crate::protocol::event::{self, CommandError};
use crate::protocol::frame;
use crate::rate_limit::Strikes;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Answer<'a> {
    Message { content: &'a str },
    Error { message: &'a str },
}

/// The heartbeats of one connection.
#[derive(Debug)]
pub struct Heartbeat {
    interval_ms: u64,
    max_missed: usize,
    next_ms: u64,
    unacknowledged: usize,
    strikes: Strikes,
}

impl Heartbeat {
    /// Creates an endpoint that sends a heartbeat every `interval`, the first at once. It ends the connection when a
    /// heartbeat is due and `max_missed` are unacknowledged.
    #[must_use]
    pub fn new(interval: Duration, max_missed: usize) -> Self {
        let interval_ms = interval.as_millis() as u64;
        Self { interval_ms, max_missed, next_ms: 0, unacknowledged: 0, strikes: Strikes::default() }
    }

    pub(super) fn due_ms(&self) -> u64 {
        self.next_ms
    }

    pub(super) fn due(&mut self, peer: &Peer<'_>) -> Result<(), EndReason> {
        if peer.shard_ms() < self.next_ms {
            return Ok(());
        }
        if self.unacknowledged >= self.max_missed {
            return Err(EndReason::HeartbeatTimeout);
        }
        self.unacknowledged += 1;
        self.next_ms = peer.shard_ms() + self.interval_ms;
        peer.registration.ask();
        peer.reply(&frame::text(r#"{"type":"heartbeat"}"#));
        Ok(())
    }

    /// Answers a message that exceeded the rate limit.
    pub(super) fn refuse(error: CommandError, peer: &Peer<'_>) {
        peer.reply(&event::json(&Answer::Error { message: &error.to_string() }));
    }

    pub(super) fn text(&mut self, text: &mut [u8], peer: &mut Peer<'_>) -> Result<(), EndReason> {
        match peer.parser.parse(text) {
            Ok(fields) if fields.kind == Field::Text("heartbeat_ack") => self.unacknowledged = 0,
            Ok(fields) => {
                let content = if let Field::Text(content) = fields.content { content } else { "" };
                let content = &format!("Received: {content}");
                peer.reply(&event::json(&Answer::Message { content }));
            }
            Err(_) => {
                peer.reply(&event::json(&Answer::Error { message: "Invalid JSON format" }));
                if self.strikes.add(peer.now_ms, peer.config().limits.malformed_per_minute) {
                    return Err(EndReason::RepeatedlyMalformed);
                }
            }
        }
        Ok(())
    }
}
