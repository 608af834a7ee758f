//! A worker: one thread, one runtime, one shard. A connection that it is handed stays with it.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{spawn_local, yield_now};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::acceptor::Newcomer;
use super::drain;
use super::established::Established;
use super::gate::{Admitted, Gate};
use super::handshakes::{Doing, Group, RESERVED, Ticket};
use super::proxy::{self, NoHeader};
use super::rules::Rules;
use super::standing::Standing;
use crate::admission::Refusal;
use crate::config::Config;
use crate::connection::socket::Socket;
use crate::connection::{Connection, Tools};
use crate::http::{self, HttpIo, Served};
use crate::node::Node;
use crate::protocol::close::EndReason;
use crate::shard::ShardSettings;
use crate::shard::laggards::Laggards;
use crate::shard::wheel::TICK_MS;
use crate::shard::{Shard, batch, bounds, fanout};

/// The most that a socket may take to ask what it wants where it will be refused anything but whether the server is
/// well: the request of a health check comes with the connection.
const RESERVE_PATIENCE: Duration = Duration::from_secs(1);
/// A batch is at most this long, and at most a quarter of a queue's bounds.
const BATCH_BYTES: usize = 64 * 1024;

/// A worker as the acceptor sees it.
#[derive(Debug)]
pub(super) struct Worker {
    newcomers: mpsc::Sender<Newcomer>,
    laggards: mpsc::Sender<oneshot::Sender<Laggards>>,
    /// Handshakes under way and connections, counted from the hand-over on.
    load: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Worker {
    pub(super) fn load(&self) -> usize {
        self.load.load(Relaxed)
    }

    /// Asks for the clients of the worker's shard that are behind. `None` while it has not begun with the last request.
    pub(super) fn find_laggards(&self) -> Option<oneshot::Receiver<Laggards>> {
        let (answer, found) = oneshot::channel();
        self.laggards.try_send(answer).ok()?;
        Some(found)
    }

    /// Gives the worker a socket, or gives it back when the worker has stopped or is far behind.
    pub(super) fn hand(&self, newcomer: Newcomer) -> Result<(), Newcomer> {
        self.load.fetch_add(1, Relaxed);
        self.newcomers.try_send(newcomer).map_err(|error| {
            self.load.fetch_sub(1, Relaxed);
            error.into_inner()
        })
    }
}

/// Counts a socket as load of its worker until dropped.
pub(super) struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// What a worker is asked for.
struct Requests {
    arrivals: mpsc::Receiver<Newcomer>,
    asked: mpsc::Receiver<oneshot::Sender<Laggards>>,
}

/// Why everything ends, once it does.
pub(super) type Stop = watch::Receiver<Option<EndReason>>;

/// Starts `config.workers` workers.
pub(super) fn spawn_all(node: &Arc<Node>, rules: &Arc<Rules>, stop: &Stop) -> io::Result<Vec<Worker>> {
    (0..node.config.workers).map(|index| spawn(index, node, rules, stop)).collect()
}

fn spawn(index: usize, node: &Arc<Node>, rules: &Arc<Rules>, stop: &Stop) -> io::Result<Worker> {
    // A place for each that has not been looked at yet: those cannot make way.
    let (newcomers, arrivals) = mpsc::channel(node.config.limits.max_handshakes + RESERVED);
    let (laggards, asked) = mpsc::channel(1);
    let load = Arc::new(AtomicUsize::new(0));
    let (node, rules, stop, count) = (Arc::clone(node), Arc::clone(rules), stop.clone(), Arc::clone(&load));
    let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!(%error, index, "a worker has no runtime"),
        };
        runtime.block_on(run(index, node, rules, Requests { arrivals, asked }, stop, count));
    })?;
    Ok(Worker { newcomers, laggards, load, thread })
}

/// Resolves when every worker has ended its connections.
pub(super) async fn all_finished(workers: &[Worker]) {
    for worker in workers {
        worker.newcomers.closed().await;
    }
}

/// Resolves when any worker has stopped.
pub(super) async fn one_finished(workers: &[Worker]) {
    let mut all: Vec<_> = workers.iter().map(|worker| Box::pin(worker.newcomers.closed())).collect();
    poll_fn(|cx| match all.iter_mut().any(|closed| closed.as_mut().poll(cx).is_ready()) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

/// Waits for the threads.
pub(super) fn join_all(workers: Vec<Worker>) -> io::Result<()> {
    for Worker { newcomers, thread, .. } in workers {
        drop(newcomers);
        thread.join().map_err(|_| io::Error::other("a worker panicked"))?;
    }
    Ok(())
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
        linger: config.fanout.linger,
    }
}

async fn run(
    index: usize,
    node: Arc<Node>,
    rules: Arc<Rules>,
    requests: Requests,
    mut stop: Stop,
    load: Arc<AtomicUsize>,
) {
    let Requests { mut arrivals, asked } = requests;
    let inbox = Arc::clone(node.registry.inbox(index));
    let metrics = Arc::clone(node.metrics.shard(index));
    let shard = Shard::new(index, inbox, metrics, settings(&node.config), node.clock.clone());
    let tools = Tools::new(node, shard);
    let fanout = spawn_local(fanout::run(Rc::clone(&tools.shard)));
    let wheel = spawn_local(turn_wheel(Rc::clone(&tools.shard)));
    spawn_local(find_laggards(Rc::clone(&tools.shard), asked));
    let draining = async {
        // The sender lives as long as the server: an error is a stop as well.
        let reason = stop.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        drain::run(&tools, reason.unwrap_or(EndReason::GoingAway)).await;
    };
    let accepting = async {
        while let Some(newcomer) = arrivals.recv().await {
            let load = Load(Arc::clone(&load));
            spawn_local(serve(Rc::clone(&tools), Arc::clone(&rules), newcomer, load));
        }
    };
    tokio::select! {
        () = draining => {}
        () = accepting => {}
        // Neither returns: a panic in them is a bug that leaves the shard without its heart.
        ended = fanout => tracing::error!(index, ?ended, "the fan-out task ended"),
        ended = wheel => tracing::error!(index, ?ended, "the wheel task ended"),
    }
}

/// Turns the shard's wheel for as long as the worker lives.
async fn turn_wheel(shard: Rc<Shard>) {
    let mut ticks = interval(Duration::from_millis(TICK_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        shard.wake_due();
    }
}

/// Finds the clients that are behind, whenever the dashboard asks, and lets all other tasks go first.
async fn find_laggards(shard: Rc<Shard>, mut asked: mpsc::Receiver<oneshot::Sender<Laggards>>) {
    while let Some(answer) = asked.recv().await {
        let mut found = Laggards::default();
        // The asker may have given up meanwhile.
        while !answer.is_closed() && shard.find_laggards(&mut found) {
            yield_now().await;
        }
        let _ = answer.send(found);
    }
}

/// A socket's handshake; what follows has a smaller task of its own.
async fn serve(tools: Rc<Tools>, rules: Arc<Rules>, newcomer: Newcomer, load: Load) {
    let accepted = Instant::now();
    let Newcomer { stream, mut peer, handshake, mut standing } = newcomer;
    let socket = match Socket::new(stream) {
        Ok(socket) => socket,
        Err(error) => return tracing::warn!(%error, "cannot register a socket"),
    };
    let config = &tools.node.config;
    let ticket = Arc::clone(handshake.ticket());
    if config.admission.proxy_protocol {
        let deadline = accepted + config.limits.handshake_timeout;
        peer = match proxy::read(&socket, peer, &rules, &ticket, deadline).await {
            Ok(client) => client,
            Err(why) => return turn_away(&tools.node, socket, &why, &ticket).await,
        };
        handshake.belongs_to(Group::of_client(peer));
        if standing.refusal.is_none() && !rules.proxies.contains(peer) {
            standing = rules.standing(peer);
        }
    }
    let limits = limits(config, &standing, accepted);
    let handshake = Cell::new(Some(handshake));
    let gate = Gate {
        tools: &tools,
        rules: &rules,
        sink: socket.sink(),
        peer,
        refusal: standing.refusal,
        counted: Cell::new(standing.counted),
        asks: Cell::new(false),
        ticket: &ticket,
        handshake: &handshake,
    };
    let served = http::serve(HttpIo(socket), &gate, &limits).await;
    drop(handshake.take());
    if let Served::Upgraded { io: HttpIo(socket), leftover, admitted } = served {
        let Admitted { endpoint, registration, facts, lease } = admitted;
        let connection = Connection::new(Rc::clone(&tools), socket, registration, endpoint, facts, leftover);
        spawn_local(Established::new(connection, lease, load));
    }
}

/// What its HTTP part may cost: of who is only told that there is no place, one request.
fn limits(config: &Config, standing: &Standing, accepted: Instant) -> http::Limits {
    let all = http::Limits {
        handshake_timeout: config.limits.handshake_timeout,
        accepted: Some(accepted),
        ..http::Limits::default()
    };
    match standing.refusal {
        None => all,
        Some(_) => http::Limits {
            handshake_timeout: all.handshake_timeout.min(RESERVE_PATIENCE),
            max_requests: 1,
            ..all
        },
    }
}

/// Closes a connection that did not begin with the header it should have, in such a way that the peer sees an end and
/// no reset.
async fn turn_away(node: &Node, socket: Socket, why: &NoHeader, ticket: &Ticket) {
    tracing::debug!(%why, "closed before HTTP");
    let Some(refusal) = why.refusal() else { return };
    node.metrics.count_refusal(refusal.reason());
    if refusal == Refusal::MadeWay {
        return;
    }
    http::close_unless(&mut HttpIo(socket), &[], |cx| ticket.poll_go(cx, Doing::Waits)).await;
}
