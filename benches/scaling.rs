//! Measures how the fan-out scales with cores. One message goes to 10,000 members over several shards, each on its own
//! thread; this is compared with the same share of the work on one shard while the other threads are as busy. The ratio
//! above 1.0 is the cost of working together.
//!
//! Rounds of both kinds alternate, so that a load on a shared machine disturbs both. The other threads spin instead of
//! sleeping, because waking a thread is the kernel's cost, which the end-to-end bench includes.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use throng::testing::metrics::Metrics;
use throng::testing::protocol::frame::Frame;
use throng::testing::registry::Registry;
use throng::testing::registry::delivery::{Audience, Delivery};
use throng::testing::registry::topic::Topic;

use crate::support::crowd::{Crowd, Layout};
use crate::support::{is_asked_for, is_check, message};

const MEMBERS: usize = 10_000;

/// The task of the other threads: serve the common room, keep busy with their own room, or stop.
const SERVE: u8 = 0;
const BUSY: u8 = 1;
const STOP: u8 = 2;

/// The state that the threads share.
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

/// A waker that records that a fan-out task was woken.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// One shard on its thread. Its members are in the common room, and in a second room of this shard alone.
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

    /// Publishes a message to the members on this shard; returns the time until the last write.
    fn alone(&mut self) -> Duration {
        let began = Instant::now();
        let delivery = Delivery::notice(&self.stage.frame, Audience::All, began);
        self.stage.registry.publish(&mut self.alone, delivery);
        self.crowd.drain(self.crowd.deliveries() + self.share);
        began.elapsed()
    }

    /// Publishes a message to the members on all shards; returns the time until the last of them has it.
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

/// Runs the tasks of a thread other than the measuring one until it is told to stop.
fn run_tasks(stage: &Stage, index: usize) {
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

/// The results of all rounds, each as its median and its best tenth. Other load on the machine rarely disturbs the
/// best tenth.
struct Rounds {
    together: [Duration; 2],
    alone: [Duration; 2],
    ratio: [f64; 2],
}

fn median_and_best<T: PartialOrd + Copy>(values: &mut [T]) -> [T; 2] {
    values.sort_unstable_by(|a, b| a.partial_cmp(b).expect("no NaN"));
    [values[values.len() / 2], values[values.len() / 10]]
}

/// Returns the shortest of a few turns in a row, because other load disturbs all turns of a round or none.
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
            scope.spawn(move || run_tasks(stage, index));
        }
        let mut side = Side::new(&stage, 0);
        stage.ready.wait();
        let (mut together, mut alone, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            stage.task.store(SERVE, SeqCst);
            // A first turn is not measured: another thread may not have finished its last task, and caches get warm.
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
        // The ratio of the two best tenths. The best tenth of the ratios would only be the luckiest pairs.
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
