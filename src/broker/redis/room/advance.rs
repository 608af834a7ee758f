//! The requests that a room sends when they are due, and the times at which it must be looked at.

use super::command::{Command, Commands, Outcome, Waiting, answer};
use super::incoming::Incoming;
use super::outgoing::CallState;
use super::rule::{Rule, is_broken};
use super::{CHECK_MS, Doubt, Filling, Link, Room, SentSync, Stage, Subscription, Syncing};

/// How long a subscription may take before it is asked for again. Very many are confirmed within seconds.
const SUBSCRIPTION_MS: u64 = 5_000;
/// The time between two questions for a batch of this node that does not come.
const ASK_AGAIN_MS: u64 = 2_000;

impl<D: Waiting> Room<D> {
    /// Does what the time makes due. Call it at [`Room::due`] or later.
    pub fn tick(&mut self, now: u64) -> Commands<D> {
        let mut out = Commands::new();
        if let Stage::Opening { until } = self.stage
            && now >= until
            && !is_broken(Rule::OpeningDeadline)
        {
            self.end_opening(&mut out);
        }
        if self.is_open() && now >= self.syncing.check_at {
            self.syncing.is_wanted |= !is_broken(Rule::CheckPosition);
            self.plan_check(now);
        }
        if let Some(call) = self.outgoing.call_mut()
            && let CallState::Appended(appended) = &mut call.state
            && now >= appended.ask_at
            && !is_broken(Rule::AskForOwnBatch)
        {
            appended.ask_at = now + ASK_AGAIN_MS;
            self.syncing.is_wanted = true;
            self.outgoing.stuck_since.get_or_insert(now);
        }
        if self.is_out_of_patience(now) && !is_broken(Rule::RefuseAfterPatience) {
            let refused = self.outgoing.refuse_queue();
            out.extend(refused.into_iter().map(|draft| answer(draft, Outcome::Unavailable)));
        }
        self.advance(now, &mut out);
        out
    }

    /// Returns when [`Room::tick`] has something to do, or `None` while only another input changes anything.
    #[must_use]
    pub fn due(&self) -> Option<u64> {
        let is_up = self.link == Link::Up;
        let opening = match self.stage {
            Stage::Closed => return None,
            Stage::Opening { until } => Some(until),
            Stage::Open | Stage::Closing => Some(self.syncing.check_at),
        };
        let subscription = match self.subscription {
            Subscription::Requested { again_at } if is_up => Some(again_at),
            _ => None,
        };
        let sync = self.may_sync().then(|| self.syncing.pause.until());
        let fill = self.may_fill().then(|| self.filling.pause.until());
        let call = match self.outgoing.call().map(|call| &call.state) {
            Some(CallState::Sent) => None,
            Some(CallState::Appended(appended)) => Some(appended.ask_at),
            Some(CallState::Lost) => is_up.then(|| self.outgoing.pause.until()),
            None => (is_up && self.outgoing.has_queue()).then(|| self.outgoing.pause.until()),
        };
        let patience = self.stalled_since().filter(|_| self.outgoing.has_queue());
        let patience = patience.map(|since| since + self.settings.patience_ms);
        [opening, subscription, sync, fill, call, patience].into_iter().flatten().min()
    }

    /// Sends what can be sent now.
    pub(super) fn advance(&mut self, now: u64, out: &mut Commands<D>) {
        let may_close = self.outgoing.is_empty() || is_broken(Rule::CloseAfterCalls);
        if self.stage == Stage::Closing && may_close {
            self.stop(out);
            out.push(Command::Closed);
        }
        if self.stage == Stage::Closed || self.link != Link::Up {
            return;
        }
        match self.subscription {
            Subscription::Requested { again_at } if now < again_at => {}
            Subscription::Absent | Subscription::Requested { .. } => {
                self.subscription = Subscription::Requested { again_at: now + SUBSCRIPTION_MS };
                out.push(Command::Subscribe);
            }
            Subscription::Confirmed => {}
        }
        if self.may_sync() && self.syncing.pause.is_over(now) {
            let number = self.take_number();
            let offset = self.incoming.at.map_or_else(Default::default, |at| at.offset);
            self.syncing.sent = Some(SentSync { number, offset });
            self.syncing.is_wanted = false;
            out.push(Command::Sync { number });
        }
        if let Some(at) = self.incoming.at.filter(|_| self.may_fill() && self.filling.pause.is_over(now)) {
            let number = self.take_number();
            self.filling.sent = Some(number);
            out.push(Command::Fill { number, from: at.offset.next() });
        }
        if self.is_open() && self.outgoing.pause.is_over(now) {
            self.send_call(out);
        }
    }

    /// Begins a call, or repeats the one whose outcome is unknown.
    fn send_call(&mut self, out: &mut Commands<D>) {
        let number = if let Some(call) = self.outgoing.call_mut() {
            if call.state != CallState::Lost {
                return;
            }
            call.state = CallState::Sent;
            if is_broken(Rule::RepeatSameNumber) {
                call.number = self.next_number;
                self.next_number += 1;
            }
            call.number
        } else if self.outgoing.has_queue() {
            let number = self.take_number();
            self.outgoing.begin(number);
            number
        } else {
            return;
        };
        out.push(Command::Publish { number });
    }

    fn may_sync(&self) -> bool {
        let is_subscribed = self.link == Link::Up && self.subscription == Subscription::Confirmed;
        is_subscribed && self.syncing.is_wanted && self.syncing.sent.is_none()
    }

    fn may_fill(&self) -> bool {
        let is_asked = matches!(self.filling.doubt, Doubt::Asking { .. });
        let is_free = self.link == Link::Up && self.filling.sent.is_none() && !is_asked;
        is_free && self.is_open() && !self.awaits_answer && self.incoming.is_behind()
    }

    /// Plans the next comparison, a quarter earlier or later than the mean.
    pub(super) fn plan_check(&mut self, now: u64) {
        self.syncing.check_at = now + CHECK_MS * 3 / 4 + self.settings.hash % (CHECK_MS / 2);
    }

    /// Refuses those who wait for the room.
    pub(super) fn end_opening(&mut self, out: &mut Commands<D>) {
        self.stop(out);
        out.push(Command::NotOpened);
    }

    /// Ends the subscription and forgets the position.
    fn stop(&mut self, out: &mut Commands<D>) {
        if self.link == Link::Up && self.subscription != Subscription::Absent {
            out.push(Command::Unsubscribe);
        }
        self.stage = Stage::Closed;
        self.subscription = Subscription::Absent;
        self.syncing = Syncing::default();
        self.filling = Filling::default();
        self.incoming = Incoming::default();
        self.awaits_answer = false;
    }
}
