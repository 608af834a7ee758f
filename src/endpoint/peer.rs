//! What an endpoint gets to work with: its connection, and the messages that come in there.

use std::sync::Arc;

use crate::chat::rate_limit::{Allowance, Limiter, Refused};
use crate::config::Config;
use crate::node::Node;
use crate::protocol::close::EndReason;
use crate::protocol::command::Parser;
use crate::protocol::event::{CommandError, v1};
use crate::protocol::frame::Frame;
use crate::registry::Registration;

/// A connection as its endpoint sees it.
#[derive(Debug)]
pub struct Peer<'a> {
    /// Its place in the registry.
    pub registration: &'a Registration,
    /// The node.
    pub node: &'a Arc<Node>,
    /// The worker's JSON parser.
    pub parser: &'a mut Parser,
    /// What the connection has used of its rates.
    pub allowance: &'a mut Allowance,
    /// Now, in milliseconds of the node's clock, as of the wake of the connection's task.
    pub now_ms: u64,
}

impl Peer<'_> {
    /// Answers the client. What is queued is written when the messages that were read together are done.
    pub fn reply(&self, frame: &Frame) {
        self.registration.reply(frame);
    }

    /// Counts a command that was refused for its rate: as a strike where the connection itself has used up what it may
    /// send, and not where others of its user's name have.
    ///
    /// # Errors
    /// As [`Peer::strike`].
    pub(super) fn rate_limited(&mut self) -> Result<(), EndReason> {
        if let Some(limiter) = &self.node.limiter
            && !self.allowance.is_used_up(self.now_ms, limiter)
        {
            self.registration.shard().metrics().rate_limited.add(1);
            return Ok(());
        }
        self.strike()
    }

    /// Answers what was refused of the chat: `re` is the id of the command, where there is one.
    pub fn refuse(&self, re: Option<&str>, error: CommandError) {
        self.registration.shard().metrics().failed(error.code());
        self.reply(&v1::error(re, error));
    }

    /// Now, in the shard's milliseconds, by which [`Endpoint::next_due_ms`](super::Endpoint::next_due_ms) goes.
    pub(super) fn shard_ms(&self) -> u64 {
        self.registration.shard().now_ms()
    }

    /// Counts something that was refused for its rate.
    ///
    /// # Errors
    /// [`EndReason::RateLimited`] when there were more than `rate_limit.strikes` within a minute.
    pub fn strike(&mut self) -> Result<(), EndReason> {
        self.registration.shard().metrics().rate_limited.add(1);
        match &self.node.limiter {
            Some(limiter) if self.allowance.strike(self.now_ms, limiter) => Err(EndReason::RateLimited),
            _ => Ok(()),
        }
    }

    /// Takes something off what the client may still do, where there are rate limits.
    pub(super) fn spend(
        &mut self,
        take: impl FnOnce(&mut Allowance, u64, &Limiter) -> Result<(), Refused>,
    ) -> Result<(), CommandError> {
        match &self.node.limiter {
            Some(limiter) => Ok(take(self.allowance, self.now_ms, limiter)?),
            None => Ok(()),
        }
    }

    pub(super) fn config(&self) -> &Config {
        &self.node.config
    }
}

/// A data message.
#[derive(Debug)]
pub enum Message<'a> {
    /// Text, checked to be UTF-8. Mutable because the JSON parser works in place.
    Text(&'a mut [u8]),
    /// Bytes.
    Binary(&'a mut [u8]),
}
