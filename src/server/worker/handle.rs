//! A worker as other threads see it: the queue of sockets for it, and the number of its connections.

use std::io;
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use crate::node::LaggardSearch;
use crate::server::address_check::AddressCheck;
use crate::server::door::Door;
use crate::server::handshakes::HandshakePermit;
use crate::server::transport::Transport;
use crate::shard::laggards::Laggards;

/// Most requests for slow clients that wait: one of the dashboard, and a few of the API.
const MAX_SEARCHES: usize = 4;

/// A socket on its way from the acceptor to a worker.
#[derive(Debug)]
pub(in crate::server) struct AcceptedSocket {
    pub(in crate::server) stream: TcpStream,
    /// The address at the other end, of a client or of a proxy.
    pub(in crate::server) peer: IpAddr,
    /// The listening address that it came to.
    pub(in crate::server) door: Door,
    /// The way in which its bytes travel.
    pub(in crate::server) transport: Transport,
    pub(in crate::server) permit: HandshakePermit,
    pub(in crate::server) check: AddressCheck,
}

/// The handle of a worker thread.
#[derive(Debug)]
pub(in crate::server) struct Worker {
    sockets: mpsc::Sender<AcceptedSocket>,
    laggards: LaggardSearch,
    connections: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

/// The receiving ends of a [`Worker`], for its thread.
pub(super) struct Mailbox {
    pub(super) sockets: mpsc::Receiver<AcceptedSocket>,
    pub(super) laggards: mpsc::Receiver<oneshot::Sender<Laggards>>,
    pub(super) connections: Connections,
}

impl Worker {
    /// Starts a thread that runs `main`, with space for `max_sockets` sockets that it has not looked at yet.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(super) fn spawn(
        index: usize,
        max_sockets: usize,
        main: impl FnOnce(Mailbox) + Send + 'static,
    ) -> io::Result<Self> {
        let (sockets, accepted) = mpsc::channel(max_sockets);
        let (laggards, asked) = mpsc::channel(MAX_SEARCHES);
        let connections = Arc::<AtomicUsize>::default();
        let mailbox = Mailbox {
            sockets: accepted,
            laggards: asked,
            connections: Connections(Arc::clone(&connections)),
        };
        let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || main(mailbox))?;
        Ok(Self { sockets, laggards, connections, thread })
    }

    /// Returns the number of handshakes and connections of the worker, sockets included that it has not looked at yet.
    pub(in crate::server) fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// Returns the way to ask the worker for its slow clients.
    pub(in crate::server) fn laggards(&self) -> LaggardSearch {
        self.laggards.clone()
    }

    /// Hands a socket over.
    ///
    /// # Errors
    /// The worker has stopped or is far behind; the socket comes back.
    pub(in crate::server) fn hand_over(&self, socket: AcceptedSocket) -> Result<(), AcceptedSocket> {
        self.connections.fetch_add(1, Relaxed);
        self.sockets.try_send(socket).map_err(|error| {
            self.connections.fetch_sub(1, Relaxed);
            error.into_inner()
        })
    }

    /// Resolves when the worker has stopped.
    pub(super) async fn stopped(&self) {
        self.sockets.closed().await;
    }

    /// Waits for the end of the thread.
    ///
    /// # Errors
    /// The thread panicked.
    pub(super) fn join(self) -> io::Result<()> {
        let Self { sockets, thread, .. } = self;
        drop(sockets);
        thread.join().map_err(|_| io::Error::other("a worker panicked"))
    }
}

/// The number of connections of a worker, for its thread.
pub(super) struct Connections(Arc<AtomicUsize>);

impl Connections {
    /// Returns the count of one socket that was handed over, which [`Worker::hand_over`] has added already.
    pub(super) fn count_one(&self) -> ConnectionCount {
        ConnectionCount(Arc::clone(&self.0))
    }
}

/// Counts one socket among the connections of its worker until it is dropped.
pub(in crate::server) struct ConnectionCount(Arc<AtomicUsize>);

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
