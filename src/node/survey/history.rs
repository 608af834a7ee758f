//! The history of a room for another server, which is in no room itself.

use super::NoEngine;
use crate::broker::BrokerError;
use crate::names::{Epoch, Offset, RoomName, UserId};
use crate::node::shared::Node;
use crate::node::waiter::await_answer;
use crate::protocol::event::v1;
use crate::protocol::frame;

impl Node {
    /// Returns the last messages of a room before `before`, at most `limit`, as the `history` event of `throng.v1`;
    /// `None` where nothing is known of the room. If `epoch` is given and is not the room's, there are no messages.
    ///
    /// # Errors
    /// The engine is not available, or there are too many rooms.
    pub async fn history(
        &self,
        name: &RoomName,
        epoch: Option<&str>,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Option<String>, BrokerError> {
        // Nobody's name: it decides only which rooms go first when there are too many.
        let user: UserId = self.config().api.user.parse().map_err(|_| BrokerError::Gone)?;
        self.prepare_room(name, &user).await?;
        let Some(room) = self.broker.find(name) else { return Ok(None) };
        let before = before.map(Offset);
        if let Some(reading) = self.reading(&room, before, limit, None) {
            reading.wait().await?;
        }
        // Text that is no epoch becomes one of no room.
        let epoch = epoch.map(|epoch| epoch.parse().unwrap_or_else(|_| Epoch::random()));
        let (page, is_known) = room.with(|state| {
            let is_known = state.position().offset > Offset(0) || !state.presence.is_empty();
            (state.recent(epoch, before, limit), is_known)
        });
        self.broker.close_if_empty(&room);
        if !is_known {
            return Ok(None);
        }
        let history = v1::History {
            re: None,
            room: name,
            epoch: page.position.epoch,
            messages: &page.frames,
            more: page.has_more,
        };
        let event = v1::history(&history);
        Ok(Some(String::from_utf8_lossy(frame::payload(&event)).into_owned()))
    }

    /// Forgets what the engine that several nodes share has of a room. Without an engine there is nothing to do.
    ///
    /// # Errors
    /// [`NoEngine`]: perhaps it was forgotten nevertheless.
    pub async fn erase_everywhere(&self, name: &RoomName) -> Result<(), NoEngine> {
        let Some(cluster) = self.engine.cluster() else { return Ok(()) };
        let (waiter, erased) = await_answer(&self.registry, None, NoEngine);
        let answer = Box::new(move |result: Result<bool, _>| waiter.answer(result.map_err(|_| NoEngine)));
        cluster.erase(name.clone(), answer);
        erased.wait().await.map(|_| ())
    }
}
