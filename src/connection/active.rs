//! The part of a connection that exists only while something is under way. Most connections are idle, and have none.

use bytes::Bytes;

use super::closing::Closing;
use super::reader::Reader;
use super::{Connection, WorkerContext};
use crate::prefetch::prefetch;
use crate::rate_limit::Allowance;

/// Time for which the part is kept though nothing is under way, in milliseconds, so that a client that speaks does not
/// cost an allocation for each message.
pub(super) const REST_MS: u64 = 1_000;

/// The part of a connection that exists only while something is under way: a message, the end, or what its rate limits
/// have to remember.
#[derive(Debug, Default)]
pub(super) struct Active {
    pub(super) reader: Reader,
    pub(super) allowance: Allowance,
    pub(super) closing: Option<Closing>,
    /// When it was last needed, in the shard's milliseconds.
    used_ms: u64,
}

impl Active {
    /// Makes the part of a connection that begins with bytes which followed its handshake, or with none. With
    /// `deflates` the client may send compressed messages.
    pub(super) fn with(leftover: Bytes, deflates: bool, now_ms: u64) -> Box<Self> {
        Box::new(Self { reader: Reader::new(leftover, deflates), used_ms: now_ms, ..Self::default() })
    }

    /// Makes the part of a connection that is ending.
    pub(super) fn ending(now_ms: u64) -> Box<Self> {
        Box::new(Self { closing: Some(Closing::new(now_ms)), ..Self::default() })
    }

    /// Returns the part, and makes it if there is none.
    pub(super) fn of(active: &mut Option<Box<Self>>, deflates: bool, now_ms: u64) -> &mut Self {
        let active = active.get_or_insert_with(|| Self::with(Bytes::new(), deflates, now_ms));
        active.used_ms = now_ms;
        active
    }

    /// True when nothing is under way or has to be remembered, and nothing was a moment ago.
    fn can_rest(&self, context: &WorkerContext, now_ms: u64) -> bool {
        if self.closing.is_some() || !self.reader.is_idle() || self.reader.has_held() {
            return false;
        }
        if now_ms < self.used_ms + REST_MS {
            return false;
        }
        let limiter = context.node.limiter.read();
        (**limiter).as_ref().is_none_or(|limiter| {
            let clock_ms = now_ms + context.shard.lost_ms();
            self.reader.is_rested(now_ms, &limiter.frames) && self.allowance.is_new(clock_ms, limiter)
        })
    }

    /// Prefetches the memory that a turn reads.
    pub(super) fn prefetch(&self) {
        prefetch(&self.reader);
        prefetch(&self.allowance);
    }
}

impl Connection {
    /// True when it holds memory that it needs only while something is under way.
    pub(super) fn is_active(&self) -> bool {
        self.active.is_some() || self.registration.is_busy()
    }

    /// Frees the memory that is needed only while something is under way, unless something is or was a moment ago.
    /// Returns true when none is left.
    pub(super) fn rest(&mut self, context: &WorkerContext, now_ms: u64) -> bool {
        let can_rest = self.active.as_ref().is_none_or(|active| active.can_rest(context, now_ms));
        if can_rest {
            self.active = None;
        }
        self.registration.rest() && can_rest
    }
}
