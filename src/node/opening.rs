//! Waiting until the engine has opened a room or read its history, before a connection can go on. Without an engine
//! nobody waits.

use super::membership::Membership;
use super::shared::Node;
use super::waiter::{Awaited, await_answer};
use crate::broker::BrokerError;
use crate::broker::followed::Readiness;
use crate::broker::memory::Entrant;
use crate::broker::redis::{Answer, Preparation};
use crate::broker::room::Room;
use crate::names::{ConnectionId, Offset, Position, RoomName, UserId};
use crate::registry::topic::Topic;

/// The wait for the engine's answer about one room. It fails with [`BrokerError::NoEngine`] when the engine is not
/// available or did not answer in time, and with [`BrokerError::TooManyRooms`] when this node cannot open one more.
pub type Opening = Awaited<(), BrokerError>;

impl Node {
    /// Asks the engine to prepare a room, so that a connection can enter it and resume from `resume`. Returns `None`
    /// when nothing has to be prepared. The connection `id`, if there is one, gets a turn when the answer is
    /// there.
    #[must_use]
    pub fn opening(
        &self,
        room: &RoomName,
        user: &UserId,
        address: u32,
        resume: Option<Position>,
        id: Option<ConnectionId>,
    ) -> Option<Opening> {
        let cluster = self.engine.cluster()?;
        if self.broker.readiness(room, resume) == Readiness::Ready {
            return None;
        }
        let opener = self.broker.opener(Entrant { user, address });
        Some(
            self.ask(id, |answer| {
                cluster.prepare(Preparation { room: room.clone(), opener, resume, answer })
            }),
        )
    }

    /// Makes a room ready for a caller without a connection: with an engine, waits until it is open on this node.
    ///
    /// # Errors
    /// The engine is not available, or there are too many rooms.
    pub async fn prepare_room(&self, room: &RoomName, user: &UserId) -> Result<(), BrokerError> {
        match self.opening(room, user, 0, None, None) {
            Some(opening) => opening.wait().await,
            None => Ok(()),
        }
    }

    /// Asks the engine for the history that a page of messages before `before` needs. Returns `None` when this node has
    /// it. The connection `id`, if there is one, gets a turn when the answer is there.
    pub(super) fn reading(
        &self,
        room: &Room<Topic>,
        before: Option<Offset>,
        limit: usize,
        id: Option<ConnectionId>,
    ) -> Option<Opening> {
        let cluster = self.engine.cluster()?;
        if !room.with(|state| state.misses_history(before, limit)) {
            return None;
        }
        Some(self.ask(id, |answer| cluster.read_history(room.name().clone(), answer)))
    }

    /// Calls `ask` with the function that takes the engine's answer, for a connection if there is one.
    fn ask(&self, id: Option<ConnectionId>, ask: impl FnOnce(Answer)) -> Opening {
        let (waiter, opening) = await_answer(&self.registry, id, BrokerError::NoEngine);
        ask(Box::new(move |result| waiter.answer(result)));
        opening
    }
}

impl Membership {
    /// Asks the engine for the history that a page of messages before `before` needs. Returns `None` when this node has
    /// it.
    #[must_use]
    pub fn reading(&self, before: Option<Offset>, limit: usize) -> Option<Opening> {
        self.node.reading(&self.room, before, limit, Some(self.id))
    }
}
