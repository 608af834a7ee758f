//! A shard whose clients accept everything at once, and its real fan-out task, polled by hand. Benches thereby measure
//! the code that a worker runs, including its slices, without a runtime and its clock.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use throng::testing::clock::Clock;
use throng::testing::metrics::ShardMetrics;
use throng::testing::protocol::Dialect;
use throng::testing::protocol::frame::Frame;
use throng::testing::registry::Registry;
use throng::testing::registry::delivery::{Audience, Delivery};
use throng::testing::registry::topic::Topic;
use throng::testing::shard::bounds::Overload;
use throng::testing::shard::sink::Sink;
use throng::testing::shard::{Registration, Shard, fanout};

use super::clock::cpu_time;
use super::{Null, name, settings};

/// The order in which the memory of the clients' queues was allocated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// In the order of the sweep, as if all clients had connected at once.
    Swept,
    /// In random order, as after a long time with many changes.
    Shuffled,
}

/// One shard, its clients and its fan-out task.
pub(crate) struct Crowd {
    /// The clients.
    pub(crate) members: Vec<Registration>,
    /// The shard.
    pub(crate) shard: Rc<Shard>,
    fanout: Pin<Box<dyn Future<Output = ()>>>,
}

impl Crowd {
    /// Returns the shard `index` of `registry`, without clients.
    pub(crate) fn new(registry: &Registry, index: usize, metrics: &Arc<ShardMetrics>) -> Self {
        let inbox = Arc::clone(registry.inbox(index));
        let shard = Shard::new(index, inbox, Arc::clone(metrics), settings(), Clock::system());
        Self { members: Vec::new(), fanout: Box::pin(fanout::run(Rc::clone(&shard))), shard }
    }

    /// Adds clients that can be written to and are in no room.
    pub(crate) fn add(&mut self, clients: usize, layout: Layout) {
        let null = Rc::new(Null);
        let first = self.members.len();
        self.members.extend((0..clients).map(|_| self.shard.register()));
        let mut order: Vec<&Registration> = self.members[first..].iter().collect();
        if layout == Layout::Shuffled {
            fastrand::Rng::with_seed(7).shuffle(&mut order);
        }
        // A queue allocates its memory with its first frame and keeps a part of it.
        let welcome = Frame::from_static(&[0x81, 0]);
        for member in order {
            member.attach(Sink::Stream(null.clone()));
            member.open();
            member.reply(&welcome);
            member.flush();
        }
    }

    /// Subscribes every client to the room.
    pub(crate) fn join(&self, topic: &mut Topic) {
        let room = name("hall");
        for member in &self.members {
            let after = topic.join(self.shard.index(), Dialect::Plain);
            member.subscribe(topic.id(), after, &room, Overload::Disconnect);
        }
    }

    /// Polls the fan-out task, which runs one slice, or until there is nothing to do.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        assert!(self.fanout.as_mut().poll(cx).is_pending(), "the fan-out never ends");
    }

    /// Returns the number of publications written so far, over all clients.
    pub(crate) fn deliveries(&self) -> u64 {
        self.shard.metrics().deliveries.get()
    }

    /// Runs the fan-out until [`deliveries`](Self::deliveries) has reached this number.
    pub(crate) fn drain(&mut self, deliveries: u64) {
        let mut cx = Context::from_waker(Waker::noop());
        while self.deliveries() < deliveries {
            self.poll(&mut cx);
        }
        debug_assert_eq!(self.shard.metrics().queue_bytes.get(), 0, "everything is written");
    }
}

/// A room on one shard, with its registry and members.
pub(crate) struct Hall {
    /// The registry through which the bench publishes.
    pub(crate) registry: Registry,
    /// The room.
    pub(crate) topic: Topic,
    /// Its members.
    pub(crate) crowd: Crowd,
}

impl Hall {
    /// Returns a room with this many members.
    pub(crate) fn new(members: usize, layout: Layout) -> Self {
        let registry = Registry::new(1, 8 * 1024 * 1024);
        let mut topic = registry.topic();
        let mut crowd = Crowd::new(&registry, 0, &Arc::default());
        crowd.add(members, layout);
        crowd.join(&mut topic);
        Self { registry, topic, crowd }
    }

    /// Publishes `messages` frames, which form one batch, and delivers them to every member. Does so `times` times.
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
