//! What the program asks for.

use tokio::time::Instant;

use super::{Core, Phase, TYPING, TYPING_FRAMES};
use crate::command::{Command, Line, Reply};
use crate::error::SendError;
use crate::event::{Ended, Joined};
use crate::moment::Moment;
use crate::outgoing::To;
use crate::pending::Asked;
use crate::rooms::Stage;
use throng_names::RoomName;

/// Whoever does not wait for the answer any more does not want it.
fn answer<T>(reply: Reply<T>, result: Result<T, SendError>) {
    drop(reply.send(result));
}

impl Core {
    /// Does what a program asks for, or sees to it that it is done.
    pub(crate) fn command(&mut self, command: Command, now: Moment) {
        if let Phase::Stopped(ended) = &self.phase {
            return refuse(command, SendError::Stopped(ended.clone()));
        }
        match command {
            Command::Say { room, text, reply } => self.say(To::Room(room, reply), text, now),
            Command::Direct { to, text, reply } => self.say(To::User(to, reply), text, now),
            Command::Typing { room } => self.typing(&room),
            Command::Close => self.stop(Ended { code: Some(1000), reason: "closed".to_owned() }),
            others
                if self.pending.len() + self.rooms.waiting() + self.leaves.len() >= self.settings.queue =>
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
                let line = Line { kind: "history", room, epoch, before, limit, ..Line::default() };
                self.request(&line, Asked::History(reply), now.at);
            }
            Command::Presence { room, after, limit, reply } => {
                let after = after.as_ref().map(|user| user.as_str());
                let (room, limit) = (Some(room.as_str()), Some(limit));
                let line = Line { kind: "presence", room, after, limit, ..Line::default() };
                self.request(&line, Asked::Presence(reply), now.at);
            }
        }
    }

    /// Whether the server has welcomed us.
    pub(crate) fn is_online(&self) -> bool {
        matches!(self.phase, Phase::Online)
    }

    fn say(&mut self, to: To, text: String, now: Moment) {
        self.outgoing.push(to, text);
        self.pump(now);
    }

    fn typing(&mut self, room: &RoomName) {
        if self.is_online() && self.frames.len() < TYPING_FRAMES {
            let line = Line { kind: "typing", room: Some(room.as_str()), ..Line::default() };
            self.frames.push_back(line.with_id(TYPING));
        }
    }

    fn join(&mut self, name: &RoomName, reply: Reply<Joined>, now: Moment) {
        let room = self.rooms.want(name);
        match room.position.filter(|_| room.stage == Stage::In) {
            Some(position) => {
                let (epoch, offset) = (position.epoch, position.offset.0);
                let joined = Joined { room: name.clone(), epoch, offset, recovered: true, members: None };
                answer(reply, Ok(joined));
            }
            None => room.waiters.push(reply),
        }
        self.pump(now);
    }

    /// Asks to leave the next room that we could not leave, and for the next one that we want and are not in. A room is
    /// joined again only once it was left.
    pub(super) fn join_next(&mut self, now: Instant) {
        if self.joins_paused_until.is_some_and(|until| now < until) {
            return;
        }
        self.joins_paused_until = None;
        if let Some((room, reply)) = self.leaves.pop_front() {
            self.request_leave(&room, reply, now);
        }
        let (pending, leaves) = (&self.pending, &self.leaves);
        let may_join =
            |room: &RoomName| !pending.is_leaving(room) && !leaves.iter().any(|(name, _)| name == room);
        let Some(room) = self.rooms.next_to_join(may_join) else { return };
        room.stage = Stage::Asked;
        let (name, serial) = (room.name.clone(), room.serial);
        let resume = room.position.map(Into::into);
        let line = Line { kind: "join", room: Some(name.as_str()), resume, ..Line::default() };
        self.request(&line, Asked::Join(serial), now);
    }

    fn leave(&mut self, name: &RoomName, reply: Reply<()>, now: Moment) {
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
        if self.is_online() && room.stage != Stage::Out {
            self.request_leave(name, reply, now.at);
        } else {
            answer(reply, Ok(()));
        }
        // It may have been the one whose answer the next one waited for.
        self.pump(now);
    }

    pub(super) fn request_leave(&mut self, room: &RoomName, reply: Reply<()>, now: Instant) {
        let line = Line { kind: "leave", room: Some(room.as_str()), ..Line::default() };
        self.request(&line, Asked::Leave(room.clone(), reply), now);
    }

    /// Sends a command and waits for its answer.
    pub(super) fn request(&mut self, line: &Line<'_>, asked: Asked, now: Instant) {
        let id = self.pending.next_id();
        self.frames.push_back(line.with_id(&id));
        self.pending.add(asked, now);
    }
}

/// Answers a command that is not obeyed.
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
