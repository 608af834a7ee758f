//! Keeps the node's lease: its beats, and what follows from their answers.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::timeout;

use super::backoff::Failed;
use super::{Leaving, Tasks};
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::control::{Endings, Requests as ControlRequests};
use crate::broker::redis::engine::health::Refusal;
use crate::broker::redis::engine::pacing::Urgency;
use crate::broker::redis::host::Host;
use crate::broker::redis::nodes::beat::{self, Timing};
use crate::broker::redis::nodes::table::Table;
use crate::broker::redis::nodes::{Details, LEASE_MS, Lease, LeaseEvent, NodeEvent, NodeName, Overview};

/// Longest attempt to tell the engine that the node leaves, in milliseconds. The link may just be down.
const LEAVE_MS: u64 = 2_000;

impl<L: Host> Tasks<L> {
    /// Beats for as long as the node runs.
    pub(super) async fn keep_lease(self: Rc<Self>) {
        // Before any client comes: a revoked token must open nothing on a node that has just started.
        self.revocations_are_read().await;
        while self.leaving.get() == Leaving::NotYet {
            self.server_is_up().await;
            if self.leaving.get() != Leaving::NotYet {
                return;
            }
            let now = self.clock.now_ms();
            let due = self.lease.borrow_mut().due(now);
            let Some(beat) = due else {
                let next_ms = self.lease.borrow().next_ms();
                // Without a next beat the event before has asked for a pause, or the node stops.
                let pause_ms = next_ms.map_or(LEASE_MS, |next_ms| next_ms.saturating_sub(now).max(1));
                let _ = timeout(Duration::from_millis(pause_ms), self.hurry.notified()).await;
                continue;
            };
            let call = beat::call(&self.keys, &beat, &self.details(), Timing::default());
            let reply = self.run(call, Urgency::Urgent, beat::reply).await;
            let now = self.clock.now_ms();
            let event = match reply {
                Ok(reply) => self.lease.borrow_mut().answered(now, reply),
                Err(_) => {
                    self.lease.borrow_mut().failed(now);
                    None
                }
            };
            if let Some(event) = event {
                self.take_lease_event(event, now).await;
            }
        }
    }

    /// Returns the details for a beat.
    fn details(&self) -> Details {
        self.health.board.details(&self.plain_details).unwrap_or_else(|error| {
            tracing::error!(%error, "the counters of this node are missing on the dashboards of all nodes");
            self.plain_details.clone()
        })
    }

    /// Asks for the table of nodes before it is due, because a room has met a node that the last one lacks.
    pub(in crate::broker::redis::engine) fn hurry_table(&self) {
        self.lease.borrow_mut().hurry(self.clock.now_ms());
        self.hurry.notify_one();
    }

    pub(super) async fn server_is_up(&self) {
        loop {
            let up = self.up.notified();
            if self.is_up.get() {
                return;
            }
            up.await;
        }
    }

    async fn take_lease_event(self: &Rc<Self>, event: LeaseEvent, now: u64) {
        match event {
            LeaseEvent::Entered(table) | LeaseEvent::Renewed(table) => self.apply(table, now).await,
            LeaseEvent::Doubtful(table) => {
                tracing::warn!(
                    "the node was silent, or the engine has lost its table of nodes: user ids are claimed again"
                );
                self.doubt.notify_one();
                self.lost.entered.set(None);
                self.apply(table, now).await;
            }
            LeaseEvent::BeginAnew => self.begin_anew(now),
            LeaseEvent::NameTaken => self.keep_out(Refusal::NameTaken).await,
            LeaseEvent::TableFull => self.keep_out(Refusal::TableFull).await,
        }
    }

    /// Uses another table of nodes.
    async fn apply(self: &Rc<Self>, table: Table, now: u64) {
        let engine_ms = table.now_ms;
        let events = self.nodes.borrow_mut().apply(table);
        self.nodes_version.set(self.nodes_version.get() + 1);
        let has_died = events.iter().any(|event| matches!(event, NodeEvent::Died(..)));
        self.nodes_change.set(Some(has_died || self.nodes_change.get().unwrap_or(false)));
        for event in events {
            match event {
                NodeEvent::Joined(node, incarnation) if incarnation == self.by() => {
                    tracing::info!(%node, %incarnation, "this node is in the table of nodes");
                }
                NodeEvent::Joined(node, incarnation) => {
                    tracing::info!(%node, %incarnation, "a node has joined")
                }
                NodeEvent::Died(node, incarnation) => {
                    tracing::warn!(%node, %incarnation, "a node has left or is dead: its users can connect elsewhere");
                    let done = self.control.borrow_mut().died(incarnation);
                    done.into_iter().for_each(|done| self.finish(done));
                }
            }
        }
        let dead: Vec<(NodeName, Incarnation)> = {
            let nodes = self.nodes.borrow();
            self.endings.borrow_mut().keep_live(now, |incarnation| nodes.get(incarnation).is_some());
            self.health.nodes(nodes.live().count());
            self.health.board.set_overview(Overview {
                nodes: nodes.all().cloned().collect(),
                own: Some(self.by()),
                engine_ms,
                arrived_ms: now,
            });
            nodes.to_remove(self.by()).map(|(name, incarnation)| (name.clone(), incarnation)).collect()
        };
        self.health.entered();
        for (name, incarnation) in dead {
            let call = beat::remove(&self.keys, &name, incarnation, false);
            // A removal that fails is repeated with the next table.
            if let Err(Failed::Unknown) = self.run(call, Urgency::Usual, beat::removed).await {
                tracing::debug!(node = %name, "the engine did not say whether it has removed a node that is dead");
            }
        }
        self.look_for_lost();
    }

    /// Closes all clients and begins another incarnation: others have taken this node for dead, and have its users.
    fn begin_anew(&self, now: u64) {
        let by = Incarnation(fastrand::u64(..));
        tracing::error!(incarnation = %by, "other nodes took this one for dead: all clients are closed with 1012");
        self.health.begins_anew();
        *self.lease.borrow_mut() = Lease::new(self.node.clone(), by, now);
        *self.control.borrow_mut() = ControlRequests::new(by);
        *self.endings.borrow_mut() = Endings::new(by);
        // Before the rooms are abandoned: the first reason to end a connection counts.
        self.host().end_all();
        self.anew.set(Some(by));
        self.outbox.wake();
    }

    /// Stays out of the table of nodes. A node that has served clients before asks again, because it might only have
    /// stood still for too long.
    async fn keep_out(&self, refusal: Refusal) {
        if self.health.refuse_start(refusal) {
            return;
        }
        tracing::error!(%refusal, node = %self.node, "this node cannot enter the table of nodes, and tries again");
        tokio::time::sleep(Duration::from_millis(LEASE_MS)).await;
        let lease = Lease::new(self.node.clone(), self.by(), self.clock.now_ms());
        *self.lease.borrow_mut() = lease;
    }

    /// Removes the node's entry from the table, so that nobody has to wait until its lease is over.
    pub(super) async fn leave(self: Rc<Self>) {
        self.stop_telling().await;
        let is_entered = self.nodes.borrow().get(self.by()).is_some();
        if is_entered {
            let until_ms = self.clock.now_ms() + LEAVE_MS;
            let call = || beat::remove(&self.keys, &self.node, self.by(), true);
            let removed = self.run_until(until_ms, Urgency::Urgent, || true, call, beat::removed).await;
            if removed.is_err() {
                tracing::warn!(
                    "the engine did not hear that this node leaves: its name is free after its lease"
                );
            }
        }
        self.leaving.set(Leaving::Done);
    }
}
