//! What the client decides: a machine without sockets, clocks or tasks. Frames, commands and the time go in; frames,
//! events and the next deadline come out.

mod hears;
mod obeys;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::address::Target;
use super::backoff::Backoff;
use super::command::Reply;
use super::error::SendError;
use super::event::{Ended, Event, State};
use super::incoming::Advice;
use super::moment::Moment;
use super::outgoing::Outgoing;
use super::pending::{Asked, Pending};
use super::rooms::{Rooms, Stage};
use throng_names::{RoomName, SessionId, UserId};

/// From the first packet to the welcome. The server may need three seconds to find out that our old connection is
/// dead.
const CONNECT: Duration = Duration::from_secs(15);
/// How long after a heartbeat was due the connection counts as dead.
const GRACE: Duration = Duration::from_secs(10);
/// What the server says, with 3000, of a token whose time is still to come.
const EARLY_TOKEN: &str = "Token not yet valid";
/// The ids of what has no answer unless it is refused, so that a refusal is nobody else's.
const TYPING: &str = "typing";
const HEARTBEAT: &str = "heartbeat";
/// The most that a server may ask for as its time between heartbeats, or as a pause.
const MAX_PAUSE: Duration = Duration::from_secs(3600);
/// The least that we wait after we were too fast, whatever the server says.
const MIN_PAUSE: Duration = Duration::from_millis(10);
/// Beyond so many frames that wait to be written, `typing` is dropped.
const TYPING_FRAMES: usize = 16;

/// What never changes.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) user: UserId,
    /// Messages that may wait, and as many other commands.
    pub(super) queue: usize,
    /// Whether there is a token, and so one that can expire.
    pub(super) has_token: bool,
    /// How long a command may go unanswered on a connection that lives otherwise.
    pub(super) answer: Duration,
}

/// How a connection, or the attempt to make one, ended.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) ended: Ended,
    /// What the server advised in HTTP.
    pub(super) retry_after: Option<Duration>,
    /// Coming back cannot help.
    pub(super) is_final: bool,
}

impl Lost {
    /// For a reason of our own, or without one: worth trying again.
    pub(super) fn because(reason: impl Into<String>) -> Self {
        Self { ended: Ended { code: None, reason: reason.into() }, retry_after: None, is_final: false }
    }

    /// By a close frame.
    pub(super) fn closed(code: u16, reason: String) -> Self {
        Self { ended: Ended { code: Some(code), reason }, retry_after: None, is_final: false }
    }
}

#[derive(Debug)]
enum Phase {
    Connecting { until: Instant },
    Online,
    Waiting { until: Instant },
    Stopped(Ended),
}

/// The missed messages of a room that are coming in.
#[derive(Debug)]
struct Replay {
    room: RoomName,
    messages: u64,
}

/// See the module. Every method that takes the time expects it not to go backwards.
#[derive(Debug)]
pub(super) struct Core {
    settings: Settings,
    backoff: Backoff,
    rng: fastrand::Rng,
    phase: Phase,
    /// Counts connections, so that what belongs to an old one is recognised.
    turn: u64,
    /// Of the last connection.
    session: Option<SessionId>,
    /// The room that the present connection asked for when it was opened.
    entry_asked: Option<RoomName>,
    /// We named no room, and take the one that the first welcome gives us.
    takes_any_entry: bool,
    advice: Option<Advice>,
    heard_at: Instant,
    silence: Duration,
    /// Since when nobody reads the events, so that nothing is read from the socket.
    unread_since: Option<Instant>,
    /// Since when somebody reads them again: answers may have waited until then.
    read_since: Instant,
    /// Neither joins nor repeated leaves go before.
    joins_paused_until: Option<Instant>,
    /// Rooms that the server would not let us leave yet.
    leaves: VecDeque<(RoomName, Reply<()>)>,
    rooms: Rooms,
    outgoing: Outgoing,
    pending: Pending,
    replay: Option<Replay>,
    events: VecDeque<Event>,
    frames: VecDeque<String>,
}

impl Core {
    /// A client that begins to connect at `now`.
    pub(super) fn new(
        settings: Settings,
        room: Option<RoomName>,
        backoff: Backoff,
        rng: fastrand::Rng,
        now: Instant,
    ) -> Self {
        let mut core = Self {
            outgoing: Outgoing::new(settings.queue),
            settings,
            backoff,
            rng,
            phase: Phase::Waiting { until: now },
            turn: 0,
            session: None,
            entry_asked: None,
            takes_any_entry: room.is_none(),
            advice: None,
            heard_at: now,
            silence: CONNECT,
            unread_since: None,
            read_since: now,
            joins_paused_until: None,
            leaves: VecDeque::new(),
            rooms: Rooms::default(),
            pending: Pending::default(),
            replay: None,
            events: VecDeque::new(),
            frames: VecDeque::new(),
        };
        if let Some(room) = room {
            core.rooms.want(&room);
        }
        core.open(now);
        core
    }

    /// The number of the connection that there should be: another one than before means a new connection, `None`
    /// none.
    pub(super) fn turn(&self) -> Option<u64> {
        matches!(self.phase, Phase::Connecting { .. } | Phase::Online).then_some(self.turn)
    }

    /// What that connection is to ask for.
    pub(super) fn target(&self) -> Target<'_> {
        let entry = self.rooms.entry().map(|room| (&room.name, room.position));
        Target { user: &self.settings.user, entry, session: self.session }
    }

    /// Why it is over for good.
    pub(super) fn ended(&self) -> Option<&Ended> {
        if let Phase::Stopped(ended) = &self.phase { Some(ended) } else { None }
    }

    /// The next event for the program, in order.
    pub(super) fn pop_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether there are events. As long as there are, no frame should be handed in: that bounds them.
    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The next frame for the present connection.
    pub(super) fn pop_frame(&mut self) -> Option<String> {
        self.frames.pop_front()
    }

    /// Frames that wait for being written. Who hands no frame in while there are many bounds them: they are answers
    /// to frames, and commands that are counted.
    pub(super) fn frames(&self) -> usize {
        self.frames.len()
    }

    /// When [`Core::tick`] is due, if nothing else happens before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Connecting { until } | Phase::Waiting { until } => Some(*until),
            Phase::Stopped(_) => None,
            Phase::Online => {
                let silent = self.unread_since.unwrap_or(self.heard_at) + self.silence;
                let others = [self.answer_due(), self.outgoing.deadline(), self.joins_paused_until];
                Some(others.into_iter().flatten().fold(silent, Instant::min))
            }
        }
    }

    /// When the first command must be answered. None while nobody reads: its answer may be there.
    fn answer_due(&self) -> Option<Instant> {
        let oldest = self.pending.oldest().filter(|_| self.unread_since.is_none())?;
        Some(oldest.max(self.read_since) + self.settings.answer)
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, moment: Moment) {
        let now = moment.at;
        match &self.phase {
            Phase::Connecting { until } if now >= *until => {
                self.lost(Lost::because("no welcome in time"), now)
            }
            Phase::Waiting { until } if now >= *until => self.open(now),
            Phase::Online => {
                if now >= self.unread_since.unwrap_or(self.heard_at) + self.silence {
                    return self.silent(now);
                }
                if self.answer_due().is_some_and(|due| now >= due) {
                    return self.lost(Lost::because("no answer in time"), now);
                }
                self.pump(moment);
            }
            _ => {}
        }
    }

    /// Nothing was heard for too long.
    fn silent(&mut self, now: Instant) {
        if self.unread_since.is_none() {
            return self.lost(Lost::closed(3008, "the server is silent".to_owned()), now);
        }
        // It may well speak. But who waits for an answer must not wait for ever.
        self.unread_since = Some(now);
        self.fail_all(&SendError::Unread);
    }

    /// Whether somebody reads the events, and so whether frames are handed in.
    pub(super) fn set_reading(&mut self, is_reading: bool, now: Instant) {
        match (self.unread_since, is_reading) {
            (None, false) => self.unread_since = Some(now),
            (Some(_), true) => {
                self.unread_since = None;
                // What was said meanwhile is only heard now.
                (self.heard_at, self.read_since) = (now, now);
            }
            _ => {}
        }
    }

    /// The present connection, or the attempt to make it, has ended.
    pub(super) fn lost(&mut self, lost: Lost, now: Instant) {
        if self.turn().is_none() {
            return;
        }
        let mut ended = lost.ended;
        let advice = self.advice.take();
        if let (None, Some(advice)) = (ended.code, &advice) {
            // The close itself did not arrive.
            ended = Ended { code: Some(advice.code), reason: advice.reason.clone() };
        }
        self.backoff.disconnected(now);
        self.disconnected();
        match ended.code {
            Some(4003) => self.rooms.forget_positions(),
            Some(1009) => self.outgoing.give_up_tried(SendError::Refused {
                code: "message_too_long".to_owned(),
                message: ended.reason.clone(),
                retry_after: None,
            }),
            _ => {}
        }
        let is_advised = advice.as_ref().is_some_and(|advice| !advice.reconnect);
        if lost.is_final || is_advised || ended.code.is_some_and(|code| self.is_final(code, &ended.reason)) {
            return self.stop(ended);
        }
        let after = advice.map(|advice| Duration::from_millis(advice.after_ms)).or(lost.retry_after);
        if let Some(after) = after {
            self.backoff.advise(after);
        }
        let delay = self.backoff.next(&mut self.rng);
        self.phase = Phase::Waiting { until: now + delay };
        self.enter(State::Waiting { attempt: self.backoff.attempt(), delay, reason: ended });
    }

    /// Whether coming back cannot help after this close. An expired token is the only one we have; an early one will
    /// do.
    fn is_final(&self, code: u16, reason: &str) -> bool {
        let is_expired = || self.settings.has_token && reason != EARLY_TOKEN;
        matches!(code, 1002 | 1003 | 1007 | 1008 | 3003 | 4500..) || (code == 3000 && is_expired())
    }

    fn open(&mut self, now: Instant) {
        self.turn += 1;
        self.entry_asked = self.rooms.entry().map(|room| room.name.clone());
        self.phase = Phase::Connecting { until: now + CONNECT };
        self.enter(State::Connecting { attempt: self.backoff.attempt() });
    }

    /// Forgets the connection. What is to be said, and the rooms we want, stay.
    fn disconnected(&mut self) {
        self.frames.clear();
        self.replay = None;
        self.unread_since = None;
        self.joins_paused_until = None;
        // Gone with the connection, as was wished.
        self.leaves.drain(..).for_each(|(_, reply)| drop(reply.send(Ok(()))));
        self.outgoing.disconnected();
        self.rooms.disconnected();
        self.pending.disconnected();
    }

    /// Ends for good.
    fn stop(&mut self, reason: Ended) {
        self.disconnected();
        self.fail_all(&SendError::Stopped(reason.clone()));
        self.phase = Phase::Stopped(reason.clone());
        self.enter(State::Stopped { reason });
    }

    fn fail_all(&mut self, error: &SendError) {
        self.pending.fail_all(error);
        self.outgoing.fail_all(error);
        // They go on, but nobody waits for them.
        for (_, reply) in &mut self.leaves {
            drop(std::mem::replace(reply, oneshot::channel().0).send(Err(error.clone())));
        }
        let waiters = self.rooms.iter_mut().flat_map(|room| room.waiters.drain(..));
        waiters.for_each(|reply| drop(reply.send(Err(error.clone()))));
    }

    /// A state that nobody has seen makes room for the next one: while away there is nothing else that bounds them.
    fn enter(&mut self, state: State) {
        self.events.pop_back_if(|event| matches!(event, Event::State(_)));
        self.events.push_back(Event::State(state));
    }

    /// Sends what is due: the next room to join, the first message. After a reconnect a message waits until its room
    /// is entered again; one for a room that is not wanted goes, for the server to refuse.
    fn pump(&mut self, now: Moment) {
        if !matches!(self.phase, Phase::Online) {
            return;
        }
        self.join_next(now.at);
        let rooms = &self.rooms;
        let may_go = |room: &RoomName| rooms.get(room).is_none_or(|room| room.stage == Stage::In);
        if let Some(frame) = self.outgoing.next(&self.pending.next_id(), may_go, now) {
            self.pending.add(Asked::Said, now.at);
            self.frames.push_back(frame);
        }
    }
}
