//! A link to one server with the calls that wait until the link has space for them.

use std::collections::VecDeque;

use super::super::link::{Call, ServerLink};
use crate::shrink::ShrinkWhenSparse;

/// One of so many calls that waited may be a usual one although urgent ones wait, so that rooms get in sync while the
/// server is busy with messages.
const SHARE: u8 = 4;

/// The class of a call that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// It carries messages, or others wait for it.
    Urgent,
    Usual,
}

/// Calls that wait for space.
#[derive(Debug, Default)]
struct Queue {
    urgent: VecDeque<(u64, Call)>,
    usual: VecDeque<(u64, Call)>,
    turn: u8,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.usual.is_empty()
    }

    fn push(&mut self, tag: u64, call: Call, urgency: Urgency) {
        match urgency {
            Urgency::Urgent => self.urgent.push_back((tag, call)),
            Urgency::Usual => self.usual.push_back((tag, call)),
        }
    }

    /// Returns the call whose turn it is, if there is space for it.
    fn pop(&mut self, has_space: impl FnOnce(&Call) -> bool) -> Option<(u64, Call)> {
        let is_usual = self.urgent.is_empty() || self.turn == 0 && !self.usual.is_empty();
        let queue = if is_usual { &mut self.usual } else { &mut self.urgent };
        let popped = queue.pop_front_if(|(_, call)| has_space(call))?;
        queue.shrink_when_sparse();
        self.turn = (self.turn + 1) % SHARE;
        Some(popped)
    }
}

/// A link and its calls. Their number is bounded by that of the rooms: each has one message, one comparison and two
/// readings under way at most.
#[derive(Debug)]
pub(super) struct PacedLink {
    link: ServerLink,
    is_up: bool,
    queue: Queue,
}

impl PacedLink {
    pub(super) fn new(link: ServerLink) -> Self {
        Self { link, is_up: false, queue: Queue::default() }
    }

    pub(super) fn link(&self) -> &ServerLink {
        &self.link
    }

    pub(super) fn is_up(&self) -> bool {
        self.is_up
    }

    pub(super) fn up(&mut self) {
        self.is_up = true;
    }

    /// Notes that the link broke. Calls that wait are answered by it, for it sends none.
    pub(super) fn down(&mut self) {
        self.is_up = false;
        while let Some((tag, call)) = self.queue.pop(|_| true) {
            self.link.call(tag, call);
        }
    }

    /// Sends a call, or lets it wait. It is answered by an event of the link in any case.
    pub(super) fn send(&mut self, tag: u64, call: Call, urgency: Urgency) {
        if self.is_up && !(self.queue.is_empty() && self.link.has_space(&call)) {
            self.queue.push(tag, call, urgency);
        } else {
            self.link.call(tag, call);
        }
    }

    /// Sends calls that wait, as far as there is space.
    pub(super) fn send_waiting(&mut self) {
        while let Some((tag, call)) = self.queue.pop(|call| self.link.has_space(call)) {
            self.link.call(tag, call);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(urgent: u64, usual: u64) -> Queue {
        let mut queue = Queue::default();
        (0..usual).for_each(|tag| queue.push(100 + tag, Call::command(["PING"]), Urgency::Usual));
        (0..urgent).for_each(|tag| queue.push(tag, Call::command(["PING"]), Urgency::Urgent));
        queue
    }

    #[test]
    fn urgent_calls_go_first_and_leave_a_share_to_the_others() {
        let mut full = queue(8, 4);
        let order: Vec<u64> = std::iter::from_fn(|| full.pop(|_| true)).map(|(tag, _)| tag).collect();
        assert_eq!(order, [100, 0, 1, 2, 101, 3, 4, 5, 102, 6, 7, 103]);
        assert!(full.is_empty() && full.urgent.capacity() + full.usual.capacity() < 16);
    }

    #[test]
    fn calls_wait_in_their_order_until_there_is_space() {
        let mut waiting = queue(0, 2);
        assert!(waiting.pop(|_| false).is_none() && !waiting.is_empty());
        assert_eq!([0; 2].map(|_| waiting.pop(|_| true).map(|(tag, _)| tag)), [Some(100), Some(101)]);
    }
}
