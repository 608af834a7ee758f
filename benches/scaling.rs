//! Many cores: one message to 10,000 members over several shards, each on a thread of its own, beside the same share
//! of work on one shard while the other threads do as much for themselves. What is more than 1.0 is the price of
//! working together.
//!
//! Rounds of both kinds alternate, so that a neighbour on the machine disturbs both; helpers spin instead of
//! sleeping, since the cost of a wake is the kernel's and the end-to-end bench has it.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use throng::metrics::Metrics;
use throng::protocol::frame::Frame;
use throng::registry::Registry;
use throng::registry::delivery::{Audience, Delivery};
use throng::registry::topic::Topic;

use crate::support::crowd::{Crowd, Layout};
use crate::support::{is_asked_for, is_check, message};

const MEMBERS: usize = 10_000;

/// What the helpers are to do.
const SERVE: u8 = 0;
const BUSY: u8 = 1;
const STOP: u8 = 2;

/// What the threads share.
struct Stage {
    registry: Registry,
    metrics: Metrics,
    /// The room with members on every shard.
    together: Mutex<Topic>,
    task: AtomicU8,
    ready: Barrier,
    frame: Frame,
    shards: usize,
}

/// Notes that a fan-out task was woken.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// One shard on its thread: a share of the common room's members, who are in a room of their own too.
struct Side<'s> {
    stage: &'s Stage,
    crowd: Crowd,
    alone: Topic,
    share: u64,
}

impl<'s> Side<'s> {
    fn new(stage: &'s Stage, index: usize) -> Self {
        let mut crowd = Crowd::new(&stage.registry, index, stage.metrics.shard(index));
        crowd.add(MEMBERS / stage.shards, Layout::Swept);
        let mut alone = stage.registry.topic();
        crowd.join(&mut stage.together.lock());
        crowd.join(&mut alone);
        Self { stage, share: crowd.members.len() as u64, crowd, alone }
    }

    /// A message to the members on this shard, from its publication to the last write.
    fn alone(&mut self) -> Duration {
        let began = Instant::now();
        let delivery = Delivery::notice(&self.stage.frame, Audience::All, began);
        self.stage.registry.publish(&mut self.alone, delivery);
        self.crowd.drain(self.crowd.deliveries() + self.share);
        began.elapsed()
    }

    /// A message to the members on all shards, until the last of them has it.
    fn together(&mut self) -> Duration {
        let Stage { registry, metrics, together, frame, shards, .. } = self.stage;
        let mut topic = together.lock();
        let wanted: Vec<u64> =
            (0..*shards).map(|shard| metrics.shard(shard).deliveries.get() + self.share).collect();
        let began = Instant::now();
        registry.publish(&mut topic, Delivery::notice(frame, Audience::All, began));
        self.crowd.drain(wanted[0]);
        for (shard, wanted) in wanted.iter().enumerate().skip(1) {
            while metrics.shard(shard).deliveries.get() < *wanted {
                spin_loop();
            }
        }
        began.elapsed()
    }
}

/// A helper's life.
fn help(stage: &Stage, index: usize) {
    let mut side = Side::new(stage, index);
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    stage.ready.wait();
    loop {
        match stage.task.load(SeqCst) {
            STOP => return,
            BUSY => {
                side.alone();
                woken.0.store(true, SeqCst);
            }
            _ if woken.0.swap(false, SeqCst) => side.crowd.poll(&mut Context::from_waker(&waker)),
            _ => spin_loop(),
        }
    }
}

/// What the rounds come to: the median, and the best tenth, which no neighbour has disturbed.
struct Rounds {
    together: [Duration; 2],
    alone: [Duration; 2],
    ratio: [f64; 2],
}

fn median_and_best<T: PartialOrd + Copy>(values: &mut [T]) -> [T; 2] {
    values.sort_unstable_by(|a, b| a.partial_cmp(b).expect("no NaN"));
    [values[values.len() / 2], values[values.len() / 10]]
}

/// The shortest of a few turns in a row: a round is either disturbed or not.
fn fastest(mut turn: impl FnMut() -> Duration) -> Duration {
    (0..9).map(|_| turn()).min().unwrap_or_default()
}

fn measure(shards: usize, rounds: usize) -> Rounds {
    let registry = Registry::new(shards, usize::MAX);
    let stage = Stage {
        together: Mutex::new(registry.topic()),
        registry,
        metrics: Metrics::new(shards, &[]),
        task: AtomicU8::new(SERVE),
        ready: Barrier::new(shards),
        frame: message(100),
        shards,
    };
    thread::scope(|scope| {
        for index in 1..shards {
            let stage = &stage;
            scope.spawn(move || help(stage, index));
        }
        let mut side = Side::new(&stage, 0);
        stage.ready.wait();
        let (mut together, mut alone, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            stage.task.store(SERVE, SeqCst);
            // The helper may be in the middle of its own last message, and caches are to be warm for both kinds.
            side.together();
            let with_others = fastest(|| side.together());
            stage.task.store(BUSY, SeqCst);
            side.alone();
            let by_itself = fastest(|| side.alone());
            together.push(with_others);
            alone.push(by_itself);
            ratios.push(with_others.as_secs_f64() / by_itself.as_secs_f64());
        }
        stage.task.store(STOP, SeqCst);
        let [together, alone] = [&mut together, &mut alone].map(|times| median_and_best(times));
        // The best of one kind beside the best of the other: the best ratio would be the luckiest.
        let best = together[1].as_secs_f64() / alone[1].as_secs_f64();
        Rounds { together, alone, ratio: [median_and_best(&mut ratios)[0], best] }
    })
}

pub(crate) fn all() {
    if !is_asked_for("scaling") {
        return;
    }
    let rounds = if is_check() { 1 } else { 300 };
    let cores = thread::available_parallelism().map_or(1, usize::from).min(16);
    println!("scaling: one message to {MEMBERS} members over as many shards and threads, of {rounds} rounds");
    for shards in 1..=cores {
        let rounds = measure(shards, rounds);
        for (which, what) in ["median", "best tenth"].into_iter().enumerate() {
            let (together, alone, ratio) = (rounds.together[which], rounds.alone[which], rounds.ratio[which]);
            println!(
                "  {shards} shards, {what}: {together:.1?}; a share beside busy others: {alone:.1?}; ratio {ratio:.3}"
            );
        }
    }
    println!();
}
