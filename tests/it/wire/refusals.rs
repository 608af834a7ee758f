//! Every refusal in HTTP with its code, received over a real socket.

use std::collections::BTreeSet;

use serde_json::Value;
use throng::testing::admission::Refusal;

use super::tape::Tape;
use super::{ELSEWHERE, rows};
use crate::snapshots::check;
use crate::support::eventually;
use crate::support::http::Response;
use crate::support::raw::{Socket, handshake};
use crate::support::server::Server;
use crate::support::token::SECRET;

/// Sends a request and records the parts of the answer that are the same each time; returns its code.
#[track_caller]
fn ask(tape: &mut Tape, what: &str, server: &Server, request: &str) -> Option<String> {
    let mut socket = Socket::connect(server.address());
    socket.send(request);
    let response = socket.read_response();
    keep(tape, what, &response)
}

#[track_caller]
fn keep(tape: &mut Tape, what: &str, response: &Response) -> Option<String> {
    tape.line(&format!("({what})"));
    tape.line(&format!("{} {}", response.status, response.body));
    for name in ["allow", "sec-websocket-version"] {
        if let Some(value) = response.header(name) {
            tape.line(&format!("{name}: {value}"));
        }
    }
    if response.header("retry-after").is_some() {
        tape.line("retry-after: N");
    }
    let body: Value = serde_json::from_str(&response.body).ok()?;
    let code = body["error"]["code"].as_str()?.to_owned();
    let status = Refusal::REASONS.contains(&code.as_str());
    assert!(status, "{response:?}");
    Some(code)
}

fn requests(tape: &mut Tape) -> Vec<Option<String>> {
    let right = handshake("/ws", "");
    let server = Server::start(&[("admission.origins", "https://chat.example")]);
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: throng.test\r\n\r\n");
    tape.section("Invalid requests.");
    [
        ("no Host", right.replacen("Host: throng.test\r\n", "", 1)),
        ("a foreign Origin", handshake("/ws", "Origin: https://evil.example\r\n")),
        ("an unknown path", get("/nowhere")),
        ("POST", right.replacen("GET", "POST", 1)),
        ("POST to a page", get("/").replacen("GET", "POST", 1)),
        ("no upgrade asked", get("/ws")),
        ("version 8", right.replacen("Version: 13", "Version: 8", 1)),
    ]
    .iter()
    .map(|(what, request)| ask(tape, what, &server, request))
    .collect()
}

fn limits(tape: &mut Tape) -> Vec<Option<String>> {
    let right = &handshake("/ws", "");
    tape.section("Requests above a limit.");
    let mut codes = Vec::new();
    for (key, value) in [
        ("limits.max_connections", "1"),
        ("limits.max_connections_per_address", "1"),
        ("limits.handshakes_per_second_per_address", "1"),
    ] {
        let server = Server::start(&[(key, value)]);
        let mut held = Vec::new();
        // The rate allows a burst before it refuses.
        let refused = loop {
            let mut socket = Socket::connect(server.address());
            socket.send(right);
            let response = socket.read_response();
            if response.status != 101 {
                break response;
            }
            held.push(socket);
            assert!(held.len() < 1000, "{key} is not in force");
        };
        codes.push(keep(tape, &format!("{key} {value}"), &refused));
    }
    let server = Server::start(&[("limits.handshake_timeout", "1s")]);
    codes.push(ask(tape, "a request that does not end", &server, "GET /ws HTTP/1.1\r\nHost: throng"));
    codes
}

fn names(tape: &mut Tape) -> Vec<Option<String>> {
    tape.section("Clients that are refused, with admission.refuse = \"http\".");
    let server = Server::start(&[("admission.refuse", "http"), ("auth.secret", SECRET)]);
    let mut codes = vec![
        ask(tape, "no token", &server, &handshake("/ws/secure", "")),
        ask(tape, "a bad user id", &server, &handshake("/ws/chat/a", "")),
    ];
    // The incumbent answers the ping with which the server asks whether it is alive.
    let mut holder = Socket::open(server.address(), "/ws/chat/alice");
    let mut newcomer = Socket::connect(server.address());
    newcomer.send(handshake("/ws/chat/alice", ""));
    let ping = loop {
        let frame = holder.read_frame();
        if frame.opcode == crate::support::frame::PING {
            break frame;
        }
    };
    holder.send(crate::support::frame::Frame::new(crate::support::frame::PONG, ping.payload).bytes());
    codes.push(keep(tape, "a taken user id", &newcomer.read_response()));
    codes
}

fn draining(tape: &mut Tape) -> Option<String> {
    tape.section("A client that comes while the server stops.");
    let server = Server::start(&[("drain.window", "60s")]);
    // Open connections keep the server from ending.
    let _held: Vec<_> = (0..20).map(|_| Socket::open(server.address(), "/ws")).collect();
    server.terminate();
    eventually("not ready any more", || server.get("/readyz").status == 503);
    ask(tape, "a handshake", &server, &handshake("/ws", ""))
}

#[test]
fn every_refusal_comes_over_a_socket() {
    let mut tape = Tape::default();
    let mut codes = requests(&mut tape);
    codes.extend(limits(&mut tape));
    codes.extend(names(&mut tape));
    codes.push(draining(&mut tape));
    let seen: BTreeSet<String> = codes.into_iter().flatten().collect();
    let all: BTreeSet<String> = Refusal::REASONS.map(str::to_owned).into();
    let missing: BTreeSet<String> = all.difference(&seen).cloned().collect();
    assert_eq!(
        missing,
        rows(ELSEWHERE, "refusal"),
        "codes that did not come, and those that are proved elsewhere"
    );
    check("wire-refusals.txt", &tape.text);
}
