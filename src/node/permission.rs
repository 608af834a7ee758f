//! Asking the hooks whether a newcomer may connect, and whether a user may enter a room.

use tokio::sync::oneshot;

use super::shared::Node;
use super::waiter::{Awaited, await_answer};
use crate::hooks::{ConnectAnswer, Newcomer, Refused};
use crate::names::{ConnectionId, RoomName, UserId};
use crate::protocol::close::EndReason;
use crate::protocol::event::CommandError;

/// Why a user may not enter a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotPermitted {
    /// The hook said so.
    Denied,
    /// The hook gave no answer.
    NoAnswer,
}

/// The wait for the answer of the hook `join`.
pub type Permission = Awaited<(), NotPermitted>;

impl NotPermitted {
    /// Returns the reason to end a connection that cannot enter its first room.
    #[must_use]
    pub const fn end_reason(self) -> EndReason {
        match self {
            Self::Denied => EndReason::RoomForbidden,
            Self::NoAnswer => EndReason::Overloaded,
        }
    }

    /// Returns the answer to a `join`.
    #[must_use]
    pub const fn command_error(self) -> CommandError {
        match self {
            Self::Denied => CommandError::Forbidden("the room is not allowed"),
            Self::NoAnswer => CommandError::Unavailable,
        }
    }
}

impl Node {
    /// Asks the hook `connect` about a newcomer. Returns `None` when there is no such hook.
    ///
    /// # Errors
    /// The reason to end the connection.
    ///
    /// # Cancel safety
    /// The other server may have been asked; nothing else has happened.
    pub async fn may_connect(&self, newcomer: &Newcomer<'_>) -> Result<Option<ConnectAnswer>, EndReason> {
        let Some(hooks) = self.hooks.as_ref().filter(|hooks| hooks.asks_connect()) else { return Ok(None) };
        let (tell, told) = oneshot::channel();
        hooks.connect(
            newcomer,
            Box::new(move |answer| {
                // The newcomer may have given up.
                let _ = tell.send(answer);
            }),
        );
        match told.await {
            Ok(Ok(answer)) => Ok(Some(answer)),
            Ok(Err(Refused::Denied(reason))) => Err(EndReason::not_allowed(reason)),
            Ok(Err(Refused::NoAnswer)) | Err(_) => Err(EndReason::Overloaded),
        }
    }

    /// Asks the hook `join` whether a user may enter a room. Returns `None` when there is no such hook. The task of the
    /// connection `id`, if there is one, is woken when the answer is there.
    #[must_use]
    pub fn permission(&self, user: &UserId, room: &RoomName, id: Option<ConnectionId>) -> Option<Permission> {
        let hooks = self.hooks.as_ref().filter(|hooks| hooks.asks_join())?;
        let (waiter, permission) = await_answer(&self.registry, id, NotPermitted::NoAnswer);
        let then = Box::new(move |answer: Result<(), Refused>| {
            waiter.answer(answer.map_err(|refused| match refused {
                Refused::Denied(_) => NotPermitted::Denied,
                Refused::NoAnswer => NotPermitted::NoAnswer,
            }));
        });
        hooks.join(user, room, then);
        Some(permission)
    }
}
