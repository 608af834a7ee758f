//! Times to the millisecond on a server whose clock the test moves: when tokens expire, and when an address may connect
//! again.
//!
//! The server runs in this process, because a test cannot move the clock of another one. The clients are sockets.

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde_json::json;
use throng::config::{Config, Machine, Sources};
use throng::testing::clock::Clock;
use throng::{Server, StopReason};
use tokio::sync::oneshot;

use crate::support::frame::text;
use crate::support::raw::{Socket, handshake};
use crate::support::token::{SECRET, signed};
use crate::support::{eventually, pause};

/// A server on a port of its own, with a clock that the test moves. It stops with the test.
struct Timed {
    clock: Clock,
    address: SocketAddr,
    stop: Option<oneshot::Sender<StopReason>>,
    thread: Option<JoinHandle<()>>,
}

impl Timed {
    fn start(settings: &[&str]) -> Self {
        // The clients answer no pings, and the end of the test waits for no client.
        let base = ["listen=127.0.0.1:0", "workers=2", "heartbeat.interval=1h", "drain.window=0ms"];
        let sources = base.iter().chain(settings).fold(Sources::new(), |sources, pair| sources.set(pair));
        let machine = Machine { descriptors: 1024, memory_bytes: 1 << 30, cores: 2 };
        let config = Config::load(sources).expect("good settings").resolve(&machine);
        let clock = Clock::manual();
        let server = Server::bind_by(config, clock.clone()).expect("a port is free");
        let address = server.local_addr().expect("an IP address");
        let (stop, stopped) = oneshot::channel();
        let until = async { stopped.await.unwrap_or(StopReason::GoingAway) };
        let thread = thread::spawn(move || server.run(until).expect("it runs to its end"));
        Self { clock, address, stop: Some(stop), thread: Some(thread) }
    }

    fn advance_ms(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
    }

    /// Sends a handshake; returns the status of the answer.
    #[track_caller]
    fn handshake_status(&self) -> u16 {
        let mut socket = Socket::connect(self.address);
        socket.send(handshake("/ws", ""));
        socket.read_response().status
    }

    /// Connects as alice, with a token that has these times.
    #[track_caller]
    fn enter(&self, times: &serde_json::Value) -> Socket {
        let mut claims = times.clone();
        claims["sub"] = json!("alice");
        let token = signed(Algorithm::HS256, SECRET, &claims);
        Socket::open(self.address, &format!("/ws/secure?token={token}"))
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.stop.take().map(|stop| stop.send(StopReason::GoingAway));
        let Some(thread) = self.thread.take() else { return };
        if !thread::panicking() {
            eventually("the server has stopped", || thread.is_finished());
            thread.join().expect("the server ran to its end");
        }
    }
}

#[track_caller]
fn is_served(socket: &mut Socket) {
    socket.send(text("hi"));
    assert_eq!(socket.read_text(), "User alice: hi");
}

#[test]
fn a_token_is_good_until_the_millisecond_that_it_expires_in() {
    let server = Timed::start(&[&format!("auth.secret={SECRET}"), "auth.leeway=2s"]);
    let now = server.clock.unix_ms() / 1_000;
    let (token, later) = (json!({"exp": now + 60}), json!({"nbf": now + 64, "exp": now + 99}));
    let mut silent = server.enter(&token);
    let mut speaking = server.enter(&token);
    is_served(&mut silent);
    assert_eq!(server.enter(&later).read_close(), (3000, "Token not yet valid".to_owned()));

    server.advance_ms(61_999);
    is_served(&mut speaking);
    let mut late = server.enter(&token);
    is_served(&mut late);
    assert_eq!(server.enter(&later).read_close(), (3000, "Token not yet valid".to_owned()));

    server.advance_ms(1);
    // The server ends them without a ping.
    for socket in [&mut silent, &mut late, &mut speaking] {
        assert_eq!(socket.read_close(), (3000, "Token expired".to_owned()));
    }
    assert_eq!(server.enter(&token).read_close(), (3000, "Token expired".to_owned()));
    is_served(&mut server.enter(&later));
}

#[test]
fn an_address_may_connect_again_at_the_announced_millisecond() {
    let server = Timed::start(&["limits.handshakes_per_second_per_address=2"]);
    assert_eq!(
        [server.handshake_status(), server.handshake_status(), server.handshake_status()],
        [101, 101, 429]
    );
    // Real time must not matter, only the moved clock.
    pause();
    server.advance_ms(499);
    assert_eq!(server.handshake_status(), 429);
    server.advance_ms(1);
    assert_eq!([server.handshake_status(), server.handshake_status()], [101, 429]);
    server.advance_ms(3_600_000);
    assert_eq!(
        [server.handshake_status(), server.handshake_status(), server.handshake_status()],
        [101, 101, 429]
    );
}
