//! Models of rooms: a client that joins while another shard publishes gets all messages from its position on, without a
//! hole, and a client that enters a room while it ends is in a room.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use shuttle::sync::Barrier;
use shuttle::thread;

use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::names::UserId;
use crate::node::{Membership, Node};
use crate::protocol::Dialect;
use crate::shard::ShardSettings;
use crate::shard::batch::BatchLimits;
use crate::shard::bounds::Bounds;
use crate::shard::bounds::Overload;
use crate::shard::sink::{ByteStream, Sink};
use crate::shard::{Registration, Shard, fanout};

/// Number of threads, each with a shard.
const WORKERS: usize = 2;
/// Messages that each thread publishes.
const EACH: usize = 3;
/// Turns of the fan-out task after which a shard has delivered everything, for this few messages.
const TURNS: usize = 12;

/// A socket that takes all bytes.
#[derive(Default)]
struct Wire(RefCell<Vec<u8>>);

impl ByteStream for Wire {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl Wire {
    /// Returns the offsets of the received messages, in their order.
    fn offsets(&self) -> Vec<u64> {
        let bytes = self.0.borrow();
        let text = String::from_utf8_lossy(&bytes);
        let places = text.split("\"offset\":").skip(1);
        places.map(|rest| rest.split(',').next().and_then(|n| n.parse().ok()).expect("an offset")).collect()
    }
}

fn node() -> Arc<Node> {
    let mut config = Config { workers: WORKERS, ..Config::default() };
    // Without a history, a room is forgotten with its last member.
    config.history.messages = 0;
    Node::new(config, Metrics::new(WORKERS, &[]), Clock::manual())
}

fn shard(node: &Node, index: usize) -> Rc<Shard> {
    let settings = ShardSettings {
        bounds: Bounds { messages: 1024, bytes: 1 << 20, age_ms: 10_000 },
        overload: Overload::Disconnect,
        queue_budget: u64::MAX,
        batch: BatchLimits { bytes: 1 << 16, frames: 2 },
        compress_from: 256,
        linger: Duration::ZERO,
    };
    let inbox = Arc::clone(node.registry.inbox(index));
    Shard::new(index, inbox, Arc::clone(node.metrics.shard(index)), settings, node.clock.clone())
}

/// Makes a client that enters the room.
fn enter(node: &Arc<Node>, shard: &Rc<Shard>) -> (Membership, Registration, Rc<Wire>) {
    let wire = Rc::<Wire>::default();
    let registration = shard.register();
    // The two clients speak different dialects: each has a lane of its own in the room.
    registration.speak([Dialect::Plain, Dialect::V1][shard.index()]);
    registration.attach(Sink::Stream(wire.clone()));
    registration.open();
    let user: UserId = format!("user-{}", shard.index()).parse().expect("a user id");
    let room = "hall".parse().expect("a name");
    let entered = node.enter(&registration, &room, (&user).into(), None).expect("a room");
    (entered.membership, registration, wire)
}

/// Runs a worker: it enters, publishes, runs its fan-out in between, and then checks the received messages.
fn work(node: &Arc<Node>, index: usize, all_said: &Barrier) {
    let shard = shard(node, index);
    let mut fanout = pin!(fanout::run(Rc::clone(&shard)));
    let mut cx = Context::from_waker(Waker::noop());
    let (membership, registration, wire) = enter(node, &shard);
    let mut own = Vec::new();
    for number in 0..EACH {
        let place = membership.publish(&format!("{index} says {number}"), 0).expect("there is space");
        own.push(place.expect("there is no log").offset.0);
        if number == 1 {
            assert!(fanout.as_mut().poll(&mut cx).is_pending(), "it never ends");
        }
    }
    all_said.wait();
    for _ in 0..TURNS {
        assert!(fanout.as_mut().poll(&mut cx).is_pending(), "it never ends");
    }
    let seen = wire.offsets();
    let all = (EACH * WORKERS) as u64;
    assert_eq!(seen.last(), Some(&all), "{index} has not come to the end: {seen:?}");
    assert!(seen.windows(2).all(|pair| pair[1] == pair[0] + 1), "{index} has a hole: {seen:?}");
    assert!(own.iter().all(|offset| seen.contains(offset)), "{index} said {own:?} and saw {seen:?}");
    // No client leaves before all have checked, because a room could be forgotten meanwhile.
    all_said.wait();
    drop((membership, registration));
    assert!(shard.is_empty() && shard.room_count() == 0, "an empty shard holds nothing");
}

fn in_workers(work: impl Fn(usize) + Send + Sync + 'static) {
    let work = Arc::new(work);
    let threads: Vec<_> = (0..WORKERS)
        .map(|index| {
            let work = Arc::clone(&work);
            thread::spawn(move || work(index))
        })
        .collect();
    threads.into_iter().for_each(|worker| worker.join().expect("a worker ends"));
}

pub(crate) fn a_client_that_joins_misses_nothing() {
    let model = || {
        let (node, all_said) = (node(), Barrier::new(WORKERS));
        let shared = Arc::clone(&node);
        in_workers(move |index| work(&shared, index, &all_said));
        assert_eq!(node.room_count(), 0, "a room without members and history is forgotten");
    };
    shuttle::check_random(model, 1_000);
    shuttle::check_pct(model, 1_000, 3);
}

/// Enters and leaves over and over from both shards: each member receives its own message, and in the end no room is
/// left.
pub(crate) fn a_room_that_ends_has_no_members() {
    let model = || {
        let node = node();
        let shared = Arc::clone(&node);
        in_workers(move |index| {
            let node = &shared;
            let shard = shard(node, index);
            let mut fanout = pin!(fanout::run(Rc::clone(&shard)));
            for _ in 0..2 {
                let (membership, _registration, wire) = enter(node, &shard);
                let place = membership.publish("am I here?", 0).expect("there is space");
                let own = place.expect("there is no log").offset.0;
                node.keep_house(index);
                for _ in 0..TURNS {
                    assert!(fanout.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                }
                assert!(wire.offsets().contains(&own), "{own} is not among {:?}", wire.offsets());
            }
        });
        assert_eq!(node.room_count(), 0, "a room without members is forgotten");
    };
    shuttle::check_random(model, 1_000);
    shuttle::check_pct(model, 1_000, 3);
}
