//! Being in a room.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::shared::Node;
use super::unanswered::Unanswered;
use crate::broker::memory::Entrant;
use crate::broker::resume::{NextPage, Replay, Resumed};
use crate::broker::room::{HistoryPage, Room};
use crate::broker::{BrokerError, Position};
use crate::chat::presence::Outcome;
use crate::faults::{self, Fault};
use crate::names::{ConnectionId, Epoch, Offset, RoomName, UserId};
use crate::protocol::Dialect;
use crate::registry::bounds::Overload;
use crate::registry::inbox::TopicId;
use crate::registry::{Registration, Topic};

/// Time between two lines in the log about a limit that clients can reach at will.
const LOG_PAUSE_MS: u64 = 1_000;

/// What came of entering a room.
#[derive(Debug)]
pub struct Entered {
    /// The way to speak there, and to leave.
    pub membership: Membership,
    /// The place of the room's last message.
    pub position: Position,
    /// The messages that were missed.
    pub resumed: Resumed,
    /// Users in the room as the news told it last, and this one.
    pub members: usize,
}

impl Entered {
    /// Where the missed messages begin, or else the live ones.
    #[must_use]
    pub fn start(&self) -> Position {
        match self.resumed {
            Resumed::Recovered { after, .. } => Position { offset: after, ..self.position },
            Resumed::Fresh | Resumed::NotRecovered => self.position,
        }
    }

    /// True when the missed messages follow.
    #[must_use]
    pub fn is_recovered(&self) -> bool {
        matches!(self.resumed, Resumed::Recovered { .. })
    }
}

impl Node {
    /// Puts a connection into a room and tells the room. `resume` is the place of the last message that it has seen,
    /// `address` a hash of where it comes from, with a key of this process.
    /// What is replied to the connection right behind this stands before everything that the room says from now on.
    ///
    /// # Errors
    /// [`BrokerError::TooManyRooms`].
    pub fn enter(
        self: &Arc<Self>,
        registration: &Registration,
        room: &RoomName,
        user: &UserId,
        address: u32,
        resume: Option<Position>,
    ) -> Result<Entered, BrokerError> {
        let (shard, dialect) = (registration.shard().index(), registration.dialect());
        let now_ms = self.now_ms();
        let entered = self.broker.enter_as(room, Entrant { user, address }, resume, |state, resumed| {
            let after = resumed.is_complete().then(|| state.topic.join(shard, dialect));
            let settings = *state.settings();
            let outcome = state.presence.join(user, now_ms, &settings.presence);
            let due = self.announce_outcome(state, room, outcome);
            let overload = Overload::from(settings.queue_policy);
            (state.topic.id(), after, due, state.position(), state.presence.shown(user), overload)
        });
        let (room, resumed, (topic, after, due, position, members, overload)) =
            entered.inspect_err(|error| self.warn_of(error, now_ms))?;
        let mut membership = Membership {
            node: Arc::clone(self),
            room,
            user: user.clone(),
            id: registration.id(),
            topic,
            dialect,
            overload,
            unanswered: self.durable.as_ref().map(|_| Arc::default()),
            is_member: false,
            is_present: true,
        };
        if let Some(after) = after {
            membership.follow(registration, after);
        }
        self.note_due(due, &membership.room);
        Ok(Entered { membership, position, resumed, members })
    }

    fn warn_of(&self, error: &BrokerError, now_ms: u64) {
        // Two threads that write a line at once do no harm.
        if now_ms.saturating_sub(self.warned_ms.load(Relaxed)) >= LOG_PAUSE_MS {
            self.warned_ms.store(now_ms, Relaxed);
            tracing::warn!(%error, "a room cannot be opened");
        }
    }
}

/// A connection's presence in a room; dropping it leaves the room and tells it.
#[derive(Debug)]
pub struct Membership {
    pub(super) node: Arc<Node>,
    pub(super) room: Arc<Room<Topic>>,
    pub(super) user: UserId,
    /// Whose it is.
    pub(super) id: ConnectionId,
    topic: TopicId,
    pub(super) dialect: Dialect,
    overload: Overload,
    /// What waits for the log, if there is one.
    pub(super) unanswered: Option<Arc<Unanswered>>,
    /// Gets what the room says; not yet while it reads what it missed.
    is_member: bool,
    is_present: bool,
}

impl Membership {
    /// Has the room fetched, in which something is about to be said.
    pub fn prefetch(&self) {
        self.room.prefetch();
    }

    /// The room.
    #[must_use]
    pub fn room(&self) -> &RoomName {
        self.room.name()
    }

    /// On the shard's own thread, with nothing since the room's lock: no sweep can have passed.
    fn follow(&mut self, registration: &Registration, after: u64) {
        registration.subscribe(self.topic, after, self.room.name(), self.overload);
        self.is_member = true;
    }

    /// Reads on where a resume had more than a page; with the last page the connection follows the room, and is to be
    /// told how many users there are, for it has heard nothing of who came and went meanwhile; `None` where nobody
    /// hears of that.
    pub fn read_on(&mut self, replay: Replay, registration: &Registration) -> NextPage<Option<usize>> {
        let next = self.room.read_on(replay, |state| {
            let is_announced = state.settings().presence.is_announced;
            let members = is_announced.then(|| state.presence.shown(&self.user));
            (state.topic.join(self.id.shard(), self.dialect), members)
        });
        match next {
            NextPage::More(page, replay) => NextPage::More(page, replay),
            NextPage::TooSlow => NextPage::TooSlow,
            NextPage::Last(page, (after, members)) => {
                self.follow(registration, after);
                NextPage::Last(page, members)
            }
        }
    }

    /// The last messages before `before`: see [`RoomState::recent`](crate::broker::room::RoomState::recent).
    #[must_use]
    pub fn recent(&self, epoch: Option<Epoch>, before: Option<Offset>, limit: usize) -> HistoryPage {
        self.room.with(|state| state.recent(epoch, before, limit))
    }

    /// A page of the users behind `after`, whether there are more, and how many there are in all: as the news told it
    /// last, so that those which follow apply to it, and this user.
    #[must_use]
    pub fn users(&self, after: Option<&UserId>, limit: usize) -> (Vec<UserId>, bool, usize) {
        self.room.with(|state| {
            let (users, has_more) = state.presence.page(&self.user, after, limit);
            (users, has_more, state.presence.shown(&self.user))
        })
    }

    /// True while something that this connection has said here waits for the log. Its task is woken when nothing does:
    /// leaving before would overtake the acks.
    #[must_use]
    pub fn awaits_answers(&self) -> bool {
        self.unanswered.as_ref().is_some_and(|unanswered| unanswered.awaits())
    }

    /// Leaves the room: the connection gets everything that was said until now, and nothing behind it. What is replied
    /// to it next stands right behind that.
    pub fn leave(mut self, registration: &Registration) {
        if let Some(until) = self.depart(Departure::Leaving) {
            registration.unsubscribe(self.topic, until);
        }
    }

    /// Takes the user out of the room, once; returns the place up to which the connection is to be served.
    fn depart(&mut self, how: Departure) -> Option<u64> {
        if !std::mem::replace(&mut self.is_present, false) {
            return None;
        }
        let node = &self.node;
        let now_ms = node.now_ms();
        let was_member = std::mem::replace(&mut self.is_member, false);
        let (until, due, is_empty) = self.room.with(|state| {
            let until = was_member.then(|| state.topic.leave(self.id.shard(), self.dialect));
            let rules = state.settings().presence;
            let outcome = match how {
                _ if faults::is_on(Fault::ForgetLeave) => Outcome::Quiet,
                Departure::Leaving => state.presence.leave(&self.user, now_ms, &rules),
                Departure::Replaced => {
                    if let Some(number) = state.presence.hold(&self.user) {
                        node.held.add(&self.room, &self.user, number, now_ms);
                    }
                    Outcome::Quiet
                }
            };
            let due = node.announce_outcome(state, self.room.name(), outcome);
            (until, due, state.presence.is_empty())
        });
        node.note_due(due, &self.room);
        if is_empty {
            node.broker.close_if_empty(&self.room);
        }
        until
    }
}

/// How a connection goes out of a room.
#[derive(Debug, Clone, Copy)]
enum Departure {
    /// By itself, or with its end.
    Leaving,
    /// It was taken over by another, which will join its rooms.
    Replaced,
}

impl Drop for Membership {
    fn drop(&mut self) {
        let node = &self.node;
        // A plain client has no other rooms: it is where it went to.
        let is_replaced = self.is_present
            && self.dialect == Dialect::V1
            && node.registry.directory.was_replaced(&self.user, self.id)
            && node.held.have_space();
        self.depart(if is_replaced { Departure::Replaced } else { Departure::Leaving });
    }
}
