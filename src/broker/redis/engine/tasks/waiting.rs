//! Orders to other nodes and releases of user ids that wait.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::control::Outcome;
use crate::names::{ConnectionId, UserId};

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

/// The releases of the node. Their number is bounded by that of the connections.
#[derive(Debug, Default)]
pub(super) struct Releases {
    pub(super) waiting: RefCell<VecDeque<Release>>,
    pub(super) under_way: Cell<usize>,
    /// Connections whose claim is being repeated, with the release that waits for that.
    pub(super) claiming: RefCell<FxHashMap<ConnectionId, Option<Release>>>,
}

impl Releases {
    pub(super) fn are_done(&self) -> bool {
        self.waiting.borrow().is_empty() && self.under_way.get() == 0 && self.claiming.borrow().is_empty()
    }
}
