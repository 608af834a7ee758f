//! The answers to this node's calls.

use super::super::script::publish::PublishReply;
use super::Room;
use super::command::{Commands, Failure, Outcome, Waiting, answer};
use super::outgoing::{Appended, Call, CallState};
use super::rule::{Rule, is_broken};

/// How long the batch of an answered call may take to be pushed.
const PUSH_MS: u64 = 500;

impl<D: Waiting> Room<D> {
    /// Takes the answer to an attempt of the call with this number.
    pub fn published(&mut self, number: u64, result: Result<PublishReply, Failure>, now: u64) -> Commands<D> {
        let mut out = Commands::new();
        // The batch may have come first and ended the call.
        let is_awaited = |call: &Call<D>| call.number == number && call.state == CallState::Sent;
        if !self.outgoing.call().is_some_and(is_awaited) {
            return out;
        }
        match result {
            Ok(reply) => self.take_reply(reply, now, &mut out),
            Err(failure) => self.take_failure(failure, now, &mut out),
        }
        self.advance(now, &mut out);
        out
    }

    fn take_reply(&mut self, reply: PublishReply, now: u64, out: &mut Commands<D>) {
        let PublishReply { epoch, first, last, duplicates, .. } = reply;
        let (mark, ask_at) = (self.next_number, now + PUSH_MS);
        if !self.outgoing.succeed(Appended { epoch, first, last, duplicates, mark, ask_at }, out) {
            return self.take_failure(Failure::Unreadable, now, out);
        }
        if self.incoming.at.is_some_and(|at| at.epoch != epoch) {
            self.syncing.is_wanted = true;
        }
        self.append_held(out);
        self.answer_passed(out);
    }

    fn take_failure(&mut self, failure: Failure, now: u64, out: &mut Commands<D>) {
        // A batch of the call that waits for this answer proves that the call was carried out.
        let awaits_answer = self.awaits_answer;
        let Some(call) = self.outgoing.call_mut() else { return };
        let is_unknown = (call.was_lost || awaits_answer) && !is_broken(Rule::ErrorsLeaveUnknown);
        let is_decided = match failure {
            Failure::Refused => !is_unknown,
            Failure::Lost | Failure::Unreadable => is_broken(Rule::RepeatLostCalls),
            Failure::NotSent => false,
        };
        if is_decided {
            let messages = self.outgoing.finish().into_iter();
            out.extend(messages.map(|draft| answer(draft, Outcome::Unavailable)));
            return;
        }
        call.state = CallState::Lost;
        match failure {
            Failure::NotSent if !is_unknown => self.outgoing.requeue(),
            Failure::NotSent | Failure::Refused => {}
            Failure::Lost | Failure::Unreadable => call.was_lost = true,
        }
        self.outgoing.pause.fail(now, self.settings.hash);
        self.outgoing.stuck_since.get_or_insert(now);
    }
}
