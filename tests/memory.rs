//! Resident memory per idle connection, in a process of its own so that nothing else runs beside it.
//!
//! Connections sit in one room; measured before and after each of them has sent and received: a buffer that stays
//! behind after a first message is the usual way to lose this.

#[path = "it/support/mod.rs"]
#[expect(dead_code, reason = "shared with the integration tests, which need more of it")]
mod support;

use support::eventually;
use support::frame::text;
use support::raw::Socket;
use support::server::Server;

/// How many connections are measured, and the most bytes each may cost: 15,000 and 1.7 KiB of a release build, so many
/// that what the allocator keeps for itself does not count. Debug builds have larger futures, and fewer connections
/// here: that holds their growth only roughly.
fn measure() -> (usize, usize) {
    let is_release = !cfg!(debug_assertions) || std::env::var_os("THRONG_TEST_BINARY").is_some();
    if is_release { (15_000, 1_740) } else { (2_000, 12 * 1024) }
}

/// Connections there before the first measurement: what any server needs is not counted against the others.
const WARM_UP: usize = 200;

/// Enters users `from..to` into one room. A socket here costs one descriptor and no thread.
fn enter(server: &Server, sockets: &mut Vec<Socket>, to: usize) {
    for n in sockets.len()..to {
        sockets.push(Socket::open(server.address(), &format!("/ws/chat/user-{n}?room=hall")));
    }
    eventually("all of them are in", || server.connections() == to as f64);
}

/// Everyone says something that is answered to them alone, and then hears one message.
fn everyone_speaks_and_hears(sockets: &mut [Socket]) {
    for socket in sockets.iter_mut() {
        // To everyone it would be a message per pair of users.
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
        // As it is by default: what limits a connection is part of what it costs.
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
