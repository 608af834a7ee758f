//! From a bound address to the last close frame: the listener, the worker threads and the way out.

mod acceptor;
mod denied;
mod drain;
mod established;
mod feed;
mod gate;
mod handshakes;
mod listener;
mod proxy;
mod rules;
mod snapshot;
mod standing;
mod usage;
mod worker;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use self::rules::Rules;
use crate::admission::Refusal;
use crate::broker::log::LogError;
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::node::Node;
use crate::protocol::close::EndReason;

/// How often merged notices, old histories and what addresses have done are looked after.
const HOUSEKEEPING: Duration = Duration::from_millis(100);

/// Why a server cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is in use, not ours, or not allowed.
    #[error("cannot listen on {listen}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The history's folder cannot be used.
    #[error(transparent)]
    History(#[from] LogError),
}

/// A server that is bound and not yet running.
#[derive(Debug)]
pub struct Server {
    node: Arc<Node>,
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds the address of a resolved configuration, and takes up the history that `history.dir` has.
    ///
    /// # Errors
    /// The address or the folder cannot be used.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        Self::bind_by(config, Clock::system())
    }

    /// As [`Server::bind`], with a server that lives by `clock`. A test that moves it moves every deadline of a
    /// connection, the expiry of tokens and the limits of addresses. The timeouts of a handshake, and how often the
    /// server looks what is due, stay with the machine's time.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub fn bind_by(config: Config, clock: Clock) -> Result<Self, BindError> {
        let listen = config.listen;
        let taken = |source| BindError::Listen { listen, source };
        let metrics = Metrics::new(config.workers, &Refusal::REASONS);
        // Nobody connects while the history is still being read.
        let node = Node::open(config.clone(), metrics, clock)?;
        let listener = listener::bind(&config).map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        Ok(Self { node, listener, address })
    }

    /// The bound address, with the port that was picked for port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` resolves, then refuses newcomers, closes every connection over `drain.window` for the reason
    /// that it says, and returns. Blocks the calling thread, which accepts; the workers have threads of their own.
    ///
    /// # Errors
    /// When a thread or a runtime cannot be made, or what admission is to go by contradicts itself, which loading the
    /// settings has ruled out.
    pub fn run(self, stop: impl Future<Output = EndReason>) -> io::Result<()> {
        let Self { node, listener, address } = self;
        let (stopping, stopped) = watch::channel(None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let rules = Arc::new(Rules::new(&node.config, node.clock.clone())?);
        let workers = worker::spawn_all(&node, &rules, &stopped)?;
        tracing::info!(%address, node = node.config.node, workers = workers.len(), "listening");
        tracing::info!("dashboard: {}", rules.keys.dashboard(address));
        runtime.block_on(async {
            let mut stop = pin!(stop);
            let mut accepting = pin!(acceptor::run(&node, &rules, listener, &workers));
            let reason = tokio::select! {
                reason = &mut stop => reason,
                result = &mut accepting => return result,
                () = keep_house(&node, &rules) => EndReason::GoingAway,
                () = feed::run(&rules.feed, &node, &workers) => EndReason::GoingAway,
                // Better to stop, and be started again, than to go on without some of the connections.
                () = worker::one_finished(&workers) => return Err(io::Error::other("a worker has stopped")),
            };
            tracing::info!(
                code = reason.code(),
                window_ms = node.config.drain.window.as_millis() as u64,
                "draining"
            );
            node.drain();
            rules.feed.close();
            let _ = stopping.send(Some(reason));
            // Newcomers are still told that, and why, they cannot come in.
            tokio::select! {
                result = &mut accepting => result,
                () = keep_house(&node, &rules) => Ok(()),
                () = worker::all_finished(&workers) => Ok(()),
            }
        })?;
        worker::join_all(workers)?;
        node.close().map_err(io::Error::other)
    }
}

/// Looks after what has no connection of its own; never returns.
async fn keep_house(node: &Node, rules: &Rules) {
    let mut ticks = interval(HOUSEKEEPING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for turn in 0.. {
        ticks.tick().await;
        node.keep_house(turn);
        rules.keep_house(turn);
    }
}
