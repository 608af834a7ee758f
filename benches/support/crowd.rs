//! A shard whose clients take everything at once, and its real fan-out task, polled by hand: what is measured is the
//! code that a worker runs, slices included, without a runtime and its clock.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use throng::clock::Clock;
use throng::metrics::ShardMetrics;
use throng::protocol::Dialect;
use throng::protocol::frame::Frame;
use throng::registry::Registry;
use throng::registry::delivery::{Audience, Delivery};
use throng::registry::topic::Topic;
use throng::shard::bounds::Overload;
use throng::shard::sink::Sink;
use throng::shard::{Registration, Shard, fanout};

use super::clock::cpu_time;
use super::{Null, name, settings};

/// How the memory of the clients' queues lies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// In the order of the sweep: everybody came and first received in one go.
    Swept,
    /// In any order: what a long life leaves behind.
    Shuffled,
}

/// One shard with its clients.
pub(crate) struct Crowd {
    /// The clients.
    pub(crate) members: Vec<Registration>,
    /// The shard.
    pub(crate) shard: Rc<Shard>,
    fanout: Pin<Box<dyn Future<Output = ()>>>,
}

impl Crowd {
    /// The shard `index` of `registry`, without clients.
    pub(crate) fn new(registry: &Registry, index: usize, metrics: &Arc<ShardMetrics>) -> Self {
        let inbox = Arc::clone(registry.inbox(index));
        let shard = Shard::new(index, inbox, Arc::clone(metrics), settings(), Clock::system());
        Self { members: Vec::new(), fanout: Box::pin(fanout::run(Rc::clone(&shard))), shard }
    }

    /// Adds clients, ready to be written to and in no room.
    pub(crate) fn add(&mut self, clients: usize, layout: Layout) {
        let sink = Sink::Simulated(Rc::new(Null));
        let first = self.members.len();
        self.members.extend((0..clients).map(|_| self.shard.register(sink.clone())));
        let mut order: Vec<&Registration> = self.members[first..].iter().collect();
        if layout == Layout::Shuffled {
            fastrand::Rng::with_seed(7).shuffle(&mut order);
        }
        // A queue gets its memory with the first thing that it holds, and keeps a little for ever.
        let welcome = Frame::from_static(&[0x81, 0]);
        for member in order {
            member.open();
            member.reply(&welcome);
            member.flush();
        }
    }

    /// Puts every client into the room.
    pub(crate) fn join(&self, topic: &mut Topic) {
        let room = name("hall");
        for member in &self.members {
            let after = topic.join(self.shard.index(), Dialect::Plain);
            member.subscribe(topic.id(), after, &room, Overload::Disconnect);
        }
    }

    /// Lets the fan-out task run until it gives way: one slice, or until there is nothing to do.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        assert!(self.fanout.as_mut().poll(cx).is_pending(), "the fan-out never ends");
    }

    /// Publications written so far, over all clients.
    pub(crate) fn deliveries(&self) -> u64 {
        self.shard.metrics().deliveries.get()
    }

    /// Runs the fan-out until `deliveries` have been made since the shard began.
    pub(crate) fn drain(&mut self, deliveries: u64) {
        let mut cx = Context::from_waker(Waker::noop());
        while self.deliveries() < deliveries {
            self.poll(&mut cx);
        }
        debug_assert_eq!(self.shard.metrics().queue_bytes.get(), 0, "everything is written");
    }
}

/// A room on one shard, with everything around it.
pub(crate) struct Hall {
    /// Where to publish.
    pub(crate) registry: Registry,
    /// The room.
    pub(crate) topic: Topic,
    /// Its members.
    pub(crate) crowd: Crowd,
}

impl Hall {
    /// A room with this many members.
    pub(crate) fn new(members: usize, layout: Layout) -> Self {
        let registry = Registry::new(1, 8 * 1024 * 1024);
        let mut topic = registry.topic();
        let mut crowd = Crowd::new(&registry, 0, &Arc::default());
        crowd.add(members, layout);
        crowd.join(&mut topic);
        Self { registry, topic, crowd }
    }

    /// Publishes `messages` frames, which go out as one batch, and waits until every member has them; `times` times.
    pub(crate) fn fan_out(&mut self, times: u64, frame: &Frame, messages: u64) -> Duration {
        let began = cpu_time();
        for _ in 0..times {
            for _ in 0..messages {
                let delivery = Delivery::notice(frame, Audience::All, Instant::now());
                self.registry.publish(&mut self.topic, delivery);
            }
            let wanted = messages * self.crowd.members.len() as u64;
            self.crowd.drain(self.crowd.deliveries() + wanted);
        }
        cpu_time() - began
    }
}
