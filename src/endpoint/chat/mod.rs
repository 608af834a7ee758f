//! `/ws/chat/{user_id}`: one connection in the chat, in either dialect.

mod finish;
mod pending;
mod replay;
mod rooms;
mod session;
mod token;
mod v1;

use std::sync::Arc;

use self::pending::Pending;
use self::replay::Replaying;
use self::rooms::Rooms;
use self::session::Session;
pub use self::v1::position;
use super::peer::{Message, Peer};
use crate::broker::{BrokerError, Position};
use crate::chat::validate;
use crate::names::{DisplayName, RoomName, SessionId, UserId};
use crate::node::{Node, UserClaim, Visitor, tell_ended};
use crate::protocol::close::EndReason;
use crate::protocol::event::{CommandError, Content};
use crate::rate_limit::{Refused, Strikes};
use crate::shard::Registration;

/// Longest command, in bytes, that is parsed for its `id` although a rate limit refuses it. Bounds the work that a
/// refused command costs to some microseconds.
const MAX_REFUSED_BYTES: usize = 4 * 1024;

/// A connection's request to enter the chat.
#[derive(Debug)]
pub struct ChatRequest {
    /// The room to enter with the handshake.
    pub room: RoomName,
    /// The name of the user that people are shown, if there is one.
    pub name: Option<DisplayName>,
    /// A hash of the client's address, with a key of this process.
    pub address: u32,
    /// Patterns of the rooms that the token allows; `None` allows all.
    pub allowed: Option<Box<[String]>>,
    /// The part of the request that only `throng.v1` has; `None` for the plain dialect.
    pub v1: Option<V1Request>,
}

/// The part of a [`ChatRequest`] that only `throng.v1` has.
#[derive(Debug)]
pub struct V1Request {
    /// The connection's session secret, sent with its `welcome`.
    pub session: SessionId,
    /// The position of the last message of the room that the client has seen.
    pub resume: Option<Position>,
    /// When the token expires, in milliseconds since the Unix epoch; `None` where none is demanded.
    pub until_unix_ms: Option<i64>,
}

/// Returns the reason that ends a connection which could not enter its room.
pub const fn refused_entry(error: BrokerError) -> EndReason {
    match error {
        BrokerError::TooManyRooms => EndReason::Overloaded,
        // Errors of publishing, which entering does not do. Listed one by one, so that a new error has to be decided
        // on.
        BrokerError::Full | BrokerError::NotWritten | BrokerError::Gone => EndReason::Overloaded,
        BrokerError::NoEngine => EndReason::Overloaded,
    }
}

/// One connection in the chat.
#[derive(Debug)]
pub struct Chat {
    // Declared first to be dropped first: the rooms are left before the user id is released.
    rooms: Rooms,
    claim: UserClaim,
    strikes: Strikes,
    /// The name of the user that people are shown. Boxed, because most connections have none.
    name: Option<Box<DisplayName>>,
    /// The state that only `throng.v1` needs.
    v1: Option<Box<Session>>,
}

impl Chat {
    /// Enters the first room with the user id of `claim`. Done before the handshake is answered: a client that has read
    /// the 101 misses nothing that is published from then on.
    ///
    /// # Errors
    /// [`EndReason::Overloaded`] when there are too many rooms.
    pub fn enter(
        node: &Arc<Node>,
        registration: &Registration,
        mut claim: UserClaim,
        request: ChatRequest,
    ) -> Result<Self, EndReason> {
        let ChatRequest { room, name, address, allowed, v1 } = request;
        let resume = v1.as_ref().and_then(|v1| v1.resume);
        let visitor = Visitor { user: claim.user(), name: name.as_ref(), address };
        let entered = node.enter(registration, &room, visitor, resume).map_err(refused_entry)?;
        claim.end_replaced();
        let mut session = None;
        if let Some(V1Request { session: secret, until_unix_ms, .. }) = v1 {
            registration.greet(&v1::welcome(node, claim.user(), secret, &entered, until_unix_ms));
            // The name is the room's own, of which all its members have the one copy.
            let room = entered.membership.room().clone();
            let mut new = Box::new(Session::new(room, address, allowed));
            let replaying = Replaying::begin(registration, entered.membership.room(), entered.resumed);
            new.pending = replaying.map(Pending::Replaying).map(Box::new);
            session = Some(new);
        }
        let (rooms, name) = (Rooms::new(entered.membership), name.map(Box::new));
        Ok(Self { rooms, claim, strikes: Strikes::default(), name, v1: session })
    }

    /// Returns the connection's user.
    #[must_use]
    pub fn user(&self) -> &UserId {
        self.claim.user()
    }

    /// Notes why the connection ends.
    pub(super) fn ends(&mut self, node: &Node, reason: &EndReason) {
        tell_ended(&node.webhooks, self.claim.user(), reason);
        self.rooms.iter_mut().for_each(|membership| membership.ends(reason));
    }

    pub(super) fn text(&mut self, text: &mut [u8], peer: &mut Peer<'_>) -> Result<(), EndReason> {
        if self.v1.is_some() {
            return self.text_v1(text, peer);
        }
        match self.publish(text, peer) {
            Ok(()) => Ok(()),
            Err(error) => {
                peer.refuse(None, error);
                self.count_error(error, peer)
            }
        }
    }

    /// Answers a message that exceeded the rate limit. In `throng.v1` the answer has the command's `id`, if the command
    /// is short enough to be parsed for it. Each refusal is a strike, so there are few.
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

    /// Publishes a message of the plain dialect.
    fn publish(&self, text: &mut [u8], peer: &mut Peer<'_>) -> Result<(), CommandError> {
        let config = peer.config();
        let chat = &config.chat;
        let fields = peer.parser.parse(text)?;
        let message = validate::text(fields.message, chat.max_message_chars)?;
        let content = self.content(message, fields.data.as_deref(), chat.max_data_bytes)?;
        let now_ms = peer.now_ms;
        peer.spend(|allowance, now_ms, limiter| allowance.message(self.claim.user(), now_ms, limiter))?;
        // A plain connection is in one room for as long as it lives.
        self.rooms.first().ok_or(CommandError::NotInRoom)?.publish(content, now_ms)?;
        Ok(())
    }

    /// Returns the contents of a message of this connection. Its data has at most `max_data_bytes`.
    fn content<'c>(
        &'c self,
        text: &'c str,
        data: Option<&'c str>,
        max_data_bytes: usize,
    ) -> Result<Content<'c>, CommandError> {
        data.map_or(Ok(()), |data| validate::data(data, max_data_bytes))?;
        Ok(Content { text, data, name: self.name.as_deref() })
    }

    /// Counts an error against the connection, if it is of a kind that clients are cut off for.
    fn count_error(&mut self, error: CommandError, peer: &mut Peer<'_>) -> Result<(), EndReason> {
        if let CommandError::RateLimited { .. } = error {
            return peer.rate_limited();
        }
        let limit = peer.config().limits.malformed_per_minute;
        if error.is_malformed() && self.strikes.add(peer.now_ms, limit) {
            return Err(EndReason::RepeatedlyMalformed);
        }
        Ok(())
    }
}
