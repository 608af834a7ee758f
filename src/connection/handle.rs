//! What came in, handed to source it is for.

use super::Connection;
use super::reader::Incoming;
use crate::endpoint::Message;
use crate::protocol::close::EndReason;
use crate::protocol::frame::{self, OpCode};
use crate::rate_limit::Refused;
use crate::registry::outbox::Kind;

impl Connection {
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

    /// Handles what came too fast: a message is answered where there is a form for it, a ping is not.
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
            // Who goes is not held up.
            Incoming::Close(code) => self.registration.end(EndReason::PeerClosed(code)),
        }
    }

    fn count_message(&mut self) {
        self.traffic.messages += 1;
        self.context.shard.metrics().messages_received.add(1);
    }
}
