//! The connections of other nodes that have lost their user id to a connection of this node. Each is ended by its node,
//! which is told again until it answers or is dead.

use std::collections::{BTreeSet, HashMap};

use super::message::{Answer, EndCause, Order, Outcome};
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::directory::Owner;
use crate::broker::redis::nodes::LEASE_MS;
use crate::names::UserId;

/// Pause before a node is told again, in milliseconds.
const AGAIN_MS: u64 = 1_000;
/// Most connections that are remembered. More have lost their user ids only if many nodes are silent; the directory
/// names the others to the next connection that claims the same user id.
pub const MAX_WAITING: usize = 65_536;
/// The numbers of these requests begin here, so that they differ from those of [`super::Requests`].
const FIRST: u64 = 1 << 63;

/// A connection that has to end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ending {
    /// The connection.
    pub owner: Owner,
    /// Its user.
    pub user: UserId,
}

/// A message that is due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DueEnding {
    /// The number of the request.
    pub number: u64,
    /// The connection, with the node that gets the message.
    pub owner: Owner,
    /// The order for the node.
    pub order: Order,
}

#[derive(Debug)]
struct Waiting {
    ending: Ending,
    noted_ms: u64,
    due_ms: u64,
}

/// The connections that have to end and whose nodes have not answered.
#[derive(Debug)]
pub struct Endings {
    by: Incarnation,
    last: u64,
    waiting: HashMap<u64, Waiting>,
    numbers: HashMap<Owner, u64>,
    /// The time at which each is to be told, and its number.
    due: BTreeSet<(u64, u64)>,
}

impl Endings {
    /// Begins without connections, for this incarnation.
    #[must_use]
    pub fn new(by: Incarnation) -> Self {
        Self { by, last: FIRST, waiting: HashMap::new(), numbers: HashMap::new(), due: BTreeSet::new() }
    }

    /// Notes a connection that has to end; its node is to be told at once. Returns false when too many wait. A
    /// connection that is noted already changes nothing.
    pub fn add(&mut self, ending: Ending, now_ms: u64) -> bool {
        if self.numbers.contains_key(&ending.owner) {
            return true;
        }
        if self.waiting.len() >= MAX_WAITING {
            return false;
        }
        self.last += 1;
        self.numbers.insert(ending.owner.clone(), self.last);
        self.waiting.insert(self.last, Waiting { ending, noted_ms: now_ms, due_ms: now_ms });
        self.due.insert((now_ms, self.last));
        true
    }

    /// Returns the next connection whose node is to be told now. Until the node answers, it is due again each second.
    pub fn due(&mut self, now_ms: u64) -> Option<DueEnding> {
        let (due_ms, number) = *self.due.first().filter(|(due_ms, _)| *due_ms <= now_ms)?;
        let waiting = self.waiting.get_mut(&number)?;
        waiting.due_ms = now_ms + AGAIN_MS;
        self.due.remove(&(due_ms, number));
        self.due.insert((waiting.due_ms, number));
        let Ending { owner, user } = &waiting.ending;
        let order =
            Order::End { connection: owner.connection, cause: EndCause::Replaced, user: user.clone() };
        Some(DueEnding { number, owner: owner.clone(), order })
    }

    /// Returns the time at which the next one is due.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.due.first().map(|(due_ms, _)| *due_ms)
    }

    /// Takes an answer, and returns the connection that it is about with what is missing in the bucket of its user.
    pub fn answered(&mut self, answer: &Answer) -> Option<(Ending, u64)> {
        let Outcome::Ended { missing, .. } = answer.outcome else { return None };
        let Waiting { ending, .. } = self.waiting.get(&answer.number)?;
        if answer.target != self.by || answer.by != ending.owner.incarnation {
            return None;
        }
        self.forget(answer.number).map(|ending| (ending, missing))
    }

    /// Forgets the connections whose nodes are dead, because they are gone with their nodes. To be called with each new
    /// table of nodes. A node that has just joined may not be in the table yet, so the last connections stay.
    pub fn keep_live(&mut self, now_ms: u64, is_live: impl Fn(Incarnation) -> bool) {
        let is_gone = |waiting: &Waiting| {
            now_ms >= waiting.noted_ms + LEASE_MS && !is_live(waiting.ending.owner.incarnation)
        };
        let gone = self.waiting.iter().filter(|(_, waiting)| is_gone(waiting));
        let numbers: Vec<u64> = gone.map(|(number, _)| *number).collect();
        for number in numbers {
            self.forget(number);
        }
    }

    /// Returns the number of connections whose nodes have not answered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// True when all nodes have answered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn forget(&mut self, number: u64) -> Option<Ending> {
        let Waiting { ending, due_ms, .. } = self.waiting.remove(&number)?;
        self.numbers.remove(&ending.owner);
        self.due.remove(&(due_ms, number));
        Some(ending)
    }
}
