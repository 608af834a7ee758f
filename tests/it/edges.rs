//! Sockets are reported ready once for each change. However the bytes of a client are cut, and wherever it stops, the
//! server reads them all, notices the end, and goes on writing when the client reads again.

use std::time::Duration;

use crate::support::frame::{first, last, ping, text};
use crate::support::raw::{Ended, Socket};
use crate::support::server::Server;

/// Returns a stream of frames with every kind of header, which is answered with two texts and a pong.
fn stream() -> Vec<u8> {
    [text("one"), first("tw"), ping("here"), last("o"), text("x".repeat(130))].concat()
}

/// Asserts that the answers to [`stream`] come.
#[track_caller]
fn expect_answers(socket: &mut Socket) {
    assert_eq!(socket.read_text(), "one");
    assert_eq!(socket.read_frame().payload, b"here");
    assert_eq!(socket.read_text(), "two");
    assert_eq!(socket.read_text(), "x".repeat(130));
}

/// Waits until the worker has given turns for everything that was sent to it before, by any client.
#[track_caller]
fn settle(other: &mut Socket) {
    other.send(text("settled"));
    assert_eq!(other.read_text(), "settled");
}

#[test]
fn a_client_may_stop_at_every_byte_and_go_on() {
    let server = Server::start(&[("workers", "1"), ("rate_limit.enabled", "false")]);
    let mut other = Socket::open(server.address(), "/ws?raw");
    let bytes = stream();
    let mut socket = Socket::open(server.address(), "/ws?raw");
    for at in 0..=bytes.len() {
        let (before, behind) = bytes.split_at(at);
        socket.send(before);
        settle(&mut other);
        socket.send(behind);
        expect_answers(&mut socket);
    }
}

#[test]
fn the_end_is_noticed_behind_every_byte() {
    let server = Server::start(&[("workers", "1"), ("rate_limit.enabled", "false")]);
    let mut other = Socket::open(server.address(), "/ws?raw");
    let bytes = stream();
    for at in 0..bytes.len() {
        for is_settled in [false, true] {
            let mut socket = Socket::open(server.address(), "/ws?raw");
            socket.send(&bytes[..at]);
            if is_settled {
                settle(&mut other);
            }
            // The end may come in the same report as the bytes before it, and is then not reported again.
            socket.finish();
            assert_eq!(
                socket.drain(Duration::from_secs(10)),
                Ended::Eof,
                "{at} bytes, settled: {is_settled}"
            );
        }
    }
    settle(&mut other);
}

#[test]
fn a_client_that_reads_slowly_gets_everything() {
    let server = Server::start(&[("workers", "1"), ("rate_limit.enabled", "false")]);
    let mut other = Socket::open(server.address(), "/ws?raw");
    let mut socket = Socket::connect_narrow(server.address()).upgraded("/ws?raw");
    // So many that the server has to wait for the client, and so few that the client need not wait for the server.
    let (count, long) = (40, "y".repeat(3_000));
    for number in 0..count {
        socket.send(text(format!("{number}{long}")));
    }
    settle(&mut other);
    for number in 0..count {
        socket.read_some(1);
        assert_eq!(socket.read_text(), format!("{number}{long}"));
    }
    settle(&mut other);
}
