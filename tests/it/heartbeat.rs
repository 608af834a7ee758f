//! Heartbeats in text (`/ws/heartbeat`), and the WebSocket pings that every endpoint sends.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::Client;
use crate::support::frame::{Frame, PING, PONG, text};
use crate::support::raw::{Socket, handshake};
use crate::support::server::Server;
use crate::support::speaker::OFFER;
use crate::support::{eventually, pause};

const BEAT: &str = r#"{"type":"heartbeat"}"#;
const ACK: &str = r#"{"type":"heartbeat_ack"}"#;

#[tokio::test]
async fn the_first_heartbeat_comes_at_once() {
    let server = Server::start(&[("endpoints.heartbeat_interval", "60s")]);
    let mut client = Client::connect(&server, "/ws/heartbeat").await;
    client.expect_text(BEAT).await;
}

#[tokio::test]
async fn messages_between_heartbeats_are_answered() {
    let server = Server::start(&[("endpoints.heartbeat_interval", "60s")]);
    let mut client = Client::connect(&server, "/ws/heartbeat").await;
    client.expect_text(BEAT).await;
    let received = |content: &str| json!({"type": "message", "content": format!("Received: {content}")});
    let invalid = json!({"type": "error", "message": "Invalid JSON format"});
    for (sent, answer) in [
        (r#"{"content":"hi"}"#, received("hi")),
        (r#"{"type":"message","content":"grüße \"🦀\""}"#, received("grüße \"🦀\"")),
        (r#"{"type":"anything"}"#, received("")),
        ("{}", received("")),
        ("hi", invalid.clone()),
        ("", invalid.clone()),
        ("[1]", invalid.clone()),
        (r#""heartbeat_ack""#, invalid.clone()),
        ("null", invalid.clone()),
        (r#"{"content":"hi"} x"#, invalid.clone()),
    ] {
        // The acknowledgement gets no reply: the next text is already the answer.
        client.send_text(ACK).await;
        client.send_text(sent).await;
        assert_eq!(client.recv_json().await, answer, "to {sent}");
    }
    client.send_text(r#"{"content":"order"}"#).await;
    client.expect_text(r#"{"type":"message","content":"Received: order"}"#).await;
    client.send_text("x").await;
    client.expect_text(r#"{"type":"error","message":"Invalid JSON format"}"#).await;
}

#[tokio::test]
async fn acknowledged_heartbeats_go_on() {
    let server =
        Server::start(&[("endpoints.heartbeat_interval", "1s"), ("endpoints.heartbeat_misses", "2")]);
    let mut client = Client::connect(&server, "/ws/heartbeat").await;
    for _ in 0..5 {
        client.expect_text(BEAT).await;
        client.send_text(ACK).await;
    }
}

#[tokio::test]
async fn unacknowledged_heartbeats_end_the_connection() {
    let server =
        Server::start(&[("endpoints.heartbeat_interval", "1s"), ("endpoints.heartbeat_misses", "2")]);
    let mut client = Client::connect(&server, "/ws/heartbeat").await;
    let started = Instant::now();
    client.expect_text(BEAT).await;
    client.expect_text(BEAT).await;
    client.expect_close(3008, "Heartbeat timeout").await;
    assert!(started.elapsed() >= Duration::from_millis(1500), "too early: {:?}", started.elapsed());
}

#[test]
fn a_client_that_answers_no_ping_is_dropped_and_others_are_not() {
    let server = Server::start(&[("heartbeat.interval", "1s"), ("heartbeat.timeout", "1s")]);
    for path in ["/ws", "/ws?raw", "/ws/chat/silent"] {
        let mut silent = Socket::open(server.address(), path);
        let mut answering = Socket::open(server.address(), "/ws?raw");
        let started = Instant::now();
        let (code, reason) = loop {
            // A client that answers its pings, with a pong or with any other frame, stays.
            while let Ok(frame) = answering.try_frame(Duration::from_millis(20)) {
                assert_eq!(frame.opcode, PING, "{frame:?}");
                answering.send(Frame::new(PONG, frame.payload).bytes());
            }
            match silent.try_frame(Duration::from_millis(20)) {
                Ok(frame) if frame.opcode == 8 => break frame.closing(),
                _ => assert!(started.elapsed() < Duration::from_secs(15), "{path}: never dropped"),
            }
        };
        assert_eq!((code, reason.as_str()), (3008, "Heartbeat timeout"), "{path}");
        assert!(started.elapsed() >= Duration::from_millis(900), "{path}: too early");
        silent.expect_eof();
        answering.send(text("alive"));
        assert_eq!(answering.read_text(), "alive", "{path}");
    }
    eventually("the dropped ones are counted", || server.metric("throng_closes_total", "\"3008\"") == 3.0);
}

#[test]
fn a_client_that_speaks_is_alive_without_pongs() {
    let server = Server::start(&[("heartbeat.interval", "1s"), ("heartbeat.timeout", "1s")]);
    let mut socket = Socket::open(server.address(), "/ws?raw");
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(5) {
        socket.send(text("life sign"));
        assert_eq!(socket.read_text(), "life sign");
        pause();
    }
}

/// Proxies between client and server may close a connection on which the server is silent. Something must leave the
/// server in every `heartbeat.interval`.
#[test]
fn something_leaves_in_every_interval_whatever_the_client_sends() {
    let interval = Duration::from_secs(2);
    let server = Server::start(&[
        ("heartbeat.interval", "2s"),
        ("heartbeat.timeout", "30s"),
        ("endpoints.heartbeat_interval", "1h"),
    ]);
    let ack = text(ACK);
    let pong = Frame::new(PONG, "unasked").bytes();
    let mut sockets: Vec<_> = [
        ("/ws", "", &pong),
        ("/ws?raw", "", &pong),
        ("/ws/messages", "", &pong),
        ("/ws/with-timeout?timeout=60s", "", &pong),
        ("/ws/heartbeat", "", &pong),
        ("/ws/heartbeat", "", &ack),
        ("/ws/chat/plain", "", &pong),
        ("/ws/chat/modern", OFFER, &pong),
        ("/ws/chat/talkative", OFFER, &ack),
    ]
    .into_iter()
    .map(|(path, headers, says)| {
        let mut socket = Socket::connect(server.address());
        socket.send(handshake(path, headers));
        socket.expect_upgrade();
        (path, says, socket, Instant::now(), 0)
    })
    .collect();
    while sockets.iter().any(|(.., signs)| *signs < 3) {
        for (path, says, socket, last, signs) in &mut sockets {
            socket.send(says);
            while let Ok(frame) = socket.try_frame(Duration::from_millis(1)) {
                let is_sign = frame.opcode == PING || frame.payload == br#"{"type":"heartbeat"}"#;
                *signs += usize::from(is_sign);
                *last = Instant::now();
            }
            // Twice the interval, for a busy machine.
            assert!(last.elapsed() < interval * 2, "{path}: nothing for {:?}", last.elapsed());
        }
        pause();
    }
}
