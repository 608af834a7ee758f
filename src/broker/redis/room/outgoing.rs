//! The messages that this node publishes in a room: those that wait, and the call that carries some of them.

use std::collections::VecDeque;

use super::super::batch::{Batch, CallId, Incarnation};
use super::command::{Commands, Outcome, Waiting, answer};
use super::pause::Pause;
use super::rule::{Rule, is_broken};
use crate::names::{Epoch, Offset, Position};
use crate::shrink::ShrinkWhenSparse;

/// Most messages of a call, so that the script does not hold up other rooms for long.
const MAX_CALL_MESSAGES: usize = 64;
/// Most bytes of a call, for the same reason. A longer message is in a call alone.
const MAX_CALL_BYTES: usize = 64 * 1024;

/// Messages on their way to the server. One call is under way at a time: so the order needs no further care, and a
/// repeated call is recognised by its number.
#[derive(Debug)]
pub(super) struct Outgoing<D> {
    queue: VecDeque<D>,
    call: Option<Call<D>>,
    bytes: usize,
    pub(super) pause: Pause,
    /// Since when the server does not do what it is asked to.
    pub(super) stuck_since: Option<u64>,
}

/// A call that is under way.
#[derive(Debug)]
pub(super) struct Call<D> {
    pub(super) number: u64,
    /// The messages that are not answered.
    pub(super) messages: Vec<D>,
    pub(super) state: CallState,
    /// True when an attempt may have been carried out, although no answer says so.
    pub(super) was_lost: bool,
}

/// How far a call is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CallState {
    /// An attempt is under way, and its answer will come.
    Sent,
    /// The call will be repeated.
    Lost,
    /// The server has appended the messages, but the room has not reached them.
    Appended(Appended),
}

/// Where the server has appended the messages of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Appended {
    pub(super) epoch: Epoch,
    pub(super) first: Offset,
    pub(super) last: Offset,
    /// The messages that had been appended before: their indices, which increase, and their positions. They are
    /// answered with the others: the call may be repeated until then, and it must have the same messages.
    pub(super) duplicates: Vec<(usize, Position)>,
    /// The number that the next request had when the answer came. Requests from there on know of the messages.
    pub(super) mark: u64,
    /// When the batch is asked for if it has not come.
    pub(super) ask_at: u64,
}

/// The messages of this node that a batch consists of.
#[derive(Debug)]
pub(super) enum Own<D> {
    /// Another node sent the batch, or nobody waits for it any more.
    Nothing,
    /// Some messages of the call were duplicates, and only the answer says which.
    AwaitAnswer,
    /// One message for each of the batch.
    Messages(Vec<D>),
}

impl<D> Default for Outgoing<D> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), call: None, bytes: 0, pause: Pause::default(), stuck_since: None }
    }
}

impl<D: Waiting> Outgoing<D> {
    pub(super) fn push(&mut self, draft: D) {
        self.bytes += draft.bytes();
        self.queue.push_back(draft);
    }

    /// Returns the bytes of all messages that are not answered.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns true when every message is answered.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.call.is_none()
    }

    pub(super) fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(super) fn call(&self) -> Option<&Call<D>> {
        self.call.as_ref()
    }

    pub(super) fn call_mut(&mut self) -> Option<&mut Call<D>> {
        self.call.as_mut()
    }

    /// Begins a call with the messages that have waited longest. There must be no call.
    pub(super) fn begin(&mut self, number: u64) {
        let mut bytes = 0;
        let fits = |draft: &&D| {
            bytes += draft.bytes();
            bytes <= MAX_CALL_BYTES
        };
        let count = self.queue.iter().take(MAX_CALL_MESSAGES).take_while(fits).count().max(1);
        let messages = self.queue.drain(..count.min(self.queue.len())).collect();
        self.queue.shrink_when_sparse();
        self.call = Some(Call { number, messages, state: CallState::Sent, was_lost: false });
    }

    /// Puts the messages of the call back to the head of the queue: it was not carried out.
    pub(super) fn requeue(&mut self) {
        let Some(call) = self.call.take() else { return };
        for draft in call.messages.into_iter().rev() {
            if is_broken(Rule::RequeueUnsent) {
                self.queue.push_back(draft)
            } else {
                self.queue.push_front(draft)
            }
        }
    }

    /// Ends the call and returns its messages, which the caller answers.
    pub(super) fn finish(&mut self) -> Vec<D> {
        self.pause.reset();
        self.stuck_since = None;
        let messages = self.call.take().map(|call| call.messages).unwrap_or_default();
        self.bytes -= messages.iter().map(Waiting::bytes).sum::<usize>();
        messages
    }

    /// Empties the queue and returns its messages, which the caller answers.
    pub(super) fn refuse_queue(&mut self) -> VecDeque<D> {
        if self.call.is_none() {
            self.stuck_since = None;
        }
        self.bytes -= self.queue.iter().map(Waiting::bytes).sum::<usize>();
        std::mem::take(&mut self.queue)
    }

    /// Notes what the server has appended. Returns false when the answer contradicts the call.
    pub(super) fn succeed(&mut self, appended: Appended, out: &mut Commands<D>) -> bool {
        let Some(call) = &mut self.call else { return false };
        let Appended { first, last, duplicates, .. } = &appended;
        let Some(rest) = call.messages.len().checked_sub(duplicates.len()) else { return false };
        let is_increasing = duplicates.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let is_in_range = duplicates.last().is_none_or(|(index, _)| *index < call.messages.len());
        if !is_increasing || !is_in_range || last.0 + 1 != first.0 + rest as u64 {
            return false;
        }
        self.pause.reset();
        self.stuck_since = None;
        call.state = CallState::Appended(appended);
        if rest == 0 && is_broken(Rule::PassBeforeDuplicate) {
            self.finish_appended(out);
        }
        true
    }

    /// Ends the call, answers its duplicates, and returns the other messages.
    pub(super) fn finish_appended(&mut self, out: &mut Commands<D>) -> Vec<D> {
        let state = self.call.as_mut().map(|call| std::mem::replace(&mut call.state, CallState::Sent));
        let Some(CallState::Appended(Appended { duplicates, .. })) = state else { return self.finish() };
        let mut own = Vec::with_capacity(duplicates.len());
        let mut duplicates = duplicates.into_iter().peekable();
        for (index, draft) in self.finish().into_iter().enumerate() {
            let is_this = |(duplicate, _): &_| *duplicate == index || is_broken(Rule::RemoveDuplicates);
            match duplicates.next_if(is_this) {
                Some((_, position)) => out.push(answer(draft, Outcome::Duplicate(position))),
                None => own.push(draft),
            }
        }
        own
    }

    /// Returns the messages that a batch consists of if this node's call appended it. The call ends then.
    pub(super) fn claim(&mut self, batch: &Batch, by: Incarnation, out: &mut Commands<D>) -> Own<D> {
        let is_own = |call: &&Call<D>| batch.call == CallId { by, number: call.number };
        let Some(call) = self.call.as_ref().filter(is_own) else { return Own::Nothing };
        if let CallState::Appended(appended) = &call.state {
            // The call ran twice: this batch is from a history whose tail was lost, and the answer from the one after.
            let is_same = (batch.epoch, batch.first) == (appended.epoch, appended.first);
            if !is_same && !is_broken(Rule::CompareBatchWithAnswer) {
                return Own::Nothing;
            }
        } else if batch.messages.len() < call.messages.len() && !is_broken(Rule::WaitForAnswer) {
            return Own::AwaitAnswer;
        }
        let mut own = self.finish_appended(out);
        if is_broken(Rule::WaitForAnswer) {
            own.truncate(batch.messages.len());
        }
        if own.len() == batch.messages.len() {
            return Own::Messages(own);
        }
        // The server contradicts itself.
        out.extend(own.into_iter().map(|draft| answer(draft, Outcome::Unknown)));
        Own::Nothing
    }
}
