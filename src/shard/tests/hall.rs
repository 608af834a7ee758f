//! A room on one shard, and the texts that its members receive.

use super::*;
use crate::names::RoomName;
use crate::registry::Registry;
use crate::registry::delivery::{Ack, Audience, Delivery, SenderCopy};
use crate::registry::topic::Topic;

/// A shard with a current room, to which messages are published.
pub(super) struct Hall {
    pub(super) registry: Registry,
    pub(super) shard: Rc<Shard>,
    pub(super) topic: Topic,
    pub(super) room: RoomName,
    pub(super) overload: Overload,
    pub(super) last: Offset,
    pub(super) clock: Clock,
}

impl Hall {
    pub(super) fn new(overload: Overload) -> Self {
        Self::with_batches_of(4, overload)
    }

    /// Makes a hall whose batches have at most `frames` frames.
    pub(super) fn with_batches_of(frames: usize, overload: Overload) -> Self {
        let registry = Registry::new(1, 1 << 20);
        let clock = Clock::manual();
        let settings = ShardSettings {
            bounds: Bounds { messages: 8, bytes: 1 << 20, age_ms: 10_000 },
            batch: BatchLimits { bytes: 64 * 1024, frames },
            ..shard(Overload::Disconnect).egress.settings
        };
        let inbox = Arc::clone(registry.inbox(0));
        let shard = Shard::new(0, inbox, Arc::default(), settings, clock.clone());
        let topic = registry.topic();
        Self { registry, shard, topic, room: "lobby".parse().unwrap(), overload, last: Offset(0), clock }
    }

    /// Makes a new room the current one.
    pub(super) fn next_room(&mut self) {
        (self.topic, self.last) = (self.registry.topic(), Offset(0));
    }

    pub(super) fn client(&self, dialect: Dialect) -> (Registration, Rc<Wire>) {
        let wire = Rc::<Wire>::default();
        (self.connect(dialect, wire.clone()), wire)
    }

    pub(super) fn connect(&self, dialect: Dialect, wire: Rc<dyn ByteStream>) -> Registration {
        let registration = self.shard.register();
        registration.speak(dialect);
        registration.attach(Sink::Stream(wire));
        registration.open();
        registration
    }

    pub(super) fn enter(&mut self, client: &Registration) {
        let after = self.topic.join(0, client.dialect());
        client.subscribe(self.topic.id(), after, &self.room, self.overload);
    }

    pub(super) fn member(&mut self, dialect: Dialect) -> (Registration, Rc<Wire>) {
        let client = self.client(dialect);
        self.enter(&client.0);
        client
    }

    /// Publishes a message whose text is its offset, with the copy for its sender.
    pub(super) fn say(&mut self, sender: Option<SenderCopy>) {
        self.last = self.last.next();
        let frame = frame::text(&self.last.to_string());
        let delivery = Delivery { sender, ..Delivery::message(&frame, self.last, Instant::now()) };
        self.registry.publish(&mut self.topic, delivery);
    }

    pub(super) fn notice(&mut self, audience: Audience, text: &str) {
        let frame = frame::text(text);
        self.registry.publish(&mut self.topic, Delivery::notice(&frame, audience, Instant::now()));
    }

    pub(super) fn run(&self) {
        run(&self.shard, || {});
        assert!(self.shard.inbox.has_space(1 << 20), "bytes of delivered frames still count");
    }

    /// Takes in the inbox without running a slice.
    pub(super) fn take_in(&self) {
        self.shard.take_in();
    }

    pub(super) fn leave(&mut self, client: &Registration) {
        let until = self.topic.leave(0, client.dialect());
        self.say(None);
        client.unsubscribe(self.topic.id(), until);
        client.reply(&frame::text("left"));
        client.flush();
    }
}

pub(super) fn ack(to: &Registration, instead: bool) -> Option<SenderCopy> {
    Some(SenderCopy { to: to.id(), ack: Some(Box::new(Ack { frame: frame::text("ack"), instead })) })
}

/// Returns the text of each frame that the socket took: for a `gap` event its offsets, for any other event its type,
/// for a close frame its code.
pub(super) fn seen(wire: &Wire) -> Vec<String> {
    let taken = wire.taken.borrow();
    let mut rest = &taken[..];
    let mut seen = Vec::new();
    while let [first, second, ..] = *rest {
        let (head, len) = match second {
            126 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
            len => (2, usize::from(len)),
        };
        let payload = &rest[head..head + len];
        seen.push(match first {
            0x88 => u16::from_be_bytes([payload[0], payload[1]]).to_string(),
            _ => {
                let text = std::str::from_utf8(payload).unwrap();
                let json = text.starts_with('{').then(|| serde_json::from_str::<serde_json::Value>(text));
                match json.transpose().unwrap() {
                    Some(json) if json["type"] == "gap" => {
                        assert_eq!(json["room"], "lobby");
                        format!("gap {}-{}", json["from"], json["to"])
                    }
                    Some(json) => json["type"].as_str().unwrap().to_owned(),
                    None => text.to_owned(),
                }
            }
        });
        rest = &rest[head + len..];
    }
    seen
}
