//! The broker's way to the members on this node.

use std::sync::Arc;

use crate::broker::{self, Local};
use crate::clock;
use crate::registry::Registry;
use crate::registry::delivery::{Delivery, SenderCopy};
use crate::registry::topic::Topic;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Fanout(pub(super) Arc<Registry>);

impl Local for Fanout {
    type Topic = Topic;
    type Aside = SenderCopy;

    fn topic(&self) -> Topic {
        self.0.topic()
    }

    fn has_space(&self, topic: &Topic, len: usize) -> bool {
        self.0.has_space(topic, len)
    }

    fn deliver(&self, topic: &mut Topic, delivery: broker::Delivery<'_, SenderCopy>) {
        let broker::Delivery { frame, offset, aside } = delivery;
        let delivery =
            Delivery { sender: aside, ..Delivery::message(frame, offset, clock::recent_instant()) };
        self.0.publish(topic, delivery);
    }

    fn is_occupied(&self, topic: &Topic) -> bool {
        topic.connections() > 0
    }
}
