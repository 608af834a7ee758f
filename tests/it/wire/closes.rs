//! Every end that the server starts, over a real socket: the `disconnect`, the close frame, and nothing behind it.

use std::collections::BTreeSet;

use serde_json::json;
use throng::testing::protocol::close::EndReason;

use super::tape::{Tape, TapedClient};
use super::{ELSEWHERE, rows};
use crate::snapshots::check;
use crate::support::frame::{BINARY, Frame, PING, PONG, TEXT, first, middle, text};
use crate::support::raw::{Socket, handshake};
use crate::support::server::{SMALL_QUEUES, Server, Settings};
use crate::support::speaker::{OFFER, Speaker};
use crate::support::token::{SECRET, mint, seconds_from_now, signed};
use crate::support::vocabulary;

const ALONE: [&str; 2] = ["welcome", "presence_diff"];

/// A broken rule: its name, the bytes that break it, the events before the end, and the end's code and reason.
type Broken = (&'static str, Vec<u8>, &'static [&'static str], u16, &'static str);

fn rules(tape: &mut Tape) {
    let server = Server::start(&[
        ("node", "n1"),
        ("limits.message_timeout", "1s"),
        ("limits.max_fragments", "3"),
        ("limits.malformed_per_minute", "0"),
    ]);
    let rows: [Broken; 7] = [
        (
            "a frame without a mask",
            Frame::new(TEXT, "{}").unmasked().bytes(),
            &[],
            1002,
            "frame is not masked",
        ),
        ("binary", Frame::new(BINARY, "{}").bytes(), &[], 1003, "Binary messages are not supported here"),
        ("no UTF-8", text(b"{\xff}"), &[], 1007, "Invalid UTF-8"),
        ("65537 bytes", text(vec![b' '; 65_537]), &[], 1009, "Message too big"),
        ("4 fragments", [first("{"), middle(" ").repeat(3)].concat(), &[], 1009, "Too many fragments"),
        ("a message not finished", first("{"), &[], 3008, "Message not finished in time"),
        ("no JSON", text("{"), &["error"], 4502, "Repeated malformed input"),
    ];
    tape.section("Broken rules of the protocol.");
    for (n, (name, bytes, heard, code, reason)) in rows.into_iter().enumerate() {
        let mut alice = TapedClient::enter(tape, "alice", &server, &format!("alice?room=room-{n}"), &ALONE);
        tape.line(&format!("alice > ({name})"));
        alice.socket.send(bytes);
        alice.hears(tape, heard);
        alice.ends(tape, code, reason);
    }
}

fn silence(tape: &mut Tape) {
    tape.section("Clients without a sign of life.");
    let settings = [("node", "n1"), ("heartbeat.interval", "3s"), ("heartbeat.timeout", "200ms")];
    let server = Server::start(&settings);
    let mut alice = TapedClient::enter(tape, "alice", &server, "alice", &ALONE);
    alice.hears(tape, &["heartbeat"]);
    alice.ends(tape, 3008, "Heartbeat timeout");
}

fn refused(tape: &mut Tape) {
    tape.section("Clients that are refused.");
    let server = Server::start(&[("node", "n1"), ("limits.max_rooms", "1")]);
    let mut holder = TapedClient::enter(tape, "bob", &server, "bob", &ALONE);
    for (path, code, reason) in [
        ("a", 1008, "Invalid user ID"),
        ("alice?room=a%20b", 1008, "Invalid room"),
        ("alice?name=%E2%80%AEecila", 1008, "Invalid name"),
        ("alice?room=second", 1013, "Server overloaded"),
    ] {
        TapedClient::offer(tape, "alice", &server, path).ends(tape, code, reason);
    }
    // The server pings the holder of the name, which answers.
    let mut newcomer = Socket::connect(server.address());
    newcomer.send(handshake("/ws/chat/bob", OFFER));
    let ping = holder.socket.read_frame();
    assert_eq!(ping.opcode, PING, "{ping:?}");
    holder.socket.send(Frame::new(PONG, ping.payload).bytes());
    newcomer.expect_upgrade();
    tape.line("alice > /ws/chat/bob");
    TapedClient::with("alice", newcomer).ends(tape, 1008, "User ID already in use");

    let server = Server::start(&[
        ("node", "n1"),
        ("auth.required", "true"),
        ("auth.secret", SECRET),
        ("auth.leeway", "0s"),
    ]);
    let token = mint(&["--sub", "alice", "--room", "live-*"]);
    TapedClient::offer(tape, "alice", &server, "alice").ends(tape, 1008, "Authentication failed");
    TapedClient::offer(tape, "alice", &server, &format!("alice?token={token}")).ends(
        tape,
        3003,
        "Room not allowed",
    );
    let claims = json!({"sub": "alice", "exp": seconds_from_now(2)});
    let token = signed(jsonwebtoken::Algorithm::HS256, SECRET, &claims);
    let alice = TapedClient::enter(tape, "alice", &server, &format!("alice?token={token}"), &ALONE);
    alice.ends(tape, 3000, "Token expired");
    for (claims, told) in [
        (json!({"sub": "alice", "exp": seconds_from_now(-5)}), "Token expired"),
        (
            json!({"sub": "alice", "exp": seconds_from_now(600), "nbf": seconds_from_now(300)}),
            "Token not yet valid",
        ),
    ] {
        let token = signed(jsonwebtoken::Algorithm::HS256, SECRET, &claims);
        TapedClient::offer(tape, "alice", &server, &format!("alice?token={token}")).ends(tape, 3000, told);
    }
}

fn excess(tape: &mut Tape) {
    tape.section("Clients that send too much, or read too little.");
    let server = Server::start(&[
        ("node", "n1"),
        ("rate_limit.enabled", "true"),
        ("rate_limit.messages_per_second", "1"),
        ("rate_limit.burst", "1"),
        ("rate_limit.strikes", "1"),
    ]);
    let mut alice = TapedClient::enter(tape, "alice", &server, "alice", &ALONE);
    tape.line("alice > (direct messages, until it is enough)");
    alice.socket.send(text(r#"{"type":"direct","to":"nobody","message":"hi"}"#).repeat(4));
    alice.hears(tape, &["error", "error", "error"]);
    alice.ends(tape, 4002, "Rate limit ignored");

    let settings: Settings<'_> = &[("node", "n1")];
    let server = Server::start(&[settings, SMALL_QUEUES].concat());
    let mut author = Speaker::enter(&server, "bob");
    // A reset may overtake the close frame of a client that does not read: then another client tries.
    let end = (0..20).find_map(|n| {
        let path = format!("laggard-{n}");
        let mut laggard = Speaker::on(Socket::connect_narrow(server.address()), &path, "");
        while server.metric("throng_slow_consumers_dropped_total", "") <= f64::from(n) {
            author.say_quietly("lobby", &"x".repeat(4000));
        }
        let (advice, code) = laggard.skip_to_end()?;
        Some((code, advice["reason"].as_str().expect("a reason").to_owned()))
    });
    tape.end("laggard", end.expect("one close frame in twenty"));
}

fn goodbye(tape: &mut Tape) {
    tape.section("A replaced client, and one that is left when the server stops.");
    let mut server = Server::start(&[("node", "n1"), ("drain.window", "0ms")]);
    let mut old = TapedClient::offer(tape, "alice", &server, "alice");
    let welcome = old.hears(tape, &["welcome"]);
    old.hears(tape, &["presence_diff"]);
    let path = format!("alice?session={}", welcome["session"].as_str().expect("a session"));
    let new = TapedClient::enter(tape, "alice", &server, &path, &["welcome"]);
    old.ends(tape, 4501, "Replaced by a newer connection");
    server.terminate();
    new.ends(tape, 1012, "Server restarting");
    assert!(server.wait_exit(crate::support::PATIENCE).success());
}

/// Records the two ends of endpoints that speak the plain dialect only.
fn plain(tape: &mut Tape) {
    tape.section("Beside the chat.");
    let server = Server::start(&[]);
    for (path, sent) in [("/ws/messages", Some("{}")), ("/ws/with-timeout?timeout=1s", None)] {
        tape.line(&format!("alice > {path}"));
        let mut socket = Socket::open(server.address(), path);
        if let Some(sent) = sent {
            tape.line(&format!("alice > {sent}"));
            socket.send(text(sent));
        }
        tape.line(&format!("alice < {}", socket.read_text()));
        tape.end("alice", socket.read_close());
    }
}

#[test]
fn every_end_comes_over_a_socket() {
    let mut tape = Tape::default();
    [rules, silence, refused, excess, goodbye, plain].into_iter().for_each(|story| story(&mut tape));
    let ends: BTreeSet<(u16, String)> = vocabulary::reasons()
        .iter()
        .map(|reason: &EndReason| (reason.code(), reason.text().into_owned()))
        .collect();
    let elsewhere = rows(ELSEWHERE, "close");
    let missing: BTreeSet<_> =
        ends.difference(&tape.ends).map(|(code, reason)| format!("{code} {reason}")).collect();
    assert_eq!(missing, elsewhere, "ends that did not come, and those that are proved elsewhere");
    assert!(tape.ends.is_subset(&ends), "{:?}", tape.ends);
    check("wire-closes.txt", &tape.text);
}
