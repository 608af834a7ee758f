//! Replaces the token of a connection of `throng.v1` by another one of the same user, so that the connection goes on.

use super::Chat;
use super::pending::{Pending, Renewing};
use crate::endpoint::peer::Peer;
use crate::names::RoomName;
use crate::node::Membership;
use crate::protocol::command::TokenText;
use crate::protocol::event::CommandError;

impl Chat {
    /// Goes on with another token. Its `rooms` hold at once: rooms that it does not allow are left before the answer,
    /// so that a connection is in no room in which a new one could not be.
    ///
    /// A signature is costly to verify, so that the connection yields to the others of its worker before its next
    /// command, as with every command that is finished later.
    pub(super) fn renew_token(
        &mut self,
        TokenText(token): TokenText<'_>,
        re: Option<&str>,
        peer: &mut Peer<'_>,
    ) -> Result<(), CommandError> {
        if !peer.config().auth.required {
            return Err(CommandError::InvalidToken("this server asks for none"));
        }
        let renewed = peer.tokens.renew(token, self.claim.user())?;
        peer.registration.set_token(renewed.mark);
        peer.until_unix_ms = Some(renewed.until_unix_ms);
        if let Some(session) = &mut self.v1 {
            session.allowed = renewed.allowed.map(Box::new);
        }
        let (re, until_unix_ms) = (re.map(Box::from), renewed.until_unix_ms);
        self.wait_for(Pending::Renewing(Renewing { re, until_unix_ms }));
        Ok(())
    }

    /// Returns the rooms of the connection that its token does not allow.
    pub(super) fn forbidden(&self) -> impl Iterator<Item = &Membership> {
        let session = self.v1.as_deref();
        self.rooms.iter().filter(move |membership| {
            session.is_some_and(|session| !session.allows(membership.room().as_str()))
        })
    }

    /// Leaves these rooms.
    pub(super) fn leave_forbidden(&mut self, peer: &Peer<'_>) {
        let rooms: Vec<RoomName> = self.forbidden().map(|membership| membership.room().clone()).collect();
        for room in rooms {
            let left = self.leave(room.as_str(), None, peer);
            debug_assert_eq!(left, Ok(()), "no command was taken meanwhile that could have left the room");
        }
    }
}
