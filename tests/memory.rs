//! Resident memory per idle connection. The test has a process of its own, so that no other test runs beside it.
//!
//! All connections are in one room. Memory is measured before and after each of them has sent and received, because a
//! buffer that stays behind after a first message is the usual mistake.

#[path = "it/support/mod.rs"]
#[expect(dead_code, reason = "shared with the integration tests, which need more of it")]
mod support;

use support::eventually;
use support::frame::text;
use support::raw::Socket;
use support::server::Server;

/// Returns the number of connections to measure, and the most bytes that each may cost. A release build has 15,000
/// connections, so many that the allocator's own memory does not count. Debug builds have larger futures and fewer
/// connections here: their bound is rough.
fn measure() -> (usize, usize) {
    let is_release = !cfg!(debug_assertions) || std::env::var_os("THRONG_TEST_BINARY").is_some();
    if is_release { (15_000, 1_740) } else { (2_000, 12 * 1024) }
}

/// Connections that are open before the first measurement, so that the server's fixed memory is not counted.
const WARM_UP: usize = 200;

/// Opens connections up to the number `to`, all in one room. A socket here costs one descriptor and no thread.
fn enter(server: &Server, sockets: &mut Vec<Socket>, to: usize) {
    for n in sockets.len()..to {
        sockets.push(Socket::open(server.address(), &format!("/ws/chat/user-{n}?room=hall")));
    }
    eventually("all of them are in", || server.connections() == to as f64);
}

/// Sends from every connection a command that is answered to its sender alone, and then one message to all.
fn everyone_speaks_and_hears(sockets: &mut [Socket]) {
    for socket in sockets.iter_mut() {
        // A message of every user to all would be one for each pair of users.
        socket.send(text("{}"));
        while !socket.read_text().contains("\"missing_field\"") {}
    }
    sockets[0].send(text(r#"{"message":"hello, hall"}"#));
    for socket in sockets.iter_mut() {
        while !socket.read_text().contains("hello, hall") {}
    }
}

#[test]
fn an_idle_connection_costs_little_before_and_after_it_has_spoken() {
    let server = Server::start(&[
        ("limits.max_connections", "18000"),
        // Neither notices nor pings may come between two measurements.
        ("presence.notice_limit", "1"),
        ("presence.interval", "2s"),
        ("heartbeat.interval", "1h"),
        ("history.messages", "0"),
        // The default: the state of the rate limits is part of a connection's memory.
        ("rate_limit.enabled", "true"),
    ]);
    let (count, bound) = measure();
    let mut sockets = Vec::with_capacity(WARM_UP + count);
    enter(&server, &mut sockets, WARM_UP);
    everyone_speaks_and_hears(&mut sockets);
    let base = server.settled_rss();

    enter(&server, &mut sockets, WARM_UP + count);
    let silent = server.settled_rss().saturating_sub(base) / count;
    everyone_speaks_and_hears(&mut sockets);
    let spoken = server.settled_rss().saturating_sub(base) / count;
    println!("bytes per idle connection: {silent} before it has spoken, {spoken} after, of {count}");
    assert!(silent <= bound && spoken <= bound, "{silent} and {spoken} bytes where {bound} are allowed");
}
