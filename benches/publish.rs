//! Measures publishing: from a validated text to the inboxes of the shards, and the append to the history.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};

use throng::names::{Offset, RoomName, UserId};
use throng::testing::chat::history::{History, HistoryBounds};
use throng::testing::clock::Clock;
use throng::testing::metrics::{Metrics, ShardMetrics};
use throng::testing::node::Node;
use throng::testing::protocol::Dialect;
use throng::testing::registry::Registry;
use throng::testing::registry::delivery::{Audience, Delivery};
use throng::testing::registry::inbox::{Inbox, Item};
use throng::testing::shard::Shard;

use crate::support::clock::{self, CpuTime};
use crate::support::{config, message, name, settings};

/// Messages published before the inboxes are emptied, which is not measured.
const TURN: u64 = 1_000;

/// The history of a room with default settings.
const HISTORY: HistoryBounds = HistoryBounds { messages: 256, bytes: 256 * 1024, ttl_ms: 600_000 };

pub(crate) fn all(criterion: &mut Criterion<CpuTime>) {
    through_node(criterion);
    over_shards(criterion);
    history(criterion);
}

/// Empties an inbox in the way its shard does.
fn empty(inbox: &Inbox) {
    let mut items = Vec::new();
    while inbox.take(&mut items) {
        for item in items.drain(..) {
            if let Item::Publish(publication) = item {
                inbox.done(publication.bytes());
            }
        }
    }
}

/// Measures `times` calls of `publish`, without the time to empty the inboxes.
fn publishing(times: u64, inboxes: &[&Inbox], mut publish: impl FnMut()) -> Duration {
    let mut took = Duration::ZERO;
    let mut left = times;
    while left > 0 {
        let turn = left.min(TURN);
        took += clock::timed(|| (0..turn).for_each(|_| publish()));
        inboxes.iter().for_each(|inbox| empty(inbox));
        left -= turn;
    }
    took
}

/// Measures everything between a parsed command and the shard: clock, lock, offset, encoding, inbox and history.
fn through_node(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("publish");
    let node = Node::new(config(&[]), Metrics::new(1, &[]), Clock::system());
    let inbox = Arc::clone(node.registry.inbox(0));
    let shard =
        Shard::new(0, Arc::clone(&inbox), Arc::<ShardMetrics>::default(), settings(), Clock::system());
    let registration = shard.register();
    let (room, user): (RoomName, UserId) = (name("lobby"), name("user-12345"));
    let membership = node.enter(&registration, &room, (&user).into(), None).expect("a room").membership;
    for len in [20, 100, 1_000] {
        let text = "m".repeat(len);
        group.bench_function(BenchmarkId::new("a message through the node", len), |bencher| {
            bencher.iter_custom(|times| {
                publishing(times, &[&inbox], || {
                    black_box(membership.publish(&text, node.now_ms())).expect("space in the inbox");
                })
            });
        });
    }
    group.finish();
}

/// Measures publishing to several shards: only a shard with members gets a push.
fn over_shards(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("publish, to members on so many of 16 shards");
    let frame = message(100);
    for occupied in [1, 2, 4, 8, 16] {
        let registry = Registry::new(16, usize::MAX);
        let mut topic = registry.topic();
        for shard in 0..occupied {
            topic.join(shard, Dialect::Plain);
        }
        let inboxes: Vec<&Inbox> = (0..16).map(|shard| &**registry.inbox(shard)).collect();
        let at = Instant::now();
        group.bench_function(occupied.to_string(), |bencher| {
            bencher.iter_custom(|times| {
                publishing(times, &inboxes, || {
                    registry.publish(&mut topic, Delivery::notice(&frame, Audience::All, at))
                })
            });
        });
    }
    group.finish();
}

fn history(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("history");
    let frame = message(100);
    let mut history = History::default();
    let mut last = Offset(0);
    let mut append = || {
        last = last.next();
        history.append(last, frame.clone(), last.0 / 1000, &HISTORY);
    };
    (0..HISTORY.messages).for_each(|_| append());
    group.bench_function("append to a full one", |bencher| bencher.iter(&mut append));
    for count in [10, HISTORY.messages as u64] {
        group.bench_function(BenchmarkId::new("read the last", count), |bencher| {
            bencher.iter(|| {
                let entries = history.since(Offset(last.0 - count)).expect("they are still there");
                entries.map(|(_, frame)| frame.clone().len()).sum::<usize>()
            });
        });
    }
    group.finish();
}
