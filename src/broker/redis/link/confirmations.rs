//! Which subscriptions wait for the server's confirmation. Pure.
//!
//! The client counts every push that confirms a subscription as the answer to the oldest request. A server also sends
//! `sunsubscribe` unasked, when a slot moves; while requests wait, the answers of all that follow are then shifted by
//! one. So confirmations are recognised by their channel, and an error, which names none, is believed to answer its
//! request only while nothing is shifted.

use bytes::Bytes;
use rustc_hash::FxHashMap;
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
    pub(super) fn channel(&self) -> &Bytes {
        let (Self::Subscribe(channel) | Self::Unsubscribe(channel)) = self;
        channel
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
    waiting: FxHashMap<Bytes, Waiting>,
    is_shifted: bool,
}

#[derive(Debug)]
struct Waiting {
    subscribes: u32,
    unsubscribes: u32,
    until: Instant,
}

impl Confirmations {
    pub(super) fn expect(&mut self, changes: &[Change], until: Instant) {
        for change in changes {
            let waiting = self.waiting.entry(change.channel().clone()).or_insert(Waiting {
                subscribes: 0,
                unsubscribes: 0,
                until,
            });
            waiting.until = until;
            match change {
                Change::Subscribe(_) => waiting.subscribes += 1,
                Change::Unsubscribe(_) => waiting.unsubscribes += 1,
            }
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.waiting.values().any(|waiting| waiting.until < now)
    }

    pub(super) fn subscribed(&mut self, channel: &Bytes) {
        self.one_less(&Change::Subscribe(channel.clone()));
    }

    pub(super) fn unsubscribed(&mut self, channel: &Bytes) -> Ended {
        if self.one_less(&Change::Unsubscribe(channel.clone())) {
            return Ended::Asked;
        }
        self.is_shifted = !self.waiting.is_empty();
        Ended::Unasked
    }

    /// Takes an error that seems to answer `change`. Returns false when it may answer another one.
    pub(super) fn refused(&mut self, change: &Change) -> bool {
        !self.is_shifted && self.one_less(change)
    }

    fn one_less(&mut self, change: &Change) -> bool {
        let Some(waiting) = self.waiting.get_mut(change.channel()) else { return false };
        let count = match change {
            Change::Subscribe(_) => &mut waiting.subscribes,
            Change::Unsubscribe(_) => &mut waiting.unsubscribes,
        };
        let Some(less) = count.checked_sub(1) else { return false };
        *count = less;
        if (waiting.subscribes, waiting.unsubscribes) == (0, 0) {
            self.waiting.remove(change.channel());
            // All requests are answered: the next answer is again that of the next request.
            self.is_shifted &= !self.waiting.is_empty();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribe(channel: &'static str) -> Change {
        Change::Subscribe(channel.into())
    }

    fn expecting(changes: &[Change]) -> Confirmations {
        let mut confirmations = Confirmations::default();
        confirmations.expect(changes, Instant::now());
        confirmations
    }

    #[test]
    fn an_end_is_asked_for_as_often_as_it_was_asked_for() {
        let end = Change::Unsubscribe("a".into());
        let mut confirmations = expecting(&[end.clone(), subscribe("a"), end]);
        assert_eq!(confirmations.unsubscribed(&"a".into()), Ended::Asked);
        confirmations.subscribed(&"a".into());
        assert_eq!(confirmations.waiting(), 1);
        assert_eq!(confirmations.unsubscribed(&"a".into()), Ended::Asked);
        assert_eq!(confirmations.waiting(), 0);
        assert_eq!(confirmations.unsubscribed(&"a".into()), Ended::Unasked);
    }

    #[test]
    fn an_error_is_believed_unless_an_unasked_end_has_shifted_the_answers() {
        let mut confirmations = expecting(&[subscribe("a"), subscribe("b"), subscribe("c")]);
        assert!(confirmations.refused(&subscribe("a")));
        assert!(!confirmations.refused(&subscribe("a")), "it is answered");
        assert_eq!(confirmations.unsubscribed(&"old".into()), Ended::Unasked);
        assert!(!confirmations.refused(&subscribe("b")));
        confirmations.subscribed(&"b".into());
        assert!(!confirmations.refused(&subscribe("c")));
        confirmations.subscribed(&"c".into());
        // Everything is answered: the order is right again.
        confirmations.expect(&[subscribe("d")], Instant::now());
        assert!(confirmations.refused(&subscribe("d")));
    }

    #[test]
    fn an_unasked_end_shifts_nothing_while_nothing_waits() {
        let mut confirmations = Confirmations::default();
        assert_eq!(confirmations.unsubscribed(&"a".into()), Ended::Unasked);
        confirmations.expect(&[subscribe("a")], Instant::now());
        assert!(confirmations.refused(&subscribe("a")));
    }
}
