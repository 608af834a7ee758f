//! Puts a question of this node to all others, and forgets rooms in the engine.

use std::rc::Rc;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::Tasks;
use super::control::Heard;
use crate::broker::redis::control::requests::ASK_MS;
use crate::broker::redis::control::{Order, Outcome};
use crate::broker::redis::host::Host;
use crate::broker::redis::nodes::{Node, live};
use crate::broker::redis::script::erase;
use crate::broker::redis::users::{AskAnswer, AskError, EraseAnswer, Told};
use crate::names::RoomName;

impl<L: Host> Tasks<L> {
    /// Asks every other live node, and gives the worker the answers.
    pub(super) async fn answer_ask(self: Rc<Self>, question: Bytes, answer: AskAnswer) {
        answer(self.ask_others(&question).await);
    }

    /// Forgets what the engine has of a room, and tells the worker whether that was something.
    pub(super) async fn answer_erase(self: Rc<Self>, room: RoomName, answer: EraseAnswer) {
        let keys = self.keys.room(&room);
        let erased = self.step(|| erase::call(&keys), erase::reply).await;
        answer(erased.map_err(|_| AskError));
    }

    async fn ask_others(self: &Rc<Self>, question: &Bytes) -> Result<Vec<Told>, AskError> {
        let nodes = self.step(|| live::call(&self.keys), live::reply).await.map_err(|_| AskError)?;
        let others = nodes.into_iter().filter(|node| node.incarnation != self.by());
        let mut orders = JoinSet::new();
        for Node { name: node, incarnation, .. } in others {
            let (tasks, order) = (Rc::clone(self), Order::Ask(question.clone()));
            orders.spawn_local(async move {
                let heard = tasks.order(node.clone(), incarnation, order, ASK_MS).await;
                let answer = match heard {
                    Heard::Outcome(Outcome::Told(answer)) => Some(answer),
                    Heard::Outcome(_) | Heard::Silent | Heard::NotSent => None,
                };
                Told { node, answer }
            });
        }
        let mut told = Vec::new();
        while let Some(result) = orders.join_next().await {
            // A task that panicked has no answer, and nobody knows its node.
            told.push(result.map_err(|_| AskError)?);
        }
        Ok(told)
    }
}
