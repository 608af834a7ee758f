//! Passes received messages and control frames to the endpoint.

use super::Connection;
use super::reader::Incoming;
use crate::endpoint::Message;
use crate::protocol::close::EndReason;
use crate::protocol::frame::{self, OpCode};
use crate::rate_limit::Refused;
use crate::shard::outbox::Kind;

impl Connection {
    /// Handles a message or control frame.
    pub(super) fn handle(&mut self, incoming: Incoming, now_ms: u64) {
        match incoming {
            Incoming::Text(mut text) => {
                self.count_message();
                self.call(now_ms, |endpoint, peer| endpoint.message(Message::Text(&mut text), peer));
            }
            Incoming::Binary(mut bytes) => {
                self.count_message();
                self.call(now_ms, |endpoint, peer| endpoint.message(Message::Binary(&mut bytes), peer));
            }
            Incoming::Ping(payload) => {
                self.registration.control(Kind::Pong, &frame::data(OpCode::Pong, &payload));
            }
            Incoming::Pong => {}
            Incoming::Close(code) => self.registration.end(EndReason::PeerClosed(code)),
        }
    }

    /// Handles a message or control frame over the rate limit: the endpoint answers a message with an error, and a ping
    /// counts as a strike without an answer.
    pub(super) fn refuse(&mut self, incoming: Incoming, refused: Refused, now_ms: u64) {
        match incoming {
            Incoming::Text(mut text) => {
                self.count_message();
                self.call(now_ms, |endpoint, peer| endpoint.refuse(Message::Text(&mut text), refused, peer));
            }
            Incoming::Binary(mut bytes) => {
                self.count_message();
                self.call(now_ms, |endpoint, peer| {
                    endpoint.refuse(Message::Binary(&mut bytes), refused, peer)
                });
            }
            Incoming::Ping(_) | Incoming::Pong => self.call(now_ms, |_, peer| peer.strike()),
            // A close is never refused.
            Incoming::Close(code) => self.registration.end(EndReason::PeerClosed(code)),
        }
    }

    fn count_message(&mut self) {
        self.traffic.messages += 1;
        self.context.shard.metrics().messages_received.add(1);
    }
}
