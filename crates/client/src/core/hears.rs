//! What the server says.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Core, GRACE, HEARTBEAT, Lost, MAX_PAUSE, MIN_PAUSE, Phase, Replay};
use crate::command::Line;
use crate::error::SendError;
use crate::event::{Ack, Event, History, Joined, Message, Presence, State};
use crate::incoming::{Acked, Entered, Incoming, Name, Refusal, Welcome};
use crate::moment::Moment;
use crate::pending::Asked;
use crate::rooms::{Seen, Stage};
use throng_names::{Offset, Position, RoomName};

/// What the server asks for, within bounds.
fn pause(ms: u64) -> Duration {
    Duration::from_millis(ms).min(MAX_PAUSE)
}

impl Core {
    /// A text frame of the present connection.
    pub(crate) fn receive(&mut self, text: &str, moment: Moment) {
        let now = moment.at;
        if self.turn().is_none() {
            return;
        }
        self.heard_at = now;
        let Some(event) = Incoming::parse(text) else {
            return self.lost(Lost::because("the server makes no sense"), now);
        };
        let asked = match &event {
            Incoming::Error(Refusal { re: None, .. }) => self.pending.take_oldest(),
            answer => self.pending.take(answer.re()),
        };
        if event.re().is_some() {
            self.end_replay();
        }
        match event {
            Incoming::Welcome(welcome) => self.welcome(welcome, now),
            // Before the welcome there is nobody to talk to.
            _ if !self.is_online() => {}
            Incoming::Heartbeat => {
                self.frames.push_back(Line { kind: "heartbeat_ack", ..Line::default() }.with_id(HEARTBEAT));
            }
            Incoming::Message(heard) => self.message(heard.into()),
            Incoming::Direct { user, message: text, id, ts: ts_ms } => {
                self.events.push_back(Event::Direct { user, text, id, ts_ms });
            }
            Incoming::Gap { room, to } => {
                self.see(&room, to, false);
            }
            Incoming::PresenceDiff { room, joined, left, members } if self.rooms.get(&room).is_some() => {
                let users = |names: Vec<Name>| names.into_iter().map(|name| name.0);
                let (joined, left) = (users(joined).collect(), users(left).collect());
                self.events.push_back(Event::PresenceDiff { room, joined, left, members });
            }
            Incoming::Typing { room, user } if self.rooms.get(&room).is_some() => {
                self.events.push_back(Event::Typing { room, user });
            }
            Incoming::Disconnect(advice) => self.advice = Some(advice),
            Incoming::Error(refusal) => self.refused(refusal, asked, now),
            answer => self.answered(answer, asked, now),
        }
        self.pump(moment);
    }

    fn welcome(&mut self, welcome: Welcome, now: Instant) {
        if self.is_online() {
            return self.lost(Lost::because("the server welcomes twice"), now);
        }
        let Welcome { session, node, user, room, epoch, offset, recovered, heartbeat_ms, limits } = welcome;
        let takes_any_entry = std::mem::take(&mut self.takes_any_entry);
        let is_wanted = match self.entry_asked.take() {
            Some(asked) => self.rooms.get(&asked).is_some(),
            // There is no connection without an entry room.
            None => takes_any_entry || self.rooms.get(&room).is_some(),
        };
        self.session = Some(session);
        self.backoff.connected(now);
        self.silence = pause(heartbeat_ms) + GRACE;
        self.outgoing.connected(limits.max_message_chars, limits.messages_per_second);
        self.phase = Phase::Online;
        self.enter(State::Online);
        self.events.push_back(Event::Welcome { room: room.clone(), user, node, epoch, offset, recovered });
        if !is_wanted {
            // It may have been left since it was asked for.
            return self.request_leave(&room, oneshot::channel().0, now);
        }
        let serial = self.rooms.want(&room).serial;
        self.entered(serial, Entered { re: None, epoch, offset, recovered, members: None });
        self.ping(now);
    }

    /// The answer ends the replay before it, if there is one.
    fn ping(&mut self, now: Instant) {
        if self.replay.is_some() {
            self.request(&Line { kind: "ping", ..Line::default() }, Asked::Ping, now);
        }
    }

    fn answered(&mut self, answer: Incoming, asked: Option<Asked>, now: Instant) {
        match (answer, asked) {
            (Incoming::Ack(ack), Some(Asked::Said)) => self.acknowledged(&ack),
            (Incoming::Joined(entered), Some(Asked::Join(serial))) => {
                self.entered(serial, entered);
                self.ping(now);
            }
            (Incoming::Left { .. }, Some(Asked::Leave(_, reply))) => drop(reply.send(Ok(()))),
            (Incoming::History { epoch, messages, more, .. }, Some(Asked::History(reply))) => {
                let messages = messages.into_iter().map(Message::from).collect();
                drop(reply.send(Ok(History { epoch, messages, more })));
            }
            (Incoming::Presence { members, users, more, .. }, Some(Asked::Presence(reply))) => {
                let users = users.into_iter().map(|name| name.0).collect();
                drop(reply.send(Ok(Presence { users, members, more })));
            }
            (_, None | Some(Asked::Ping)) => {}
            // Whoever asked must not wait for ever: the connection is no good.
            (_, Some(asked)) => {
                asked.fail(SendError::Disconnected);
                self.lost(Lost::because("the server answers something else"), now);
            }
        }
    }

    fn acknowledged(&mut self, ack: &Acked) {
        let place = match (self.outgoing.room_under_way().cloned(), ack.epoch, ack.offset) {
            (Some(room), Some(epoch), Some(offset)) => {
                Some(Ack { room, epoch, offset, duplicate: ack.duplicate })
            }
            _ => None,
        };
        self.outgoing.acknowledged(place, ack.delivered);
    }

    fn entered(&mut self, serial: u64, entered: Entered) {
        let Entered { epoch, offset, recovered, members, .. } = entered;
        // It may have been left meanwhile.
        let Some(room) = self.rooms.by_serial(serial) else { return };
        let old = room.position.replace(Position { epoch, offset: Offset(offset) });
        let was_in = std::mem::replace(&mut room.was_in, true);
        room.stage = Stage::In;
        let name = room.name.clone();
        for reply in room.waiters.drain(..) {
            drop(reply.send(Ok(Joined { room: name.clone(), epoch, offset, recovered, members })));
        }
        let known = old.filter(|old| old.epoch == epoch).map(|old| old.offset.0);
        let messages = known.and_then(|known| offset.checked_sub(known));
        if recovered {
            self.replay = Some(Replay { room: name, messages: 0 });
        } else if was_in && messages == Some(0) {
            self.events.push_back(Event::Recovered { room: name, messages: 0 });
        } else if was_in {
            self.events.push_back(Event::Missed { room: name, messages });
        }
    }

    fn end_replay(&mut self) {
        if let Some(Replay { room, messages }) = self.replay.take() {
            self.events.push_back(Event::Recovered { room, messages });
        }
    }

    /// Everything up to `to` was seen; what the server left out is told, should it have told nothing itself.
    fn see(&mut self, room: &RoomName, to: u64, is_message: bool) -> bool {
        let Seen::New { gap } = self.rooms.see(room, to, is_message) else { return false };
        if let Some((from, to)) = gap {
            self.events.push_back(Event::Gap { room: room.clone(), from, to });
        }
        true
    }

    fn message(&mut self, message: Message) {
        let Message { room, user, text, offset, id, ts_ms } = message;
        if !self.see(&room, offset, true) {
            return;
        }
        if let Some(replay) = self.replay.as_mut().filter(|replay| replay.room == room) {
            replay.messages += 1;
        }
        self.events.push_back(Event::Message { room, user, text, offset, id, ts_ms });
    }

    fn refused(&mut self, refusal: Refusal, asked: Option<Asked>, now: Instant) {
        let Refusal { re, code, message, retry_after_ms } = refusal;
        let retry_after = retry_after_ms.map(pause);
        let is_early = code == "rate_limited";
        // Where the server does not say.
        let wait = retry_after.unwrap_or(Duration::from_secs(1)).max(MIN_PAUSE);
        match asked {
            Some(Asked::Said) if is_early => {
                self.outgoing.pause(now + wait);
                self.events.push_back(Event::Limited { retry_after: wait });
            }
            Some(Asked::Said) => self.outgoing.refused(code, message, retry_after),
            Some(Asked::Join(serial)) if is_early => {
                if let Some(room) = self.rooms.by_serial(serial) {
                    room.stage = Stage::Out;
                }
                self.joins_paused_until = Some(now + wait);
            }
            Some(Asked::Join(_)) if code == "unavailable" => self.lost(Lost::closed(1013, message), now),
            Some(Asked::Join(serial)) => self.not_entered(serial, code, message),
            Some(Asked::Leave(room, reply)) if is_early => {
                self.leaves.push_back((room, reply));
                self.joins_paused_until = Some(now + wait);
            }
            // The room was not ours any more: that is what was wished.
            Some(Asked::Leave(_, reply)) => drop(reply.send(Ok(()))),
            Some(Asked::Ping) => {}
            Some(asked) => asked.fail(SendError::Refused { code, message, retry_after }),
            // Of a command that nobody waits for any more; those without an answer have words for their ids.
            None if re.is_some_and(|re| re.parse::<u64>().is_ok()) => {}
            None => self.events.push_back(Event::Refused { code, message, retry_after }),
        }
    }

    fn not_entered(&mut self, serial: u64, code: String, message: String) {
        let Some(name) = self.rooms.by_serial(serial).map(|room| room.name.clone()) else { return };
        let Some(room) = self.rooms.remove(&name) else { return };
        if room.was_in {
            let (code, message) = (code.clone(), message.clone());
            self.events.push_back(Event::Expelled { room: name, code, message });
        }
        for reply in room.waiters {
            let (code, message) = (code.clone(), message.clone());
            drop(reply.send(Err(SendError::Refused { code, message, retry_after: None })));
        }
    }
}
