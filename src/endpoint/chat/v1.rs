//! Carries out the commands of `throng.v1`, the chat's dialect of JSON commands and events.
//!
//! In every function here, `re` is the `id` that the client gave its command. The answer repeats it.

use super::Chat;
use super::pending::{Asking, HistoryWish, Joining, Leaving, Pending, Permitting, Sending};
use super::replay::Replaying;
use crate::broker::quota::KeyBound;
use crate::broker::{Position, Published};
use crate::chat::validate;
use crate::endpoint::peer::Peer;
use crate::names::{Epoch, Key, NameError, Offset, RoomName, SessionId, UserId};
use crate::node::{Entered, Membership, Node, NotPermitted, Post, UserPage, Visitor, refusal};
use crate::protocol::close::EndReason;
use crate::protocol::command::{Command, MAX_HISTORY_LIMIT, MAX_PRESENCE_LIMIT, Rejection, Request, Resume};
use crate::protocol::event::{CommandError, Content, v1};
use crate::protocol::frame::Frame;
use crate::rate_limit::Allowance;

/// Number of messages that a `history` command gets, or of users that a `presence` command gets, when it sets no
/// `limit`.
const DEFAULT_LIMIT: u64 = 50;

/// Encodes `welcome`, the first event that a connection gets.
pub(super) fn welcome(
    node: &Node,
    user: &UserId,
    session: SessionId,
    entered: &Entered,
    until_unix_ms: Option<i64>,
) -> Frame {
    let config = node.config();
    let Position { epoch, offset } = entered.start();
    let rate = |value: usize| config.rate_limit.enabled.then_some(value as u64);
    v1::welcome(&v1::Welcome {
        session,
        node: &config.node,
        user,
        room: entered.membership.room(),
        epoch,
        offset,
        recovered: entered.is_recovered(),
        heartbeat_ms: config.heartbeat.interval.as_millis() as u64,
        limits: v1::WelcomeLimits {
            max_message_bytes: config.limits.max_message_bytes as u64,
            max_message_chars: config.chat.max_message_chars as u64,
            max_data_bytes: config.chat.max_data_bytes as u64,
            max_rooms: config.limits.max_rooms_per_connection as u64,
            max_keys: config.keys_per_user() as u64,
            messages_per_second: rate(config.rate_limit.messages_per_second),
            burst: rate(config.rate_limit.burst),
        },
        expires_ms: until_unix_ms.map(|until_unix_ms| node.ms_until(until_unix_ms)),
    })
}

/// Returns the position from which a client wants to resume. A malformed epoch becomes a random one, which belongs to
/// no room, so nothing is recovered.
pub fn position(resume: Resume<'_>) -> Position {
    Position {
        epoch: resume.epoch.parse().unwrap_or_else(|_| Epoch::random()),
        offset: Offset(resume.offset),
    }
}

/// Returns the error for a command that names `room` when the connection is not in it: the name is not valid, or it
/// belongs to another room.
fn not_in(room: &str) -> CommandError {
    match room.parse::<RoomName>() {
        Ok(_) => CommandError::NotInRoom,
        Err(_) => CommandError::InvalidRoom,
    }
}

impl Chat {
    /// Parses a command and carries it out; answers it with an error if either fails. Returns the reason to end the
    /// connection when it has made too many errors.
    pub(super) fn text_v1(&mut self, text: &mut [u8], peer: &mut Peer<'_>) -> Result<(), EndReason> {
        let (id, result) = match peer.parser.parse_v1(text) {
            Ok(Request { id, command, data }) => (id, self.run_command(command, data.as_deref(), id, peer)),
            Err(Rejection { id, error }) => (id, Err(error)),
        };
        match result {
            Ok(()) => Ok(()),
            Err(error) => {
                peer.refuse(id, error);
                self.count_error(error, peer)
            }
        }
    }

    fn run_command(
        &mut self,
        command: Command<'_>,
        data: Option<&str>,
        re: Option<&str>,
        peer: &mut Peer<'_>,
    ) -> Result<(), CommandError> {
        match command {
            Command::Message { room, text, key, echo } => {
                let (content, key) = self.admit((text, data), key, peer)?;
                let post = Post { content, key, re, echo };
                self.post(room, post, peer)?;
                // Other clients stop showing the user as typing when they get the message, so the next `typing` is
                // shown without a pause.
                self.v1.iter_mut().for_each(|session| session.typing.end());
                Ok(())
            }
            Command::Direct { to, text, key } => self.direct(to, (text, data), key, re, peer),
            Command::Join { room, resume } => {
                peer.spend(Allowance::request)?;
                self.join(room, resume, re, peer)
            }
            Command::Leave { room } => {
                let membership = self.member(room)?;
                if membership.awaits_answers() {
                    let leaving = Leaving { room: membership.room().clone(), re: re.map(Box::from) };
                    self.wait_for(Pending::Leaving(leaving));
                    return Ok(());
                }
                self.leave(room, re, peer)
            }
            Command::History { room, epoch, before, limit } => {
                peer.spend(Allowance::request)?;
                self.history(room, epoch, before, limit, re, peer)
            }
            Command::Presence { room, after, limit } => {
                peer.spend(Allowance::request)?;
                self.presence(room, after, limit, re, peer)
            }
            Command::Typing { room } => self.typing(room, peer),
            Command::Token { token } => {
                peer.spend(Allowance::request)?;
                self.renew_token(token, re, peer)
            }
            Command::HeartbeatAck => Ok(()),
            Command::Ping => {
                peer.reply(&v1::pong(re));
                Ok(())
            }
        }
    }

    /// Returns the membership in the room that a command names.
    fn member(&self, room: &str) -> Result<&Membership, CommandError> {
        self.rooms.get(room).ok_or_else(|| not_in(room))
    }

    /// Checks the lengths of a text and its data, parses the idempotency key, and counts the message against the rate
    /// limits of the connection and its user. Returns the contents and the key.
    fn admit<'c>(
        &'c self,
        (text, data): (&'c str, Option<&'c str>),
        key: Option<&str>,
        peer: &mut Peer<'_>,
    ) -> Result<(Content<'c>, Option<Key>), CommandError> {
        let config = peer.config();
        let chat = &config.chat;
        let max = chat.max_message_chars;
        if validate::is_longer(text, max) {
            return Err(CommandError::MessageTooLong { max });
        }
        let content = self.content(text, data, chat.max_data_bytes)?;
        // The parser has checked the key's length.
        let key = key
            .map(str::parse)
            .transpose()
            .map_err(|_: NameError| CommandError::InvalidMessage("'key' is not valid"))?;
        peer.spend(|allowance, now_ms, limiter| allowance.message(self.claim.user(), now_ms, limiter))?;
        Ok((content, key))
    }

    /// Publishes a message in `room`, or without one in the room that the connection entered first. A new message is
    /// acknowledged in the room's stream; only the ack of a duplicate is sent from here.
    fn post(&self, room: Option<&str>, post: Post<'_>, peer: &Peer<'_>) -> Result<(), CommandError> {
        let entry = self.v1.as_ref().map_or("", |v1| v1.entry.as_str());
        let membership = self.member(room.unwrap_or(entry))?;
        let re = post.re;
        let published = membership.post(post, peer.now_ms)?;
        if let Some(Published { position: Position { epoch, offset }, is_duplicate: true }) = published {
            let room = membership.room();
            peer.reply(&v1::ack(&v1::Ack { re, room, epoch, offset, duplicate: true }));
        }
        Ok(())
    }

    fn direct(
        &mut self,
        to: &str,
        message: (&str, Option<&str>),
        key: Option<&str>,
        re: Option<&str>,
        peer: &mut Peer<'_>,
    ) -> Result<(), CommandError> {
        // Nobody can be connected with a user id that is not valid.
        let to: UserId = to.parse().map_err(|_: NameError| CommandError::UserNotFound)?;
        let (content, key) = self.admit(message, key, peer)?;
        let (user, id) = (self.claim.user(), peer.registration.id());
        let waiting = peer.node.direct_to_all(user, &to, content, key.as_ref(), peer.now_ms, Some(id));
        if let Some(delivery) = waiting {
            self.wait_for(Pending::Sending(Sending { re: re.map(Box::from), delivery }));
            return Ok(());
        }
        let delivered =
            peer.node.direct(self.claim.user(), &to, content, key, KeyBound::User, peer.now_ms)?;
        peer.reply(&v1::direct_ack(re, delivered));
        Ok(())
    }

    pub(super) fn leave(
        &mut self,
        room: &str,
        re: Option<&str>,
        peer: &Peer<'_>,
    ) -> Result<(), CommandError> {
        let membership = self.rooms.take(room).ok_or_else(|| not_in(room))?;
        let name = membership.room().clone();
        membership.leave(peer.registration);
        peer.reply(&v1::left(re, &name));
        Ok(())
    }

    fn join(
        &mut self,
        room: &str,
        resume: Option<Resume<'_>>,
        re: Option<&str>,
        peer: &Peer<'_>,
    ) -> Result<(), CommandError> {
        let name: RoomName = room.parse().map_err(|_: NameError| CommandError::InvalidRoom)?;
        if self.rooms.get(room).is_some() {
            return Err(CommandError::AlreadyJoined);
        }
        let max = peer.config().limits.max_rooms_per_connection;
        if self.rooms.len() >= max {
            return Err(CommandError::TooManyRooms { max });
        }
        let Some(session) = &self.v1 else { return Err(CommandError::UnknownType) };
        if !session.allows(room) {
            return Err(CommandError::Forbidden("the token does not allow this room"));
        }
        let (wish, id) = (resume.map(position), peer.registration.id());
        if let Some(permission) = peer.node.permission(self.claim.user(), &name, Some(id)) {
            if permission.is_waiting() {
                let permitting = Permitting { room: name, resume: wish, re: re.map(Box::from), permission };
                self.wait_for(Pending::Permitting(permitting));
                return Ok(());
            }
            permission.result().map_err(NotPermitted::command_error)?;
        }
        self.open_room(name, wish, re, peer)
    }

    /// Enters a room that the user may enter, and answers the `join`, once the engine has opened the room.
    pub(super) fn open_room(
        &mut self,
        name: RoomName,
        wish: Option<Position>,
        re: Option<&str>,
        peer: &Peer<'_>,
    ) -> Result<(), CommandError> {
        let Some(session) = &self.v1 else { return Err(CommandError::UnknownType) };
        let (address, id) = (session.address, peer.registration.id());
        let opening = peer.node.opening(&name, self.claim.user(), address, wish, Some(id));
        if let Some(opening) = opening {
            let joining = Joining { room: name, resume: wish, re: re.map(Box::from), opening };
            self.wait_for(Pending::Joining(joining));
            return Ok(());
        }
        self.enter_room(name, wish, re, peer)
    }

    /// Enters a room that is ready to be entered, and answers the `join`.
    pub(super) fn enter_room(
        &mut self,
        name: RoomName,
        resume: Option<Position>,
        re: Option<&str>,
        peer: &Peer<'_>,
    ) -> Result<(), CommandError> {
        let Some(session) = &mut self.v1 else { return Err(CommandError::UnknownType) };
        let visitor =
            Visitor { user: self.claim.user(), name: self.name.as_deref(), address: session.address };
        let entered = peer.node.enter(peer.registration, &name, visitor, resume).map_err(refusal)?;
        let Position { epoch, offset } = entered.start();
        let (recovered, members) = (entered.is_recovered(), entered.members);
        peer.reply(&v1::joined(&v1::Joined { re, room: &name, epoch, offset, recovered, members }));
        let replaying = Replaying::begin(peer.registration, &name, entered.resumed);
        session.pending = replaying.map(Pending::Replaying).map(Box::new);
        self.rooms.add(entered.membership);
        Ok(())
    }

    fn history(
        &mut self,
        room: &str,
        epoch: Option<&str>,
        before: Option<u64>,
        limit: Option<u64>,
        re: Option<&str>,
        peer: &Peer<'_>,
    ) -> Result<(), CommandError> {
        let membership = self.member(room)?;
        let page = HistoryWish {
            epoch: epoch.map(|epoch| epoch.parse().unwrap_or_else(|_| Epoch::random())),
            before: before.map(Offset),
            limit: limit.unwrap_or(DEFAULT_LIMIT).min(MAX_HISTORY_LIMIT) as usize,
        };
        if let Some(opening) = membership.reading(page.before, page.limit) {
            let room = membership.room().clone();
            let asking = Asking { room, page, re: re.map(Box::from), opening };
            self.wait_for(Pending::Asking(asking));
            return Ok(());
        }
        self.recent(room, page, re, peer)
    }

    /// Answers a `history` command with what this node has.
    pub(super) fn recent(
        &self,
        room: &str,
        page: HistoryWish,
        re: Option<&str>,
        peer: &Peer<'_>,
    ) -> Result<(), CommandError> {
        let membership = self.member(room)?;
        let HistoryWish { epoch, before, limit } = page;
        let recent = membership.recent(epoch, before, limit);
        peer.reply(&v1::history(&v1::History {
            re,
            room: membership.room(),
            epoch: recent.position.epoch,
            messages: &recent.frames,
            more: recent.has_more,
        }));
        Ok(())
    }

    fn presence(
        &self,
        room: &str,
        after: Option<&str>,
        limit: Option<u64>,
        re: Option<&str>,
        peer: &Peer<'_>,
    ) -> Result<(), CommandError> {
        let membership = self.member(room)?;
        let after = after.map(str::parse::<UserId>).transpose();
        let after =
            after.map_err(|_: NameError| CommandError::InvalidMessage("'after' must be a user id"))?;
        let limit = limit.unwrap_or(DEFAULT_LIMIT).min(MAX_PRESENCE_LIMIT) as usize;
        let UserPage { users, names, has_more: more, members } = membership.users(after.as_ref(), limit);
        let room = membership.room();
        peer.reply(&v1::presence(&v1::Presence { re, room, members, users: &users, more, names: &names }));
        Ok(())
    }

    fn typing(&mut self, room: &str, peer: &Peer<'_>) -> Result<(), CommandError> {
        let membership = self.rooms.get(room).ok_or_else(|| not_in(room))?;
        if let Some(session) = &mut self.v1 {
            membership.show_typing(&mut session.typing, peer.now_ms);
        }
        Ok(())
    }
}
