//! The core of the client: a state machine that makes all decisions, without sockets, clocks or tasks. Frames, commands
//! and the time go in; frames, events and the next deadline come out.

mod commands;
mod incoming;
mod renewal;
#[cfg(test)]
mod tests;
mod timing;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use self::renewal::Renewal;
use super::address::Target;
use super::backoff::Backoff;
use super::command::Reply;
use super::connection_end::ConnectionEnd;
use super::error::SendError;
use super::event::{Ended, Event, State};
use super::outbox::Outbox;
use super::pending::{PendingCommand, PendingCommands};
use super::rooms::{Membership, Rooms};
use super::server_event::DisconnectAdvice;
use super::timestamp::Timestamp;
use throng_names::{DisplayName, RoomName, SessionId, UserId};

/// Longest time from the first packet to the welcome. A server may need three seconds to find out that the client's
/// previous connection is dead.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The reason that comes with close code 3000 when a token becomes valid later, in contrast to one that has expired.
const TOKEN_NOT_YET_VALID: &str = "Token not yet valid";

/// The settings of a client, which never change.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) user: UserId,
    /// The name that people are shown.
    pub(super) name: Option<DisplayName>,
    /// Most messages that may wait for their acks, and most other commands that may wait for their answers.
    pub(super) queue: usize,
    /// True when there is a token that does not change, and can expire.
    pub(super) has_token: bool,
    /// True when a fresh token can be got at any time.
    pub(super) can_renew: bool,
    /// How long a command may go unanswered on a connection that is otherwise alive.
    pub(super) answer_timeout: Duration,
}

/// The phase of the client, with the time at which it ends by itself.
#[derive(Debug)]
enum Phase {
    Connecting { until: Instant },
    Online,
    Waiting { until: Instant },
    Stopped(Ended),
}

/// The replay of a room's missed messages, which is under way.
#[derive(Debug)]
struct Replay {
    room: RoomName,
    /// How many of the missed messages have arrived so far.
    messages: u64,
}

/// The state machine of a client. The times that its methods take must not go backwards.
#[derive(Debug)]
pub(super) struct Core {
    settings: Settings,
    backoff: Backoff,
    rng: fastrand::Rng,
    phase: Phase,
    /// The number of the last connection that was begun.
    connection: u64,
    /// The session secret of the last connection that was welcomed.
    session: Option<SessionId>,
    /// The room that the present connection asked for in its handshake.
    requested_entry: Option<RoomName>,
    /// True until the first welcome when the program named no room: the client then stays in the room of that welcome.
    takes_any_entry: bool,
    /// The last `disconnect` of the present connection.
    advice: Option<DisconnectAdvice>,
    last_received: Instant,
    /// How long nothing may be received before the connection counts as dead.
    silence_limit: Duration,
    /// Since when the program has not read its events, so that nothing is read from the socket.
    reading_paused_since: Option<Instant>,
    /// When reading was last resumed: answers may have waited in the socket until then.
    reading_resumed_at: Instant,
    /// Until when neither joins nor repeated leaves are sent.
    room_commands_paused_until: Option<Instant>,
    /// Leaves that the server refused for coming too early, to be sent again.
    delayed_leaves: VecDeque<(RoomName, Reply<()>)>,
    rooms: Rooms,
    outbox: Outbox,
    pending: PendingCommands,
    replay: Option<Replay>,
    /// When the token is to be renewed; `None` where it is not.
    renewal: Option<Renewal>,
    events: VecDeque<Event>,
    frames: VecDeque<String>,
}

impl Core {
    /// Creates a client that begins to connect at `now`.
    pub(super) fn new(
        settings: Settings,
        room: Option<RoomName>,
        backoff: Backoff,
        rng: fastrand::Rng,
        now: Instant,
    ) -> Self {
        let mut core = Self {
            outbox: Outbox::new(settings.queue),
            settings,
            backoff,
            rng,
            phase: Phase::Waiting { until: now },
            connection: 0,
            session: None,
            requested_entry: None,
            takes_any_entry: room.is_none(),
            advice: None,
            last_received: now,
            silence_limit: CONNECT_TIMEOUT,
            reading_paused_since: None,
            reading_resumed_at: now,
            room_commands_paused_until: None,
            delayed_leaves: VecDeque::new(),
            rooms: Rooms::default(),
            pending: PendingCommands::default(),
            replay: None,
            renewal: None,
            events: VecDeque::new(),
            frames: VecDeque::new(),
        };
        if let Some(room) = room {
            core.rooms.get_or_add(&room);
        }
        core.start_connecting(now);
        core
    }

    /// Returns the number of the connection that there should be, or `None` when there should be none. Another number
    /// than before asks for a new connection.
    pub(super) fn connection_number(&self) -> Option<u64> {
        matches!(self.phase, Phase::Connecting { .. } | Phase::Online).then_some(self.connection)
    }

    /// Returns what the next connection has to ask the server for.
    pub(super) fn target(&self) -> Target<'_> {
        let entry = self.rooms.entry().map(|room| (&room.name, room.position));
        Target { user: &self.settings.user, name: self.settings.name.as_ref(), entry, session: self.session }
    }

    /// Returns true while the client is connected and the server has welcomed it.
    pub(super) fn is_online(&self) -> bool {
        matches!(self.phase, Phase::Online)
    }

    /// Returns why the client has stopped for good, once it has.
    pub(super) fn ended(&self) -> Option<&Ended> {
        if let Phase::Stopped(ended) = &self.phase { Some(ended) } else { None }
    }

    /// Removes and returns the next event for the program.
    pub(super) fn pop_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns true while there are events for the program. The caller bounds them by handing in no frame meanwhile.
    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Removes and returns the next frame to write to the present connection.
    pub(super) fn pop_frame(&mut self) -> Option<String> {
        self.frames.pop_front()
    }

    /// Returns how many frames wait to be written. The caller bounds them by handing in no frame while there are many:
    /// each is an answer to a frame, or a command, whose number is limited.
    pub(super) fn queued_frames(&self) -> usize {
        self.frames.len()
    }

    /// Handles the end of the present connection, or of the attempt to make it: stops, or waits for the next attempt.
    pub(super) fn end_connection(&mut self, end: ConnectionEnd, now: Instant) {
        if self.connection_number().is_none() {
            return;
        }
        let mut ended = end.ended;
        let advice = self.advice.take();
        if let (None, Some(advice)) = (ended.code, &advice) {
            // The close frame that should follow a `disconnect` did not arrive.
            ended = Ended { code: Some(advice.code), reason: advice.reason.clone() };
        }
        self.backoff.disconnected(now);
        self.reset_connection();
        if ended.code == Some(1009) {
            self.outbox.fail_sent(SendError::Refused {
                code: "message_too_long".to_owned(),
                message: ended.reason.clone(),
                retry_after: None,
            });
        }
        let is_unwelcome = advice.as_ref().is_some_and(|advice| !advice.reconnect);
        if end.is_final || is_unwelcome || ended.code.is_some_and(|code| self.is_final(code, &ended.reason)) {
            return self.stop(ended);
        }
        let after = advice.map(|advice| Duration::from_millis(advice.after_ms)).or(end.retry_after);
        if let Some(after) = after {
            self.backoff.advise(after);
        }
        let delay = self.backoff.next(&mut self.rng);
        self.phase = Phase::Waiting { until: now + delay };
        self.push_state(State::Waiting { attempt: self.backoff.attempt(), delay, reason: ended });
    }

    /// Returns true for a close after which another attempt cannot help. A token that does not change is final once it
    /// has expired; one that is not valid yet will become so.
    fn is_final(&self, code: u16, reason: &str) -> bool {
        let is_expired = || self.settings.has_token && reason != TOKEN_NOT_YET_VALID;
        matches!(code, 1002 | 1003 | 1007 | 1008 | 3003 | 4500..) || (code == 3000 && is_expired())
    }

    fn start_connecting(&mut self, now: Instant) {
        self.connection += 1;
        self.requested_entry = self.rooms.entry().map(|room| room.name.clone());
        self.phase = Phase::Connecting { until: now + CONNECT_TIMEOUT };
        self.push_state(State::Connecting { attempt: self.backoff.attempt() });
    }

    /// Forgets the state of the connection. Queued messages and wanted rooms stay.
    fn reset_connection(&mut self) {
        self.frames.clear();
        self.replay = None;
        self.renewal = None;
        self.reading_paused_since = None;
        self.room_commands_paused_until = None;
        // The end of the connection has left these rooms, as the callers wanted.
        self.delayed_leaves.drain(..).for_each(|(_, reply)| drop(reply.send(Ok(()))));
        self.outbox.disconnected();
        self.rooms.disconnected();
        self.pending.disconnected();
    }

    /// Stops the client for good.
    fn stop(&mut self, reason: Ended) {
        self.reset_connection();
        self.fail_all(&SendError::Stopped(reason.clone()));
        self.phase = Phase::Stopped(reason.clone());
        self.push_state(State::Stopped { reason });
    }

    /// Answers every command that a caller waits for with this error.
    fn fail_all(&mut self, error: &SendError) {
        self.pending.fail_all(error);
        self.outbox.fail_all(error);
        // Delayed leaves are still sent, with a reply that no caller waits for.
        for (_, reply) in &mut self.delayed_leaves {
            drop(std::mem::replace(reply, oneshot::channel().0).send(Err(error.clone())));
        }
        let waiters = self.rooms.iter_mut().flat_map(|room| room.waiters.drain(..));
        waiters.for_each(|reply| drop(reply.send(Err(error.clone()))));
    }

    /// Queues the event of a new state. It replaces an unread state before it, because nothing else bounds the states
    /// of a client that fails to connect for a long time.
    fn push_state(&mut self, state: State) {
        self.events.pop_back_if(|event| matches!(event, Event::State(_)));
        self.events.push_back(Event::State(state));
    }

    /// Sends what is due: the next leave or join, and the next message. After a reconnect, a message waits until its
    /// room is entered again. A message for a room that is not wanted is sent, for the server to refuse.
    fn send_due(&mut self, now: Timestamp) {
        if !self.is_online() {
            return;
        }
        self.send_room_commands(now.monotonic);
        let rooms = &self.rooms;
        let may_send_to =
            |room: &RoomName| rooms.get(room).is_none_or(|room| room.membership == Membership::Inside);
        if let Some(frame) = self.outbox.next(&self.pending.next_id(), may_send_to, now) {
            self.pending.add(PendingCommand::Message, now.monotonic);
            self.frames.push_back(frame);
        }
    }
}
