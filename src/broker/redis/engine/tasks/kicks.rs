//! Ends the connections of a user on all nodes, because an operator wants it.

use std::rc::Rc;

use tokio::task::JoinSet;

use super::Tasks;
use super::control::Heard;
use crate::broker::redis::control::requests::DIRECT_MS;
use crate::broker::redis::control::{EndCause, Order, Outcome};
use crate::broker::redis::directory::{Owner, find};
use crate::broker::redis::host::Host;
use crate::broker::redis::users::{KickAnswer, KickError};
use crate::names::UserId;
use crate::protocol::close::EndReason;

impl<L: Host> Tasks<L> {
    /// Ends the connections of a user, and answers the worker.
    pub(super) async fn answer_kick(self: Rc<Self>, user: UserId, answer: KickAnswer) {
        answer(self.kick(&user).await);
    }

    async fn kick(self: &Rc<Self>, user: &UserId) -> Result<usize, KickError> {
        let find = || find::call(&self.keys, user, self.nodes.borrow().live_list());
        let owners: Vec<Owner> = self.step(find, find::reply).await.map_err(|_| KickError::NoEngine)?;
        let (mut closed, mut is_doubtful) = (0, false);
        let mut orders = JoinSet::new();
        for Owner { node, incarnation, connection } in owners {
            if incarnation == self.by() {
                closed += usize::from(self.host().end(user, connection, EndReason::Kicked));
                continue;
            }
            let order = Order::End { connection, cause: EndCause::Kicked, user: user.clone() };
            orders.spawn_local(Rc::clone(self).order(node, incarnation, order, DIRECT_MS));
        }
        while let Some(heard) = orders.join_next().await {
            match heard {
                Ok(Heard::Outcome(Outcome::Ended { existed, .. })) => closed += usize::from(existed),
                Ok(Heard::Outcome(_) | Heard::Silent | Heard::NotSent) | Err(_) => is_doubtful = true,
            }
        }
        if is_doubtful { Err(KickError::Unknown) } else { Ok(closed) }
    }
}
