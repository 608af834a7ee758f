//! Carries out commands: the calls that the application makes on the client's handle.

use tokio::time::Instant;

use super::{Core, Phase};
use crate::command::{Command, CommandFrame, Data, Reply};
use crate::error::SendError;
use crate::event::{Ended, Joined};
use crate::outbox::Recipient;
use crate::pending::PendingCommand;
use crate::rooms::Membership;
use crate::timestamp::Timestamp;
use throng_names::RoomName;

/// The id of `typing` frames, which the server answers only when it refuses them. Commands that wait for an answer have
/// numbers, so a word cannot be mistaken for one.
const TYPING_ID: &str = "typing";
/// The id of `heartbeat` frames: a word, for the same reason as [`TYPING_ID`].
pub(super) const HEARTBEAT_ID: &str = "heartbeat";
/// A `typing` frame is dropped while so many frames wait to be written.
const MAX_FRAMES_BEFORE_TYPING: usize = 16;

/// Sends the result of a command. A caller that has dropped its future does not receive it.
fn answer<T>(reply: Reply<T>, result: Result<T, SendError>) {
    drop(reply.send(result));
}

impl Core {
    /// Carries a command out, queues it, or refuses it.
    pub(crate) fn execute(&mut self, command: Command, now: Timestamp) {
        if let Phase::Stopped(ended) = &self.phase {
            return refuse(command, SendError::Stopped(ended.clone()));
        }
        match command {
            Command::Say { room, text, data, reply } => {
                self.say(Recipient::Room(room, reply), text, data, now)
            }
            Command::Direct { to, text, data, reply } => {
                self.say(Recipient::User(to, reply), text, data, now)
            }
            Command::Typing { room } => self.typing(&room),
            Command::Close => self.stop(Ended { code: Some(1000), reason: "closed".to_owned() }),
            // `queue` also limits the commands that wait for an answer: sent, joining, or delayed. Messages have a
            // limit of their own in the outbox.
            others
                if self.pending.len() + self.rooms.waiting() + self.delayed_leaves.len()
                    >= self.settings.queue =>
            {
                refuse(others, SendError::QueueFull);
            }
            Command::Join { room, reply } => self.join(&room, reply, now),
            Command::Leave { room, reply } => self.leave(&room, reply, now),
            Command::History { .. } | Command::Presence { .. } if !self.is_online() => {
                refuse(command, SendError::Disconnected);
            }
            Command::History { room, before, limit, reply } => {
                let position = self.rooms.get(&room).and_then(|room| room.position);
                let epoch = position.map(|position| position.epoch);
                let (room, limit) = (Some(room.as_str()), Some(limit));
                let frame =
                    CommandFrame { kind: "history", room, epoch, before, limit, ..CommandFrame::default() };
                self.request(&frame, PendingCommand::History(reply), now.monotonic);
            }
            Command::Presence { room, after, limit, reply } => {
                let after = after.as_ref().map(|user| user.as_str());
                let (room, limit) = (Some(room.as_str()), Some(limit));
                let frame = CommandFrame { kind: "presence", room, after, limit, ..CommandFrame::default() };
                self.request(&frame, PendingCommand::Presence(reply), now.monotonic);
            }
        }
    }

    fn say(&mut self, to: Recipient, text: String, data: Option<Data>, now: Timestamp) {
        self.outbox.push(to, text, data);
        self.send_due(now);
    }

    fn typing(&mut self, room: &RoomName) {
        if self.is_online() && self.frames.len() < MAX_FRAMES_BEFORE_TYPING {
            let frame = CommandFrame { kind: "typing", room: Some(room.as_str()), ..CommandFrame::default() };
            self.frames.push_back(frame.with_id(TYPING_ID));
        }
    }

    fn join(&mut self, name: &RoomName, reply: Reply<Joined>, now: Timestamp) {
        let room = self.rooms.get_or_add(name);
        match room.position.filter(|_| room.membership == Membership::Inside) {
            Some(position) => {
                // The client is in the room and misses nothing. The server alone knows the number of members.
                let (epoch, offset) = (position.epoch, position.offset.0);
                let joined = Joined { room: name.clone(), epoch, offset, recovered: true, members: None };
                answer(reply, Ok(joined));
            }
            None => room.waiters.push(reply),
        }
        self.send_due(now);
    }

    /// Sends the next leave that the server refused as too early, and the join of the next wanted room that the client
    /// is not in, unless the server asked for a pause. A room is joined again only once its leave is answered.
    pub(super) fn send_room_commands(&mut self, now: Instant) {
        if self.room_commands_paused_until.is_some_and(|until| now < until) {
            return;
        }
        self.room_commands_paused_until = None;
        if let Some((room, reply)) = self.delayed_leaves.pop_front() {
            self.request_leave(&room, reply, now);
        }
        let (pending, delayed_leaves) = (&self.pending, &self.delayed_leaves);
        let may_join = |room: &RoomName| {
            !pending.is_leaving(room) && !delayed_leaves.iter().any(|(name, _)| name == room)
        };
        let Some(room) = self.rooms.next_to_join(may_join) else { return };
        room.membership = Membership::Joining;
        let (name, serial) = (room.name.clone(), room.serial);
        let resume = room.position.map(Into::into);
        let frame =
            CommandFrame { kind: "join", room: Some(name.as_str()), resume, ..CommandFrame::default() };
        self.request(&frame, PendingCommand::Join(serial), now);
    }

    fn leave(&mut self, name: &RoomName, reply: Reply<()>, now: Timestamp) {
        let Some(room) = self.rooms.remove(name) else { return answer(reply, Ok(())) };
        let left = || SendError::Refused {
            code: "not_in_room".to_owned(),
            message: "The room was left meanwhile".to_owned(),
            retry_after: None,
        };
        room.waiters.into_iter().for_each(|reply| answer(reply, Err(left())));
        if self.replay.as_ref().is_some_and(|replay| replay.room == *name) {
            self.replay = None;
        }
        if self.is_online() && room.membership != Membership::Outside {
            self.request_leave(name, reply, now.monotonic);
        } else {
            answer(reply, Ok(()));
        }
        // Only one join is sent at a time. If this room's was under way, the next may go now.
        self.send_due(now);
    }

    pub(super) fn request_leave(&mut self, room: &RoomName, reply: Reply<()>, now: Instant) {
        let frame = CommandFrame { kind: "leave", room: Some(room.as_str()), ..CommandFrame::default() };
        self.request(&frame, PendingCommand::Leave(room.clone(), reply), now);
    }

    /// Sends a command and notes that it waits for its answer.
    pub(super) fn request(&mut self, frame: &CommandFrame<'_>, command: PendingCommand, now: Instant) {
        let id = self.pending.next_id();
        self.frames.push_back(frame.with_id(&id));
        self.pending.add(command, now);
    }
}

/// Answers a command that is not carried out.
fn refuse(command: Command, error: SendError) {
    match command {
        Command::Say { reply, .. } => answer(reply, Err(error)),
        Command::Direct { reply, .. } => answer(reply, Err(error)),
        Command::Join { reply, .. } => answer(reply, Err(error)),
        Command::Leave { reply, .. } => answer(reply, Err(error)),
        Command::History { reply, .. } => answer(reply, Err(error)),
        Command::Presence { reply, .. } => answer(reply, Err(error)),
        Command::Typing { .. } | Command::Close => {}
    }
}
