//! Accepts sockets and hands each to a worker.
//!
//! A socket that exceeds a limit of the node or of its address is not closed here when there is a reserved permit for
//! it: its request can then be answered.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::task::Poll;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::time::sleep;

use super::address_check::AddressCheck;
use super::door::Door;
use super::handshakes::{HandshakePermit, Handshakes};
use super::listener::Listener;
use super::policy::AdmissionPolicy;
use super::shared::Shared;
use super::transport::Transport;
use super::unix_socket::SocketFile;
use super::worker::handle::{AcceptedSocket, Worker};
use crate::admission::Refusal;
use crate::connection::socket::register;
use crate::http::respond;
use crate::node::Node;

/// Pause after `accept` failed because the process or the system is out of descriptors or memory. Without it the loop
/// would fail again at once.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(75);
/// The address that stands for all peers at Unix sockets, which have none. A process that may connect there is on this
/// machine, and could connect from this address as well.
const UNIX_PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Most sockets by which a worker may be ahead of the one with the fewest.
const MAX_AHEAD: usize = 64;
/// A worker may be ahead by one socket for each so many that the worker with the fewest has.
const PER_AHEAD: usize = 16;

/// Accepts sockets at all addresses until the future is dropped. The listeners of one group share their permits for
/// handshakes: a crowd at the public ones does not keep operators out.
///
/// # Errors
/// A listening socket cannot be registered with the reactor, or the reactor has ended.
pub(super) async fn run_all(
    shared: &Shared,
    groups: [Vec<Listener>; 3],
    workers: &[Worker],
) -> io::Result<()> {
    let groups = groups.into_iter().filter(|group| !group.is_empty());
    let mut all: Vec<_> = groups.map(|group| Box::pin(run(shared, group, workers))).collect();
    poll_fn(|cx| {
        let mut ended = all.iter_mut().map(|accepting| accepting.as_mut().poll(cx));
        ended.find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
}

/// A listener that the reactor watches.
struct Watched {
    /// Removes the file of a Unix socket when nothing is accepted any more, before the socket is closed.
    _file: Option<SocketFile>,
    socket: AsyncFd<TcpListener>,
    door: Door,
    transport: Transport,
}

/// Accepts sockets at the listeners of one group.
async fn run(shared: &Shared, group: Vec<Listener>, workers: &[Worker]) -> io::Result<()> {
    let watch = |listener| {
        let Listener { socket, door, transport, file, .. } = listener;
        Ok(Watched { _file: file, socket: register(socket)?, door, transport })
    };
    let listeners = group.into_iter().map(watch).collect::<io::Result<Vec<_>>>()?;
    let node = &shared.node;
    let (max_handshakes, send_buffer) = {
        let config = node.config();
        (config.limits.max_handshakes, config.socket.send_buffer)
    };
    let mut handshakes = Handshakes::new(max_handshakes);
    let (mut at, mut turn) = (0, 0);
    loop {
        let (listener, mut guard) = next(&listeners, &mut turn).await?;
        let &Watched { door, transport, .. } = listener;
        let (stream, peer) = match accept(listener.socket.get_ref(), send_buffer) {
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
        match acquire_permit(&mut handshakes, &shared.policy, door, peer).await {
            Ok((permit, check)) => {
                at = choose(workers, Worker::connections, at);
                hand_over(
                    node,
                    &workers[at],
                    AcceptedSocket { stream, peer, door, transport, permit, check },
                );
            }
            Err(refusal) => turn_away(node, &stream, transport, refusal),
        }
    }
}

/// Gets a handshake permit for a socket: a regular one, or, where its address or the node has reached a limit, a
/// reserved one, with which it can ask for little more than whether the server is well.
async fn acquire_permit(
    handshakes: &mut Handshakes,
    policy: &AdmissionPolicy,
    door: Door,
    peer: IpAddr,
) -> Result<(HandshakePermit, AddressCheck), Refusal> {
    let group = policy.group(peer);
    // The limits of addresses are for clients, which the other door does not serve.
    let is_counted_later = group.is_proxy || door == Door::Api;
    let check = if is_counted_later { AddressCheck::Pending } else { policy.check_address(peer) };
    let refusal = match check {
        AddressCheck::Refused(refusal) => refusal,
        check @ (AddressCheck::Pending | AddressCheck::Passed(_)) => match handshakes.acquire(group).await {
            Some(permit) => return Ok((permit, check)),
            None => {
                // No handshake was made.
                if let AddressCheck::Passed(charge) = check {
                    policy.refund(charge);
                }
                Refusal::AtCapacity
            }
        },
    };
    let permit = handshakes.acquire_reserved(group).ok_or(refusal)?;
    Ok((permit, AddressCheck::Refused(refusal)))
}

/// Waits until a socket has come to one of the listeners, which have their turns.
async fn next<'l>(
    listeners: &'l [Watched],
    turn: &mut usize,
) -> io::Result<(&'l Watched, AsyncFdReadyGuard<'l, TcpListener>)> {
    poll_fn(|cx| {
        for step in 0..listeners.len() {
            let index = (*turn + step) % listeners.len();
            let listener = &listeners[index];
            if let Poll::Ready(guard) = listener.socket.poll_read_ready(cx) {
                *turn = index + 1;
                return Poll::Ready(guard.map(|guard| (listener, guard)));
            }
        }
        Poll::Pending
    })
    .await
}

/// Accepts a socket that is non-blocking from the start. A Unix socket gets its send buffer here: it inherits nothing.
/// It goes on as a TCP stream, because from here on a socket is only read, written, polled and shut down.
fn accept(listener: &TcpListener, send_buffer: usize) -> io::Result<(TcpStream, IpAddr)> {
    /// `SOCK_NONBLOCK` and `SOCK_CLOEXEC` of Linux, as `accept4` takes them.
    const FLAGS: i32 = 0o4000 | 0o2_000_000;
    let (socket, address) = SockRef::from(listener).accept4(FLAGS)?;
    if address.is_unix() {
        socket.set_send_buffer_size(send_buffer)?;
        return Ok((socket.into(), UNIX_PEER));
    }
    // A peer without an address has closed its connection already.
    let address = address.as_socket().ok_or(io::ErrorKind::ConnectionAborted)?;
    Ok((socket.into(), address.ip().to_canonical()))
}

/// Chooses the worker for the next socket: the one of the socket before (`at`) unless it is ahead, else the one with
/// the fewest connections.
///
/// Workers get sockets in runs, and not in turns, because the kernel puts its data about sockets that are accepted one
/// after the other side by side in memory: two cores that each write to every second of them would take the cache lines
/// from each other.
fn choose<W>(workers: &[W], connections: impl Fn(&W) -> usize, at: usize) -> usize {
    let (fewest, least) =
        workers.iter().map(&connections).enumerate().min_by_key(|&(_, count)| count).unwrap_or((at, 0));
    match connections(&workers[at]) < least + (least / PER_AHEAD).min(MAX_AHEAD) {
        true => at,
        false => fewest,
    }
}

fn hand_over(node: &Node, worker: &Worker, socket: AcceptedSocket) {
    if let Err(socket) = worker.hand_over(socket) {
        turn_away(node, &socket.stream, socket.transport, Refusal::AtCapacity);
    }
}

/// Answers 503 or 429 without parsing the request, because the socket has no permit for a handshake. Over TLS no answer
/// can be read, and the socket is closed.
fn turn_away(node: &Node, mut stream: &TcpStream, transport: Transport, refusal: Refusal) {
    use std::io::{Read as _, Write as _};
    node.metrics.count_refusal(refusal.reason());
    if transport == Transport::Tls {
        return;
    }
    // Bytes left unread would turn the close into a reset, which overtakes the answer.
    let mut request = [0; 16 * 1024];
    let read = stream.read(&mut request);
    // The empty send buffer of a new socket takes all of it. An error means that the peer has gone.
    let written = stream.write(&respond::raw(&refusal)).and_then(|_| stream.shutdown(Shutdown::Write));
    tracing::debug!(reason = refusal.reason(), ?read, ?written, "turned away without a handshake permit");
}

#[cfg(test)]
mod tests {
    use super::{MAX_AHEAD, PER_AHEAD, choose};

    /// Hands out `count` sockets; returns the worker of each.
    fn hand_out(loads: &mut [usize], count: usize) -> Vec<usize> {
        let mut at = 0;
        (0..count)
            .map(|_| {
                at = choose(loads, |load| *load, at);
                loads[at] += 1;
                let fewest = *loads.iter().min().unwrap();
                assert!(
                    loads.iter().all(|load| *load <= fewest + (fewest / PER_AHEAD).clamp(1, MAX_AHEAD)),
                    "{loads:?}"
                );
                at
            })
            .collect()
    }

    #[test]
    fn few_sockets_go_to_the_workers_in_turn_and_many_in_runs() {
        let mut loads = [0; 3];
        assert_eq!(hand_out(&mut loads, 7), [0, 1, 2, 0, 1, 2, 0]);
        let given = hand_out(&mut loads, 10_000);
        let runs = given[9_000..].chunk_by(|a, b| a == b).count();
        assert!(runs <= 1_000 / MAX_AHEAD + 2, "{runs} runs among the last thousand");
    }

    #[test]
    fn a_worker_whose_clients_left_gets_the_next_ones_until_it_has_as_many() {
        let mut loads = [1_000, 400];
        assert_eq!(choose(&loads, |load| *load, 0), 1);
        loads[1] = 999;
        assert_eq!(choose(&loads, |load| *load, 1), 1, "hardly ahead, and the sockets before are its own");
    }
}
