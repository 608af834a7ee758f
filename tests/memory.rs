//! Resident memory per idle connection. The test has a process of its own, so that no other test runs beside it.
//!
//! All connections are in one room. Memory is measured before and after each of them has sent and received, because a
//! buffer that stays behind after a first message is the usual mistake.

#[path = "it/support/mod.rs"]
#[expect(dead_code, reason = "shared with the integration tests, which need more of it")]
mod support;

use std::time::Duration;

use support::eventually;
use support::frame::text;
use support::raw::{Socket, handshake};
use support::server::Server;

/// Returns the number of connections to measure, and the most bytes that each may cost. A release build has 15,000
/// connections, so many that the allocator's own memory does not count. Debug builds have larger futures and fewer
/// connections here: their bound is rough.
fn measure(bound: usize) -> (usize, usize) {
    let is_release = !cfg!(debug_assertions) || std::env::var_os("THRONG_TEST_BINARY").is_some();
    if is_release { (15_000, bound) } else { (2_000, 12 * 1024) }
}

/// Time after which the server has freed what quiet connections need no more, and its allocator has returned that to
/// the system, which takes it ten seconds. No event tells.
const REST: Duration = Duration::from_secs(13);

/// A dialect of the chat, and how a client speaks it.
struct Dialect {
    name: &'static str,
    headers: &'static str,
    /// A command that is answered to its sender alone, and a part of the answer.
    question: (&'static str, &'static str),
    /// A message to all.
    message: &'static str,
}

const PLAIN: Dialect = Dialect {
    name: "plain",
    headers: "",
    question: ("{}", "\"missing_field\""),
    message: r#"{"message":"hello, hall"}"#,
};
const V1: Dialect = Dialect {
    name: "throng.v1",
    headers: "Sec-WebSocket-Protocol: throng.v1\r\n",
    question: (r#"{"type":"ping"}"#, "\"pong\""),
    message: r#"{"type":"message","message":"hello, hall","echo":true}"#,
};

/// Connections that are open before the first measurement, so that the server's fixed memory is not counted.
const WARM_UP: usize = 200;

/// Opens connections up to the number `to`, all in one room. A socket here costs one descriptor and no thread.
fn enter(server: &Server, dialect: &Dialect, sockets: &mut Vec<Socket>, to: usize) {
    for n in sockets.len()..to {
        let mut socket = Socket::connect(server.address());
        socket.send(handshake(&format!("/ws/chat/user-{n}?room=hall"), dialect.headers));
        socket.expect_upgrade();
        sockets.push(socket);
    }
    eventually("all of them are in", || server.connections() == to as f64);
}

/// Sends from every connection a command that is answered to its sender alone, and then one message to all.
fn everyone_speaks_and_hears(dialect: &Dialect, sockets: &mut [Socket]) {
    let (question, answer) = dialect.question;
    for socket in sockets.iter_mut() {
        // A message of every user to all would be one for each pair of users.
        socket.send(text(question));
        while !socket.read_text().contains(answer) {}
    }
    sockets[0].send(text(dialect.message));
    for socket in sockets.iter_mut() {
        while !socket.read_text().contains("hello, hall") {}
    }
}

fn an_idle_connection_costs_little(dialect: &Dialect, bound: usize) {
    let server = Server::start(&[
        ("workers", "1"),
        ("limits.max_connections", "18000"),
        // Neither notices nor pings may come between two measurements.
        ("presence.notice_limit", "1"),
        ("presence.interval", "2s"),
        ("heartbeat.interval", "1h"),
        ("history.messages", "0"),
        // The default: the state of the rate limits is part of a connection's memory.
        ("rate_limit.enabled", "true"),
    ]);
    let (count, bound) = measure(bound);
    let mut sockets = Vec::with_capacity(WARM_UP + count);
    enter(&server, dialect, &mut sockets, WARM_UP);
    everyone_speaks_and_hears(dialect, &mut sockets);
    std::thread::sleep(REST);
    let base = server.settled_rss();

    enter(&server, dialect, &mut sockets, WARM_UP + count);
    std::thread::sleep(REST);
    let silent = server.settled_rss().saturating_sub(base) / count;
    everyone_speaks_and_hears(dialect, &mut sockets);
    std::thread::sleep(REST);
    let spoken = server.settled_rss().saturating_sub(base) / count;
    let name = dialect.name;
    println!("bytes per idle connection: {silent} before it has spoken, {spoken} after, of {count} ({name})");
    assert!(silent <= bound && spoken <= bound, "{silent} and {spoken} bytes where {bound} are allowed");
}

/// The dialects one after the other, so that one measurement does not disturb the other.
#[test]
fn an_idle_connection_costs_little_before_and_after_it_has_spoken() {
    an_idle_connection_costs_little(&PLAIN, 563);
    an_idle_connection_costs_little(&V1, 676);
}
