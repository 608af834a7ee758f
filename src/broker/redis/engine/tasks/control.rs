//! Orders to other nodes and their answers, and the orders of other nodes to this one.

use std::rc::Rc;

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::Tasks;
use super::waiting::Waiter;
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::control::endings::Ending;
use crate::broker::redis::control::{Answer, Done, EndCause, Message, Order, Outcome, Request};
use crate::broker::redis::directory::{Owner, Spent};
use crate::broker::redis::host::{Host, PrivateText};
use crate::broker::redis::link::{CallError, LinkId};
use crate::broker::redis::nodes::NodeName;
use crate::names::{ConnectionId, UserId};
use crate::protocol::close::EndReason;

/// Most nodes that are told to end connections in one turn of the loop.
const MAX_ENDINGS: usize = 256;

/// The result of an order to one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    Outcome(Outcome),
    /// The node did not answer. Perhaps it has carried the order out.
    Silent,
    /// The node did not get the order.
    NotSent,
}

impl<L: Host> Tasks<L> {
    /// Gives an order to a node, and waits for the outcome for up to `wait_ms`.
    pub(super) async fn order(
        self: Rc<Self>,
        node: NodeName,
        target: Incarnation,
        order: Order,
        wait_ms: u64,
    ) -> Heard {
        let (now, by) = (self.clock.now_ms(), self.by());
        let Some(engine_now) = self.lease.borrow().engine_now_ms(now) else { return Heard::NotSent };
        let (waiter, outcome) = oneshot::channel();
        let begun = self.control.borrow_mut().begin(order.kind(), [target], now + wait_ms, waiter);
        let Ok(number) = begun else { return Heard::NotSent };
        let channel = self.keys.control_of_node(node.as_str());
        let until_ms = engine_now + wait_ms;
        let request = Request { number, node: self.node.clone(), by, target, until_ms, order };
        let sent = match request.encode() {
            Ok(payload) => self.outbox.publish(channel, payload).await,
            Err(error) => {
                self.health.malformed_control(&error);
                Err(CallError::NotSent)
            }
        };
        match sent {
            Ok(1..) | Err(CallError::Lost) => outcome.await.map_or(Heard::Silent, Heard::Outcome),
            Ok(_) | Err(CallError::Full | CallError::NotSent | CallError::Server(_)) => {
                // The numbers of another incarnation are not these.
                if self.by() == by {
                    self.control.borrow_mut().not_sent(number);
                }
                Heard::NotSent
            }
        }
    }

    /// Gives the outcome of an order to its task.
    pub(super) fn finish(&self, done: Done<Waiter>) {
        let Done { waiter, outcomes, silent } = done;
        self.health.metrics.control_timeouts.add(silent.len() as u64);
        if let Some((_, outcome)) = outcomes.into_iter().next() {
            // The task may have given up.
            let _ = waiter.send(outcome);
        }
    }

    /// Takes a message on a channel that is no room's.
    pub(in crate::broker::redis::engine) fn pushed(self: &Rc<Self>, channel: &[u8], payload: &Bytes) {
        if !self.channels.borrow().has(channel) {
            return;
        }
        match Message::parse(payload) {
            Ok(Message::Request(request)) => self.take_order(request),
            Ok(Message::Answer(answer)) => self.take_answer(&answer),
            Ok(Message::Other) => {}
            Err(error) => self.health.malformed_control(&error),
        }
    }

    /// Takes the confirmation of a subscription that is no room's.
    pub(in crate::broker::redis::engine) fn subscribed(&self, link: LinkId, channel: &[u8]) {
        self.channels.borrow_mut().subscribed(link, channel);
    }

    /// Takes the end of a subscription that is no room's.
    pub(in crate::broker::redis::engine) fn unsubscribed(&self, link: LinkId, channel: &[u8], now: u64) {
        self.channels.borrow_mut().unsubscribed(link, channel, now);
    }

    fn take_answer(&self, answer: &Answer) {
        let done = self.control.borrow_mut().answered(answer);
        if let Some(done) = done {
            self.finish(done);
        }
        let ended = self.endings.borrow_mut().answered(answer);
        if let Some((Ending { user, .. }, missing)) = ended {
            self.host().spend(&user, Spent { missing, age_ms: 0 });
        }
    }

    /// Carries out an order for this incarnation, if somebody still waits for it.
    fn take_order(self: &Rc<Self>, request: Request) {
        let engine_now = self.lease.borrow().engine_now_ms(self.clock.now_ms());
        let is_late = engine_now.is_none_or(|now| request.is_late(now));
        // Beyond the limit the order is not carried out, and its sender hears nothing.
        if request.target == self.by() && !is_late && self.has_space() {
            self.spawn(Rc::clone(self).carry_out(request));
        }
    }

    async fn carry_out(self: Rc<Self>, request: Request) {
        let outcome = match &request.order {
            Order::End { connection, cause, user } => self.end_here(user, *connection, *cause),
            Order::Probe { connection, address } => {
                Outcome::Alive(self.host().is_alive(*connection, *address).await)
            }
            Order::Revoke(revocation) => Outcome::Revoked(self.host().revoke(vec![*revocation]).await as u32),
            Order::Direct { to, from, content, id, at_unix_ms } => {
                let (from, content) = (from.clone(), content.clone());
                let text = PrivateText { from, content, id: *id, at_unix_ms: *at_unix_ms };
                Outcome::Delivered(self.host().deliver_private(to, &text) as u32)
            }
            // Without an answer this node counts as silent.
            Order::Ask(question) => match self.host().tell(question.clone()).await {
                Some(answer) => Outcome::Told(answer),
                None => return,
            },
        };
        let answer = request.answer(outcome).encode();
        // Without the answer the sender counts this node as silent, or repeats an order to end a connection.
        let _ = self.outbox.publish(self.keys.control_of_node(request.node.as_str()), answer).await;
    }

    fn end_here(self: &Rc<Self>, user: &UserId, connection: ConnectionId, cause: EndCause) -> Outcome {
        let reason = match cause {
            EndCause::Replaced => EndReason::Replaced,
            EndCause::Kicked => EndReason::Kicked,
        };
        let existed = self.host().end(user, connection, reason);
        if !existed {
            self.release(user.clone(), connection);
        }
        Outcome::Ended { existed, missing: self.host().missing(user).thousandths }
    }

    /// Ends connections that have lost their user id: those of this node at once, those of other nodes by their nodes.
    pub(super) fn end_replaced(self: &Rc<Self>, user: &UserId, owners: impl IntoIterator<Item = Owner>) {
        let (now, by) = (self.clock.now_ms(), self.by());
        for owner in owners {
            if owner.incarnation == by {
                self.host().end(user, owner.connection, EndReason::Replaced);
            } else if !self.endings.borrow_mut().add(Ending { owner, user: user.clone() }, now) {
                // The directory names the connection again to the next one that claims the user id.
                self.health.too_many_endings();
            }
        }
    }

    /// Tells nodes to end connections, as far as that is due.
    pub(super) fn send_endings(self: &Rc<Self>, now: u64) {
        for _ in 0..MAX_ENDINGS {
            let due = self.endings.borrow_mut().due(now);
            let Some(due) = due else { return };
            let until_ms = self.lease.borrow().engine_now_ms(now).unwrap_or_default();
            let request = Request {
                number: due.number,
                node: self.node.clone(),
                by: self.by(),
                target: due.owner.incarnation,
                until_ms,
                order: due.order,
            };
            match request.encode() {
                Ok(payload) => {
                    let (tasks, channel) =
                        (Rc::clone(self), self.keys.control_of_node(due.owner.node.as_str()));
                    self.spawn(async move {
                        // It is repeated until the node answers.
                        let _ = tasks.outbox.publish(channel, payload).await;
                    });
                }
                Err(error) => self.health.malformed_control(&error),
            }
        }
    }
}

/// The connections of one node.
pub(super) type AtNode = (NodeName, Incarnation, SmallVec<[ConnectionId; 2]>);

/// Returns the connections by node.
pub(super) fn by_node(owners: Vec<Owner>) -> Vec<AtNode> {
    let mut nodes: Vec<AtNode> = Vec::new();
    for Owner { node, incarnation, connection } in owners {
        match nodes.iter_mut().find(|(_, known, _)| *known == incarnation) {
            Some((.., connections)) => connections.push(connection),
            None => nodes.push((node, incarnation, SmallVec::from_elem(connection, 1))),
        }
    }
    nodes
}
