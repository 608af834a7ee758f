//! The handshake: its headers and subprotocols, its cuts into segments, its deadline, and the pages on the same port.

use std::time::{Duration, Instant};

use crate::support::frame::{self, Received};
use crate::support::raw::{Ended, Socket, handshake};
use crate::support::server::Server;
use crate::support::token::{SECRET, mint};

#[test]
fn the_example_of_the_rfc_is_accepted() {
    let server = Server::start(&[]);
    let mut socket = Socket::connect(server.address());
    socket.send(handshake("/ws", ""));
    let response = socket.expect_upgrade();
    assert!(response.header("upgrade").is_some_and(|v| v.eq_ignore_ascii_case("websocket")), "{response:?}");
    assert!(response.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("upgrade")), "{response:?}");
    assert_eq!(response.header("sec-websocket-extensions"), None, "nothing was offered");
    assert_eq!(response.header("sec-websocket-protocol"), None, "nothing was offered");
}

#[test]
fn header_values_are_tokens_in_any_case_and_order() {
    let server = Server::start(&[]);
    for (right, variant) in [
        ("Connection: Upgrade", "connection: keep-alive, Upgrade"),
        ("Connection: Upgrade", "CONNECTION: UPGRADE"),
        ("Connection: Upgrade", "Connection: keep-alive\r\nConnection: upgrade"),
        ("Upgrade: websocket", "upgrade: WebSocket"),
        ("Upgrade: websocket", "Upgrade: foo, websocket"),
        ("Sec-WebSocket-Version: 13", "sec-websocket-version:13"),
        ("Host: throng.test", "Host: throng.test\r\nSec-WebSocket-Extensions: permessage-deflate; foo=1"),
    ] {
        let request = handshake("/ws", "").replacen(right, variant, 1);
        let mut socket = Socket::connect(server.address());
        socket.send(request);
        let response = socket.expect_upgrade();
        assert_eq!(response.header("sec-websocket-extensions"), None, "{variant}: no extension is supported");
    }
}

#[test]
fn a_frame_in_the_segment_of_the_handshake_is_not_lost() {
    let server = Server::start(&[]);
    let mut socket = Socket::connect(server.address());
    let frames = [frame::text("one"), frame::ping("two"), frame::text("three")].concat();
    socket.send([handshake("/ws", "").as_bytes(), &frames].concat());
    socket.expect_upgrade();
    assert_eq!(socket.read_text(), "Message processed: one");
    assert_eq!(socket.read_frame(), Received::new(frame::PONG, "two"));
    assert_eq!(socket.read_text(), "Message processed: three");
}

#[test]
fn half_a_frame_in_the_segment_of_the_handshake_is_finished_later() {
    let server = Server::start(&[]);
    let message = frame::text("x".repeat(300));
    for cut in [1, 2, 3, 5, 8, 9, 100] {
        let mut socket = Socket::connect(server.address());
        socket.send([handshake("/ws?raw", "").as_bytes(), &message[..cut]].concat());
        socket.expect_upgrade();
        socket.send(&message[cut..]);
        assert_eq!(socket.read_text(), "x".repeat(300), "cut at {cut}");
    }
}

#[test]
fn handshake_and_frames_may_come_a_byte_at_a_time() {
    let server = Server::start(&[]);
    let mut socket = Socket::connect(server.address());
    socket.drip(handshake("/ws", ""));
    socket.expect_upgrade();
    socket.drip(frame::text("hello"));
    assert_eq!(socket.read_text(), "Message processed: hello");
    socket.drip([frame::first("a".repeat(130)), frame::ping("p"), frame::last("b")].concat());
    assert_eq!(socket.read_frame(), Received::new(frame::PONG, "p"));
    assert_eq!(socket.read_text(), format!("Message processed: {}b", "a".repeat(130)));
    socket.drip(frame::close(1000, "bye"));
    assert_eq!(socket.read_close().0, 1000);
    socket.expect_eof();
}

#[test]
fn a_kept_connection_may_upgrade_after_a_page() {
    let server = Server::start(&[]);
    let mut socket = Socket::connect(server.address());
    for path in ["/healthz", "/"] {
        socket.send(format!("GET {path} HTTP/1.1\r\nHost: throng.test\r\n\r\n"));
        assert_eq!(socket.read_response().status, 200, "{path}");
    }
    let mut socket = socket.upgraded("/ws");
    socket.send(frame::text("hi"));
    assert_eq!(socket.read_text(), "Message processed: hi");
}

/// Longest time in which a server with a handshake timeout of one second must end a connection: much more than that,
/// for slow machines, and much less than a timeout that starts afresh with every byte.
const DEADLINE: std::ops::Range<Duration> = Duration::from_millis(800)..Duration::from_secs(8);

#[test]
fn a_silent_connection_is_closed_at_the_handshake_deadline() {
    let server = Server::start(&[("limits.handshake_timeout", "1s")]);
    let started = Instant::now();
    let mut socket = Socket::connect(server.address());
    assert_eq!(socket.drain(DEADLINE.end), Ended::Eof);
    assert!(DEADLINE.contains(&started.elapsed()), "{:?}", started.elapsed());
}

#[test]
fn a_dripping_request_is_closed_at_the_handshake_deadline() {
    let server = Server::start(&[("limits.handshake_timeout", "1s")]);
    for request in [handshake("/ws", &format!("X-Slow: {}\r\n", "x".repeat(200))), "\r\n".repeat(200)] {
        let started = Instant::now();
        let mut socket = Socket::connect(server.address());
        let ended = request.bytes().any(|byte| {
            // Reads between two bytes. The answer to a byte that crosses the FIN is a reset.
            !socket.try_send([byte]) || socket.drain(Duration::from_millis(100)) != Ended::Silent
        });
        assert!(ended, "the whole request was let in");
        assert!(DEADLINE.contains(&started.elapsed()), "{:?}", started.elapsed());
    }
}

#[test]
fn an_idle_kept_connection_is_closed_at_the_handshake_deadline() {
    let server = Server::start(&[("limits.handshake_timeout", "1s")]);
    let mut socket = Socket::connect(server.address());
    socket.send("GET /healthz HTTP/1.1\r\nHost: throng.test\r\n\r\n");
    assert_eq!(socket.read_response().status, 200);
    let started = Instant::now();
    assert_eq!(socket.drain(DEADLINE.end), Ended::Eof);
    assert!(DEADLINE.contains(&started.elapsed()), "{:?}", started.elapsed());
}

#[test]
fn an_upgraded_connection_outlives_the_handshake_deadline() {
    let server = Server::start(&[("limits.handshake_timeout", "1s")]);
    let mut socket = Socket::open(server.address(), "/ws");
    assert_eq!(socket.try_frame(Duration::from_millis(1500)), Err(Ended::Silent));
    socket.send(frame::text("still here"));
    assert_eq!(socket.read_text(), "Message processed: still here");
}

#[test]
fn the_subprotocol_is_one_of_those_offered_or_none() {
    let server = Server::start(&[("auth.secret", SECRET)]);
    let token = mint(&["--sub", "alice"]);
    let bearer = format!("bearer, {token}");
    for (path, offered, selected) in [
        ("/ws", "echo", Some("echo")),
        ("/ws", "unknown", None),
        ("/ws", "unknown, echo", Some("echo")),
        ("/ws/secure", bearer.as_str(), Some("bearer")),
        ("/ws/chat/alice", "unknown", None),
        ("/ws/chat/alice", "echo", None),
    ] {
        let mut socket = Socket::connect(server.address());
        socket.send(handshake(path, &format!("Sec-WebSocket-Protocol: {offered}\r\n")));
        let response = socket.expect_upgrade();
        assert_eq!(response.header("sec-websocket-protocol"), selected, "{path} with {offered}");
        assert!(!format!("{response:?}").contains(&token), "the token comes back: {response:?}");
    }
}

#[test]
fn the_subprotocol_echo_speaks_raw() {
    let server = Server::start(&[]);
    let mut socket = Socket::connect(server.address());
    socket.send(handshake("/ws", "Sec-WebSocket-Protocol: echo\r\n"));
    socket.expect_upgrade();
    socket.send([frame::text("as it is"), frame::Frame::new(frame::BINARY, [0, 255]).bytes()].concat());
    assert_eq!(socket.read_frame(), Received::new(frame::TEXT, "as it is"));
    assert_eq!(socket.read_frame(), Received::new(frame::BINARY, [0, 255]));
}

#[test]
fn the_pages_are_served() {
    let server = Server::start(&[]);
    for (path, kind) in [("/", "text/html"), ("/metrics", "text/plain"), ("/healthz", ""), ("/readyz", "")] {
        let page = server.get(path);
        assert_eq!(page.status, 200, "{path}: {page:?}");
        assert!(page.header("content-type").unwrap_or_default().starts_with(kind), "{path}: {page:?}");
    }
    assert!(server.get("/").body.to_lowercase().contains("<!doctype html"), "a page");
}

#[test]
fn the_metrics_have_their_names() {
    let server = Server::start(&[]);
    let mut socket = Socket::open(server.address(), "/ws/chat/somebody?room=somewhere");
    socket.send(frame::text(r#"{"message":"hi"}"#));
    // The notice of its own entry, then its own message.
    assert!(socket.read_text().contains("joined") && socket.read_text().contains("hi"));
    let metrics = server.metrics();
    for name in [
        "throng_connections",
        "throng_connections_accepted_total",
        "throng_messages_received_total",
        "throng_deliveries_total",
        "throng_bytes_sent_total",
        "throng_writes_total",
        "throng_slow_consumers_dropped_total",
        "throng_queue_bytes",
        "throng_rooms",
        "throng_fanout_seconds_count",
    ] {
        assert!(
            metrics.keys().any(|series| series.split('{').next() == Some(name)),
            "no {name}: {metrics:#?}"
        );
    }
    assert_eq!((server.connections(), server.metric("throng_rooms", "")), (1.0, 1.0));
    let labels = metrics.keys().find(|series| series.contains("somebody") || series.contains("somewhere"));
    assert_eq!(labels, None, "a user or room in a label");
}
