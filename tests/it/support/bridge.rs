//! A TCP proxy before the server that a test can break: it can cut its connections, hold bytes back, or lead to
//! another server.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    server: SocketAddr,
    is_open: bool,
    is_mute: bool,
    cuts: u64,
}

/// A proxy that listens on a port of its own until it is dropped.
pub(crate) struct Bridge {
    address: SocketAddr,
    state: watch::Sender<State>,
    carried: Arc<Mutex<usize>>,
    listening: JoinHandle<()>,
}

impl Bridge {
    /// Starts a proxy that leads to `server`.
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (state, seen) = watch::channel(State { server, is_open: true, is_mute: false, cuts: 0 });
        let carried = Arc::new(Mutex::new(0));
        let count = Arc::clone(&carried);
        let listening = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.expect("a connection");
                let now = *seen.borrow();
                if now.is_open {
                    *count.lock() += 1;
                    tokio::spawn(carry(socket, now, seen.clone()));
                }
            }
        });
        Self { address, state, carried, listening }
    }

    /// Returns the URL at which clients reach the server through the proxy.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Returns the number of connections carried so far.
    pub(crate) fn carried(&self) -> usize {
        *self.carried.lock()
    }

    /// Ends every connection without a close frame, and takes no other until [`Bridge::mend`].
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| {
            state.cuts += 1;
            state.is_open = false;
        });
    }

    /// Takes connections again and carries in both directions, from now on to `server`.
    pub(crate) fn mend(&self, server: SocketAddr) {
        self.state.send_modify(|state| *state = State { server, is_open: true, is_mute: false, ..*state });
    }

    /// Holds back everything that comes from the server from now on.
    pub(crate) fn mute(&self) {
        self.state.send_modify(|state| state.is_mute = true);
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Carries one connection until one side closes it or the bridge cuts it.
async fn carry(near: TcpStream, made: State, seen: watch::Receiver<State>) {
    let Ok(far) = TcpStream::connect(made.server).await else { return };
    let _ = near.set_nodelay(true);
    let _ = far.set_nodelay(true);
    let mut cut = seen.clone();
    let ((near_in, mut near_out), (far_in, mut far_out)) = (near.into_split(), far.into_split());
    let there = pump(near_in, &mut far_out, None);
    let back = pump(far_in, &mut near_out, Some(seen));
    tokio::select! {
        () = async { tokio::join!(there, back); } => {}
        _ = cut.wait_for(|state| state.cuts != made.cuts) => {}
    }
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    to: &mut tokio::net::tcp::OwnedWriteHalf,
    mut mute: Option<watch::Receiver<State>>,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if let Some(mute) = &mut mute {
            // An error means that the bridge is gone: nobody is left to read.
            let _ = mute.wait_for(|state| !state.is_mute).await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
