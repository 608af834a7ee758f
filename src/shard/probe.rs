//! A probe: a ping to learn whether a client is alive, and the tasks that wait for the answer.

use smallvec::{SmallVec, smallvec};

use crate::registry::probe::{Asker, PROBE_MS};

/// Time for which an answer holds, in milliseconds. An asker within it gets that answer, and no ping is sent.
const ANSWER_HOLDS_MS: u64 = 1_000;
/// Most askers that wait for one answer. Further askers are told at once that the client is alive.
const MAX_WAITING: usize = 8;
/// Most askers from one address that wait for one answer. A user who reconnects over another line is one asker; behind
/// a shared address there may be a second.
const MAX_WAITING_OF_ONE: usize = 2;

/// A ping that waits for its answer, and after that the answer for as long as it holds.
#[derive(Debug)]
pub(super) struct Probe {
    waiting: SmallVec<[Asker; 1]>,
    is_answered: bool,
    /// Time until which the client may answer, or its answer holds, in the shard's milliseconds.
    pub(super) until_ms: u64,
}

impl Probe {
    /// Makes the probe for its first asker. The caller sends the ping.
    pub(super) fn new(asker: Asker, now_ms: u64) -> Self {
        Self { waiting: smallvec![asker], is_answered: false, until_ms: now_ms + PROBE_MS }
    }

    /// Lets another asker wait for the same answer. Tells it at once that the client is alive if that is known, or if
    /// too many wait already.
    pub(super) fn join(&mut self, asker: Asker) {
        self.waiting.retain(|waiting| !waiting.answer.is_closed());
        let of_one = self.waiting.iter().filter(|waiting| waiting.from == asker.from).count();
        if self.is_answered || self.waiting.len() >= MAX_WAITING || of_one >= MAX_WAITING_OF_ONE {
            // The asker may have gone meanwhile; then it needs no answer.
            let _ = asker.answer.send(true);
        } else {
            self.waiting.push(asker);
        }
    }

    /// Notes a sign of life of the client, which answers the probe.
    pub(super) fn heard(&mut self, now_ms: u64) {
        if !self.is_answered {
            self.is_answered = true;
            self.until_ms = now_ms + ANSWER_HOLDS_MS;
            self.answer(true);
        }
    }

    /// Answers all askers that wait.
    pub(super) fn answer(&mut self, is_alive: bool) {
        for asker in self.waiting.drain(..) {
            // The asker may have gone meanwhile; then it needs no answer.
            let _ = asker.answer.send(is_alive);
        }
    }
}
