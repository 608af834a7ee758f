//! WebSockets over TLS: the chat, long messages, clients that stop reading or break off, and ciphertext in pieces.

use crate::support::frame::{CLOSE, PONG, close, first, last, ping, text};
use crate::support::raw::Socket;
use crate::support::server::Settings;
use crate::support::tls::SecureSocket;
use crate::support::tls_server::Both;

/// Starts a server with one worker and without rate limits.
#[track_caller]
fn start(settings: Settings<'_>) -> Both {
    Both::start(&[&[("workers", "1"), ("rate_limit.enabled", "false")], settings].concat())
}

/// Reads texts up to one with these words.
#[track_caller]
fn skip_to(socket: &mut SecureSocket, words: &str) -> String {
    loop {
        let text = socket.read_text();
        if text.contains(words) {
            return text;
        }
    }
}

#[test]
fn the_chat_is_the_same_with_and_without_tls() {
    let both = start(&[]);
    let v1 = "Sec-WebSocket-Protocol: throng.v1\r\n";
    let mut ann = both.open("/ws/chat/ann?room=hall", "");
    let mut bob = both.open("/ws/chat/bob?room=hall", v1);
    let mut cat = Socket::open(both.server.address(), "/ws/chat/cat?room=hall");
    skip_to(&mut bob, "\"welcome\"");
    cat.send(text(r#"{"message":"from the plain side"}"#));
    skip_to(&mut ann, "from the plain side");
    skip_to(&mut bob, "from the plain side");
    ann.send(text(r#"{"message":"from the other side"}"#));
    skip_to(&mut bob, "from the other side");
    while !cat.read_text().contains("from the other side") {}
    bob.send(close(1000, "bye"));
    loop {
        let frame = bob.read_frame();
        if frame.opcode == CLOSE {
            assert_eq!(frame.closing().0, 1000);
            break;
        }
    }
    bob.expect_end();
}

#[test]
fn long_messages_and_ciphertext_in_pieces_arrive_whole() {
    let both = start(&[("limits.max_message_bytes", "200KiB")]);
    let mut socket = both.open("/ws?raw", "");
    for len in [0, 1, 125, 126, 16_383, 16_384, 16_385, 65_536, 150_000] {
        let message = "m".repeat(len);
        socket.send(text(&message));
        assert_eq!(socket.read_text(), message, "{len}");
    }
    for _ in 0..20 {
        socket.drip([first("in "), ping("alive"), last("pieces")].concat());
        assert_eq!(socket.read_frame().opcode, PONG);
        assert_eq!(socket.read_text(), "in pieces");
    }
}

#[test]
fn a_client_that_does_not_read_for_a_while_gets_everything() {
    let both = start(&[]);
    let mut other = both.open("/ws?raw", "");
    let mut socket = both.open_narrow("/ws?raw");
    let long = "y".repeat(3_000);
    for round in 0..10 {
        // More than the queue before which the server stops reading, and less than the buffers of both sides.
        for number in 0..40 {
            socket.send(text(format!("{round} {number} {long}")));
        }
        other.send(text("settled"));
        assert_eq!(other.read_text(), "settled");
        for number in 0..40 {
            assert_eq!(socket.read_text(), format!("{round} {number} {long}"));
        }
    }
}

#[test]
fn a_crowd_that_reads_late_gets_every_event_in_order() {
    let both = start(&[
        ("queue.max_bytes", "16MiB"),
        ("queue.max_messages", "100000"),
        ("queue.max_age", "1m"),
        ("heartbeat.interval", "1h"),
        ("chat.max_message_chars", "4000"),
    ]);
    let reader = |number| both.open_narrow(&format!("/ws/chat/reader-{number}?room=hall"));
    let mut readers: Vec<_> = (0..5).map(reader).collect();
    let mut writer = Socket::open(both.server.address(), "/ws/chat/writer?room=hall");
    let (count, long) = (300, "z".repeat(2_000));
    for number in 0..count {
        writer.send(text(format!(r#"{{"message":"{number} {long}"}}"#)));
        while !writer.read_text().contains(&format!("{number} zz")) {}
    }
    assert!(both.server.metric("throng_queue_bytes", "") > 0.0, "the readers make the server wait");
    for reader in &mut readers {
        for number in 0..count {
            skip_to(reader, &format!("\"{number} zz"));
        }
    }
}

#[test]
fn every_end_is_noticed() {
    let both = start(&[]);
    for round in 0..3 {
        let bytes = text("x".repeat(round * 10));
        let truncated = {
            let mut socket = both.open("/ws?raw", "");
            socket.drip(&bytes[..bytes.len() - 1]);
            socket.truncate();
            socket
        };
        both.ends();
        drop(truncated);
        let mut announced = both.open("/ws?raw", "");
        announced.send(&bytes);
        announced.announce_end();
        both.ends();
        assert_eq!(announced.read_text(), "x".repeat(round * 10), "the message before the end is answered");
        drop(both.open("/ws?raw", ""));
        both.ends();
    }
}
