//! `/ws/chat/{user_id}` in the plain dialect.

use super::Peer;
use crate::chat::validate::{self, Strikes};
use crate::names::{RoomName, UserId};
use crate::node::{Claim, Membership};
use crate::protocol::close::EndReason;
use crate::protocol::event;

/// One connection in the chat.
#[derive(Debug)]
pub struct Chat {
    /// Left before the user id is given up.
    membership: Option<Membership>,
    claim: Claim,
    room: RoomName,
    strikes: Strikes,
}

impl Chat {
    /// The chat for who holds `claim`, to be entered at `room`.
    #[must_use]
    pub fn new(claim: Claim, room: RoomName) -> Self {
        Self { membership: None, claim, room, strikes: Strikes::default() }
    }

    /// The user.
    #[must_use]
    pub fn user(&self) -> &UserId {
        self.claim.user()
    }

    pub(super) fn open(&mut self, peer: &Peer<'_>) -> Result<(), EndReason> {
        let membership = peer.node.enter(peer.registration, &self.room, self.claim.user())?;
        self.membership = Some(membership);
        self.claim.settle();
        Ok(())
    }

    pub(super) fn text(&mut self, text: &mut [u8], peer: &mut Peer<'_>) -> Result<(), EndReason> {
        let max = peer.node.config.chat.max_message_chars;
        let Some(membership) = &self.membership else { return Err(EndReason::Internal) };
        let published = peer
            .parser
            .parse(text)
            .and_then(|fields| validate::text(fields.message, max))
            .and_then(|message| membership.publish(message));
        if let Err(error) = published {
            peer.reply(&event::error(error));
            let limit = peer.config().limits.malformed_per_minute;
            if error.is_malformed() && self.strikes.add(peer.now_ms, limit) {
                return Err(EndReason::RepeatedlyMalformed);
            }
        }
        Ok(())
    }
}
