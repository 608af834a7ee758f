//! Clients that do not read: they are dropped and counted, their memory is freed, and other clients do not notice.

use std::time::Duration;

use crate::support::frame::{CLOSE, PONG, TEXT, ping, text};
use crate::support::raw::{Ended, Socket};
use crate::support::server::{Server, Settings};
use crate::support::{PATIENCE, eventually, sized};

/// Small queues, so that a client that does not read soon exceeds them.
const SMALL: Settings<'static> = &[
    ("queue.max_bytes", "64KiB"),
    ("socket.send_buffer", "16KiB"),
    ("chat.max_message_chars", "8000"),
    ("presence.notice_limit", "1"),
    ("presence.interval", "60s"),
];

const DROPPED: &str = "throng_slow_consumers_dropped_total";

/// Builds a message of about 4 KiB that begins with the number `n`.
fn numbered(n: usize) -> Vec<u8> {
    text(format!(r#"{{"message":"number {n:06} {}"}}"#, "x".repeat(4000)))
}

/// Skips notices up to the next message, which must have the number `n`.
#[track_caller]
fn expect_numbered(socket: &mut Socket, n: usize) {
    loop {
        let text = socket.read_text();
        if let Some((_, rest)) = text.split_once("\"message\":\"number ") {
            assert_eq!(rest.get(..6), Some(format!("{n:06}").as_str()), "lost or out of order");
            return;
        }
    }
}

struct Room {
    server: Server,
    readers: Vec<Socket>,
    stalled: Vec<Socket>,
    sent: usize,
}

impl Room {
    #[track_caller]
    fn with(settings: Settings<'_>, readers: usize, stalled: usize) -> Self {
        let server = Server::start(settings);
        let path = |kind: &str, n: usize| format!("/ws/chat/{kind}-{n}?room=busy");
        let readers = (0..readers).map(|n| Socket::open(server.address(), &path("reader", n))).collect();
        let narrow = || Socket::connect_narrow(server.address());
        let stalled = (0..stalled).map(|n| narrow().upgraded(&path("stalled", n))).collect();
        Self { server, readers, stalled, sent: 0 }
    }

    /// Sends the next number from the first reader, and waits until every reader has it, so that none of them lags.
    #[track_caller]
    fn say(&mut self) {
        let n = self.sent;
        self.readers[0].send(numbered(n));
        self.readers.iter_mut().for_each(|reader| expect_numbered(reader, n));
        self.sent += 1;
    }

    fn dropped(&self) -> usize {
        self.server.metric(DROPPED, "") as usize
    }

    /// Sends messages until `count` clients are dropped.
    #[track_caller]
    fn say_until_dropped(&mut self, count: usize) {
        let mut patience = 4000;
        while self.dropped() < count {
            assert!(patience > 0, "{} of {count} dropped after {} messages", self.dropped(), self.sent);
            (0..8).for_each(|_| self.say());
            patience -= 8;
        }
    }
}

#[test]
fn clients_that_do_not_read_are_dropped_and_others_miss_nothing() {
    let (readers, stalled) = (sized(40, 900), sized(10, 100));
    let mut room = Room::with(SMALL, readers, stalled);
    room.say_until_dropped(stalled);
    for _ in 0..20 {
        room.say();
    }
    eventually("only the readers are left", || room.server.connections() == readers as f64);
    assert_eq!(room.dropped(), stalled, "a reader was dropped too");
    assert_eq!(room.server.metric("throng_closes_total", "\"4001\"") as usize, stalled);
    eventually("the queues are empty", || room.server.metric("throng_queue_bytes", "") == 0.0);
}

#[test]
fn a_client_that_reads_a_byte_now_and_then_is_dropped_like_one_that_reads_none() {
    let mut room = Room::with(SMALL, 2, 1);
    let mut patience = 1000;
    while room.dropped() == 0 {
        room.say();
        // There is always a byte: the kernel holds many more than this test reads.
        room.stalled[0].read_some(1);
        patience -= 1;
        assert!(patience > 0, "a byte now and then keeps a backlog alive");
    }
    eventually("only the readers are left", || room.server.connections() == 2.0);
}

#[test]
fn a_dropped_clients_stream_is_whole_frames_up_to_its_end() {
    // Each client stops reading at another point: in a head, in a payload, between frames.
    const STOPS: [usize; 6] = [1, 3, 200, 3000, 4100, 9001];
    let mut room = Room::with(SMALL, 2, STOPS.len());
    for _ in 0..3 {
        room.say();
    }
    for (socket, stop) in room.stalled.iter_mut().zip(STOPS) {
        socket.read_some(stop);
    }
    room.say_until_dropped(STOPS.len());
    for mut socket in std::mem::take(&mut room.stalled) {
        let mut next = 0;
        let end = loop {
            // `try_frame` panics on invalid frames, and on a FIN within one.
            match socket.try_frame(PATIENCE) {
                Ok(frame) if frame.opcode == CLOSE => break Ok(frame.closing().0),
                Ok(frame) if frame.opcode == TEXT => {
                    let text = String::from_utf8_lossy(&frame.payload).into_owned();
                    if text.contains("\"message\":\"number ") {
                        assert!(
                            text.contains(&format!("number {next:06}")),
                            "a hole before its end: {text:.60}"
                        );
                        next += 1;
                    }
                }
                Ok(_) => {}
                Err(ended) => break Err(ended),
            }
        };
        match end {
            Ok(code) => {
                assert_eq!(code, 4001);
                assert_ne!(socket.drain(PATIENCE), Ended::Silent, "open after its close frame");
            }
            Err(ended) => assert_eq!(ended, Ended::Reset, "neither a close frame nor a reset"),
        }
    }
}

#[test]
fn a_client_that_is_behind_within_its_limits_catches_up() {
    let roomy: Settings<'_> = &[
        ("queue.max_bytes", "4MiB"),
        ("queue.max_messages", "10000"),
        ("queue.max_age", "5m"),
        SMALL[1],
        SMALL[2],
    ];
    let mut room = Room::with(roomy, 1, 1);
    for _ in 0..300 {
        room.say();
    }
    let mut late = room.stalled.pop().expect("one");
    (0..300).for_each(|n| expect_numbered(&mut late, n));
    room.say();
    expect_numbered(&mut late, 300);
    assert_eq!(room.dropped(), 0);
}

#[test]
fn an_old_backlog_ends_a_client_that_is_within_the_other_limits() {
    let aged: Settings<'_> = &[("queue.max_bytes", "16MiB"), ("queue.max_age", "1s"), SMALL[1], SMALL[2]];
    let mut room = Room::with(aged, 1, 1);
    // More messages than the kernel buffers, and fewer than the queue may hold.
    for _ in 0..500 {
        room.say();
    }
    eventually("dropped for its age", || room.dropped() == 1);
}

#[test]
fn the_memory_of_dropped_clients_is_freed() {
    let stalled = 20;
    // Clients share the bytes of a backlog: any number of laggards costs one room's messages.
    let mut room = Room::with(SMALL, 2, stalled);
    room.say_until_dropped(stalled);
    let before = room.server.settled_rss();
    room.stalled.clear();
    for round in 0..3 {
        for n in 0..stalled {
            let path = format!("/ws/chat/again-{round}-{n}?room=busy");
            room.stalled.push(Socket::connect_narrow(room.server.address()).upgraded(&path));
        }
        room.say_until_dropped(stalled * (round + 2));
        room.stalled.clear();
    }
    let after = room.server.settled_rss();
    assert!(after < before + 3 * 1024 * 1024, "{before} bytes before, {after} after");
}

#[test]
fn pings_from_a_client_that_never_reads_do_not_pile_up() {
    let server = Server::start(&[("socket.send_buffer", "16KiB")]);
    let mut control = Socket::open(server.address(), "/ws?raw");
    let mut flood = Socket::connect_narrow(server.address()).upgraded("/ws?raw");
    let burst = ping([b'p'; 125]).repeat(1000);
    // The first burst grows the server's buffers once.
    assert!(flood.try_send(&burst));
    let before = server.settled_rss();
    for _ in 0..sized(100, 1000) {
        // The server may close the connection, but it may not stop reading for ever.
        if !flood.try_send(&burst) {
            break;
        }
        control.send(text("alive"));
        assert_eq!(control.read_text(), "alive");
    }
    let after = server.rss();
    assert!(after < before + 2 * 1024 * 1024, "{before} bytes before, {after} after");
    // The frames that it reads in the end are whole pongs.
    while let Ok(frame) = flood.try_frame(Duration::from_millis(200)) {
        assert!(matches!(frame.opcode, PONG | CLOSE), "{frame:?}");
    }
    drop(flood);
    eventually("it is gone", || server.connections() == 1.0);
}

#[test]
fn the_server_stops_reading_from_an_echo_client_that_never_reads() {
    let server = Server::start(&[("socket.send_buffer", "16KiB"), ("queue.max_age", "2s")]);
    let mut control = Socket::open(server.address(), "/ws?raw");
    let mut flood = Socket::connect_narrow(server.address()).upgraded("/ws?raw");
    let before = server.settled_rss();
    flood.expect_blocked(&text([b'e'; 60_000]), 2000);
    let after = server.rss();
    assert!(after < before + 4 * 1024 * 1024, "{before} bytes before, {after} after");
    control.send(text("alive"));
    assert_eq!(control.read_text(), "alive");
}
