//! Connects the broker to this node's members: what the broker publishes goes to the shards' inboxes.

use std::sync::Arc;

use crate::broker::{self, Local};
use crate::clock;
use crate::registry::Registry;
use crate::registry::delivery::{Delivery, SenderCopy};
use crate::registry::topic::Topic;

/// The registry, as the broker's [`Local`].
#[derive(Debug)]
pub(super) struct Fanout(pub(super) Arc<Registry>);

impl Local for Fanout {
    type Topic = Topic;
    type SenderCopy = SenderCopy;

    fn topic(&self) -> Topic {
        self.0.topic()
    }

    fn has_space(&self, topic: &Topic, len: usize) -> bool {
        self.0.has_space(topic, len)
    }

    fn deliver(&self, topic: &mut Topic, publication: broker::Publication<'_, SenderCopy>) {
        let broker::Publication { frame, offset, sender_copy } = publication;
        let delivery =
            Delivery { sender: sender_copy, ..Delivery::message(frame, offset, clock::recent_instant()) };
        self.0.publish(topic, delivery);
    }

    fn is_occupied(&self, topic: &Topic) -> bool {
        topic.connections() > 0
    }
}
