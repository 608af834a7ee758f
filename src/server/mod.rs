//! A server from its bound address to its last close frame: the listener, the worker threads, and the drain.
//!
//! [`Server`] is what a program embeds; see its documentation and the crate's.

mod acceptor;
mod address_check;
mod dashboard;
mod denial;
mod drain;
mod endpoint_setup;
mod established;
mod handshakes;
mod listener;
mod policy;
mod proxy_header;
mod request_handler;
mod shared;
mod worker;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use self::shared::Shared;
use crate::admission::Refusal;
use crate::broker::log::LogError;
use crate::clock::Clock;
use crate::config::{Config, Machine};
use crate::metrics::Metrics;
use crate::node::Node;
use crate::protocol::close::EndReason;

/// Time between two rounds of housekeeping: merged presence notices, old histories, counted handshakes.
const HOUSEKEEPING: Duration = Duration::from_millis(100);

/// Why a server cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is in use, does not belong to this machine, or is not allowed.
    #[error("cannot listen on {listen}")]
    Listen {
        /// The configured address.
        listen: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The folder of `history.dir` cannot be used.
    #[error(transparent)]
    History(#[from] LogError),
}

/// Why a server stops. Clients learn it by the close code; both codes come with the advice to reconnect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The server stops, and nothing is known of a successor: close code 1001.
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

/// A server that is bound and not yet running. The documentation of the crate shows how a program embeds one.
#[derive(Debug)]
pub struct Server {
    node: Arc<Node>,
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds the address of a configuration, and reads the history in `history.dir`. A configuration that was not
    /// [resolved](Config::resolve) is resolved for this machine.
    ///
    /// # Errors
    /// The address or the folder of the history cannot be used.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        Self::bind_by(config, Clock::system())
    }

    /// Binds a server that reads the time from `clock`, and is like that of [`Server::bind`] otherwise. A test that
    /// moves the clock moves every deadline of a connection, the expiry of tokens and the limits of addresses. The
    /// timeouts of a handshake, and how often the server looks for what is due, stay with the machine's time.
    ///
    /// # Errors
    /// The address or the folder of the history cannot be used.
    #[doc(hidden)]
    pub fn bind_by(config: Config, clock: Clock) -> Result<Self, BindError> {
        let config = if config.is_resolved() { config } else { config.resolve(&Machine::read()) };
        let listen = config.listen;
        let taken = |source| BindError::Listen { listen, source };
        let metrics = Metrics::new(config.workers, &Refusal::REASONS);
        // The history is read first, so that no client can connect meanwhile.
        let node = Node::open(config.clone(), metrics, clock)?;
        let listener = listener::bind(&config).map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        Ok(Self { node, listener, address })
    }

    /// Returns the bound address, with the port that was picked for port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` resolves, then refuses new connections, closes the others over `drain.window`, and returns
    /// when all have ended or the window is over.
    ///
    /// This blocks the calling thread, which accepts connections; the workers have threads of their own. `stop` is
    /// polled on the calling thread, inside a tokio runtime of its own with timers and I/O.
    ///
    /// # Errors
    /// A thread or a runtime cannot be made, the system has no random numbers for the key of the dashboard, a worker has
    /// stopped by itself, `history.dir` cannot be closed, or the admission rules of the configuration contradict each
    /// other, which loading the configuration has ruled out.
    ///
    /// # Panics
    /// When called from asynchronous code of a tokio runtime: give the server a thread of its own.
    pub fn run(self, stop: impl Future<Output = StopReason>) -> io::Result<()> {
        let Self { node, listener, address } = self;
        let (stopping, stopped) = watch::channel(None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Shared::new(Arc::clone(&node))?;
        let workers = worker::spawn_all(&shared, &stopped)?;
        tracing::info!(%address, node = node.config.node, workers = workers.len(), "listening");
        tracing::info!("dashboard: {}", shared.dashboard.url(address));
        runtime.block_on(async {
            let mut stop = pin!(stop);
            let mut accepting = pin!(acceptor::run(&shared, listener, &workers));
            let reason = tokio::select! {
                reason = &mut stop => EndReason::from(reason),
                result = &mut accepting => return result,
                () = keep_house(&shared) => EndReason::GoingAway,
                () = shared.dashboard.run(&node, &workers) => EndReason::GoingAway,
                // A server that has lost a worker must be started again: going on would lose a part of the clients.
                () = worker::one_stopped(&workers) => return Err(io::Error::other("a worker has stopped")),
            };
            tracing::info!(
                code = reason.code(),
                window_ms = node.config.drain.window.as_millis() as u64,
                "draining"
            );
            node.drain();
            shared.dashboard.close();
            let _ = stopping.send(Some(reason));
            // New connections are still accepted, so that they are told why they are refused.
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

/// Looks after what belongs to no connection; never returns.
async fn keep_house(shared: &Shared) {
    let mut ticks = interval(HOUSEKEEPING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in 0.. {
        ticks.tick().await;
        shared.keep_house(turn);
    }
}
