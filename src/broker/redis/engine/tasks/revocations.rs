//! Revokes tokens on all nodes, and keeps this node's revocations up to date.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::Tasks;
use super::backoff::Failed;
use super::control::Heard;
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::control::requests::DIRECT_MS;
use crate::broker::redis::control::{Order, Outcome};
use crate::broker::redis::engine::pacing::Urgency;
use crate::broker::redis::host::Host;
use crate::broker::redis::nodes::NodeName;
use crate::broker::redis::revocations::{self, Cursor};
use crate::broker::redis::users::{RevokeAnswer, RevokeFailure};
use crate::revocation::Revocation;

/// Longest attempt to store a revocation, in milliseconds.
const STORE_MS: u64 = 2_000;
/// Time between two looks at the version of the table. A look costs the engine some microseconds; a node that has
/// missed a message is behind for so long at most.
const LOOK: Duration = Duration::from_millis(900);
/// Time before the next look when one has failed.
const AGAIN: Duration = Duration::from_millis(100);

impl<L: Host> Tasks<L> {
    /// Revokes tokens on all nodes, and answers the worker.
    pub(super) async fn answer_revoke(
        self: Rc<Self>,
        revocation: Revocation,
        weaker: Option<Revocation>,
        answer: RevokeAnswer,
    ) {
        answer(self.revoke(revocation, weaker).await);
    }

    /// Stores a revocation, and tells all nodes. Returns the number of connections that end. A node that does not
    /// answer reads it with its next look at the table.
    async fn revoke(
        self: &Rc<Self>,
        revocation: Revocation,
        weaker: Option<Revocation>,
    ) -> Result<usize, RevokeFailure> {
        let until_ms = self.clock.now_ms() + STORE_MS;
        let store = || revocations::store(&self.keys, &revocation, weaker.as_ref());
        let stored = self.run_until(until_ms, Urgency::Urgent, || true, store, revocations::is_stored).await;
        match stored {
            Ok(true) => {}
            Ok(false) => return Err(RevokeFailure::Full),
            Err(Failed::NotDone) => return Err(RevokeFailure::NoEngine),
            Err(Failed::Unknown) => return Err(RevokeFailure::Unknown),
        }
        let mut orders = JoinSet::new();
        for (node, incarnation) in self.other_nodes() {
            orders.spawn_local(Rc::clone(self).order(
                node,
                incarnation,
                Order::Revoke(revocation),
                DIRECT_MS,
            ));
        }
        let mut closed = self.host().revoke(vec![revocation]).await;
        while let Some(heard) = orders.join_next().await {
            if let Ok(Heard::Outcome(Outcome::Revoked(count))) = heard {
                closed += count as usize;
            }
        }
        Ok(closed)
    }

    fn other_nodes(&self) -> Vec<(NodeName, Incarnation)> {
        let (nodes, own) = (self.nodes.borrow(), self.by());
        let others = nodes.live().filter(|node| node.incarnation != own);
        others.map(|node| (node.name.clone(), node.incarnation)).collect()
    }

    /// Reads the revocations as long as the node runs. The node enters the table of nodes when it has read them once.
    pub(super) async fn keep_revocations(self: Rc<Self>) {
        let mut known = Bytes::new();
        loop {
            self.server_is_up().await;
            match self.read_revocations(&known).await {
                Ok(version) => {
                    known = version;
                    self.has_revocations.set(true);
                    self.revocations_read.notify_one();
                    tokio::time::sleep(LOOK).await;
                }
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// Reads all revocations, unless the version of the table is `known`. Returns the version.
    async fn read_revocations(&self, known: &Bytes) -> Result<Bytes, Failed> {
        let (mut cursor, mut version) = (Cursor::default(), None);
        loop {
            let call = revocations::read(&self.keys, known, cursor);
            let page = self.run(call, Urgency::Usual, revocations::page).await?;
            cursor = cursor.after(&page);
            let has_next = page.has_next();
            // Those that came during the reading may be missing: the version of the first page is not theirs.
            let version = version.get_or_insert(page.version);
            if !page.revocations.is_empty() {
                let ending = self.host().revoke(page.revocations);
                // There are no connections, and no workers to end them, before the first reading.
                if self.has_revocations.get() {
                    ending.await;
                }
            }
            if !has_next {
                return Ok(version.clone());
            }
        }
    }

    /// Waits until the revocations have been read once.
    pub(super) async fn revocations_are_read(&self) {
        while !self.has_revocations.get() {
            self.revocations_read.notified().await;
        }
    }
}
