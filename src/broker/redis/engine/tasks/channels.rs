//! The control channels that this node listens to: its own, and that of all nodes. Pure.

use bytes::Bytes;

use crate::broker::redis::keys::Keys;
use crate::broker::redis::link::LinkId;
use crate::broker::redis::nodes::NodeName;
use crate::broker::redis::topology::slot_of;

/// Time after which a subscription that was not confirmed is asked for again, in milliseconds.
const AGAIN_MS: u64 = 2_000;
/// Pause after a subscription was refused or has ended, in milliseconds.
const PAUSE_MS: u64 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not subscribed. It may be asked for from this time on.
    Absent {
        from_ms: u64,
    },
    /// Asked for. It is asked for again at this time.
    Requested {
        again_ms: u64,
    },
    Confirmed,
}

#[derive(Debug)]
struct Channel {
    name: Bytes,
    slot: u16,
    link: Option<LinkId>,
    state: State,
}

/// A change of a subscription that is to be asked for.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::broker::redis::engine) enum Change {
    Subscribe(LinkId, Bytes),
    Unsubscribe(LinkId, Bytes),
}

/// The control channels of a node.
#[derive(Debug)]
pub(in crate::broker::redis::engine) struct Channels {
    /// The node's own channel first.
    all: [Channel; 2],
    /// Number of times that the node's own subscription has ended.
    losses: u64,
}

impl Channels {
    pub(super) fn new(keys: &Keys, node: &NodeName) -> Self {
        let channel = |name: Bytes| {
            let slot = slot_of(&name);
            Channel { name, slot, link: None, state: State::Absent { from_ms: 0 } }
        };
        Self { all: [keys.control_of_node(node.as_str()), keys.control_of_all()].map(channel), losses: 0 }
    }

    /// Returns a mark that changes whenever the node may have missed a message on its own channel; `None` while it
    /// hears none.
    pub(super) fn hearing(&self) -> Option<u64> {
        (self.all[0].state == State::Confirmed).then_some(self.losses)
    }

    /// Returns true for the name of one of the channels.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.all.iter().any(|channel| channel.name == name)
    }

    /// Returns the subscriptions to be asked for now. `place` returns the link to the server that has a slot, and
    /// whether that link is up.
    pub(in crate::broker::redis::engine) fn due(
        &mut self,
        now: u64,
        place: impl Fn(u16) -> (Option<LinkId>, bool),
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for index in 0..self.all.len() {
            let (link, is_up) = place(self.all[index].slot);
            if self.all[index].link != link {
                let before = self.all[index].link;
                self.lose(index, now);
                self.all[index].link = link;
                changes.extend(before.map(|link| Change::Unsubscribe(link, self.all[index].name.clone())));
            }
            let channel = &mut self.all[index];
            let is_due = match channel.state {
                State::Absent { from_ms } => now >= from_ms,
                State::Requested { again_ms } => now >= again_ms,
                State::Confirmed => false,
            };
            if let Some(link) = link.filter(|_| is_up && is_due) {
                channel.state = State::Requested { again_ms: now + AGAIN_MS };
                changes.push(Change::Subscribe(link, channel.name.clone()));
            }
        }
        changes
    }

    /// Returns when [`Channels::due`] has something to do next. It has besides when a link has come up.
    pub(super) fn next_ms(&self, now: u64) -> Option<u64> {
        let next = self.all.iter().filter_map(|channel| match channel.state {
            State::Absent { from_ms: at } | State::Requested { again_ms: at } => Some(at),
            State::Confirmed => None,
        });
        next.filter(|at| *at > now).min()
    }

    /// Notes that all subscriptions of a link are gone.
    pub(super) fn link_changed(&mut self, link: LinkId, now: u64) {
        for index in 0..self.all.len() {
            if self.all[index].link == Some(link) {
                self.lose(index, now);
            }
        }
    }

    /// Notes that a subscription is confirmed.
    pub(super) fn subscribed(&mut self, link: LinkId, name: &[u8]) {
        for channel in &mut self.all {
            if channel.link == Some(link) && channel.name == name {
                channel.state = State::Confirmed;
            }
        }
    }

    /// Notes that a subscription has ended, or was refused.
    pub(super) fn unsubscribed(&mut self, link: LinkId, name: &[u8], now: u64) {
        for index in 0..self.all.len() {
            if self.all[index].link == Some(link) && self.all[index].name == name {
                self.lose(index, now + PAUSE_MS);
            }
        }
    }

    fn lose(&mut self, index: usize, from_ms: u64) {
        if index == 0 && self.all[0].state == State::Confirmed {
            self.losses += 1;
        }
        self.all[index].state = State::Absent { from_ms };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: LinkId = LinkId(1);
    const TWO: LinkId = LinkId(2);

    fn channels() -> (Channels, Bytes, Bytes) {
        let keys = Keys::new("p");
        let channels = Channels::new(&keys, &"n1".parse().unwrap());
        (channels, keys.control_of_node("n1"), keys.control_of_all())
    }

    #[test]
    fn both_channels_are_subscribed_to_again_after_each_loss() {
        let (mut channels, own, all) = channels();
        assert!(channels.due(5, |_| (Some(ONE), false)).is_empty(), "the link is down");
        let subscribe = |name: &Bytes| Change::Subscribe(ONE, name.clone());
        assert_eq!(channels.due(5, |_| (Some(ONE), true)), [subscribe(&own), subscribe(&all)]);
        assert_eq!((channels.due(6, |_| (Some(ONE), true)).len(), channels.hearing()), (0, None));
        channels.subscribed(TWO, &own);
        assert_eq!(channels.hearing(), None, "another link");
        channels.subscribed(ONE, &own);
        assert_eq!((channels.hearing(), channels.next_ms(6)), (Some(0), Some(5 + AGAIN_MS)));
        assert_eq!(channels.due(5 + AGAIN_MS, |_| (Some(ONE), true)), [subscribe(&all)]);
        channels.subscribed(ONE, &all);
        assert_eq!(channels.next_ms(0), None);
        channels.unsubscribed(ONE, &own, 9_000);
        assert!(channels.due(9_000, |_| (Some(ONE), true)).is_empty(), "at once it would be refused again");
        assert_eq!(channels.due(9_000 + PAUSE_MS, |_| (Some(ONE), true)), [subscribe(&own)]);
        channels.subscribed(ONE, &own);
        assert_eq!(channels.hearing(), Some(1));
        channels.link_changed(ONE, 9_500);
        assert_eq!(channels.due(9_500, |_| (Some(ONE), true)).len(), 2);
    }

    #[test]
    fn a_channel_moves_with_its_slot() {
        let (mut channels, own, _) = channels();
        channels.due(0, |_| (Some(ONE), true));
        channels.subscribed(ONE, &own);
        let slot = slot_of(&own);
        let place = |asked| if asked == slot { (Some(TWO), true) } else { (Some(ONE), true) };
        let moved = channels.due(1, place);
        assert_eq!(moved, [Change::Unsubscribe(ONE, own.clone()), Change::Subscribe(TWO, own.clone())]);
        channels.unsubscribed(ONE, &own, 2);
        channels.subscribed(TWO, &own);
        assert_eq!(channels.hearing(), Some(1));
    }
}
