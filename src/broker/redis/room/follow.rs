//! Batches that are pushed or read from the stream, and comparisons of the room's position with the server's.

use super::super::batch::Batch;
use super::super::script::sync::SyncReply;
use super::command::{Command, Commands, Failure, Outcome, Waiting, answer};
use super::incoming::Place;
use super::lives::{Comparison, compare, includes};
use super::outgoing::{Appended, CallState, Own};
use super::rule::{Rule, is_broken};
use super::{Doubt, Filling, Room, SentSync, Stage};
use crate::names::{Offset, Position};

/// Pages of an unknown epoch after which a room begins anew, each behind a sync that showed the room's own epoch. There
/// is none unless the stream has batches of more epochs than the server remembers.
const MAX_FOREIGN: u8 = 2;

/// Why a batch cannot be appended yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    /// The room has no position.
    NoPosition,
    /// Messages are missing before the batch.
    Missing,
    /// The epoch of the batch is unknown.
    OtherEpoch,
    /// Only the answer to the call tells which of its messages the batch has.
    AwaitAnswer,
}

impl<D: Waiting> Room<D> {
    /// Takes a batch that the server pushed.
    pub fn pushed(&mut self, batch: Batch, now: u64) -> Commands<D> {
        let mut out = Commands::new();
        if self.stage == Stage::Closed || batch.messages.is_empty() {
            return out;
        }
        let batch = if self.incoming.holds_some() { Some(batch) } else { self.offer_push(batch, &mut out) };
        if let Some(batch) = batch
            && !self.incoming.hold(batch, self.next_number)
        {
            self.syncing.is_wanted |= !is_broken(Rule::SyncAfterDropping);
        }
        self.advance(now, &mut out);
        out
    }

    /// Takes the answer to the sync with this number.
    pub fn synced(&mut self, number: u64, result: Result<SyncReply, Failure>, now: u64) -> Commands<D> {
        let mut out = Commands::new();
        let is_current = |sent: &SentSync| sent.number == number || is_broken(Rule::IgnoreOldAnswers);
        let Some(sent) = self.syncing.sent.filter(is_current) else { return out };
        self.syncing.sent = None;
        match result {
            Ok(reply) => {
                self.syncing.answered = sent.number;
                self.syncing.pause.reset();
                self.plan_check(now);
                self.compare(sent, &reply, &mut out);
            }
            Err(_) => {
                self.syncing.pause.fail(now, self.settings.hash);
                self.syncing.is_wanted = true;
            }
        }
        self.advance(now, &mut out);
        out
    }

    /// Takes the page of the stream that was asked for with this number.
    pub fn filled(&mut self, number: u64, result: Result<Vec<Batch>, Failure>, now: u64) -> Commands<D> {
        let mut out = Commands::new();
        if self.filling.sent != Some(number) {
            return out;
        }
        self.filling.sent = None;
        match result {
            Ok(page) => {
                self.filling.pause.reset();
                self.read(page, &mut out);
            }
            // Reading the same page again does not help: it counts as empty.
            Err(Failure::Unreadable) => self.read(Vec::new(), &mut out),
            Err(_) => self.filling.pause.fail(now, self.settings.hash),
        }
        self.advance(now, &mut out);
        out
    }

    /// Appends a pushed batch, or returns it to be held.
    fn offer_push(&mut self, batch: Batch, out: &mut Commands<D>) -> Option<Batch> {
        let (batch, obstacle) = self.offer(batch, out).err()?;
        if obstacle == Obstacle::Missing && is_broken(Rule::HoldAhead) {
            return None;
        }
        self.meet(&batch, obstacle);
        Some(batch)
    }

    /// Does what an obstacle demands.
    fn meet(&mut self, batch: &Batch, obstacle: Obstacle) {
        match obstacle {
            Obstacle::NoPosition => {}
            Obstacle::Missing => {
                let before = Offset(batch.first.0.saturating_sub(1));
                self.incoming.goal = self.incoming.goal.max(before);
            }
            // A sync under way may be older than the batch. If it is, its answer leads here again.
            Obstacle::OtherEpoch => self.syncing.is_wanted |= self.syncing.sent.is_none(),
            Obstacle::AwaitAnswer => self.awaits_answer = true,
        }
    }

    /// Appends the held batches whose turn has come.
    pub(super) fn append_held(&mut self, out: &mut Commands<D>) {
        self.awaits_answer = false;
        while let Some((batch, mark)) = self.incoming.take_held() {
            let Err((batch, obstacle)) = self.offer(batch, out) else { continue };
            self.meet(&batch, obstacle);
            self.incoming.put_back(batch, mark);
            return;
        }
        self.incoming.drop_held();
    }

    /// Appends a batch, or drops it when nothing of it is needed.
    fn offer(&mut self, batch: Batch, out: &mut Commands<D>) -> Result<(), (Batch, Obstacle)> {
        match self.incoming.place(&batch) {
            Place::Nowhere => Err((batch, Obstacle::NoPosition)),
            Place::OtherEpoch => Err((batch, Obstacle::OtherEpoch)),
            Place::Ahead if !is_broken(Rule::FillBeforeAppend) => Err((batch, Obstacle::Missing)),
            Place::Seen if !is_broken(Rule::DropSeen) => Ok(()),
            Place::Lost => Ok(()),
            Place::Next | Place::Seen | Place::Ahead => self.append(batch, out),
        }
    }

    /// Appends a batch with the next message, without those that were seen.
    fn append(&mut self, mut batch: Batch, out: &mut Commands<D>) -> Result<(), (Batch, Obstacle)> {
        // A duplicate may be of a message in this batch, so it is answered behind it.
        let mut duplicates = Commands::new();
        let mut own = match self.outgoing.claim(&batch, self.settings.by, &mut duplicates) {
            Own::Nothing => Vec::new(),
            Own::AwaitAnswer => return Err((batch, Obstacle::AwaitAnswer)),
            Own::Messages(own) => own,
        };
        let last = batch.last();
        let next = self.incoming.at.map_or(batch.first, |at| at.offset.next());
        if batch.first < next && last >= next {
            let seen = batch.messages.drain(..(next.0 - batch.first.0) as usize).len();
            for (index, draft) in own.drain(..seen.min(own.len())).enumerate() {
                let offset = Offset(batch.first.0 + index as u64);
                let position = Position { epoch: batch.epoch, offset };
                out.push(answer(draft, Outcome::Appended(position)));
            }
            batch.first = next;
        }
        self.incoming.advance(last);
        self.progress();
        out.push(Command::Append { batch, own });
        out.extend(duplicates);
        self.answer_passed(out);
        Ok(())
    }

    /// Notes that the room has moved.
    fn progress(&mut self) {
        self.filling.doubt = Doubt::None;
        self.filling.foreign = 0;
    }

    /// Appends a page of the stream. Its batches have no holes between them: what is missing was trimmed.
    fn read(&mut self, page: Vec<Batch>, out: &mut Commands<D>) {
        let before = self.incoming.at;
        let mut stopped = None;
        for batch in page.into_iter().filter(|batch| !batch.messages.is_empty()) {
            let mut result = self.offer(batch, out);
            if let Err((batch, Obstacle::Missing)) = result {
                self.skip_to(Offset(batch.first.0.saturating_sub(1)), out);
                result = self.offer(batch, out);
            }
            let Err((batch, obstacle)) = result else { continue };
            if obstacle == Obstacle::AwaitAnswer {
                self.incoming.put_back(batch, self.next_number);
            }
            stopped = Some(obstacle);
            break;
        }
        if is_broken(Rule::FillToGoal) {
            self.incoming.goal = before.map_or(Offset(0), |at| at.offset);
        }
        self.append_held(out);
        let is_other_epoch = stopped == Some(Obstacle::OtherEpoch);
        let is_stuck = before == self.incoming.at || is_other_epoch;
        if is_stuck && self.incoming.is_behind() && !self.awaits_answer {
            self.doubt(is_other_epoch, out);
        }
    }

    /// Asks for a sync after a page without the next message. Messages that the page lacks are given up when a sync has
    /// confirmed before that the server got that far. Those of an unknown epoch are not: the sync makes it known.
    fn doubt(&mut self, is_other_epoch: bool, out: &mut Commands<D>) {
        let confirmed = match self.filling.doubt {
            Doubt::Confirmed { to } => Some(to),
            _ => is_broken(Rule::ConfirmEmptyPage).then_some(self.incoming.goal),
        };
        if let Some(to) = confirmed.filter(|_| !is_other_epoch) {
            self.skip_to(to.min(self.incoming.goal), out);
            self.append_held(out);
        } else {
            self.filling.foreign += u8::from(confirmed.is_some());
            self.filling.doubt = Doubt::Asking { mark: self.next_number };
            self.syncing.is_wanted = true;
        }
    }

    /// Reports the messages up to `to` as missing and goes on behind them.
    fn skip_to(&mut self, to: Offset, out: &mut Commands<D>) {
        let Some(at) = self.incoming.at.filter(|at| at.offset < to) else { return };
        if !is_broken(Rule::ReportGap) {
            out.push(Command::Gap { from: at.offset.next(), to });
        }
        self.incoming.advance(to);
        self.progress();
        self.answer_passed(out);
    }

    /// Answers the messages of a call which the server has appended, and which this node has passed without them: they
    /// are in a gap, or all of them are duplicates. A duplicate that this node has not come to could still be lost,
    /// and its sender would not hear of that.
    pub(super) fn answer_passed(&mut self, out: &mut Commands<D>) {
        let Some(at) = self.incoming.at else { return };
        let Some(CallState::Appended(appended)) = self.outgoing.call().map(|call| &call.state) else {
            return;
        };
        let Appended { epoch, first, last, .. } = *appended;
        let known = SyncReply { epoch: at.epoch, last: at.offset, lives: self.incoming.lives.clone() };
        if last > at.offset || !includes(&known, epoch, last) || is_broken(Rule::AnswerAtGap) {
            return;
        }
        for (index, draft) in self.outgoing.finish_appended(out).into_iter().enumerate() {
            let position = Position { epoch, offset: Offset(first.0 + index as u64) };
            out.push(answer(draft, Outcome::Appended(position)));
        }
    }

    /// Compares the room with the answer to a sync.
    fn compare(&mut self, sent: SentSync, reply: &SyncReply, out: &mut Commands<D>) {
        let position = Position { epoch: reply.epoch, offset: reply.last };
        match self.incoming.at.map(|at| (at, compare(at, &self.incoming.lives, sent.offset, reply))) {
            None => {
                self.incoming.at = Some(position);
                self.stage = Stage::Open;
                out.push(Command::Opened { position, lives: reply.lives.clone() });
            }
            Some((_, Comparison::Lost)) => self.begin_anew(position, reply, out),
            Some((_, Comparison::Same)) if self.filling.foreign >= MAX_FOREIGN => {
                self.begin_anew(position, reply, out);
            }
            Some((_, Comparison::Same)) => {
                if let Doubt::Asking { mark } = self.filling.doubt
                    && sent.number >= mark
                {
                    self.filling.doubt = Doubt::Confirmed { to: reply.last };
                }
            }
            Some((at, Comparison::Continued)) => {
                self.progress();
                let position = Position { epoch: reply.epoch, offset: at.offset };
                self.incoming.at = Some(position);
                out.push(Command::Adopt { position, lives: reply.lives.clone() });
            }
        }
        self.incoming.goal = reply.last;
        self.incoming.lives = reply.lives.clone();
        self.incoming.prune(sent.number, reply);
        self.repeat_if_lost(sent.number, reply);
        self.append_held(out);
        self.answer_passed(out);
    }

    /// Begins the room at another position: its members were shown messages that are lost.
    fn begin_anew(&mut self, position: Position, reply: &SyncReply, out: &mut Commands<D>) {
        self.incoming.at = Some(position);
        self.filling = Filling::default();
        out.push(Command::BeginAnew { position, lives: reply.lives.clone() });
        if !is_broken(Rule::AnswerAtAnew) {
            let messages = self.outgoing.finish().into_iter();
            out.extend(messages.map(|draft| answer(draft, Outcome::Unknown)));
        }
    }

    /// Repeats a call whose messages the server has appended and lost since. Nobody here was shown them.
    fn repeat_if_lost(&mut self, number: u64, reply: &SyncReply) {
        let Some(call) = self.outgoing.call_mut() else { return };
        if let CallState::Appended(appended) = &call.state
            && number >= appended.mark
            && !includes(reply, appended.epoch, appended.last)
            && !is_broken(Rule::RepeatLostTail)
        {
            call.state = CallState::Lost;
            call.was_lost = true;
        }
    }
}
