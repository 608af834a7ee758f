//! Private messages: to every connection of a user, at once and never stored.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::Node;
use super::publish::refusal;
use crate::chat::keys::Keys;
use crate::faults::{self, Fault};
use crate::names::{Epoch, Key, UserId};
use crate::protocol::event::{CommandError, v1};

/// Stripes of the keys, far more than threads. [`Directs::expire`] visits one at a time.
const STRIPES: usize = 64;

/// A key belongs to its sender and recipient; it stands for the number of connections that took the message.
type Sent = Keys<(UserId, UserId, Key), usize>;

/// What a node keeps of its private messages: their count, for ids, and the keys of the last five minutes.
#[derive(Debug)]
pub(super) struct Directs {
    epoch: Epoch,
    count: AtomicU64,
    keys: Box<[Mutex<Sent>]>,
    hasher: RandomState,
}

impl Default for Directs {
    fn default() -> Self {
        Self {
            epoch: Epoch::random(),
            count: AtomicU64::new(0),
            keys: (0..STRIPES).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Directs {
    fn stripe(&self, from: &UserId) -> &Mutex<Sent> {
        &self.keys[self.hasher.hash_one(from) as usize % STRIPES]
    }

    /// Forgets old keys in one stripe. `turn` chooses it: count it up.
    pub(super) fn expire(&self, turn: usize, now_ms: u64) {
        self.keys[turn % STRIPES].lock().expire(now_ms);
    }
}

impl Node {
    /// Hands a message to every connection of `to`; returns how many there were. The same `key` within five minutes
    /// hands it over once: a retry gets the same answer.
    ///
    /// # Errors
    /// [`CommandError::UserNotFound`]; [`CommandError::RateLimited`] beyond `limits.max_keys_per_user`;
    /// [`CommandError::Unavailable`] when no inbox has space. Nobody got it then.
    pub fn direct(
        &self,
        from: &UserId,
        to: &UserId,
        text: &str,
        key: Option<Key>,
        now_ms: u64,
    ) -> Result<usize, CommandError> {
        let key = key.filter(|_| !faults::is_on(Fault::ForgetPrivateKey));
        let Some(key) = key else { return self.hand_over(from, to, text, now_ms) };
        let key = (from.clone(), to.clone(), key);
        // Held while it is handed over: of two who try at once one waits for the answer of the other.
        let mut sent = self.directs.stripe(from).lock();
        if let Some(delivered) = sent.find(&key, now_ms) {
            return Ok(delivered);
        }
        self.broker.count_key(from, self.clock.unix_ms_at(now_ms)).map_err(refusal)?;
        let handed = self.hand_over(from, to, text, now_ms);
        match handed {
            Ok(delivered) => sent.insert(key, delivered, now_ms),
            Err(_) => self.broker.uncount_key(from),
        }
        handed
    }

    fn hand_over(&self, from: &UserId, to: &UserId, text: &str, now_ms: u64) -> Result<usize, CommandError> {
        let connections = self.registry.directory.find(to);
        if connections.is_empty() {
            return Err(CommandError::UserNotFound);
        }
        let number = self.directs.count.fetch_add(1, Relaxed) + 1;
        let frame = v1::direct(from, text, self.directs.epoch, number, self.clock.unix_ms_at(now_ms));
        match connections.iter().filter(|id| self.registry.send(**id, &frame)).count() {
            0 => Err(CommandError::Unavailable),
            delivered => Ok(delivered),
        }
    }
}
