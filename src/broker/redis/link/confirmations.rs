//! Which subscriptions wait for the server's confirmation. Pure.
//!
//! The server confirms them in the order in which they were asked for. It also sends `sunsubscribe` unasked, when a
//! slot moves: that is one which does not confirm the oldest change.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;

/// A change of the subscriptions, one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// `SSUBSCRIBE` to this channel.
    Subscribe(Bytes),
    /// `SUNSUBSCRIBE` from this channel.
    Unsubscribe(Bytes),
}

impl Change {
    /// Returns the command with its argument.
    pub(super) fn words(&self) -> [&[u8]; 2] {
        match self {
            Self::Subscribe(channel) => [b"SSUBSCRIBE", channel],
            Self::Unsubscribe(channel) => [b"SUNSUBSCRIBE", channel],
        }
    }
}

/// Whether the end of a subscription was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Asked,
    Unasked,
}

/// The changes that are sent and not yet confirmed. Their number is limited by the one that sends them.
#[derive(Debug, Default)]
pub(super) struct Confirmations {
    waiting: VecDeque<(Change, Instant)>,
}

impl Confirmations {
    /// Remembers a change that is sent now, and until when it must be confirmed.
    pub(super) fn expect(&mut self, change: Change, until: Instant) {
        self.waiting.push_back((change, until));
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.waiting.front().is_some_and(|(_, until)| *until < now)
    }

    /// Takes the beginning of a subscription. Returns false when it is not the one that comes next.
    pub(super) fn subscribed(&mut self, channel: &Bytes) -> bool {
        self.next_is(|change| matches!(change, Change::Subscribe(asked) if asked == channel))
    }

    /// Takes the end of a subscription. If one ends unasked whose end is the next to be confirmed, the two are taken
    /// for each other, which changes nothing.
    pub(super) fn unsubscribed(&mut self, channel: &Bytes) -> Ended {
        let is_asked =
            self.next_is(|change| matches!(change, Change::Unsubscribe(asked) if asked == channel));
        if is_asked { Ended::Asked } else { Ended::Unasked }
    }

    /// Takes an error, and returns the change that it answers.
    pub(super) fn refused(&mut self) -> Option<Change> {
        self.waiting.pop_front().map(|(change, _)| change)
    }

    fn next_is(&mut self, is_wanted: impl Fn(&Change) -> bool) -> bool {
        self.waiting.pop_front_if(|(change, _)| is_wanted(change)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribe(channel: &'static str) -> Change {
        Change::Subscribe(channel.into())
    }

    fn expecting<const N: usize>(changes: [Change; N]) -> Confirmations {
        let mut confirmations = Confirmations::default();
        changes.into_iter().for_each(|change| confirmations.expect(change, Instant::now()));
        confirmations
    }

    #[test]
    fn an_end_is_asked_for_as_often_as_it_was_asked_for() {
        let end = Change::Unsubscribe("a".into());
        let mut confirmations = expecting([end.clone(), subscribe("a"), end]);
        assert_eq!(confirmations.unsubscribed(&"a".into()), Ended::Asked);
        assert!(confirmations.subscribed(&"a".into()));
        assert_eq!(confirmations.waiting(), 1);
        assert_eq!(confirmations.unsubscribed(&"a".into()), Ended::Asked);
        assert_eq!(confirmations.waiting(), 0);
        assert_eq!(confirmations.unsubscribed(&"a".into()), Ended::Unasked);
    }

    #[test]
    fn an_error_answers_the_oldest_change_whatever_ends_unasked() {
        let mut confirmations = expecting([subscribe("a"), subscribe("b"), subscribe("c")]);
        assert_eq!(confirmations.unsubscribed(&"old".into()), Ended::Unasked);
        assert_eq!(confirmations.refused(), Some(subscribe("a")));
        assert_eq!(confirmations.unsubscribed(&"b".into()), Ended::Unasked);
        assert!(confirmations.subscribed(&"b".into()));
        assert!(!confirmations.subscribed(&"b".into()), "it is confirmed");
        assert_eq!(confirmations.refused(), Some(subscribe("c")));
        assert_eq!(confirmations.refused(), None);
    }
}
