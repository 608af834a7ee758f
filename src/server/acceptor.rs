//! Accepts sockets and hands each to a worker that has hardly more than any other.

use std::io;
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use socket2::SockRef;
use tokio::time::sleep;

use super::handshakes::{Handshakes, Place};
use super::rules::Rules;
use super::standing::Standing;
use super::worker::Worker;
use crate::admission::Refusal;
use crate::connection::socket::watch;
use crate::http::respond;
use crate::node::Node;

/// Pause when the process or the system is out of descriptors or memory: `accept` would fail at once, for ever.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(75);
/// By how many sockets a worker may be ahead of the one with the fewest, whatever that has.
const MAX_AHEAD: usize = 64;
/// It may be ahead by one socket for each so many that the one with the fewest has.
const PER_AHEAD: usize = 16;

/// A socket on its way in, with its place among `limits.max_handshakes`.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) stream: TcpStream,
    /// Who is at the other end: a client, or a proxy.
    pub(super) peer: IpAddr,
    pub(super) handshake: Place,
    /// How it stands with the limits of its address.
    pub(super) standing: Standing,
}

/// Accepts until it is dropped.
pub(super) async fn run(
    node: &Node,
    rules: &Rules,
    listener: TcpListener,
    workers: &[Worker],
) -> io::Result<()> {
    let listener = watch(listener)?;
    let mut handshakes = Handshakes::new(node.config.limits.max_handshakes);
    let mut at = 0;
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
        match admit(&mut handshakes, rules, peer).await {
            Ok((handshake, standing)) => {
                at = choose(workers, Worker::load, at);
                hand_over(node, &workers[at], Newcomer { stream, peer, handshake, standing });
            }
            Err(refusal) => turn_away(node, &stream, refusal),
        }
    }
}

/// A place for a newcomer: among the handshakes, or, where its address or the node has too many of them, in the
/// reserve, where it can ask for little more than whether the server is well.
async fn admit(
    handshakes: &mut Handshakes,
    rules: &Rules,
    peer: IpAddr,
) -> Result<(Place, Standing), Refusal> {
    let group = rules.group(peer);
    let standing = if group.is_proxy { Standing::default() } else { rules.standing(peer) };
    let refusal = match standing.refusal {
        Some(refusal) => refusal,
        None => match handshakes.place(group).await {
            Some(place) => return Ok((place, standing)),
            None => {
                // It made no handshake. Its connection is given back with its standing.
                if let Some(counted) = standing.counted {
                    rules.take_back(counted);
                }
                Refusal::AtCapacity
            }
        },
    };
    let place = handshakes.reserved(group).ok_or(refusal)?;
    Ok((place, Standing::refused(refusal)))
}

/// Accepts a socket that is non-blocking from the start.
fn accept(listener: &TcpListener) -> io::Result<(TcpStream, IpAddr)> {
    /// `SOCK_NONBLOCK` and `SOCK_CLOEXEC` of Linux, as `accept4` takes them.
    const FLAGS: i32 = 0o4000 | 0o2_000_000;
    let (socket, address) = SockRef::from(listener).accept4(FLAGS)?;
    // A peer without an address has gone before it was here.
    let address = address.as_socket().ok_or(io::ErrorKind::ConnectionAborted)?;
    Ok((socket.into(), address.ip().to_canonical()))
}

/// The worker for the next socket: the one of the socket before (`at`) while it is hardly ahead, else the one with the
/// fewest. What the kernel keeps of sockets accepted one after the other lies side by side, and two cores that each
/// write to every second of them take the memory from each other: with runs instead of turns two workers reached
/// 10,000 clients in 0.68 of one worker's time instead of 0.76, with CPU per delivery 1.07 instead of 1.13.
fn choose<W>(workers: &[W], load: impl Fn(&W) -> usize, at: usize) -> usize {
    let (fewest, least) =
        workers.iter().map(&load).enumerate().min_by_key(|&(_, load)| load).unwrap_or((at, 0));
    match load(&workers[at]) < least + (least / PER_AHEAD).min(MAX_AHEAD) {
        true => at,
        false => fewest,
    }
}

fn hand_over(node: &Node, worker: &Worker, newcomer: Newcomer) {
    if let Err(newcomer) = worker.hand(newcomer) {
        turn_away(node, &newcomer.stream, Refusal::AtCapacity);
    }
}

/// Says 503 or 429 without having parsed the request: there is no place to do it in.
fn turn_away(node: &Node, mut stream: &TcpStream, refusal: Refusal) {
    use std::io::{Read as _, Write as _};
    node.metrics.count_refusal(refusal.reason());
    // Bytes left unread would turn the close into a reset, which overtakes the answer.
    let mut request = [0; 16 * 1024];
    let read = stream.read(&mut request);
    // As much as the empty send buffer of a new socket takes, which is all of it; who is gone is gone.
    let written = stream.write(&respond::raw(&refusal)).and_then(|_| stream.shutdown(Shutdown::Write));
    tracing::debug!(?read, ?written, "turned away: no place among the handshakes");
}

#[cfg(test)]
mod tests {
    use super::{MAX_AHEAD, PER_AHEAD, choose};

    /// Hands out `count` sockets; the worker of each.
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
