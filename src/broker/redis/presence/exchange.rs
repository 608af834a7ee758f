//! The exchange of a room's users between this node and the others.

use super::command::{Command, ExchangeSettings};
use super::operation::{Answer, Operation};
use super::own::Own;
use super::payload::Payload;
use super::peers::Peers;
use super::rules::{Rule, is_broken};
use super::snapshot::Snapshot;
use super::waiting::Waiting;
use super::{NodeTable, Standing};
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::script::Reply;
use crate::chat::presence::{Change, LocalNews};

/// Most users of a room whose names nodes tell each other, whatever the configuration allows: a node that opens such a
/// room reads up to 1.3 MB.
const MAX_LISTED: usize = 20_000;
/// Longest time over which publications are merged, in milliseconds: well within the time for which a user is held who
/// moves to another node.
const MAX_MERGE_MS: u64 = 2_000;
/// Least time between two reads of a room while its link is up, in milliseconds.
const READ_PAUSE_MS: u64 = 200;
/// Time until a call that failed is repeated, in milliseconds. It doubles with each failure, up to the last value.
const RETRY_MS: (u64, u64) = (100, 5_000);
/// Time without an answer after which a call counts as failed, in milliseconds. The link answers earlier.
const ANSWER_MS: u64 = 30_000;

/// A call whose answer is awaited.
#[derive(Debug)]
struct InFlight {
    tag: u64,
    operation: Operation,
    until_ms: u64,
}

/// The exchange of a room's users between this node and the others. One call is in flight at a time, and each may be
/// repeated: a publication that was carried out already does nothing.
#[derive(Debug)]
pub struct Exchange {
    me: Incarnation,
    settings: ExchangeSettings,
    own: Own,
    peers: Peers,
    /// Publications of others that wait for a read.
    waiting: Waiting,
    /// True while the room's channel is subscribed and calls can be made.
    is_up: bool,
    /// True when the room was read since the link came up.
    is_synced: bool,
    /// True once [`Command::Ready`] was given.
    is_ready: bool,
    wants_read: bool,
    /// When the room was read last.
    read_ms: Option<u64>,
    call: Option<InFlight>,
    last_tag: u64,
    failures: u32,
    again_ms: u64,
    is_closing: bool,
    malformed: u64,
    commands: Vec<Command>,
}

impl Exchange {
    /// Creates the exchange of a room in which nothing is known of other nodes. `me` is this node. `first_number` is
    /// larger than the [`number`](Exchange::number) of every earlier exchange of this node in this room.
    #[must_use]
    pub fn new(me: Incarnation, first_number: u64, settings: ExchangeSettings) -> Self {
        let lists_up_to = settings.lists_up_to.min(MAX_LISTED);
        let interval_ms = settings.interval_ms.min(MAX_MERGE_MS);
        Self {
            me,
            settings: ExchangeSettings { lists_up_to, interval_ms, ..settings },
            own: Own::new(me, first_number),
            peers: Peers::new(),
            waiting: Waiting::default(),
            is_up: false,
            is_synced: false,
            is_ready: false,
            wants_read: false,
            read_ms: None,
            call: None,
            last_tag: 0,
            failures: 0,
            again_ms: 0,
            is_closing: false,
            malformed: 0,
            commands: Vec::new(),
        }
    }

    /// Returns the number of this node's last publication in this room.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.own.number()
    }

    /// Returns true when [`Exchange::nodes_changed`] must be called with each new table of nodes, because a node is met
    /// here that the table lacks. Otherwise it is enough to call it when a node has died.
    #[must_use]
    pub fn awaits_nodes(&self) -> bool {
        self.peers.has_doubts()
    }

    /// Returns true when the next table of nodes is wanted soon, because a node is met here that may be newer than the
    /// present one.
    #[must_use]
    pub fn asks_for_nodes(&self, table: &impl NodeTable) -> bool {
        self.is_up && self.is_synced && self.peers.is_any_new(table)
    }

    /// Takes the number of payloads, entries and replies so far that could not be understood.
    pub const fn take_malformed(&mut self) -> u64 {
        std::mem::replace(&mut self.malformed, 0)
    }

    /// Returns when [`Exchange::tick`] has something to do; `None` when it needs no call before another event.
    #[must_use]
    pub fn next_tick_ms(&self) -> Option<u64> {
        let deadline = self.call.as_ref().map(|call| call.until_ms);
        if !self.is_up || deadline.is_some() {
            return deadline;
        }
        let read = self.read_ms.map(|read_ms| {
            read_ms + if self.wants_read { READ_PAUSE_MS } else { self.settings.read_every_ms }
        });
        let removal = self.peers.next_removal_ms().filter(|_| self.is_synced);
        let next = [read, removal, self.own.due_ms()].into_iter().flatten().min();
        let is_waiting = !self.is_synced || self.own.unanswered().is_some() || self.is_closing;
        let again = (is_waiting || !self.peers.dead.is_empty()).then_some(self.again_ms);
        match (again, next) {
            (Some(again), Some(next)) => Some(again.min(next.max(self.again_ms))),
            (None, Some(next)) => Some(next.max(self.again_ms)),
            (again, None) => again,
        }
    }

    /// Notes that the room's channel is subscribed and that calls can be made.
    pub fn link_up(&mut self, now_ms: u64) -> Vec<Command> {
        self.is_up = true;
        (self.failures, self.again_ms) = (0, now_ms);
        self.is_synced = is_broken(Rule::ReadAfterABreak) && self.read_ms.is_some();
        self.finish(now_ms)
    }

    /// Notes that pushes may be lost from now on, or that calls cannot be made.
    pub fn link_down(&mut self) {
        (self.is_up, self.is_synced, self.wants_read) = (false, false, false);
        // A late answer says nothing of the engine as it will be.
        self.call = None;
        self.waiting.clear();
    }

    /// Takes over the moves of this node's users. An exchange that was closing goes on.
    pub fn moved(&mut self, news: impl Into<LocalNews>, now_ms: u64) -> Vec<Command> {
        self.own.take_in(news.into());
        if self.own.count() > 0 {
            self.is_closing = false;
        }
        self.finish(now_ms)
    }

    /// Takes over a push on the room's channel. Pushes that are not presence do nothing.
    pub fn pushed(&mut self, push: &[u8], table: &impl NodeTable, now_ms: u64) -> Vec<Command> {
        let payload = match Payload::parse(push) {
            Ok(Some(payload)) if payload.by != self.me => payload,
            Ok(_) => return Vec::new(),
            Err(_) => {
                self.malformed += 1;
                self.wants_read = true;
                return self.finish(now_ms);
            }
        };
        if !self.is_up {
            return Vec::new();
        }
        if table.standing(payload.by) == Standing::Dead {
            // A node that stood still may write before it knows that it counts as dead.
            self.peers.remove_stored(self.me, vec![payload.by]);
            return self.finish(now_ms);
        }
        if self.is_synced && !self.wants_read && !self.is_reading() {
            self.wants_read |= !self.peers.hear(payload, now_ms);
        } else if !is_broken(Rule::KeepWhileReading) && !self.waiting.push(payload, push.len()) {
            // The next read is sent after this, so that it has what was dropped.
            self.wants_read |= self.is_reading();
        }
        self.finish(now_ms)
    }

    /// Takes over the reply to a call, `None` when there is none: the call failed, or may have. Replies to calls that
    /// are no longer awaited do nothing.
    pub fn answered(
        &mut self,
        tag: u64,
        reply: Option<&Reply>,
        table: &impl NodeTable,
        now_ms: u64,
    ) -> Vec<Command> {
        let Some(call) = self.call.take_if(|call| call.tag == tag) else { return Vec::new() };
        let answer = reply.and_then(|reply| {
            let answer = call.operation.answer(reply);
            self.malformed += u64::from(answer.is_err());
            answer.ok()
        });
        match answer {
            None if is_broken(Rule::Repeat) => self.own.forget_unanswered(),
            None => self.failed(now_ms),
            Some(answer) => {
                (self.failures, self.again_ms) = (0, now_ms);
                self.take_answer(call.operation, answer, table, now_ms);
            }
        }
        self.finish(now_ms)
    }

    /// Takes over a new table of nodes: see [`Exchange::awaits_nodes`].
    pub fn nodes_changed(&mut self, table: &impl NodeTable, now_ms: u64) -> Vec<Command> {
        if self.is_up && self.is_synced {
            let must_read = self.peers.look_up(self.me, table, now_ms);
            self.wants_read |= must_read;
            if !must_read {
                self.note_ready(table);
            }
        }
        self.finish(now_ms)
    }

    /// Does what is due. `now_ms` is of a clock that leaves out the time in which the process stood still, as users
    /// could not come back in it.
    pub fn tick(&mut self, now_ms: u64) -> Vec<Command> {
        if self.call.take_if(|call| call.until_ms <= now_ms).is_some() {
            self.failed(now_ms);
        }
        self.finish(now_ms)
    }

    /// Leaves the room. [`Command::Closed`] follows when the engine knows it. Users that this node still has may come
    /// back on other nodes. If users come to this node before that, the exchange goes on.
    pub fn close(&mut self, now_ms: u64) -> Vec<Command> {
        self.is_closing = true;
        self.finish(now_ms)
    }

    fn is_reading(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.operation == Operation::Read)
    }

    fn failed(&mut self, now_ms: u64) {
        let (first, most) = RETRY_MS;
        self.again_ms = now_ms + (first << self.failures.min(10)).min(most);
        self.failures += 1;
    }

    fn take_answer(&mut self, operation: Operation, answer: Answer, table: &impl NodeTable, now_ms: u64) {
        match (operation, answer) {
            (Operation::Publish(_), Answer::Stored(number)) => {
                let has_changed = self.own.stored(number);
                self.tell_occupied(has_changed);
            }
            (Operation::Read, Answer::Snapshot(snapshot)) => self.take_snapshot(snapshot, table, now_ms),
            (Operation::Close { .. }, Answer::Stayed(0)) => {
                let has_changed = self.own.closed();
                self.tell_occupied(has_changed);
            }
            // A later publication of this node is stored: its number is read.
            (Operation::Close { .. }, _) => self.wants_read = true,
            (Operation::RemoveDead(nodes), _) => {
                self.peers.dead.retain(|node| !nodes.contains(node));
                // They may have been the last ones with users.
                if !self.own.is_occupied() {
                    self.commands.push(Command::Occupied(false));
                }
            }
            (Operation::Publish(_) | Operation::Read, _) => self.malformed += 1,
        }
    }

    fn take_snapshot(&mut self, snapshot: Snapshot, table: &impl NodeTable, now_ms: u64) {
        self.malformed += snapshot.malformed as u64;
        let has_changed = self.own.compare(snapshot.entries.iter().find(|entry| entry.by == self.me));
        self.tell_occupied(has_changed);
        self.peers.read(self.me, snapshot, table, now_ms);
        for payload in self.waiting.take() {
            // The next read has everything that was pushed before it, so a payload with a hole before it is dropped.
            self.wants_read |= !self.peers.hear(payload, now_ms);
        }
        self.read_ms = Some(now_ms);
        self.is_synced = true;
        self.note_ready(table);
    }

    fn tell_occupied(&mut self, has_changed: bool) {
        if has_changed {
            self.commands.push(Command::Occupied(self.own.is_occupied()));
        }
    }

    /// Says once that the users of other nodes are known, unless one of these nodes may be new.
    fn note_ready(&mut self, table: &impl NodeTable) {
        if !self.is_ready && !self.peers.is_any_new(table) {
            self.is_ready = true;
            self.commands.push(Command::Ready);
        }
    }

    /// Ends every event: applies what has changed, and makes the next call.
    fn finish(&mut self, now_ms: u64) -> Vec<Command> {
        if self.is_synced || is_broken(Rule::HoldThroughABreak) {
            self.peers.remove_expired(now_ms);
            self.choose_form();
        }
        let at_ms =
            now_ms + if self.sum() > self.settings.notice_limit { self.settings.interval_ms } else { 0 };
        self.own.schedule(at_ms);
        if !self.peers.changes.is_empty() {
            // Before anything else, such as `Ready`.
            self.commands.insert(0, Command::Apply(std::mem::take(&mut self.peers.changes)));
        }
        if self.is_closing && self.call.is_none() && !self.own.is_written() {
            self.commands.push(Command::Closed);
        } else if self.is_up && self.call.is_none() && now_ms >= self.again_ms {
            self.call_next(now_ms);
        }
        std::mem::take(&mut self.commands)
    }

    fn sum(&self) -> usize {
        self.own.count() + self.peers.sum()
    }

    /// Tells names in rooms of up to `lists_up_to` users, their number alone in larger ones. In between, at an eighth
    /// below the limit, a node does what others do, so that all agree in the end and none goes to and fro.
    fn choose_form(&mut self) {
        let most = self.settings.lists_up_to;
        let are_others_counted = self.peers.is_any_counted() && !is_broken(Rule::AgreeOnTheForm);
        let (sum, are_some_counted) = (self.sum(), self.own.is_counted() || are_others_counted);
        let is_counted = sum > most || are_some_counted && sum > most - most / 8;
        let has_changed = if is_counted { self.own.tell_number() } else { self.own.tell_names() };
        if has_changed {
            self.peers.changes.push(Change::OwnForm { is_counted });
        }
    }

    /// Makes the call that is due, if one is. Reading goes first while nothing is known, otherwise publishing, so that
    /// neither keeps the other waiting.
    fn call_next(&mut self, now_ms: u64) {
        let pause_ms = if self.wants_read { READ_PAUSE_MS } else { self.settings.read_every_ms };
        let reads = self.read_ms.is_some_and(|read_ms| now_ms >= read_ms + pause_ms);
        let publishes = !self.is_closing && self.own.due_ms().is_some_and(|due_ms| due_ms <= now_ms);
        let operation = if !self.is_synced {
            Operation::Read
        } else if let Some(publication) = self.own.unanswered() {
            Operation::Publish(publication.clone())
        } else if publishes {
            self.own.publish()
        } else if reads {
            Operation::Read
        } else if !self.peers.dead.is_empty() {
            Operation::RemoveDead(self.peers.dead.clone())
        } else if self.is_closing && self.own.is_written() && !is_broken(Rule::Close) {
            self.own.close()
        } else {
            return;
        };
        if operation == Operation::Read {
            self.wants_read = false;
        }
        self.last_tag += 1;
        let (tag, until_ms) = (self.last_tag, now_ms + ANSWER_MS);
        self.call = Some(InFlight { tag, operation: operation.clone(), until_ms });
        self.commands.push(Command::Call { tag, operation });
    }
}
