//! Handles the events that the server sends.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::commands::HEARTBEAT_ID;
use super::timing::{bounded, silence_limit};
use super::{Core, Phase, Replay};
use crate::command::CommandFrame;
use crate::connection_end::ConnectionEnd;
use crate::error::SendError;
use crate::event::{Ack, Event, History, Joined, Message, Presence, State};
use crate::pending::PendingCommand;
use crate::rooms::{Membership, Progress};
use crate::server_event::{AckEvent, ErrorEvent, JoinedEvent, ServerEvent, UserEntry, Welcome};
use crate::timestamp::Timestamp;
use throng_names::{Offset, Position, RoomName};

/// Shortest pause after the server found the client too fast, whatever the server asks for.
const MIN_PAUSE: Duration = Duration::from_millis(10);
/// The pause after the server found the client too fast, when the server names none.
const DEFAULT_PAUSE: Duration = Duration::from_secs(1);

impl Core {
    /// Handles a text frame of the present connection.
    pub(crate) fn receive(&mut self, text: &str, timestamp: Timestamp) {
        let now = timestamp.monotonic;
        if self.connection_number().is_none() {
            return;
        }
        self.last_received = now;
        let Some(event) = ServerEvent::parse(text) else {
            let end = ConnectionEnd::with_reason("the server sent a frame that is no event of throng.v1");
            return self.end_connection(end, now);
        };
        let command = match &event {
            ServerEvent::Error(ErrorEvent { re: None, .. }) => self.pending.take_oldest(),
            answer => self.pending.take(answer.re()),
        };
        if event.re().is_some() {
            self.end_replay();
        }
        match event {
            ServerEvent::Welcome(welcome) => self.handle_welcome(welcome, now),
            // Events before the welcome belong to no room and answer no command.
            _ if !self.is_online() => {}
            ServerEvent::Heartbeat => {
                let ack = CommandFrame { kind: "heartbeat_ack", ..CommandFrame::default() };
                self.frames.push_back(ack.with_id(HEARTBEAT_ID));
            }
            ServerEvent::Message(message) => self.handle_message(message.into()),
            ServerEvent::Direct { user, message: text, id, ts: ts_ms, name, data } => {
                self.events.push_back(Event::Direct { user, text, id, ts_ms, name, data });
            }
            ServerEvent::Gap { room, to } => {
                self.advance(&room, to, false);
            }
            ServerEvent::Epoch { room, epoch, offset } => {
                self.rooms.change_epoch(&room, epoch, Offset(offset))
            }
            ServerEvent::PresenceDiff { room, joined, left, members } if self.rooms.get(&room).is_some() => {
                let users = |entries: Vec<UserEntry>| entries.into_iter().map(|entry| entry.0);
                let (joined, left) = (users(joined).collect(), users(left).collect());
                self.events.push_back(Event::PresenceDiff { room, joined, left, members });
            }
            ServerEvent::Typing { room, user } if self.rooms.get(&room).is_some() => {
                self.events.push_back(Event::Typing { room, user });
            }
            ServerEvent::PresenceDiff { .. } | ServerEvent::Typing { .. } | ServerEvent::Unknown => {}
            ServerEvent::Left { re: None, room } => {
                self.expel(&room, "removed", "the server took you out of the room");
            }
            ServerEvent::Disconnect(advice) => self.advice = Some(advice),
            ServerEvent::Error(error) => self.handle_error(error, command, now),
            answer @ (ServerEvent::Ack(_)
            | ServerEvent::Joined(_)
            | ServerEvent::Left { .. }
            | ServerEvent::History { .. }
            | ServerEvent::Presence { .. }
            | ServerEvent::Pong { .. }) => self.handle_answer(answer, command, now),
        }
        self.send_due(timestamp);
    }

    fn handle_welcome(&mut self, welcome: Welcome, now: Instant) {
        if self.is_online() {
            let end = ConnectionEnd::with_reason("the server sent a second welcome");
            return self.end_connection(end, now);
        }
        let Welcome { session, node, user, room, epoch, offset, recovered, heartbeat_ms, limits, expires_ms } =
            welcome;
        let takes_any_entry = std::mem::take(&mut self.takes_any_entry);
        let is_wanted = match self.requested_entry.take() {
            Some(requested) => self.rooms.get(&requested).is_some(),
            // The server has put the client into its default room, because every connection has an entry room.
            None => takes_any_entry || self.rooms.get(&room).is_some(),
        };
        self.session = Some(session);
        self.backoff.connected(now);
        self.silence_limit = silence_limit(heartbeat_ms);
        self.outbox.connected(limits.max_message_chars, limits.messages_per_second);
        self.phase = Phase::Online;
        if let Some(expires_ms) = expires_ms {
            self.plan_renewal(Duration::from_millis(expires_ms), now);
        }
        self.push_state(State::Online);
        self.events.push_back(Event::Welcome { room: room.clone(), user, node, epoch, offset, recovered });
        if !is_wanted {
            // The program may have left the room since the handshake asked for it.
            return self.request_leave(&room, oneshot::channel().0, now);
        }
        let serial = self.rooms.get_or_add(&room).serial;
        self.handle_joined(serial, JoinedEvent { re: None, epoch, offset, recovered, members: None });
        self.ping_behind_replay(now);
    }

    /// Sends a ping when a replay is under way: its answer arrives behind the last replayed message.
    fn ping_behind_replay(&mut self, now: Instant) {
        if self.replay.is_some() {
            let ping = CommandFrame { kind: "ping", ..CommandFrame::default() };
            self.request(&ping, PendingCommand::Ping, now);
        }
    }

    fn handle_answer(&mut self, answer: ServerEvent, command: Option<PendingCommand>, now: Instant) {
        match (answer, command) {
            (ServerEvent::Ack(ack), Some(PendingCommand::Message)) => self.handle_ack(&ack),
            (ServerEvent::Ack(ack), Some(PendingCommand::Token)) => {
                self.plan_renewal(Duration::from_millis(ack.expires_ms.unwrap_or(0)), now);
            }
            (ServerEvent::Joined(joined), Some(PendingCommand::Join(serial))) => {
                self.handle_joined(serial, joined);
                self.ping_behind_replay(now);
            }
            (ServerEvent::Left { .. }, Some(PendingCommand::Leave(_, reply))) => drop(reply.send(Ok(()))),
            (ServerEvent::History { epoch, messages, more, .. }, Some(PendingCommand::History(reply))) => {
                let messages = messages.into_iter().map(Message::from).collect();
                drop(reply.send(Ok(History { epoch, messages, more })));
            }
            (ServerEvent::Presence { members, users, more, .. }, Some(PendingCommand::Presence(reply))) => {
                let users = users.into_iter().map(|entry| entry.0).collect();
                drop(reply.send(Ok(Presence { users, members, more })));
            }
            (_, None | Some(PendingCommand::Ping)) => {}
            // The answer is of another kind than the command. The caller must not wait for ever, and a server that
            // answers so cannot be trusted with the other commands either.
            (_, Some(command)) => {
                command.fail(SendError::Disconnected);
                let end = ConnectionEnd::with_reason("the server's answer does not fit the command");
                self.end_connection(end, now);
            }
        }
    }

    fn handle_ack(&mut self, ack: &AckEvent) {
        let position = match (self.outbox.room_in_flight().cloned(), ack.epoch, ack.offset) {
            (Some(room), Some(epoch), Some(offset)) => {
                Some(Ack { room, epoch, offset, duplicate: ack.duplicate })
            }
            _ => None,
        };
        self.outbox.acknowledged(position, ack.delivered);
    }

    /// Handles that the client is in a room, by its handshake or by a `join`: the room may have been left meanwhile.
    fn handle_joined(&mut self, serial: u64, joined: JoinedEvent) {
        let JoinedEvent { epoch, offset, recovered, members, .. } = joined;
        let Some(room) = self.rooms.by_serial(serial) else { return };
        let old = room.position.replace(Position { epoch, offset: Offset(offset) });
        let was_inside = std::mem::replace(&mut room.was_inside, true);
        room.membership = Membership::Inside;
        let name = room.name.clone();
        for reply in room.waiters.drain(..) {
            drop(reply.send(Ok(Joined { room: name.clone(), epoch, offset, recovered, members })));
        }
        let known = old.filter(|old| old.epoch == epoch).map(|old| old.offset.0);
        let missed = known.and_then(|known| offset.checked_sub(known));
        if recovered {
            self.replay = Some(Replay { room: name, messages: 0 });
        } else if was_inside && missed == Some(0) {
            self.events.push_back(Event::Recovered { room: name, messages: 0 });
        } else if was_inside {
            self.events.push_back(Event::Missed { room: name, messages: missed });
        }
    }

    fn end_replay(&mut self) {
        if let Some(Replay { room, messages }) = self.replay.take() {
            self.events.push_back(Event::Recovered { room, messages });
        }
    }

    /// Moves the position in a room up to `to`. Queues an event for the offsets that were left out, also when the
    /// server did not announce the gap. Returns true when `to` is new.
    fn advance(&mut self, room: &RoomName, to: u64, is_message: bool) -> bool {
        let Progress::New { gap } = self.rooms.advance(room, to, is_message) else { return false };
        if let Some((from, to)) = gap {
            self.events.push_back(Event::Gap { room: room.clone(), from, to });
        }
        true
    }

    fn handle_message(&mut self, message: Message) {
        let Message { room, user, text, offset, id, ts_ms, name, data } = message;
        if !self.advance(&room, offset, true) {
            return;
        }
        if let Some(replay) = self.replay.as_mut().filter(|replay| replay.room == room) {
            replay.messages += 1;
        }
        self.events.push_back(Event::Message { room, user, text, offset, id, ts_ms, name, data });
    }

    /// Handles the refusal of a command, or an error that belongs to none.
    fn handle_error(&mut self, error: ErrorEvent, command: Option<PendingCommand>, now: Instant) {
        let ErrorEvent { re, code, message, retry_after_ms } = error;
        let retry_after = retry_after_ms.map(bounded);
        let is_early = code == "rate_limited";
        let pause = retry_after.unwrap_or(DEFAULT_PAUSE).max(MIN_PAUSE);
        match command {
            Some(PendingCommand::Message) if is_early => {
                self.outbox.pause(now + pause);
                self.events.push_back(Event::Limited { retry_after: pause });
            }
            Some(PendingCommand::Message) => self.outbox.refused(code, message, retry_after),
            Some(PendingCommand::Join(serial)) if is_early => {
                if let Some(room) = self.rooms.by_serial(serial) {
                    room.membership = Membership::Outside;
                }
                self.room_commands_paused_until = Some(now + pause);
            }
            Some(PendingCommand::Join(_)) if code == "unavailable" => {
                self.end_connection(ConnectionEnd::with_code(1013, message), now)
            }
            Some(PendingCommand::Join(serial)) => self.handle_join_refused(serial, code, message),
            Some(PendingCommand::Leave(room, reply)) if is_early => {
                self.delayed_leaves.push_back((room, reply));
                self.room_commands_paused_until = Some(now + pause);
            }
            // Any other refusal means that the client is not in the room, as the caller wanted.
            Some(PendingCommand::Leave(_, reply)) => drop(reply.send(Ok(()))),
            Some(PendingCommand::Ping) => {}
            Some(PendingCommand::Token) => self.plan_another_renewal(now),
            Some(command @ (PendingCommand::History(_) | PendingCommand::Presence(_))) => {
                command.fail(SendError::Refused { code, message, retry_after });
            }
            // A number was the id of a command that was failed before. Frames without an answer have words as ids.
            None if re.is_some_and(|re| re.parse::<u64>().is_ok()) => {}
            None => self.events.push_back(Event::Refused { code, message, retry_after }),
        }
    }

    fn handle_join_refused(&mut self, serial: u64, code: String, message: String) {
        let Some(name) = self.rooms.by_serial(serial).map(|room| room.name.clone()) else { return };
        self.expel(&name, &code, &message);
    }

    /// Takes a room out, because the server did not let the client in again, or has taken it out.
    fn expel(&mut self, name: &RoomName, code: &str, message: &str) {
        let Some(room) = self.rooms.remove(name) else { return };
        if self.replay.as_ref().is_some_and(|replay| replay.room == *name) {
            self.replay = None;
        }
        let texts = || (code.to_owned(), message.to_owned());
        if room.was_inside {
            let (code, message) = texts();
            self.events.push_back(Event::Expelled { room: name.clone(), code, message });
        }
        for reply in room.waiters {
            let (code, message) = texts();
            drop(reply.send(Err(SendError::Refused { code, message, retry_after: None })));
        }
    }
}
