//! Accepts sockets and hands each to the least loaded worker.

use std::io;
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::worker::Worker;
use crate::admission::Refusal;
use crate::connection::socket::watch;
use crate::node::Node;

/// Pause when the process or the system is out of descriptors or memory: `accept` would fail at once, for ever.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(75);
/// How long a newcomer waits for a place among the handshakes before all places count as held by the silent.
const PATIENCE: Duration = Duration::from_millis(250);

/// A socket on its way in, with its place among `limits.max_handshakes`.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) stream: TcpStream,
    /// Who is at the other end: a client, or a proxy.
    pub(super) peer: IpAddr,
    pub(super) handshake: OwnedSemaphorePermit,
}

/// Accepts until it is dropped.
pub(super) async fn run(node: &Node, listener: TcpListener, workers: &[Worker]) -> io::Result<()> {
    let listener = watch(listener)?;
    let handshakes = Arc::new(Semaphore::new(node.config.limits.max_handshakes));
    let mut is_full = false;
    loop {
        let mut guard = listener.readable().await?;
        let (stream, peer) = match accept(listener.get_ref()) {
            Ok(accepted) => accepted,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => {
                    guard.clear_ready();
                    continue;
                }
                io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => continue,
                _ => {
                    tracing::warn!(%error, "cannot accept, pausing");
                    sleep(EXHAUSTED_PAUSE).await;
                    continue;
                }
            },
        };
        drop(guard);
        let handshake = place(&handshakes, is_full).await;
        is_full = handshake.is_none();
        match handshake {
            Some(handshake) => hand_over(node, workers, Newcomer { stream, peer, handshake }),
            None => turn_away(node, &stream),
        }
    }
}

/// Accepts a socket that is non-blocking from the start.
fn accept(listener: &TcpListener) -> io::Result<(TcpStream, IpAddr)> {
    /// `SOCK_NONBLOCK` and `SOCK_CLOEXEC` of Linux, as `accept4` takes them.
    const FLAGS: i32 = 0o4000 | 0o2_000_000;
    let (socket, address) = SockRef::from(listener).accept4(FLAGS)?;
    // A peer without an address has gone before it was here.
    let address = address.as_socket().ok_or(io::ErrorKind::ConnectionAborted)?;
    Ok((socket.into(), address.ip()))
}

/// A place among the handshakes. Those that get on free theirs in a moment; when none does, the places are held by
/// peers who say nothing (`is_full`), and waiting for their deadline would make everybody wait.
async fn place(handshakes: &Arc<Semaphore>, is_full: bool) -> Option<OwnedSemaphorePermit> {
    let permit = Arc::clone(handshakes).try_acquire_owned().ok();
    if permit.is_some() || is_full {
        return permit;
    }
    timeout(PATIENCE, Arc::clone(handshakes).acquire_owned()).await.ok()?.ok()
}

fn hand_over(node: &Node, workers: &[Worker], newcomer: Newcomer) {
    let Some(worker) = workers.iter().min_by_key(|worker| worker.load()) else { return };
    if let Err(newcomer) = worker.hand(newcomer) {
        turn_away(node, &newcomer.stream);
    }
}

/// Says 503 without having parsed the request: there is no place to do it in.
fn turn_away(node: &Node, mut stream: &TcpStream) {
    use std::io::{Read as _, Write as _};
    let refusal = Refusal::AtCapacity;
    node.metrics.refused(refusal.reason());
    let body = format!(r#"{{"error":{{"code":"{}","message":"{refusal}"}}}}"#, refusal.code());
    let response = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Retry-After: {}\r\nConnection: close\r\n\r\n{body}",
        body.len(),
        refusal.retry_after().unwrap_or(1)
    );
    // Bytes left unread would turn the close into a reset, which overtakes the answer.
    let mut request = [0; 16 * 1024];
    let read = stream.read(&mut request);
    // As much as the empty send buffer of a new socket takes, which is all of it; who is gone is gone.
    let written = stream.write(response.as_bytes()).and_then(|_| stream.shutdown(Shutdown::Write));
    tracing::debug!(?read, ?written, "turned away: no place among the handshakes");
}
