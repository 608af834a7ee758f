//! This node's own place in the table: when it beats, and what follows from the answers.

use super::beat::{Beat, BeatReply};
use super::name::NodeName;
use super::table::{Table, TableId};
use super::{BEAT_MS, LEASE_MS};
use crate::broker::redis::batch::Incarnation;

/// Pause after a beat that failed, in milliseconds. The link has pauses of its own while it is down.
const RETRY_MS: u64 = 1_000;
/// Least time between two beats when the table is asked for early, in milliseconds.
const HURRY_MS: u64 = 250;
/// Time since the last acknowledged beat within which the node may claim user ids, in milliseconds: half a lease. So
/// no claim is younger than the moment at which others take its node for dead.
const MAY_CLAIM_MS: u64 = LEASE_MS / 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// No beat is acknowledged. The name has been refused since this time, with this last beat of its holder.
    Starting { held: Option<(u64, u64)> },
    /// A beat was acknowledged that was sent at this time.
    Live { sent_ms: u64, table: TableId },
    /// The incarnation must not go on.
    Over,
}

/// The conclusion from the answer to a beat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LeaseEvent {
    /// The node is in the table, for the first time. The table goes to [`super::Nodes::apply`].
    Entered(Table),
    /// The table, after another beat.
    Renewed(Table),
    /// The table, after the node was silent for so long that the directory may have lost or replaced entries of its
    /// users, or after the engine began a new table. The node enters its connections again.
    Doubtful(Table),
    /// Another live node has the same name, and has gone on beating for a whole lease: the node must stop.
    NameTaken,
    /// The incarnation was declared dead: others have its users. The node closes its clients and begins anew, as
    /// another incarnation with another lease.
    BeginAnew,
    /// The table is full: the node must stop.
    TableFull,
}

/// The place of one incarnation in the table of nodes. Times are milliseconds of the node's own clock.
#[derive(Debug)]
pub struct Lease {
    name: NodeName,
    incarnation: Incarnation,
    state: State,
    /// When the next beat is due.
    next_ms: u64,
    /// When the beat was sent that has no answer yet.
    in_flight: Option<u64>,
    /// The engine's time in the last acknowledged beat, and when that arrived.
    engine_ms: Option<(u64, u64)>,
    beats: u64,
}

impl Lease {
    /// Begins an incarnation, whose first beat is due at once.
    #[must_use]
    pub fn new(name: NodeName, incarnation: Incarnation, now_ms: u64) -> Self {
        let state = State::Starting { held: None };
        Self { name, incarnation, state, next_ms: now_ms, in_flight: None, engine_ms: None, beats: 0 }
    }

    /// Returns the incarnation.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Returns a beat if one is due. Each is followed by one call of [`Lease::answered`] or [`Lease::failed`], as the
    /// link answers each call once; until then no other beat is due.
    pub fn due(&mut self, now_ms: u64) -> Option<Beat> {
        if self.state == State::Over || now_ms < self.next_ms || self.in_flight.is_some() {
            return None;
        }
        self.in_flight = Some(now_ms);
        self.beats += 1;
        let seen = match self.state {
            State::Live { table, .. } => Some(table),
            State::Starting { .. } | State::Over => None,
        };
        // The incarnation is random, so no two nodes and no two beats give the same id.
        let new_table = TableId(self.incarnation.0.wrapping_add(self.beats));
        Some(Beat { name: self.name.clone(), incarnation: self.incarnation, seen, new_table })
    }

    /// Returns the time at which the next beat is due; `None` while one waits for its answer, and when there is none.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        (self.in_flight.is_none() && self.state != State::Over).then_some(self.next_ms)
    }

    /// Makes the next beat early, because its answer is the next table of nodes, and somebody has met a node that the
    /// last one lacks.
    pub fn hurry(&mut self, now_ms: u64) {
        if let State::Live { sent_ms, .. } = self.state
            && self.in_flight.is_none()
        {
            self.next_ms = self.next_ms.min((sent_ms + HURRY_MS).max(now_ms));
        }
    }

    /// Notes that a beat was not answered. It may have been written; the next one finds out.
    pub fn failed(&mut self, now_ms: u64) {
        if self.in_flight.take().is_some() {
            self.next_ms = now_ms + RETRY_MS;
        }
    }

    /// Draws the conclusion from the answer to a beat. An answer without a beat changes nothing.
    pub fn answered(&mut self, now_ms: u64, reply: BeatReply) -> Option<LeaseEvent> {
        let sent_ms = self.in_flight.take()?;
        self.next_ms = (sent_ms + BEAT_MS).max(now_ms);
        match (reply, self.state) {
            (_, State::Over) => None,
            (BeatReply::Beaten(table), before) => {
                self.state = State::Live { sent_ms, table: table.id };
                self.engine_ms = Some((table.now_ms, now_ms));
                Some(match before {
                    State::Live { sent_ms: last_ms, table: id } => {
                        let is_doubtful = sent_ms.saturating_sub(last_ms) >= MAY_CLAIM_MS || id != table.id;
                        if is_doubtful { LeaseEvent::Doubtful(table) } else { LeaseEvent::Renewed(table) }
                    }
                    State::Starting { .. } | State::Over => LeaseEvent::Entered(table),
                })
            }
            (BeatReply::Held { for_ms, beat_ms }, State::Starting { held }) => {
                let (since_ms, first_ms) = held.unwrap_or((now_ms, beat_ms));
                // A holder that has crashed does not beat any more. Its name is free after a lease of the engine's
                // time, which begins again when the engine was away.
                if beat_ms != first_ms && now_ms.saturating_sub(since_ms) > LEASE_MS {
                    return self.over(LeaseEvent::NameTaken);
                }
                self.state = State::Starting { held: Some((since_ms, first_ms)) };
                self.next_ms = now_ms + for_ms.clamp(1, BEAT_MS);
                None
            }
            (BeatReply::Dead | BeatReply::Held { .. }, _) => self.over(LeaseEvent::BeginAnew),
            (BeatReply::Full, _) => self.over(LeaseEvent::TableFull),
        }
    }

    /// True while the node may claim user ids: a recent beat was acknowledged, so that the others know it as live.
    #[must_use]
    pub fn may_claim(&self, now_ms: u64) -> bool {
        matches!(self.state, State::Live { sent_ms, .. } if now_ms.saturating_sub(sent_ms) < MAY_CLAIM_MS)
    }

    /// Returns the engine's time in Unix milliseconds, as little behind as the last beat took; `None` before that.
    #[must_use]
    pub fn engine_now_ms(&self, now_ms: u64) -> Option<u64> {
        let (engine_ms, arrived_ms) = self.engine_ms?;
        Some(engine_ms + now_ms.saturating_sub(arrived_ms))
    }

    fn over(&mut self, event: LeaseEvent) -> Option<LeaseEvent> {
        self.state = State::Over;
        Some(event)
    }
}
