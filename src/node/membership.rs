//! Being in a room: entering it, reading there, and leaving it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::shared::Node;
use super::telling;
use super::unanswered::Unanswered;
use crate::broker::memory::Entrant;
use crate::broker::resume::{NextPage, Replay, Resumed};
use crate::broker::room::{HistoryPage, Room};
use crate::broker::{BrokerError, Position};
use crate::chat::presence::Outcome;
use crate::faults::{self, Fault};
use crate::names::{ConnectionId, DisplayName, Epoch, Offset, RoomName, UserId};
use crate::protocol::Dialect;
use crate::protocol::close::EndReason;
use crate::registry::delivery::LaneKind;
use crate::registry::topic::{Topic, TopicId};
use crate::shard::Registration;
use crate::shard::bounds::Overload;

/// Time between two lines in the log about a limit that clients can reach at will, in milliseconds.
const LOG_PAUSE_MS: u64 = 1_000;

/// The user of a connection that enters a room.
#[derive(Debug, Clone, Copy)]
pub struct Visitor<'a> {
    /// The user.
    pub user: &'a UserId,
    /// The name that people are shown, if there is one.
    pub name: Option<&'a DisplayName>,
    /// A hash of the connection's address, with a key of this process.
    pub address: u32,
}

impl<'a> From<&'a UserId> for Visitor<'a> {
    /// Makes a visitor without a name, at an address that is not known.
    fn from(user: &'a UserId) -> Self {
        Self { user, name: None, address: 0 }
    }
}

/// A page of the users of a room.
#[derive(Debug)]
pub struct UserPage {
    /// The users, sorted by id.
    pub users: Vec<UserId>,
    /// The names of those among them who have one and are on this node.
    pub names: Vec<(UserId, DisplayName)>,
    /// True when there are more users behind them.
    pub has_more: bool,
    /// Users in the room, on all pages.
    pub members: usize,
}

/// The result of entering a room.
#[derive(Debug)]
pub struct Entered {
    /// The membership, through which the connection publishes and leaves.
    pub membership: Membership,
    /// The position of the room's last message.
    pub position: Position,
    /// The missed messages, if the connection asked for them.
    pub resumed: Resumed,
    /// Users in the room as last announced, and this one.
    pub members: usize,
}

impl Entered {
    /// Returns the position behind which the connection's messages begin: the missed ones if there are any, the live
    /// ones otherwise.
    #[must_use]
    pub fn start(&self) -> Position {
        match self.resumed {
            Resumed::Recovered { after, .. } => Position { offset: after, ..self.position },
            Resumed::Fresh | Resumed::NotRecovered => self.position,
        }
    }

    /// Returns true when the missed messages follow.
    #[must_use]
    pub fn is_recovered(&self) -> bool {
        matches!(self.resumed, Resumed::Recovered { .. })
    }
}

impl Node {
    /// Makes a connection a member of a room, and announces it there. `resume` is the position of the last message that
    /// the connection has seen.
    ///
    /// A reply queued right after this precedes everything that is published in the room from now on.
    ///
    /// # Errors
    /// [`BrokerError::TooManyRooms`] when the room would have to be opened and no other can be evicted for it.
    pub fn enter(
        self: &Arc<Self>,
        registration: &Registration,
        room: &RoomName,
        visitor: Visitor<'_>,
        resume: Option<Position>,
    ) -> Result<Entered, BrokerError> {
        let Visitor { user, name, address } = visitor;
        let (shard, lane) = (registration.shard().index(), registration.lane());
        let now_ms = self.now_ms();
        let entered = self.broker.enter_as(room, Entrant { user, address }, resume, |state, resumed| {
            let after = resumed.is_complete().then(|| state.topic.join(shard, lane));
            let settings = *state.settings();
            if let Some(name) = name {
                state.presence.set_name(user, name);
            }
            let outcome = telling::moving(&self.webhooks, state, room, user, |presence, rules| {
                presence.join(user, now_ms, rules)
            });
            let due = self.announcer.announce_outcome(state, room, outcome);
            let due = (due, state.presence.wants_exchange());
            let overload = Overload::from(settings.queue_policy);
            (state.topic.id(), after, due, state.position(), state.presence.shown(user), overload)
        });
        let (room, resumed, (topic, after, (due, wants_exchange), position, members, overload)) =
            entered.inspect_err(|error| self.warn_rarely(error, now_ms))?;
        let mut membership = Membership {
            node: Arc::clone(self),
            room,
            user: user.clone(),
            id: registration.id(),
            dialect: registration.dialect(),
            lane,
            overload,
            unanswered: (!self.engine.is_immediate()).then(Arc::default),
            is_member: false,
            is_present: true,
            is_moving: false,
        };
        if let Some(after) = after {
            membership.follow(registration, (topic, after));
        }
        self.announcer.note_due(due, &membership.room);
        self.tell_nodes(wants_exchange, membership.room.name());
        Ok(Entered { membership, position, resumed, members })
    }

    fn warn_rarely(&self, error: &BrokerError, now_ms: u64) {
        // Two threads that both write a line do no harm.
        if now_ms.saturating_sub(self.warned_ms.load(Relaxed)) >= LOG_PAUSE_MS {
            self.warned_ms.store(now_ms, Relaxed);
            tracing::warn!(%error, "a room cannot be opened");
        }
    }
}

/// A connection's presence in a room. Dropping it leaves the room and announces that.
#[derive(Debug)]
pub struct Membership {
    pub(super) node: Arc<Node>,
    pub(super) room: Arc<Room<Topic>>,
    pub(super) user: UserId,
    /// The connection that is in the room.
    pub(super) id: ConnectionId,
    pub(super) dialect: Dialect,
    lane: LaneKind,
    overload: Overload,
    /// The connection's messages that wait for the log; `None` where there is no log.
    pub(super) unanswered: Option<Arc<Unanswered>>,
    /// True when the connection gets what is published. False while it still reads what it missed.
    is_member: bool,
    is_present: bool,
    /// True when the connection has ended for a reason after which its user is expected on another node.
    is_moving: bool,
}

impl Membership {
    /// Returns the room's name.
    #[must_use]
    pub fn room(&self) -> &RoomName {
        self.room.name()
    }

    /// Subscribes the connection to the live messages behind a position in the room's stream. Runs on the shard's own
    /// thread with nothing between it and the room's lock, so the shard has delivered nothing in between.
    fn follow(&mut self, registration: &Registration, (topic, after): (TopicId, u64)) {
        registration.subscribe(topic, after, self.room.name(), self.overload);
        self.is_member = true;
    }

    /// Reads the next page of missed messages. With the last page the connection becomes a member that gets live
    /// messages. That page comes with the number of users in the room, because joins and leaves were not announced to
    /// the connection meanwhile; `None` where the room announces none.
    pub fn read_on(&mut self, replay: Replay, registration: &Registration) -> NextPage<Option<usize>> {
        let next = self.room.read_on(replay, |state| {
            let is_announced = state.settings().presence.is_announced;
            let members = is_announced.then(|| state.presence.shown(&self.user));
            ((state.topic.id(), state.topic.join(self.id.shard(), self.lane)), members)
        });
        next.map_last(|(after, members)| {
            self.follow(registration, after);
            members
        })
    }

    /// Returns the last messages before `before`: see [`RoomState::recent`](crate::broker::room::RoomState::recent).
    #[must_use]
    pub fn recent(&self, epoch: Option<Epoch>, before: Option<Offset>, limit: usize) -> HistoryPage {
        self.room.with(|state| state.recent(epoch, before, limit))
    }

    /// Returns a page of the users behind `after`. The list is
    /// the one last announced, so that later announcements apply to it, and contains this user.
    #[must_use]
    pub fn users(&self, after: Option<&UserId>, limit: usize) -> UserPage {
        self.room.with(|state| {
            let (users, has_more) = state.presence.page(&self.user, after, limit);
            let names = state.presence.names_of(&users);
            let names = names.map(|(user, name)| (user.clone(), name.clone())).collect();
            UserPage { users, names, has_more, members: state.presence.shown(&self.user) }
        })
    }

    /// Returns true while a message of this connection waits for the log. The connection is woken when none
    /// does. Leaving earlier would overtake the acks.
    #[must_use]
    pub fn awaits_answers(&self) -> bool {
        self.unanswered.as_ref().is_some_and(|unanswered| unanswered.awaits())
    }

    /// Notes why the connection ends, before the membership is dropped. With several nodes, the user is held in the
    /// room if the client is about to connect to another node: the other members see the user neither leave nor join.
    pub fn ends(&mut self, reason: &EndReason) {
        let moves = match reason {
            // A plain client is in its room on the other node already.
            EndReason::Replaced => self.dialect == Dialect::V1,
            EndReason::Restarting | EndReason::GoingAway | EndReason::PositionLost => true,
            _ => false,
        };
        self.is_moving = moves && self.node.engine.cluster().is_some();
    }

    /// Leaves the room. The connection still gets everything that was published until now, and nothing after it. The
    /// next reply stands right behind that.
    pub fn leave(mut self, registration: &Registration) {
        if let Some((topic, until)) = self.depart(Departure::Leaving) {
            registration.unsubscribe(topic, until);
        }
    }

    /// Takes the user out of the room, once. Returns the room's topic, and the position in its stream up to which the
    /// connection is to be served.
    fn depart(&mut self, how: Departure) -> Option<(TopicId, u64)> {
        if !std::mem::replace(&mut self.is_present, false) {
            return None;
        }
        let node = &self.node;
        let now_ms = node.now_ms();
        let was_member = std::mem::replace(&mut self.is_member, false);
        let (until, (due, wants_exchange), is_empty) = self.room.with(|state| {
            let until = was_member.then(|| (state.topic.id(), state.topic.leave(self.id.shard(), self.lane)));
            let (room, user) = (self.room.name(), &self.user);
            let outcome = telling::moving(&node.webhooks, state, room, user, |presence, rules| match how {
                _ if faults::is_on(Fault::ForgetLeave) => Outcome::Quiet,
                Departure::Leaving => presence.leave(user, now_ms, rules),
                Departure::Replaced => {
                    if let Some(number) = presence.hold(user) {
                        node.held.add(&self.room, user, number, now_ms);
                    }
                    Outcome::Quiet
                }
            });
            let due = node.announcer.announce_outcome(state, room, outcome);
            (until, (due, state.presence.wants_exchange()), state.presence.is_empty())
        });
        node.announcer.note_due(due, &self.room);
        node.tell_nodes(wants_exchange, self.room.name());
        if is_empty {
            node.broker.close_if_empty(&self.room);
        }
        until
    }
}

/// Why a connection leaves a room.
#[derive(Debug, Clone, Copy)]
enum Departure {
    /// The client left the room, or its connection ended.
    Leaving,
    /// Another connection has taken over, and is about to join its rooms.
    Replaced,
}

impl Drop for Membership {
    fn drop(&mut self) {
        let node = &self.node;
        // A plain client is in one room only, and its new connection has entered that already: nothing is held.
        let is_replaced = self.is_present
            && (self.is_moving
                || self.dialect == Dialect::V1 && node.registry.directory.was_replaced(&self.user, self.id))
            && node.held.have_space();
        self.depart(if is_replaced { Departure::Replaced } else { Departure::Leaving });
    }
}
