//! Delivers private messages to the connections of a user on all nodes.

use std::rc::Rc;

use smallvec::SmallVec;
use tokio::task::JoinSet;

use super::Tasks;
use super::control::{Heard, by_node};
use crate::broker::redis::control::message::MAX_CONNECTIONS;
use crate::broker::redis::control::requests::DIRECT_MS;
use crate::broker::redis::control::{Order, Outcome};
use crate::broker::redis::directory::once::{self, Attempt, Begun};
use crate::broker::redis::directory::{Owner, find};
use crate::broker::redis::engine::pacing::Urgency;
use crate::broker::redis::host::{Host, PrivateText};
use crate::broker::redis::script::{BadReply, Call, Reply};
use crate::broker::redis::users::{PrivateAnswer, PrivateMessage};
use crate::names::ConnectionId;
use crate::protocol::event::CommandError;

/// Longest wait for one step at the engine, in milliseconds: a key before or behind the delivery, or the look for the
/// recipient.
const STEP_MS: u64 = 1_500;

/// The result of a delivery.
#[derive(Debug, Clone, Copy, Default)]
struct Delivery {
    delivered: usize,
    /// Some node did not answer, and may have delivered the message.
    is_doubtful: bool,
}

impl<L: Host> Tasks<L> {
    /// Delivers a private message, and answers the worker.
    pub(super) async fn answer_deliver(self: Rc<Self>, message: PrivateMessage, answer: PrivateAnswer) {
        answer(self.deliver(&message).await);
    }

    async fn deliver(self: &Rc<Self>, message: &PrivateMessage) -> Result<usize, CommandError> {
        let PrivateMessage { to, text, key } = message;
        let Some(key) = key else {
            return self.deliver_to_all(message).await.and_then(Delivery::count);
        };
        let number = self.next_attempt();
        let attempt = Attempt { to, from: &text.from, key, by: self.by(), number };
        match self.step(|| attempt.begin(&self.keys), once::begun).await? {
            Begun::First => {}
            Begun::Repeat(delivered) => return Ok(delivered as usize),
            Begun::Pending => return Err(CommandError::Unavailable),
            // Nobody knows whether it was delivered. It must not be delivered twice.
            Begun::Lost => return Ok(0),
        }
        let result = self.deliver_to_all(message).await.and_then(Delivery::count);
        // Without a stored result, a retry hears that the message was not delivered, a few seconds later.
        let _ = match result {
            Ok(delivered) => {
                self.step(|| attempt.finish(&self.keys, delivered as u64), once::is_stored).await
            }
            Err(_) => self.step(|| attempt.withdraw(&self.keys), once::is_stored).await,
        };
        result
    }

    /// Makes one call of a request that a worker waits for.
    pub(super) async fn step<T>(
        &self,
        call: impl Fn() -> Call,
        read: fn(&Reply) -> Result<T, BadReply>,
    ) -> Result<T, CommandError> {
        let until_ms = self.clock.now_ms() + STEP_MS;
        let result = self.run_until(until_ms, Urgency::Urgent, || true, call, read).await;
        result.map_err(|_| CommandError::Unavailable)
    }

    /// Looks for the recipient's connections, and asks their nodes to deliver the message.
    async fn deliver_to_all(self: &Rc<Self>, message: &PrivateMessage) -> Result<Delivery, CommandError> {
        let PrivateMessage { to, text, .. } = message;
        let find = || find::call(&self.keys, to, self.nodes.borrow().live_list());
        let owners: Vec<Owner> = self.step(find, find::reply).await?;
        if owners.is_empty() {
            return Err(CommandError::UserNotFound);
        }
        let mut delivery = Delivery::default();
        let mut orders = JoinSet::new();
        for (node, incarnation, connections) in by_node(owners) {
            if incarnation == self.by() {
                delivery.delivered += self.host().deliver_private(&connections, text);
                continue;
            }
            for some in connections.chunks(MAX_CONNECTIONS) {
                let order = direct(some.into(), text);
                orders.spawn_local(Rc::clone(self).order(node.clone(), incarnation, order, DIRECT_MS));
            }
        }
        while let Some(heard) = orders.join_next().await {
            match heard {
                Ok(Heard::Outcome(Outcome::Delivered(count))) => delivery.delivered += count as usize,
                Ok(Heard::NotSent | Heard::Outcome(_)) => {}
                Ok(Heard::Silent) | Err(_) => delivery.is_doubtful = true,
            }
        }
        Ok(delivery)
    }
}

impl Delivery {
    /// Returns the number of connections that get the message.
    fn count(self) -> Result<usize, CommandError> {
        match self {
            Self { delivered: 0, is_doubtful: false } => Err(CommandError::Unavailable),
            Self { delivered, .. } => Ok(delivered),
        }
    }
}

fn direct(to: SmallVec<[ConnectionId; 2]>, message: &PrivateText) -> Order {
    let PrivateText { from, content, id, at_unix_ms } = message;
    Order::Direct { to, from: from.clone(), content: content.clone(), id: *id, at_unix_ms: *at_unix_ms }
}
