//! A server from its bound address to its last close frame: the listener, the worker threads, and the drain, which ends
//! all connections when the server stops. A program that embeds a server uses [`Server`].

mod acceptor;
mod address_check;
mod api;
mod before_http;
mod dashboard;
mod denial;
mod door;
mod drain;
mod encryption;
mod endpoint_setup;
mod handshakes;
mod jwks;
mod keys;
mod listed;
mod listener;
mod policy;
mod proxy_header;
mod reload;
mod request_handler;
mod shared;
mod stream;
mod tls_handshake;
mod transport;
mod unix_socket;
mod worker;

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use self::dashboard::counters;
use self::door::Door;
use self::encryption::Encryption;
pub use self::encryption::EncryptionError;
use self::listener::Listener;
pub(crate) use self::listener::{BACKLOG, try_bind};
pub use self::reload::{ReloadError, Reloader};
use self::shared::Shared;
use self::transport::Transport;
#[cfg(feature = "client")]
pub(crate) use self::transport::near;
use self::worker::handle::Worker;
use crate::admission::Refusal;
use crate::broker::redis::nodes::Report;
use crate::clock::Clock;
use crate::config::{Config, Listen, Machine, Sources};
use crate::metrics::Metrics;
use crate::node::{Node, OpenError};
use crate::protocol::close::EndReason;

/// Time between two rounds of housekeeping, which sends merged presence notices and forgets what has expired: old
/// messages, counted handshakes and the like.
const HOUSEKEEPING: Duration = Duration::from_millis(100);

/// Most addresses that the other nodes are told, which have space for ten of IPv6.
const MAX_REPORTED: usize = 8;

/// Why a server cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address is in use, does not belong to this machine, or is not allowed, or a name has none.
    #[error("cannot listen on {listen}")]
    Listen {
        /// The address as it is configured.
        listen: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The folder of `history.dir` or `webhooks.dir`, or the engine of several nodes, cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A certificate, its key, or the authorities of clients cannot be used.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
}

/// Why a server stops. Clients learn it by the close code; both codes come with the advice to reconnect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The server stops, and it is not known whether another process takes over: close code 1001.
    GoingAway,
    /// Another process takes over: close code 1012.
    Restarting,
}

impl From<StopReason> for EndReason {
    fn from(reason: StopReason) -> Self {
        match reason {
            StopReason::GoingAway => Self::GoingAway,
            StopReason::Restarting => Self::Restarting,
        }
    }
}

/// A server that is bound to its addresses and does not run yet. The documentation of the crate has an example.
#[derive(Debug)]
pub struct Server {
    node: Arc<Node>,
    /// `listen`.
    listeners: Vec<Listener>,
    /// `tls.listen`, if it is set.
    tls: Vec<Listener>,
    /// `api.listen`, if it is set.
    api: Vec<Listener>,
    encryption: Option<Encryption>,
    reloader: Option<Reloader>,
}

impl Server {
    /// Reads the history in `history.dir`, then binds the addresses of `listen`. A configuration that is not
    /// [resolved](Config::resolve) yet is resolved for this machine first.
    ///
    /// # Errors
    /// The address, or the folder of `history.dir` or `webhooks.dir`, cannot be used.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        Self::bind_by(config, Clock::system())
    }

    /// Binds a server as [`Server::bind`] does, but one that reads the time from `clock`. It is for tests: moving the
    /// clock moves every deadline of a connection, the expiry of tokens and the limits of addresses. The timeouts of a
    /// handshake, and the time between two checks for what is due, follow the machine's clock.
    ///
    /// # Errors
    /// The address, or the folder of `history.dir` or `webhooks.dir`, cannot be used.
    #[doc(hidden)]
    pub fn bind_by(config: Config, clock: Clock) -> Result<Self, BindError> {
        let config = if config.is_resolved() { config } else { config.resolve(&Machine::read()) };
        let encryption = Encryption::load(&config.tls)?;
        let metrics = Metrics::new(config.workers, &Refusal::REASONS);
        // The history is read before the address is bound, so that no client can connect while it is incomplete.
        let node = Node::open(config.clone(), metrics, clock)?;
        let bind = |addresses: &[Listen], door, is_tls| {
            Listener::bind_all(addresses, door, Transport::tls_if(is_tls), &config)
        };
        let door = if config.api.listen.is_some() { Door::Public } else { Door::Only };
        let one = |address: Option<SocketAddr>| address.map(Listen::Ip).into_iter().collect::<Vec<_>>();
        let listeners = bind(&config.listen, door, config.tls.is_on_listen())?;
        let tls = bind(&one(config.tls.listen), door, true)?;
        let api = bind(&one(config.api.listen), Door::Api, config.tls.is_on_api())?;
        Ok(Self { node, listeners, tls, api, encryption, reloader: None })
    }

    /// Lets the server read its settings again while it runs, from `sources`: those that its configuration was loaded
    /// from. Returns the handle that does it; the call `POST /api/reload` of the server API does it, too, which is
    /// refused otherwise. `on_change` is called with the settings in force after each reload, for what the program
    /// itself makes of them, such as its log.
    pub fn reload_from(
        &mut self,
        sources: Sources,
        on_change: impl Fn(&Config) + Send + Sync + 'static,
    ) -> Reloader {
        self.reloader.insert(Reloader::new(sources, on_change)).clone()
    }

    /// Returns the first bound IP address of `listen`; `None` where that has only Unix sockets. If port 0 was
    /// configured, it has the port that the system picked.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        first_ip(&self.listeners)
    }

    /// Returns all bound addresses of `listen`.
    pub fn addresses(&self) -> impl Iterator<Item = &Listen> {
        self.listeners.iter().map(|listener| &listener.address)
    }

    /// Returns the bound address of `tls.listen`; `None` where it is not set.
    #[must_use]
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        first_ip(&self.tls)
    }

    /// Returns the bound address of `api.listen`; `None` where it is not set.
    #[must_use]
    pub fn api_addr(&self) -> Option<SocketAddr> {
        first_ip(&self.api)
    }

    /// Serves until `stop` resolves, then drains: refuses new connections, and closes the others one by one within
    /// `drain.window`. Returns when all have ended or that time is over.
    ///
    /// This blocks the calling thread, which accepts connections; the workers have threads of their own. `stop` is
    /// polled on the calling thread, in a tokio runtime that the server makes there, with timers and I/O.
    ///
    /// # Errors
    /// A thread or a runtime cannot be made, the system has no random numbers for the key of the dashboard, a worker
    /// has stopped by itself, `history.dir` cannot be closed, or the admission rules of the configuration contradict
    /// each other, which loading the configuration has ruled out.
    ///
    /// # Panics
    /// When this is called from asynchronous code in a tokio runtime: call it on a thread of its own.
    pub fn run(self, stop: impl Future<Output = StopReason>) -> io::Result<()> {
        let Self { node, listeners, tls, api, encryption, reloader } = self;
        let (stopping, stopped) = watch::channel(None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let operators = if api.is_empty() { &listeners } else { &api };
        let transport = operators.first().map_or(Transport::Plain, |listener| listener.transport);
        let dashboard_at = (transport, first_ip(operators));
        let shared = Shared::new(Arc::clone(&node), dashboard_at, encryption, reloader)?;
        node.set_report(report(&node, &listeners));
        let workers = worker::spawn_all(&shared, &stopped)?;
        node.set_laggards(workers.iter().map(Worker::laggards));
        for Listener { address, .. } in &listeners {
            tracing::info!(%address, node = node.config().node, workers = workers.len(), "listening");
        }
        for Listener { address, .. } in
            tls.iter().chain(&listeners).filter(|each| each.transport == Transport::Tls)
        {
            tracing::info!(%address, "listening for TLS");
        }
        for Listener { address, .. } in &api {
            tracing::info!(%address, "listening for operators and backends");
        }
        shared.log_dashboard();
        runtime.block_on(async {
            let mut stop = pin!(stop);
            let mut accepting = pin!(acceptor::run_all(&shared, [listeners, tls, api], &workers));
            let reason = tokio::select! {
                reason = &mut stop => EndReason::from(reason),
                result = &mut accepting => return result,
                () = keep_house(&shared) => EndReason::GoingAway,
                () = keep_keys(&shared) => EndReason::GoingAway,
                () = encryption::watch(shared.encryption.as_ref(), &node) => EndReason::GoingAway,
                () = shared.dashboard.run(&node) => EndReason::GoingAway,
                () = shared.rooms.run(&node) => EndReason::GoingAway,
                // Without one of its workers the server could not serve a part of its clients, so it has to be
                // restarted.
                () = worker::one_stopped(&workers) => return Err(io::Error::other("a worker has stopped")),
            };
            tracing::info!(
                code = reason.code(),
                window_ms = node.config().drain.window.as_millis() as u64,
                "draining"
            );
            node.drain();
            shared.dashboard.close();
            let _ = stopping.send(Some(reason));
            // Sockets are still accepted, so that the answer to a handshake can say why it is refused.
            tokio::select! {
                result = &mut accepting => result,
                () = keep_house(&shared) => Ok(()),
                () = worker::all_stopped(&workers) => Ok(()),
            }
        })?;
        worker::join_all(workers)?;
        node.close().map_err(io::Error::other)
    }
}

/// Returns the first IP address of some listeners.
fn first_ip(listeners: &[Listener]) -> Option<SocketAddr> {
    listeners.iter().find_map(Listener::ip)
}

/// Returns what a node tells the other nodes about itself: of its addresses, those that other machines may know.
fn report(node: &Arc<Node>, listeners: &[Listener]) -> Report {
    let all = listeners.iter().filter(|listener| listener.ip().is_some()).map(|listener| &listener.address);
    let addresses = Listen::join(all.take(MAX_REPORTED));
    // The engine is a part of the node: it must not keep the whole from being dropped.
    let node = Arc::downgrade(node);
    let counters = move || node.upgrade().map_or_else(|| "{}".to_owned(), |node| counters::json(&node));
    Report { addresses, counters: Box::new(counters) }
}

/// Keeps the keys of tokens up to date that come from a URL. Never returns.
async fn keep_keys(shared: &Shared) {
    match &shared.policy.remote_keys {
        Some(keys) => keys.keep(&shared.policy).await,
        None => pending().await,
    }
}

/// Does a round of housekeeping every [`HOUSEKEEPING`]. Never returns.
async fn keep_house(shared: &Shared) {
    let mut ticks = interval(HOUSEKEEPING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in 0.. {
        ticks.tick().await;
        shared.keep_house(turn);
    }
}
