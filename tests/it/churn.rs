//! Many connections that come and go, and more sockets than descriptors: the server returns to its former state.

use std::time::{Duration, Instant};

use crate::support::frame::{close, text};
use crate::support::raw::{Socket, handshake};
use crate::support::server::Server;
use crate::support::{eventually, pause, sized};

const MIB: usize = 1024 * 1024;

/// Opens connections one after the other and ends them in every way there is.
fn churn(server: &Server, count: usize) {
    for n in 0..count {
        let path = match n % 5 {
            0 => "/ws".to_owned(),
            1 => "/ws/heartbeat".to_owned(),
            _ => format!("/ws/chat/user-{n}?room=room-{}", n % 97),
        };
        let mut socket = Socket::open(server.address(), &path);
        socket.send(text(r#"{"message":"hi"}"#));
        // A socket that ends with a reset leaves no port in TIME_WAIT; a long run would use all ports up.
        match n % 3 {
            0 if n < 3000 => {
                socket.send(close(1000, ""));
                socket.skip_to_close();
            }
            1 if n < 3000 => drop(socket),
            _ => socket.abort(),
        }
    }
}

#[test]
fn after_churn_everything_is_as_before() {
    let server = Server::start(&[("history.messages", "0"), ("presence.interval", "1s")]);
    let settled = |what: &str| {
        for gauge in ["throng_connections", "throng_rooms", "throng_queue_bytes"] {
            eventually(&format!("{gauge} is 0 {what}"), || server.metric(gauge, "") == 0.0);
        }
        (server.fds(), server.settled_rss())
    };
    churn(&server, 500);
    let (fds_before, rss_before) = settled("after the warm-up");
    let count = sized(2000, 100_000);
    churn(&server, count);
    let (fds, rss) = settled("after the churn");
    // The socket of the scrape may be counted in one number and not in the other.
    assert!(fds.abs_diff(fds_before) <= 2, "{fds_before} descriptors before, {fds} after");
    assert!(rss < rss_before + 4 * MIB, "{rss_before} bytes before, {rss} after {count} connections");
    let accepted = server.metric("throng_connections_accepted_total", "") as usize;
    assert!(accepted >= 500 + count, "{accepted} accepted");
}

#[test]
fn half_a_handshake_is_cleaned_up_too() {
    let server = Server::start(&[]);
    let request = handshake("/ws", "");
    let warm_up = Socket::open(server.address(), "/ws");
    drop(warm_up);
    eventually("the warm-up is gone", || server.connections() == 0.0);
    let before = server.fds();
    for cut in (0..request.len()).step_by(7) {
        let mut socket = Socket::connect(server.address());
        socket.send(&request[..cut]);
        if cut % 2 == 0 { socket.abort() } else { drop(socket) }
    }
    eventually("their descriptors are free", || server.fds() <= before + 1);
}

#[test]
fn a_server_without_free_descriptors_goes_on_and_does_not_spin() {
    let server = Server::start_with_descriptors(64, &[("limits.handshake_timeout", "60s")]);
    let mut control = Socket::open(server.address(), "/ws?raw");
    let crowd: Vec<_> = (0..200).map(|_| Socket::connect(server.address())).collect();
    let (mut fds, mut unchanged) = (0, 0);
    eventually("every descriptor is in use or kept back", || {
        control.send(text("alive"));
        assert_eq!(control.read_text(), "alive");
        unchanged = if server.fds() == fds { unchanged + 1 } else { 0 };
        fds = server.fds();
        unchanged == 20
    });

    // A share of CPU time can only be measured over some time.
    let (started, cpu) = (Instant::now(), server.cpu());
    while started.elapsed() < Duration::from_secs(3) {
        control.send(text("alive"));
        assert_eq!(control.read_text(), "alive");
        pause();
    }
    let used = server.cpu().saturating_sub(cpu);
    assert!(used < started.elapsed() / 10, "{used:?} of CPU in {:?}", started.elapsed());

    drop(crowd);
    eventually("newcomers are let in again", || {
        let mut socket = Socket::connect(server.address());
        socket.send(handshake("/ws", ""));
        socket.read_response().status == 101
    });
}
