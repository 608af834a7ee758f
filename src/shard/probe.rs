//! The question to a client whether it is alive, with all who wait for the answer.

use smallvec::{SmallVec, smallvec};

use crate::registry::probe::{Asker, PROBE_MS};

/// How long an answer holds for the next asker, in milliseconds. A client is not asked more often.
const ANSWER_HOLDS_MS: u64 = 1_000;
/// Most askers that wait for one answer. Further ones take the client for alive.
const MAX_WAITING: usize = 8;
/// Most askers of one origin that wait for one answer: a user who comes back over another line is one, behind a shared
/// address perhaps two.
const MAX_WAITING_OF_ONE: usize = 2;

/// An open question to a client, and for some time after it the answer.
#[derive(Debug)]
pub(super) struct Probe {
    waiting: SmallVec<[Asker; 1]>,
    is_answered: bool,
    /// Until when the client may answer, or its answer holds, in the shard's milliseconds.
    pub(super) until_ms: u64,
}

impl Probe {
    /// Makes the question of a first asker.
    pub(super) fn new(asker: Asker, now_ms: u64) -> Self {
        Self { waiting: smallvec![asker], is_answered: false, until_ms: now_ms + PROBE_MS }
    }

    /// Lets another asker wait for the same answer, or answers it at once.
    pub(super) fn join(&mut self, asker: Asker) {
        self.waiting.retain(|waiting| !waiting.answer.is_closed());
        let of_one = self.waiting.iter().filter(|waiting| waiting.from == asker.from).count();
        if self.is_answered || self.waiting.len() >= MAX_WAITING || of_one >= MAX_WAITING_OF_ONE {
            // An asker that has gone meanwhile wants no answer.
            let _ = asker.answer.send(true);
        } else {
            self.waiting.push(asker);
        }
    }

    /// Notes a sign of life of the client, which answers the question.
    pub(super) fn heard(&mut self, now_ms: u64) {
        if !self.is_answered {
            self.is_answered = true;
            self.until_ms = now_ms + ANSWER_HOLDS_MS;
            self.answer(true);
        }
    }

    /// Answers all who wait.
    pub(super) fn answer(&mut self, is_alive: bool) {
        for asker in self.waiting.drain(..) {
            // An asker that has gone meanwhile wants no answer.
            let _ = asker.answer.send(is_alive);
        }
    }
}
