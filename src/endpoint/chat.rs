//! `/ws/chat/{user_id}` in the plain dialect.

use std::sync::Arc;

use super::Peer;
use crate::chat::validate::{self, Strikes};
use crate::names::{RoomName, UserId};
use crate::node::{Claim, Membership, Node};
use crate::protocol::close::EndReason;
use crate::protocol::event::{self, CommandError};
use crate::registry::Registration;

/// One connection in the chat.
#[derive(Debug)]
pub struct Chat {
    // The room is left before the user id is given up.
    membership: Membership,
    claim: Claim,
    strikes: Strikes,
}

impl Chat {
    /// Enters `room` for who holds `claim`. Done before the handshake is answered: whoever reads the 101 misses
    /// nothing that is said from then on.
    ///
    /// # Errors
    /// As [`Node::enter`].
    pub fn enter(
        node: &Arc<Node>,
        registration: &Registration,
        mut claim: Claim,
        room: &RoomName,
    ) -> Result<Self, EndReason> {
        let membership = node.enter(registration, room, claim.user())?;
        claim.settle();
        Ok(Self { membership, claim, strikes: Strikes::default() })
    }

    /// The user.
    #[must_use]
    pub fn user(&self) -> &UserId {
        self.claim.user()
    }

    pub(super) fn text(&mut self, text: &mut [u8], peer: &mut Peer<'_>) -> Result<(), EndReason> {
        let max = peer.node.config.chat.max_message_chars;
        let published =
            peer.parser.parse(text).and_then(|fields| validate::text(fields.message, max)).and_then(
                |message| {
                    let now_ms = peer.node.now_ms();
                    if let Some(limiter) = &peer.node.limiter {
                        peer.allowance.message(self.claim.user(), now_ms, limiter)?;
                    }
                    self.membership.publish(message, now_ms)
                },
            );
        if let Err(error) = published {
            peer.reply(&event::error(error));
            if let CommandError::RateLimited { .. } = error {
                return peer.strike();
            }
            let limit = peer.config().limits.malformed_per_minute;
            if error.is_malformed() && self.strikes.add(peer.now_ms, limit) {
                return Err(EndReason::RepeatedlyMalformed);
            }
        }
        Ok(())
    }
}
