//! Orders to other nodes that wait, releases of user ids that wait or are done, and nodes whose users are taken over.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};

use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::control::Outcome;
use crate::names::{ConnectionId, UserId};
use crate::shrink::ShrinkWhenSparse;

/// Time for which a release that is done may be lost, in milliseconds: a replica that takes the master's place may lack
/// the last moments.
const MAY_BE_LOST_MS: u64 = 60_000;
/// Most releases that are remembered for that. The oldest are forgotten first; their entries live on until they expire
/// or until another node asks for the connection.
const MAX_DONE: usize = 16_384;

/// Takes the outcome of an order; it is dropped when the node is silent.
pub(super) type Waiter = oneshot::Sender<Outcome>;

/// A release that waits: each connection has one at the end, and one more if another node asks for it.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) user: UserId,
    pub(super) connection: ConnectionId,
    /// The incarnation that has claimed it.
    pub(super) by: Incarnation,
}

/// The releases of the node. Those that wait are bounded by the number of the connections, and by that of the claims
/// that were not answered, which are refused when too many releases wait.
#[derive(Debug, Default)]
pub(super) struct Releases {
    pub(super) waiting: RefCell<VecDeque<Release>>,
    pub(super) under_way: Cell<usize>,
    /// Connections whose claim is being repeated, with the release that waits for that.
    pub(super) claiming: RefCell<FxHashMap<ConnectionId, Option<Release>>>,
    /// Releases that a server has carried out lately, each with the time of its answer.
    done: RefCell<VecDeque<(u64, Release)>>,
}

impl Releases {
    pub(super) fn are_done(&self) -> bool {
        self.waiting.borrow().is_empty() && self.under_way.get() == 0 && self.claiming.borrow().is_empty()
    }

    /// Remembers a release that a server has carried out.
    pub(super) fn remember(&self, release: Release, now: u64) {
        let mut done = self.done.borrow_mut();
        let is_over = |(at, _): &(u64, Release)| at + MAY_BE_LOST_MS < now;
        while done.len() >= MAX_DONE || done.front().is_some_and(is_over) {
            done.pop_front();
        }
        done.push_back((now, release));
        done.shrink_when_sparse();
    }

    /// Returns the releases that a server with other data may lack.
    pub(super) fn take_doubtful(&self, now: u64) -> impl Iterator<Item = Release> {
        let done = self.done.take().into_iter();
        done.filter(move |(at, _)| at + MAY_BE_LOST_MS >= now).map(|(_, release)| release)
    }
}

/// Nodes that have died, whose lists of users are being taken over.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// The incarnation under which this node is entered among those that tell, and when that was, in milliseconds of
    /// the node's clock.
    pub(super) entered: Cell<Option<(Incarnation, u64)>>,
    /// Incarnations that tell and were not in the last table of nodes. They may be newer than that table.
    pub(super) suspects: RefCell<BTreeSet<Incarnation>>,
    pub(super) is_looking: Cell<bool>,
    /// Incarnations whose users are being taken over.
    pub(super) under_way: RefCell<BTreeSet<Incarnation>>,
}
