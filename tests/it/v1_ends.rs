//! Ends of connections of `throng.v1`: a `disconnect` comes right before every close that the server starts.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::frame::{BINARY, Frame, TEXT, close, first, middle, text};
use crate::support::raw::Socket;
use crate::support::server::{Server, Settings};
use crate::support::speaker::{Speaker, expect_advice, offered};
use crate::support::token::{SECRET, mint, seconds_from_now, signed};

#[test]
fn a_broken_rule_is_named_before_the_close() {
    let server = Server::start(&[
        ("limits.message_timeout", "1s"),
        ("limits.max_fragments", "3"),
        ("limits.malformed_per_minute", "3"),
    ]);
    let rows: [(&str, Vec<u8>, u16, &str); 8] = [
        ("unmasked", Frame::new(TEXT, "{}").unmasked().bytes(), 1002, "frame is not masked"),
        ("binary", Frame::new(BINARY, "{}").bytes(), 1003, "Binary messages are not supported here"),
        ("no UTF-8", text(b"{\xff}"), 1007, "Invalid UTF-8"),
        ("too big", text(vec![b' '; 65_537]), 1009, "Message too big"),
        ("fragments", [first("{"), middle(" ").repeat(3)].concat(), 1009, "Too many fragments"),
        ("unfinished", first("{"), 3008, "Message not finished in time"),
        ("malformed", text("{").repeat(4), 4502, "Repeated malformed input"),
        ("reserved", Frame::new(0x3, "").bytes(), 1002, ""),
    ];
    for (name, bytes, code, reason) in rows {
        let mut alice = Speaker::alone(&server, &format!("alice?room={}", name.replace(' ', "-")));
        alice.socket.send(bytes);
        let (advice, told) = alice.skip_to_end().unwrap_or_else(|| panic!("{name}: reset"));
        let reason = if reason.is_empty() { advice["reason"].as_str().unwrap_or_default() } else { reason };
        assert_eq!(told, code, "{name}: {advice}");
        expect_advice(&advice, code, reason);
    }
}

#[test]
fn malformed_input_is_answered_up_to_the_limit_of_strikes() {
    let server = Server::start(&[("limits.malformed_per_minute", "3")]);
    let mut alice = Speaker::alone(&server, "alice");
    // Well-formed commands that are refused do not count as strikes.
    for _ in 0..10 {
        alice.ask_refused(json!({"type": "leave", "room": "elsewhere"}), "not_in_room");
    }
    for _ in 0..3 {
        alice.ask_refused(json!({"type": "nonsense"}), "unknown_type");
    }
    alice.command(json!({"type": "nonsense"}));
    assert_eq!(alice.expect("error")["code"], "unknown_type", "the last one is answered too");
    assert_eq!(alice.expect_end(4502, "Repeated malformed input")["reconnect"], false);
}

/// Asserts that a client that connects to `path` receives only the `disconnect` and the close.
#[track_caller]
fn expect_refused(server: &Server, path: &str, code: u16, reason: &str) {
    let mut socket = offered(Socket::connect(server.address()), path, "");
    let advice: Value = serde_json::from_str(&socket.read_text()).expect("JSON");
    expect_advice(&advice, code, reason);
    assert_eq!(socket.read_close(), (code, reason.to_owned()), "{path}");
    socket.expect_eof();
}

#[test]
fn a_refused_client_gets_a_disconnect_event_too() {
    let server = Server::start(&[("limits.max_rooms", "1")]);
    let _room = Speaker::alone(&server, "alice");
    for (path, code, reason) in [
        ("/ws/chat/a", 1008, "Invalid user ID"),
        ("/ws/chat/bob?room=a%20b", 1008, "Invalid room"),
        ("/ws/chat/bob?room=second", 1013, "Server overloaded"),
    ] {
        expect_refused(&server, path, code, reason);
    }
    let server = Server::start(&[("auth.required", "true"), ("auth.secret", SECRET)]);
    let token = mint(&["--sub", "alice", "--room", "live-*"]);
    expect_refused(&server, "/ws/chat/alice", 1008, "Authentication failed");
    expect_refused(&server, &format!("/ws/chat/bob?token={token}"), 1008, "Authentication failed");
    expect_refused(&server, &format!("/ws/chat/alice?token={token}"), 3003, "Room not allowed");
}

#[test]
fn a_token_that_expires_ends_the_connection_with_3000() {
    let server = Server::start(&[("auth.required", "true"), ("auth.secret", SECRET), ("auth.leeway", "0s")]);
    let claims = json!({"sub": "alice", "exp": seconds_from_now(3)});
    let token = signed(Algorithm::HS256, SECRET, &claims);
    let mut alice = Speaker::alone(&server, &format!("alice?token={token}"));
    alice.expect_end(3000, "Token expired");
}

#[test]
fn a_restart_advises_everybody_to_come_back_at_another_time() {
    let mut server = Server::start(&[("drain.window", "1s"), ("presence.notice_limit", "0")]);
    let mut speakers: Vec<_> = (0..20).map(|n| Speaker::enter(&server, &format!("user-{n}"))).collect();
    server.terminate();
    let mut waits = Vec::new();
    for speaker in &mut speakers {
        let (advice, code) = speaker.skip_to_end().expect("no reset");
        assert_eq!(code, 1012);
        expect_advice(&advice, 1012, "Server restarting");
        waits.push(advice["after_ms"].as_u64());
    }
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 10, "they would come back together: {waits:?}");
    assert!(server.wait_exit(crate::support::PATIENCE).success());
}

#[test]
fn a_client_that_ignores_the_rate_limit_is_closed_with_4002() {
    let strict: Settings<'_> = &[
        ("rate_limit.enabled", "true"),
        ("rate_limit.messages_per_second", "1"),
        ("rate_limit.burst", "1"),
        ("rate_limit.strikes", "5"),
    ];
    let server = Server::start(strict);
    let mut alice = Speaker::alone(&server, "alice");
    alice.socket.send(text(r#"{"type":"message","message":"hi"}"#).repeat(50));
    let (advice, code) = alice.skip_to_end().expect("no reset");
    assert_eq!(code, 4002);
    expect_advice(&advice, 4002, "Rate limit ignored");
}

#[test]
fn a_client_that_closes_gets_its_code_back_and_no_advice() {
    let server = Server::start(&[]);
    for (code, reason) in [(1000, "bye"), (1001, ""), (4321, "mine")] {
        let mut alice = Speaker::alone(&server, "alice");
        alice.socket.send(close(code, reason));
        assert_eq!(alice.socket.read_close().0, code);
        alice.socket.expect_eof();
    }
}

#[test]
fn answers_and_messages_that_stand_before_an_end_are_not_lost() {
    let server = Server::start(&[("workers", "1")]);
    let mut alice = Speaker::alone(&server, "alice");
    let said = json!({"type": "message", "message": "hi"}).to_string();
    let binary = Frame::new(BINARY, "").bytes();
    alice.socket.send([text(r#"{"type":"ping"}"#), text(said), binary].concat());
    alice.expect("pong");
    let mut kinds = Vec::new();
    let advice = loop {
        let event = alice.event();
        match event["type"].as_str() {
            Some("disconnect") => break event,
            kind => kinds.push(kind.map(str::to_owned)),
        }
    };
    expect_advice(&advice, 1003, "Binary messages are not supported here");
    assert_eq!(alice.socket.read_close().0, 1003);
    // The stream of the room may end anywhere, but its events are whole.
    let whole = [Some("message".to_owned()), Some("ack".to_owned())];
    assert!(whole.starts_with(&kinds), "{kinds:?}");
}
