//! The connection that an endpoint serves, and the messages that come in there.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::config::Config;
use crate::names::UserId;
use crate::node::Node;
use crate::protocol::close::EndReason;
use crate::protocol::command::Parser;
use crate::protocol::event::{CommandError, v1};
use crate::protocol::frame::Frame;
use crate::rate_limit::{Allowance, Limiter, Refused};
use crate::revocation::TokenMark;
use crate::shard::Registration;

/// A token that replaces the one of a connection.
#[derive(Debug)]
pub struct Renewed {
    /// Patterns of the rooms that it allows; `None` allows all.
    pub allowed: Option<Box<[String]>>,
    /// When it expires, in milliseconds since the Unix epoch.
    pub until_unix_ms: i64,
    /// The token, as revocations know it.
    pub mark: TokenMark,
}

/// Verifies tokens that come over open connections. The admission rules of the server do, which no endpoint knows.
pub trait TokenRenewal {
    /// Returns the token, if it is a good one of this user.
    ///
    /// # Errors
    /// [`CommandError::InvalidToken`], or [`CommandError::Unavailable`] while that cannot be told.
    fn renew(&self, token: &str, user: &UserId) -> Result<Renewed, CommandError>;
}

impl fmt::Debug for dyn TokenRenewal + Send + Sync + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenRenewal")
    }
}

/// The connection that an endpoint serves, with the tools to serve it.
#[derive(Debug)]
pub struct Peer<'a> {
    /// The connection's registration in its shard, through which it is sent frames.
    pub registration: &'a Registration,
    /// The node that the connection belongs to.
    pub node: &'a Arc<Node>,
    /// The worker's JSON parser.
    pub parser: &'a mut Parser,
    /// The part of its rate limits that the connection has used up.
    pub allowance: &'a mut Allowance,
    /// The time when the connection's turn began, in milliseconds of the node's clock.
    pub now_ms: u64,
    /// Verifies a token that the client sends.
    pub tokens: &'a (dyn TokenRenewal + Send + Sync),
    /// Set by the endpoint to the expiry of a new token, in milliseconds since the Unix epoch.
    pub until_unix_ms: Option<i64>,
}

impl Peer<'_> {
    /// Queues an answer to the client. Queued frames are written when all messages of one read have been handled.
    pub fn reply(&self, frame: &Frame) {
        self.registration.reply(frame);
    }

    /// Counts a command that was refused by a rate limit. It is a strike where the connection itself has used up its
    /// limit, but not where other connections of the same user have.
    ///
    /// # Errors
    /// As [`Peer::strike`].
    pub(super) fn rate_limited(&mut self) -> Result<(), EndReason> {
        if let Some(limiter) = &**self.node.limiter.read()
            && !self.allowance.is_used_up(self.now_ms, limiter)
        {
            self.registration.shard().metrics().rate_limited.add(1);
            return Ok(());
        }
        self.strike()
    }

    /// Answers a refused chat command with an error. `re` is the `id` of the command, if it has one.
    pub fn refuse(&self, re: Option<&str>, error: CommandError) {
        self.registration.shard().metrics().count_error(error.code());
        self.reply(&v1::error(re, error));
    }

    /// Returns the time in the shard's milliseconds, in which [`Endpoint::next_due_ms`](super::Endpoint::next_due_ms)
    /// is given.
    pub(super) fn shard_ms(&self) -> u64 {
        self.registration.shard().now_ms()
    }

    /// Counts a refusal by a rate limit as a strike against the connection.
    ///
    /// # Errors
    /// [`EndReason::RateLimited`] when there were more than `rate_limit.strikes` within a minute.
    pub fn strike(&mut self) -> Result<(), EndReason> {
        self.registration.shard().metrics().rate_limited.add(1);
        match &**self.node.limiter.read() {
            Some(limiter) if self.allowance.strike(self.now_ms, limiter) => Err(EndReason::RateLimited),
            _ => Ok(()),
        }
    }

    /// Takes something off the connection's rate limits, where there are any. `take` gets the allowance, the time and
    /// the limits.
    pub(super) fn spend(
        &mut self,
        take: impl FnOnce(&mut Allowance, u64, &Limiter) -> Result<(), Refused>,
    ) -> Result<(), CommandError> {
        match &**self.node.limiter.read() {
            Some(limiter) => Ok(take(self.allowance, self.now_ms, limiter)?),
            None => Ok(()),
        }
    }

    pub(super) fn config(&self) -> impl Deref<Target = Arc<Config>> + use<> {
        self.node.config()
    }
}

/// A data message from the client.
#[derive(Debug)]
pub enum Message<'a> {
    /// Text, checked to be UTF-8. Mutable because the JSON parser works in place.
    Text(&'a mut [u8]),
    /// Binary data.
    Binary(&'a mut [u8]),
}
