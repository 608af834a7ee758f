//! The state machine of one room that a node follows: it publishes this node's messages, and brings the messages of all
//! nodes into their order. Pure: inputs come with the time in milliseconds, and every input returns commands, which the
//! engine carries out in their order.
//!
//! The server pushes each batch on the room's channel and keeps it in the room's stream. A batch that follows the
//! room's last offset is appended. A batch that is ahead is held, and what is missing is read from the stream. A batch
//! of an unknown epoch is held too, and the server is asked for the room's epoch and last offset by `sync`: its answer
//! tells whether the room goes on, because everything it has shown survived, or begins anew.
//!
//! Every request to the server has a number of one sequence. The answer to a request that was given up is recognised by
//! it, and what came before a request was sent is known to that request.

mod advance;
mod command;
mod follow;
mod incoming;
mod lives;
mod outgoing;
mod pause;
mod publish;
mod rule;

pub use self::command::{Command, Commands, Failure, Outcome, Waiting};
use self::incoming::Incoming;
use self::outgoing::Outgoing;
use self::pause::Pause;
use self::rule::{Rule, is_broken};
use super::batch::{CallId, Incarnation};
use crate::names::{Offset, Position};

/// How long an opening may take.
const OPENING_MS: u64 = 5_000;
/// How long messages wait for a server that does not answer.
const PATIENCE_MS: u64 = 2_000;
/// How long to wait after the end of a subscription that is not confirmed yet, which may mean that it was refused.
const REFUSED_MS: u64 = 500;
/// The mean time between two comparisons of the room's position with the server's.
const CHECK_MS: u64 = 30_000;

/// Settings of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The run of this node.
    pub by: Incarnation,
    /// The number of the first request, at least 1. The server remembers the last call of this run in the room, so the
    /// numbers of a room that is followed again continue from [`Room::next_number`] of the time before.
    pub first_number: u64,
    /// A number that differs between rooms: it spreads what they do from time to time.
    pub hash: u64,
    /// How long messages wait for a server that does not answer, in milliseconds (`redis.patience`).
    pub patience_ms: u64,
}

impl Settings {
    /// Returns the settings of a room that is followed for the first time.
    #[must_use]
    pub const fn new(by: Incarnation) -> Self {
        Self { by, first_number: 1, hash: 0, patience_ms: PATIENCE_MS }
    }
}

/// A room that is followed. `D` is a message that waits to be appended.
#[derive(Debug)]
pub struct Room<D> {
    settings: Settings,
    stage: Stage,
    link: Link,
    subscription: Subscription,
    /// The number of the next request.
    next_number: u64,
    syncing: Syncing,
    filling: Filling,
    incoming: Incoming,
    outgoing: Outgoing<D>,
    /// True when the next batch is this node's own, and its messages are only known when the call is answered.
    awaits_answer: bool,
}

/// Whether the room is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Closed,
    /// The room has no position yet. The opening fails at this time.
    Opening {
        until: u64,
    },
    Open,
    /// The room closes as soon as all messages are answered.
    Closing,
}

/// The link to the server of the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Up,
    Down { since: u64 },
}

/// The subscription to the room's channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subscription {
    Absent,
    /// Asked for, and asked for again at this time.
    Requested {
        again_at: u64,
    },
    Confirmed,
}

/// The comparison with the server.
#[derive(Debug, Default)]
struct Syncing {
    sent: Option<SentSync>,
    /// True when a sync must be sent that knows of everything until now.
    is_wanted: bool,
    pause: Pause,
    /// When the position is compared next.
    check_at: u64,
    /// The number of the last sync that was answered.
    answered: u64,
}

/// A sync under way: its number, and the room's last offset when it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SentSync {
    number: u64,
    offset: Offset,
}

/// The reading of the stream.
#[derive(Debug, Default)]
struct Filling {
    sent: Option<u64>,
    pause: Pause,
    doubt: Doubt,
    /// Pages of an unknown epoch that came although a sync had shown the room's own.
    foreign: u8,
}

/// Whether messages that are not in the stream are given up.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    #[default]
    None,
    /// A page without the next message came when this was the next number; a sync decides.
    Asking { mark: u64 },
    /// The server has got to this offset in the same epoch: if the next page lacks the messages too, they are gone.
    Confirmed { to: Offset },
}

impl<D: Waiting> Room<D> {
    /// Creates a room that is not followed yet. `is_up` tells whether the link to its server is up.
    #[must_use]
    pub fn new(settings: Settings, is_up: bool, now: u64) -> Self {
        Self {
            settings,
            stage: Stage::Closed,
            link: if is_up { Link::Up } else { Link::Down { since: now } },
            subscription: Subscription::Absent,
            next_number: settings.first_number.max(1),
            syncing: Syncing::default(),
            filling: Filling::default(),
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
            awaits_answer: false,
        }
    }

    /// Returns the room's last position, or `None` while it has none.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.incoming.at
    }

    /// Returns true when members can be in the room, although the link may be down.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::Closing)
    }

    /// Returns true when nothing of the room is left, and it can be forgotten.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.stage == Stage::Closed
    }

    /// Returns the number of the next request: the `first_number` of this room when it is followed again.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Returns the call that is under way and its messages, as `Command::Publish` asks to send them.
    #[must_use]
    pub fn call(&self) -> Option<(CallId, &[D])> {
        let call = self.outgoing.call()?;
        Some((CallId { by: self.settings.by, number: call.number }, &call.messages))
    }

    /// Returns the bytes of the messages that are not answered.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.outgoing.bytes()
    }

    /// Returns the bytes of the batches that are held, at most 256 KiB.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.incoming.held_bytes()
    }

    /// Follows the room: its first member waits. Ends in `Opened` or `NotOpened`.
    pub fn open(&mut self, now: u64) -> Commands<D> {
        let mut out = Commands::new();
        match (self.stage, self.incoming.at) {
            (Stage::Open | Stage::Closing, Some(position)) => {
                self.stage = Stage::Open;
                out.push(Command::Opened { position, lives: self.incoming.lives.clone() });
            }
            (Stage::Opening { .. }, _) => {}
            _ => self.stage = Stage::Opening { until: now + OPENING_MS },
        }
        self.advance(now, &mut out);
        out
    }

    /// Ends following the room, once all messages are answered: it has no members any more. Ends in `Closed`, or in
    /// `NotOpened` for a room that is being opened.
    pub fn close(&mut self, now: u64) -> Commands<D> {
        let mut out = Commands::new();
        match self.stage {
            Stage::Open => self.stage = Stage::Closing,
            Stage::Opening { .. } => self.end_opening(&mut out),
            Stage::Closing | Stage::Closed => {}
        }
        self.advance(now, &mut out);
        out
    }

    /// Compares the room's position with the server's as soon as possible: a client knows a later position than this
    /// node. Returns a mark for [`Room::is_checked`].
    pub fn check(&mut self, now: u64) -> (u64, Commands<D>) {
        let mark = self.next_number;
        self.syncing.is_wanted = true;
        let mut out = Commands::new();
        self.advance(now, &mut out);
        (mark, out)
    }

    /// Returns true once the room has everything that the server had when it was asked by the check with this mark.
    #[must_use]
    pub fn is_checked(&self, mark: u64) -> bool {
        self.syncing.answered >= mark && !self.incoming.is_behind()
    }

    /// Queues a message for the next call. A server that has not answered for too long takes none.
    ///
    /// # Errors
    /// The message, when it cannot be published now. It is not answered by a command then.
    pub fn publish(&mut self, draft: D, now: u64) -> Result<Commands<D>, D> {
        if !self.is_open() || self.is_out_of_patience(now) {
            return Err(draft);
        }
        self.outgoing.push(draft);
        let mut out = Commands::new();
        self.advance(now, &mut out);
        Ok(out)
    }

    /// Notes that there is a new link to the server, on which nothing is subscribed.
    pub fn link_up(&mut self, now: u64) -> Commands<D> {
        self.lose_link();
        self.link = Link::Up;
        for pause in [&mut self.syncing.pause, &mut self.filling.pause, &mut self.outgoing.pause] {
            pause.reset();
        }
        let mut out = Commands::new();
        self.advance(now, &mut out);
        out
    }

    /// Notes that the link broke. The answers to calls that were under way may come before or after this.
    pub fn link_down(&mut self, now: u64) -> Commands<D> {
        self.lose_link();
        if self.link == Link::Up {
            self.link = Link::Down { since: now };
        }
        Commands::new()
    }

    /// Notes that the server has confirmed the subscription.
    pub fn subscribed(&mut self, now: u64) -> Commands<D> {
        let mut out = Commands::new();
        if matches!(self.subscription, Subscription::Requested { .. }) {
            self.subscription = Subscription::Confirmed;
            self.syncing.is_wanted |= !is_broken(Rule::SyncAfterSubscribing) || !self.is_open();
            self.advance(now, &mut out);
        }
        out
    }

    /// Notes that the subscription has ended, asked for or not.
    pub fn unsubscribed(&mut self, now: u64) -> Commands<D> {
        match &mut self.subscription {
            Subscription::Absent => {}
            // It may be the answer to an earlier `Unsubscribe`. If the server has refused, it is asked again soon.
            Subscription::Requested { again_at } => *again_at = (*again_at).min(now + REFUSED_MS),
            Subscription::Confirmed if is_broken(Rule::SubscribeAgain) => {}
            Subscription::Confirmed => self.subscription = Subscription::Absent,
        }
        let mut out = Commands::new();
        if self.subscription == Subscription::Absent {
            self.syncing.sent = None;
            self.advance(now, &mut out);
        }
        out
    }

    /// Forgets what depends on the link.
    fn lose_link(&mut self) {
        self.subscription = Subscription::Absent;
        self.syncing.sent = None;
        self.syncing.is_wanted = false;
        self.filling.sent = None;
        self.filling.doubt = Doubt::None;
    }

    /// Returns true when the server has not done what it was asked to for too long.
    fn is_out_of_patience(&self, now: u64) -> bool {
        self.stalled_since().is_some_and(|since| now >= since + self.settings.patience_ms)
    }

    /// Returns since when messages do not get to the server.
    fn stalled_since(&self) -> Option<u64> {
        match self.link {
            Link::Down { since } => Some(self.outgoing.stuck_since.map_or(since, |stuck| stuck.min(since))),
            Link::Up => self.outgoing.stuck_since,
        }
    }

    /// Takes the number of a request.
    fn take_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }
}

#[cfg(test)]
mod tests;
