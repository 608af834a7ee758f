//! Resident memory per idle connection. The test has a process of its own, so that no other test runs beside it.
//!
//! All connections are in one room. Memory is measured before and after each of them has sent and received, because a
//! buffer that stays behind after a first message is the usual mistake. Connections with TLS, and those that have
//! negotiated compression, are measured too.

#[path = "it/support/mod.rs"]
#[expect(dead_code, reason = "shared with the integration tests, which need more of it")]
mod support;

use std::time::Duration;

use support::eventually;
use support::frame::text;
use support::raw::{Socket, handshake};
use support::server::{Server, Settings};
use support::tls::SecureSocket;
use support::tls_server::Both;

/// Connections that are open before the first measurement, so that the server's fixed memory is not counted.
const WARM_UP: usize = 200;
/// Connections to measure in a release build: so many that the allocator's own memory does not count.
const COUNT: usize = 15_000;
/// The same with TLS, whose clients are slow in the dev profile, and whose connections are larger.
const SECURE_COUNT: usize = 3_000;
/// Most bytes that compression may add to a connection which has negotiated it, and the usual difference between two
/// runs of one server.
const MOST_FOR_COMPRESSION: usize = 16 + 16;

/// Time after which the server has freed what quiet connections need no more, and its allocator has returned that to
/// the system, which takes it ten seconds. No event tells.
const REST: Duration = Duration::from_secs(13);

/// Returns true when the server is a release build. Debug builds have larger futures and get fewer connections here:
/// their bound is rough.
fn is_release() -> bool {
    !cfg!(debug_assertions) || std::env::var_os("THRONG_TEST_BINARY").is_some()
}

/// A way to speak with the chat.
struct Dialect {
    name: &'static str,
    headers: &'static str,
    /// Settings of the server that this needs.
    settings: Settings<'static>,
    /// A command that is answered to its sender alone, and a part of the answer.
    question: (&'static str, &'static str),
    /// A message to all.
    message: &'static str,
}

const PLAIN: Dialect = Dialect {
    name: "plain",
    headers: "",
    settings: &[],
    question: ("{}", "\"missing_field\""),
    message: r#"{"message":"hello, hall"}"#,
};
const V1: Dialect = Dialect {
    name: "throng.v1",
    headers: "Sec-WebSocket-Protocol: throng.v1\r\n",
    question: (r#"{"type":"ping"}"#, "\"pong\""),
    message: r#"{"type":"message","message":"hello, hall","echo":true}"#,
    ..PLAIN
};
/// Its message is shorter than those that are compressed.
const COMPRESSED: Dialect = Dialect {
    name: "plain, compressed",
    headers: "Sec-WebSocket-Extensions: permessage-deflate\r\n",
    settings: &[("compression.enabled", "true")],
    ..PLAIN
};
const SECURE: Dialect = Dialect { name: "plain, TLS", ..PLAIN };

/// A client with a socket that blocks: it costs one descriptor here and no thread.
trait Client {
    fn say(&mut self, words: &str);
    fn hear(&mut self) -> String;
}

impl Client for Socket {
    fn say(&mut self, words: &str) {
        self.send(text(words));
    }
    fn hear(&mut self) -> String {
        self.read_text()
    }
}

impl Client for SecureSocket {
    fn say(&mut self, words: &str) {
        self.send(text(words));
    }
    fn hear(&mut self) -> String {
        self.read_text()
    }
}

/// Returns the settings of a server for a dialect.
fn settings(dialect: &Dialect) -> Vec<(&'static str, &'static str)> {
    let common = [
        ("workers", "1"),
        ("limits.max_connections", "18000"),
        // Neither notices nor pings may come between two measurements.
        ("presence.notice_limit", "1"),
        ("presence.interval", "2s"),
        ("heartbeat.interval", "1h"),
        ("history.messages", "0"),
        // The default: the state of the rate limits is part of a connection's memory.
        ("rate_limit.enabled", "true"),
    ];
    [&common[..], dialect.settings].concat()
}

/// Sends from every connection a command that is answered to its sender alone, and then one message to all.
fn everyone_speaks_and_hears(dialect: &Dialect, clients: &mut [impl Client]) {
    let (question, answer) = dialect.question;
    for client in clients.iter_mut() {
        // A message of every user to all would be one for each pair of users.
        client.say(question);
        while !client.hear().contains(answer) {}
    }
    clients[0].say(dialect.message);
    for client in clients.iter_mut() {
        while !client.hear().contains("hello, hall") {}
    }
}

/// Bytes of an idle connection.
#[derive(Clone, Copy)]
struct Cost {
    before_it_spoke: usize,
    after: usize,
}

/// Measures `count` connections, all in one room. `open` opens the one with a number.
fn cost<C: Client>(server: &Server, dialect: &Dialect, count: usize, open: impl Fn(usize) -> C) -> Cost {
    let mut clients: Vec<C> = Vec::with_capacity(WARM_UP + count);
    let enter = |clients: &mut Vec<C>, to: usize| {
        clients.extend((clients.len()..to).map(&open));
        eventually("all of them are in", || server.connections() == to as f64);
    };
    enter(&mut clients, WARM_UP);
    everyone_speaks_and_hears(dialect, &mut clients);
    std::thread::sleep(REST);
    let base = server.settled_rss();

    enter(&mut clients, WARM_UP + count);
    std::thread::sleep(REST);
    let before_it_spoke = server.settled_rss().saturating_sub(base) / count;
    everyone_speaks_and_hears(dialect, &mut clients);
    std::thread::sleep(REST);
    let after = server.settled_rss().saturating_sub(base) / count;
    let name = dialect.name;
    println!(
        "bytes per idle connection: {before_it_spoke} before it has spoken, {after} after, of {count} ({name})"
    );
    Cost { before_it_spoke, after }
}

fn cost_of(dialect: &Dialect) -> Cost {
    let server = Server::start(&settings(dialect));
    let count = if is_release() { COUNT } else { 2_000 };
    cost(&server, dialect, count, |number| {
        let mut socket = Socket::connect(server.address());
        socket.send(handshake(&path(number), dialect.headers));
        socket.expect_upgrade();
        socket
    })
}

fn cost_with_tls() -> Cost {
    let both = Both::start(&settings(&SECURE));
    let count = if is_release() { SECURE_COUNT } else { 500 };
    cost(&both.server, &SECURE, count, |number| both.open(&path(number), SECURE.headers))
}

fn path(number: usize) -> String {
    format!("/ws/chat/user-{number}?room=hall")
}

/// Asserts that a connection costs no more than `bound` bytes in a release build, before it has spoken and after.
#[track_caller]
fn expect_at_most(cost: Cost, bound: usize) {
    let bound = if is_release() { bound } else { 16 * 1024 };
    let Cost { before_it_spoke, after } = cost;
    assert!(
        before_it_spoke <= bound && after <= bound,
        "{before_it_spoke} and {after} bytes where {bound} are allowed"
    );
}

/// Each bound is a tenth above the target, which `benches/targets.py` compares with the same figures.
///
/// The dialects come one after the other, because both together need more descriptors than a process may have. The last
/// two are measured at the same time, to save a minute: each server is a process of its own.
#[test]
fn an_idle_connection_costs_little_before_and_after_it_has_spoken() {
    let plain = cost_of(&PLAIN);
    expect_at_most(plain, 563);
    expect_at_most(cost_of(&V1), 676);
    let (compressed, secure) = std::thread::scope(|scope| {
        let secure = scope.spawn(cost_with_tls);
        (cost_of(&COMPRESSED), secure.join().expect("no panic"))
    });
    expect_at_most(secure, 4_505);
    expect_at_most(compressed, 563);
    // After all have spoken, two runs of one server differ by up to 60 bytes: too much for this comparison.
    let more = compressed.before_it_spoke.saturating_sub(plain.before_it_spoke);
    assert!(!is_release() || more <= MOST_FOR_COMPRESSION, "compression costs {more} bytes");
}
