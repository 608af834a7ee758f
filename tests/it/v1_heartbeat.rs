//! Heartbeats in text, which a page in a browser can see: `heartbeat` and `heartbeat_ack`.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::frame::{PING, TEXT};
use crate::support::pause;
use crate::support::raw::Socket;
use crate::support::server::{Server, Settings};
use crate::support::speaker::{Speaker, expect_advice};

const FAST: Settings<'static> = &[("heartbeat.interval", "1s"), ("heartbeat.timeout", "1s")];

#[test]
fn a_silent_client_gets_a_heartbeat_and_is_closed_without_an_answer() {
    let server = Server::start(FAST);
    let mut alice = Speaker::alone(&server, "alice");
    assert_eq!(alice.welcome["heartbeat_ms"], 1000);
    let began = Instant::now();
    // Any frame counts as an answer, and an acknowledgement gets no reply.
    for answer in ["heartbeat_ack", "ping", "heartbeat_ack"] {
        assert_eq!(alice.event(), json!({"type": "heartbeat"}));
        alice.send(&json!({"type": answer}));
        if answer == "ping" {
            alice.expect("pong");
        }
    }
    assert!(began.elapsed() >= Duration::from_millis(2000), "too often: {:?}", began.elapsed());
    let silent_since = Instant::now();
    alice.expect("heartbeat");
    let (advice, code) = alice.skip_to_end().expect("no reset");
    assert_eq!(code, 3008);
    expect_advice(&advice, 3008, "Heartbeat timeout");
    assert!(silent_since.elapsed() >= Duration::from_millis(1500), "{:?}", silent_since.elapsed());
}

#[test]
fn a_plain_client_is_pinged_instead() {
    let server = Server::start(FAST);
    let mut plain = Socket::open(server.address(), "/ws/chat/plain");
    plain.read_text();
    let frame = plain.read_frame();
    assert_eq!(frame.opcode, PING, "{frame:?}");
    assert_eq!(plain.read_close(), (3008, "Heartbeat timeout".to_owned()));
}

#[test]
fn a_client_that_sends_and_receives_gets_no_heartbeat() {
    let server = Server::start(&[("heartbeat.interval", "3s"), ("heartbeat.timeout", "3s")]);
    let mut alice = Speaker::alone(&server, "alice");
    let began = Instant::now();
    let mut heartbeats = 0;
    let mut longest = Duration::ZERO;
    while began.elapsed() < Duration::from_secs(5) {
        let asked = Instant::now();
        alice.command(json!({"type": "ping"}));
        while alice.event()["type"] == "heartbeat" {
            heartbeats += 1;
        }
        pause();
        longest = longest.max(asked.elapsed());
    }
    // A machine that stands still for seconds causes silence, and so heartbeats.
    assert!(heartbeats == 0 || longest > Duration::from_secs(2), "{heartbeats} heartbeats");
    let frame = alice.frame();
    assert_eq!((frame.opcode, frame.payload.as_slice()), (TEXT, br#"{"type":"heartbeat"}"#.as_slice()));
}
