//! The state that all connections of a worker share: its shard, its parsers, and the limits.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::deadlines::Times;
use super::parser::ParserPool;
use super::scanner::FrameLimits;
use crate::endpoint::TokenRenewal;
use crate::node::Node;
use crate::protocol::command::Parser;
use crate::shard::Shard;

/// The state that all connections of a worker share.
#[derive(Debug)]
pub struct WorkerContext {
    /// The node that the worker belongs to.
    pub node: Arc<Node>,
    /// The worker's shard.
    pub shard: Rc<Shard>,
    pub(super) json: RefCell<Parser>,
    pub(super) parsers: ParserPool,
    pub(super) limits: FrameLimits,
    pub(super) times: Times,
    /// Verifies tokens that clients send.
    pub(super) tokens: Arc<dyn TokenRenewal + Send + Sync>,
}

impl WorkerContext {
    /// Creates the context of the worker that owns `shard`. Tokens that clients send are verified by `tokens`.
    #[must_use]
    pub fn new(node: Arc<Node>, shard: Rc<Shard>, tokens: Arc<dyn TokenRenewal + Send + Sync>) -> Rc<Self> {
        let config = node.config();
        let millis = |duration: Duration| duration.as_millis() as u64;
        let limits = FrameLimits {
            message_bytes: config.limits.max_message_bytes,
            fragments: config.limits.max_fragments,
        };
        let times = Times {
            heartbeat_ms: millis(config.heartbeat.interval),
            pong_ms: millis(config.heartbeat.timeout),
            message_ms: millis(config.limits.message_timeout),
            stall_ms: millis(config.queue.max_age),
        };
        let parsers = ParserPool::new(limits.message_bytes);
        drop(config);
        Rc::new(Self { node, shard, json: Parser::default().into(), parsers, limits, times, tokens })
    }

    /// Returns when a token expires, in milliseconds of the shard's clock.
    pub(super) fn expires_ms(&self, until_unix_ms: i64) -> u64 {
        self.shard.clock_ms().saturating_add(self.node.ms_until(until_unix_ms))
    }
}
