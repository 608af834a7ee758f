//! The worker threads: each has one runtime and one shard, and keeps the connections that are handed to it.

pub(super) mod handle;
mod handshake;
mod opening;

use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{spawn_local, yield_now};
use tokio::time::{MissedTickBehavior, interval};

use self::handle::{Mailbox, Worker};
use self::handshake::Counts;
use super::drain;
use super::handshakes::RESERVED;
use super::shared::Shared;
use crate::config::Config;
use crate::connection::{Connections, WorkerContext};
use crate::protocol::close::EndReason;
use crate::shard::ShardSettings;
use crate::shard::laggards::Laggards;
use crate::shard::wheel::TICK_MS;
use crate::shard::{Shard, batch, bounds, fanout, revoked};

/// Largest batch of frames in bytes, unless a quarter of a queue's bound is less.
const BATCH_BYTES: usize = 64 * 1024;

/// Most handshakes in a row, each of which takes tens of microseconds.
const HANDSHAKES_IN_A_ROW: u64 = 16;

/// Receives the reason for which all connections end, once there is one.
pub(super) type Stop = watch::Receiver<Option<EndReason>>;

/// Starts `config.workers` workers.
///
/// # Errors
/// The system refuses a thread.
pub(super) fn spawn_all(shared: &Arc<Shared>, stop: &Stop) -> io::Result<Vec<Worker>> {
    (0..shared.node.config().workers).map(|index| spawn(index, shared, stop)).collect()
}

fn spawn(index: usize, shared: &Arc<Shared>, stop: &Stop) -> io::Result<Worker> {
    // The permit of a socket that the worker has not looked at yet cannot be revoked: each of them needs space.
    let max_sockets = shared.node.config().limits.max_handshakes + RESERVED;
    let (shared, stop) = (Arc::clone(shared), stop.clone());
    Worker::spawn(index, max_sockets, move |mailbox| {
        let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!(%error, index, "cannot make the runtime of a worker"),
        };
        runtime.block_on(run(index, shared, mailbox, stop));
    })
}

/// Resolves when every worker has ended its connections.
pub(super) async fn all_stopped(workers: &[Worker]) {
    for worker in workers {
        worker.stopped().await;
    }
}

/// Resolves when any worker has stopped.
pub(super) async fn one_stopped(workers: &[Worker]) {
    let mut all: Vec<_> = workers.iter().map(|worker| Box::pin(worker.stopped())).collect();
    poll_fn(|cx| match all.iter_mut().any(|stopped| stopped.as_mut().poll(cx).is_ready()) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

/// Waits for the end of all threads.
///
/// # Errors
/// A thread panicked.
pub(super) fn join_all(workers: Vec<Worker>) -> io::Result<()> {
    workers.into_iter().try_for_each(Worker::join)
}

fn settings(config: &Config) -> ShardSettings {
    let queue = &config.queue;
    ShardSettings {
        bounds: bounds::Bounds {
            messages: queue.max_messages,
            bytes: queue.max_bytes,
            age_ms: queue.max_age.as_millis() as u64,
        },
        overload: queue.policy.into(),
        queue_budget: (queue.total_bytes / config.workers) as u64,
        batch: batch::BatchLimits {
            bytes: BATCH_BYTES.min(queue.max_bytes / 4),
            frames: (queue.max_messages / 4).max(1),
        },
        compress_from: config.compression.min_bytes,
        linger: config.fanout.linger,
    }
}

async fn run(index: usize, shared: Arc<Shared>, mailbox: Mailbox, mut stop: Stop) {
    let Mailbox { mut sockets, laggards, connections: counted } = mailbox;
    let node = Arc::clone(&shared.node);
    let inbox = Arc::clone(node.registry.inbox(index));
    let metrics = Arc::clone(node.metrics.shard(index));
    let shard = Shard::new(index, inbox, metrics, settings(&node.config()), node.clock.clone());
    let tokens: Arc<Shared> = Arc::clone(&shared);
    let context = WorkerContext::new(node, shard, tokens);
    let connections = match Connections::new(Rc::clone(&context)) {
        Ok(table) => table,
        Err(error) => return tracing::error!(%error, index, "cannot make the poller of a worker"),
    };
    let served = Rc::clone(&connections);
    let serving = spawn_local(async move { served.serve().await });
    let fanout = spawn_local(fanout::run(Rc::clone(&context.shard)));
    let wheel = spawn_local(turn_wheel(Rc::clone(&connections)));
    spawn_local(revoked::run(Rc::clone(&context.shard)));
    spawn_local(find_laggards(Rc::clone(&context.shard), laggards));
    let draining = async {
        // The sender lives as long as the server: an error means that the server stops as well.
        let reason = stop.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        drain::run(&context, reason.unwrap_or(EndReason::GoingAway)).await;
    };
    let accepting = async {
        // The tasks above begin first: they have to hear of the first connection.
        yield_now().await;
        for number in 1_u64.. {
            let Some(socket) = sockets.recv().await else { return };
            // The open connections have their turns between the handshakes of a crowd.
            if number % HANDSHAKES_IN_A_ROW == 0 {
                yield_now().await;
            }
            let count = counted.count_one();
            shake_hands(handshake::run(Rc::clone(&connections), Arc::clone(&shared), socket, count));
        }
    };
    tokio::select! {
        () = draining => {}
        () = accepting => {}
        // None of these tasks returns. A panic in one of them is a bug, and the shard cannot work without it.
        ended = fanout => tracing::error!(index, ?ended, "the fan-out task of a worker ended, the worker stops"),
        ended = serving => tracing::error!(index, ?ended, "the connections of a worker cannot be served, it stops"),
        ended = wheel => tracing::error!(index, ?ended, "the timer task of a worker ended, the worker stops"),
    }
}

/// Runs a handshake: most are over at once, and only the others get a task. A panic ends its own socket alone.
fn shake_hands(handshake: impl Future<Output = ()> + 'static) {
    let mut handshake = Box::pin(handshake);
    let polled = catch_unwind(AssertUnwindSafe(|| {
        // The task polls again, and is woken then.
        handshake.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }));
    match polled {
        Ok(Poll::Ready(())) => {}
        Ok(Poll::Pending) => drop(spawn_local(handshake)),
        Err(_) => tracing::error!("a handshake panicked, its socket is closed"),
    }
}

/// Advances the shard's timer wheel for as long as the worker lives, and frees what quiet connections need no more.
async fn turn_wheel(connections: Rc<Connections<Counts>>) {
    let mut ticks = interval(Duration::from_millis(TICK_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        connections.context.shard.wake_due();
        connections.rest();
    }
}

/// Answers each request for the shard's slow clients, and yields to all other work in between.
async fn find_laggards(shard: Rc<Shard>, mut requests: mpsc::Receiver<oneshot::Sender<Laggards>>) {
    while let Some(answer) = requests.recv().await {
        let mut found = Laggards::default();
        // The asking side may have stopped waiting.
        while !answer.is_closed() && shard.find_laggards(&mut found) {
            yield_now().await;
        }
        let _ = answer.send(found);
    }
}
