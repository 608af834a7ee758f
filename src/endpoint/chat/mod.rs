//! `/ws/chat/{user_id}`: one connection in the chat, in either dialect.

mod replay;
mod rooms;
mod v1;

use std::sync::Arc;

use self::replay::Replaying;
use self::rooms::Rooms;
use self::v1::Session;
pub use self::v1::position;
use super::{Message, Peer};
use crate::broker::{BrokerError, Position};
use crate::chat::validate;
use crate::names::{RoomName, SessionId, UserId};
use crate::node::{Claim, Membership, Node};
use crate::prefetch::prefetch;
use crate::protocol::close::EndReason;
use crate::protocol::event::CommandError;
use crate::rate_limit::{Refused, Strikes};
use crate::registry::Registration;

/// A command that is refused for its rate is read for its `id` up to this length, some microseconds of work.
const MAX_REFUSED_BYTES: usize = 4 * 1024;

/// How a connection comes into the chat.
#[derive(Debug)]
pub struct Entry {
    /// The room entered with the handshake.
    pub room: RoomName,
    /// A hash of the client's address, with a key of this process.
    pub address: u32,
    /// The rooms that a token allows, as patterns; none allows all.
    pub allowed: Option<Box<[String]>>,
    /// What `throng.v1` has besides; `None` for the plain dialect.
    pub v1: Option<V1Entry>,
}

/// How a connection of `throng.v1` comes in.
#[derive(Debug)]
pub struct V1Entry {
    /// Its secret, for the `welcome`.
    pub session: SessionId,
    /// The place of the last message of the room that it has seen.
    pub resume: Option<Position>,
}

/// Says how a room that cannot be entered ends the connection.
const fn kept_out(error: BrokerError) -> EndReason {
    match error {
        BrokerError::TooManyRooms => EndReason::Overloaded,
        // Whoever enters says nothing yet. Named one by one, so that a new error is decided on.
        BrokerError::Full | BrokerError::NotWritten | BrokerError::Gone => EndReason::Overloaded,
    }
}

/// One connection in the chat.
#[derive(Debug)]
pub struct Chat {
    // The rooms are left before the user id is given up.
    rooms: Rooms,
    claim: Claim,
    strikes: Strikes,
    /// What `throng.v1` needs besides.
    v1: Option<Box<Session>>,
}

impl Chat {
    /// Enters the room for who holds `claim`. Done before the handshake is answered: whoever reads the 101 misses
    /// nothing that is said from then on.
    ///
    /// # Errors
    /// [`EndReason::Overloaded`] when there are too many rooms.
    pub fn enter(
        node: &Arc<Node>,
        registration: &Registration,
        mut claim: Claim,
        entry: Entry,
    ) -> Result<Self, EndReason> {
        let Entry { room, address, allowed, v1 } = entry;
        let resume = v1.as_ref().and_then(|v1| v1.resume);
        let entered = node.enter(registration, &room, claim.user(), address, resume).map_err(kept_out)?;
        claim.settle();
        let mut session = None;
        if let Some(V1Entry { session: secret, .. }) = v1 {
            registration.reply(&v1::welcome(node, claim.user(), secret, &entered));
            let mut new = Box::new(Session::new(room, address, allowed));
            new.replaying = Replaying::begin(registration, entered.membership.room(), entered.resumed);
            session = Some(new);
        }
        Ok(Self { rooms: Rooms::new(entered.membership), claim, strikes: Strikes::default(), v1: session })
    }

    /// The user.
    #[must_use]
    pub fn user(&self) -> &UserId {
        self.claim.user()
    }

    pub(super) fn prefetch_room(&self) {
        self.v1.iter().for_each(|v1| prefetch(&**v1));
        self.rooms.first().into_iter().for_each(Membership::prefetch);
    }

    pub(super) fn text(&mut self, text: &mut [u8], peer: &mut Peer<'_>) -> Result<(), EndReason> {
        if self.v1.is_some() {
            return self.command(text, peer);
        }
        match self.say(text, peer) {
            Ok(()) => Ok(()),
            Err(error) => {
                peer.refuse(None, error);
                self.count(error, peer)
            }
        }
    }

    /// Answers what came too fast; in `throng.v1` with the id of the command, where that can be had cheaply. There are
    /// not many: each is a strike.
    pub(super) fn refuse(&self, message: Message<'_>, refused: Refused, peer: &mut Peer<'_>) {
        let error = refused.into();
        if self.v1.is_none() {
            return peer.refuse(None, error);
        }
        let id = match message {
            Message::Text(text) if text.len() <= MAX_REFUSED_BYTES => match peer.parser.parse_v1(text) {
                Ok(request) => request.id,
                Err(rejection) => rejection.id,
            },
            Message::Text(_) | Message::Binary(_) => None,
        };
        peer.refuse(id, error);
    }

    /// A message of the plain dialect.
    fn say(&self, text: &mut [u8], peer: &mut Peer<'_>) -> Result<(), CommandError> {
        let max = peer.node.config.chat.max_message_chars;
        let message = validate::text(peer.parser.parse(text)?.message, max)?;
        let now_ms = peer.now_ms;
        peer.spend(|allowance, now_ms, limiter| allowance.message(self.claim.user(), now_ms, limiter))?;
        // A plain connection is in one room for as long as it lives.
        self.rooms.first().ok_or(CommandError::NotInRoom)?.publish(message, now_ms)?;
        Ok(())
    }

    /// Counts an error against the connection.
    fn count(&mut self, error: CommandError, peer: &mut Peer<'_>) -> Result<(), EndReason> {
        if let CommandError::RateLimited { .. } = error {
            return peer.rate_limited();
        }
        let limit = peer.config().limits.malformed_per_minute;
        if error.is_malformed() && self.strikes.add(peer.now_ms, limit) {
            return Err(EndReason::RepeatedlyMalformed);
        }
        Ok(())
    }

    /// True while missed messages are still to be read, or a room cannot be left yet: no command is taken meanwhile.
    pub(super) fn is_replaying(&self) -> bool {
        self.v1.as_ref().is_some_and(|v1| v1.replaying.is_some()) || self.is_leaving()
    }

    /// Queues one page of what was missed, or leaves the room that is to be left.
    pub(super) fn replay(&mut self, peer: &mut Peer<'_>) -> Result<(), EndReason> {
        self.go_on_leaving(peer);
        let Some(v1) = &mut self.v1 else { return Ok(()) };
        if let Some(replaying) = v1.replaying.take() {
            v1.replaying = replaying.go_on(&mut self.rooms, peer.registration)?;
        }
        Ok(())
    }
}
