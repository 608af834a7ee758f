//! The requests of this node that wait for answers of other nodes.

use std::collections::{BTreeSet, HashMap};

use smallvec::SmallVec;

use super::message::{Answer, Kind, Outcome};
use crate::broker::redis::batch::Incarnation;

/// Time to wait for the answers to a private message, in milliseconds.
pub const DIRECT_MS: u64 = 1_000;
/// Time to wait for the answer to a probe, in milliseconds: two seconds for the connection, and one for the way.
pub const PROBE_MS: u64 = 3_000;
/// Time to wait for the answer to a question, in milliseconds.
pub const ASK_MS: u64 = 2_000;
/// Most requests that wait. They wait for a second or so and only as long as nodes are silent; each takes some 200
/// bytes.
pub const MAX_WAITING: usize = 16_384;

/// A request that all its nodes have answered, or for which the time is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done<W> {
    /// The task that gets the result.
    pub waiter: W,
    /// The nodes that have answered.
    pub outcomes: SmallVec<[(Incarnation, Outcome); 1]>,
    /// The nodes that have not.
    pub silent: SmallVec<[Incarnation; 1]>,
}

#[derive(Debug)]
struct Waiting<W> {
    kind: Kind,
    until_ms: u64,
    done: Done<W>,
}

/// The requests that wait. `W` stands for the task that gets the result.
#[derive(Debug)]
pub struct Requests<W> {
    by: Incarnation,
    last: u64,
    waiting: HashMap<u64, Waiting<W>>,
    /// The time and number of each request that waits.
    deadlines: BTreeSet<(u64, u64)>,
    silent: u64,
}

impl<W> Requests<W> {
    /// Begins without requests, for this incarnation.
    #[must_use]
    pub fn new(by: Incarnation) -> Self {
        Self { by, last: 0, waiting: HashMap::new(), deadlines: BTreeSet::new(), silent: 0 }
    }

    /// Notes a request to some nodes, and returns its number. Without nodes nobody would answer, and the request ends
    /// with its time.
    ///
    /// # Errors
    /// The waiter, when [`MAX_WAITING`] requests wait.
    pub fn begin(
        &mut self,
        kind: Kind,
        nodes: impl IntoIterator<Item = Incarnation>,
        until_ms: u64,
        waiter: W,
    ) -> Result<u64, W> {
        if self.waiting.len() >= MAX_WAITING {
            return Err(waiter);
        }
        let mut silent: SmallVec<[Incarnation; 1]> = nodes.into_iter().collect();
        silent.sort_unstable();
        silent.dedup();
        self.last += 1;
        let done = Done { waiter, outcomes: SmallVec::new(), silent };
        self.waiting.insert(self.last, Waiting { kind, until_ms, done });
        self.deadlines.insert((until_ms, self.last));
        Ok(self.last)
    }

    /// Takes an answer, and returns the request if that was the last one. An answer that nobody waits for changes
    /// nothing: it is late, doubled, or not for this incarnation.
    pub fn answered(&mut self, answer: &Answer) -> Option<Done<W>> {
        let Waiting { kind, done, .. } = self.waiting.get_mut(&answer.number)?;
        if answer.target != self.by || answer.outcome.kind() != *kind {
            return None;
        }
        let at = done.silent.iter().position(|node| *node == answer.by)?;
        done.silent.remove(at);
        done.outcomes.push((answer.by, answer.outcome.clone()));
        if done.silent.is_empty() { self.end(answer.number) } else { None }
    }

    /// Ends the requests that wait for this node alone, because it is dead: it counts as silent.
    pub fn died(&mut self, node: Incarnation) -> Vec<Done<W>> {
        let only = |waiting: &Waiting<W>| waiting.done.silent[..] == [node];
        let numbers: Vec<u64> =
            self.waiting.iter().filter(|(_, waiting)| only(waiting)).map(|(number, _)| *number).collect();
        numbers.into_iter().filter_map(|number| self.end(number)).collect()
    }

    /// Ends a request that could not be sent to any node.
    pub fn not_sent(&mut self, number: u64) -> Option<Done<W>> {
        self.end(number)
    }

    /// Ends the requests whose time is over.
    pub fn expired(&mut self, now_ms: u64) -> Vec<Done<W>> {
        let mut expired = Vec::new();
        while let Some((_, number)) = self.deadlines.first().filter(|(until_ms, _)| *until_ms <= now_ms) {
            expired.extend(self.end(*number));
        }
        expired
    }

    /// Returns the time of the next request that [`Requests::expired`] would end.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.deadlines.first().map(|(until_ms, _)| *until_ms)
    }

    /// Returns how often a node was silent so far.
    #[must_use]
    pub fn silent_count(&self) -> u64 {
        self.silent
    }

    /// Returns the number of requests that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// True when no request waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn end(&mut self, number: u64) -> Option<Done<W>> {
        let Waiting { until_ms, done, .. } = self.waiting.remove(&number)?;
        self.deadlines.remove(&(until_ms, number));
        self.silent += done.silent.len() as u64;
        Some(done)
    }
}
