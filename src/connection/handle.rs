//! Passes received messages and control frames to the endpoint.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::active::Active;
use super::reader::Incoming;
use super::{Connection, Reading, WorkerContext};
use crate::endpoint::{Endpoint, Message, Peer};
use crate::protocol::close::EndReason;
use crate::protocol::frame::{self, OpCode};
use crate::rate_limit::{Allowance, Refused};
use crate::shard::outbox::Kind;

/// The text that makes a connection panic outside its endpoint, in builds with the feature `fault-injection`.
#[cfg(feature = "fault-injection")]
const PANIC: &[u8] = b"throng:panic:turn";

impl Connection {
    /// Calls the endpoint. A panic in it ends this connection alone.
    pub(super) fn call(
        &mut self,
        context: &WorkerContext,
        now_ms: u64,
        f: impl FnOnce(&mut Endpoint, &mut Peer<'_>) -> Result<(), EndReason>,
    ) {
        let Some(endpoint) = &mut self.endpoint else { return };
        // An idle connection that is called has used up nothing.
        let mut allowance = self.active.as_ref().map_or_else(Allowance::default, |active| active.allowance);
        let before = allowance;
        let called = catch_unwind(AssertUnwindSafe(|| {
            let mut peer = Peer {
                registration: &mut self.registration,
                node: &context.node,
                parser: &mut context.json.borrow_mut(),
                allowance: &mut allowance,
                now_ms: now_ms + context.shard.lost_ms(),
                tokens: &*context.tokens,
                until_unix_ms: None,
            };
            let result = f(endpoint, &mut peer);
            peer.until_unix_ms.into_iter().for_each(|until| self.deadlines.renew(context.expires_ms(until)));
            result
        }));
        if allowance != before {
            Active::of(&mut self.active, self.deflates, now_ms).allowance = allowance;
        }
        match called {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => self.registration.end(reason),
            Err(_) => {
                tracing::error!(id = %self.registration.id(), "an endpoint panicked, its connection ends with 1011");
                self.registration.end(EndReason::Internal);
            }
        }
    }

    /// Handles a message or control frame.
    pub(super) fn handle(&mut self, context: &WorkerContext, incoming: Incoming, now_ms: u64) {
        match incoming {
            Incoming::Text(mut text) => {
                self.count_message(context);
                #[cfg(feature = "fault-injection")]
                assert!(text != PANIC, "a panic was asked for");
                self.call(context, now_ms, |endpoint, peer| endpoint.message(Message::Text(&mut text), peer));
            }
            Incoming::Binary(mut bytes) => {
                self.count_message(context);
                self.call(context, now_ms, |endpoint, peer| {
                    endpoint.message(Message::Binary(&mut bytes), peer)
                });
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
    pub(super) fn refuse(
        &mut self,
        context: &WorkerContext,
        incoming: Incoming,
        refused: Refused,
        now_ms: u64,
    ) {
        match incoming {
            Incoming::Text(mut text) => {
                self.count_message(context);
                self.call(context, now_ms, |endpoint, peer| {
                    endpoint.refuse(Message::Text(&mut text), refused, peer)
                });
            }
            Incoming::Binary(mut bytes) => {
                self.count_message(context);
                self.call(context, now_ms, |endpoint, peer| {
                    endpoint.refuse(Message::Binary(&mut bytes), refused, peer)
                });
            }
            Incoming::Ping(_) | Incoming::Pong => self.call(context, now_ms, |_, peer| peer.strike()),
            // A close is never refused.
            Incoming::Close(code) => self.registration.end(EndReason::PeerClosed(code)),
        }
    }

    /// Returns true for a client that only reads: it gets server-sent events.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self.endpoint, Some(Endpoint::Stream(_)))
    }

    /// Ends a client that should only read and has sent something, which nothing bounds.
    pub(super) fn end_talkative(&self, context: &WorkerContext) -> Reading {
        self.registration.end(EndReason::Protocol("nothing is read behind a request for events"));
        context.parsers.scratch.clear();
        Reading::Waiting
    }

    fn count_message(&mut self, context: &WorkerContext) {
        self.traffic.messages += 1;
        context.shard.metrics().messages_received.add(1);
    }
}
