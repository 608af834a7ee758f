//! Conversations with a live server that no snapshot has: the plain dialect, the endpoints beside the chat, and
//! `throng.v1` without anything masked.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::book::{
    Book, CLOSE, COMMON, ENDPOINTS, PLAIN_COMMANDS, PLAIN_EVENTS, REFUSAL, V1_COMMANDS, V1_EVENTS, name,
};
use super::kept;
use crate::support::frame::text;
use crate::support::raw::{Socket, handshake};
use crate::support::server::Server;
use crate::support::speaker::Speaker;
use crate::support::token::{SECRET, mint};

/// Checks messages against their schemas, and remembers the schemas that accepted one.
struct Witness {
    book: Book,
    seen: BTreeSet<String>,
    /// Codes of the errors of the plain dialect.
    plain_codes: BTreeSet<String>,
}

impl Witness {
    /// Checks a message of one of the kinds that a file lists; returns its kind.
    #[track_caller]
    fn chat(&mut self, file: &str, message: &Value) -> String {
        let kind = self.book.kind_of(file, message).unwrap_or_else(|error| panic!("{error}"));
        if let Some(code) = message["code"].as_str().filter(|_| file == PLAIN_EVENTS) {
            self.plain_codes.insert(code.to_owned());
        }
        self.seen.insert(kind.clone());
        kind
    }

    /// Checks a frame of an endpoint beside the chat, for which no file lists kinds.
    #[track_caller]
    fn other(&mut self, definition: &str, message: &Value) {
        let name = name(ENDPOINTS, definition);
        assert_eq!(self.book.faults(&name, message), Vec::<String>::new(), "{name}: {message}");
        self.seen.insert(name);
    }

    #[track_caller]
    fn end(&mut self, (code, reason): (u16, String)) {
        self.chat(CLOSE, &json!({"code": code, "reason": reason}));
    }
}

fn heard(socket: &mut Socket) -> Value {
    let text = socket.read_text();
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// Sends a frame in the plain dialect that gets this error as its answer; the schema must refuse it unless `is_good`.
#[track_caller]
fn fails(witness: &mut Witness, socket: &mut Socket, said: &str, code: &str, is_good: bool) {
    socket.send(text(said));
    let error = heard(socket);
    assert_eq!(error["code"], code, "{said:.80}: {error}");
    witness.chat(PLAIN_EVENTS, &error);
    if let Ok(command) = serde_json::from_str(said) {
        assert_eq!(witness.book.kind_of(PLAIN_COMMANDS, &command).is_ok(), is_good, "{said:.80}");
    }
}

fn plain(witness: &mut Witness) {
    let server = Server::start(&[]);
    let mut alice = Socket::open(server.address(), "/ws/chat/alice");
    witness.chat(PLAIN_EVENTS, &heard(&mut alice));
    for command in [json!({"message": ""}), json!({"message": "hi ü \u{1f600}", "type": 7, "else": [null]})]
    {
        witness.chat(PLAIN_COMMANDS, &command);
        alice.send(text(command.to_string()));
        witness.chat(PLAIN_EVENTS, &heard(&mut alice));
    }
    fails(witness, &mut alice, "{", "invalid_json", false);
    fails(witness, &mut alice, "[]", "invalid_message", false);
    fails(witness, &mut alice, r#"{"message":null}"#, "invalid_message", false);
    fails(witness, &mut alice, r#"{"message":["hi"]}"#, "invalid_message", false);
    fails(witness, &mut alice, r#"{"text":"hi"}"#, "missing_field", false);
    // The limit is a setting, and the schema has the highest value that it can take.
    let long = json!({"message": "ü".repeat(501)}).to_string();
    fails(witness, &mut alice, &long, "message_too_long", true);
    let long = json!({"message": "", "data": "x".repeat(4_095)}).to_string();
    fails(witness, &mut alice, &long, "data_too_long", true);
    let mut bob = Speaker::enter(&server, "bob");
    bob.expect("presence_diff");
    assert_eq!(witness.chat(PLAIN_EVENTS, &heard(&mut alice)), name(PLAIN_EVENTS, "system"));
    bob.ask(json!({"type": "direct", "to": "alice", "message": "psst"}), "ack");
    assert_eq!(witness.chat(PLAIN_EVENTS, &heard(&mut alice)), name(PLAIN_EVENTS, "direct"));
    bob.socket.finish();
    assert_eq!(witness.chat(PLAIN_EVENTS, &heard(&mut alice)), name(PLAIN_EVENTS, "system"));
    let mut taken = Socket::open(server.address(), "/ws/chat/a");
    witness.end(taken.read_close());
}

fn hurried(witness: &mut Witness) {
    let server = Server::start(&[
        ("rate_limit.enabled", "true"),
        ("rate_limit.messages_per_second", "1"),
        ("rate_limit.burst", "1"),
    ]);
    let mut alice = Socket::open(server.address(), "/ws/chat/alice");
    heard(&mut alice);
    alice.send(text(r#"{"message":"hi"}"#).repeat(3));
    let answers: Vec<_> = (0..3).map(|_| heard(&mut alice)).collect();
    answers.iter().for_each(|answer| drop(witness.chat(PLAIN_EVENTS, answer)));
    assert!(answers.iter().any(|answer| answer["code"] == "rate_limited"), "{answers:?}");
}

/// Checks merged notices: about several users who came, then about some who came and some who went.
fn merged(witness: &mut Witness) {
    let server = Server::start(&[("presence.notice_limit", "0"), ("presence.interval", "500ms")]);
    let mut alice = Socket::open(server.address(), "/ws/chat/alice");
    let mut others: Vec<_> =
        (0..5).map(|n| Socket::open(server.address(), &format!("/ws/chat/user-{n}"))).collect();
    let mut wait = |members: u64| loop {
        let notice = heard(&mut alice);
        witness.chat(PLAIN_EVENTS, &notice);
        if notice["members"] == members {
            break;
        }
    };
    wait(6);
    others.truncate(2);
    others.push(Socket::open(server.address(), "/ws/chat/latecomer"));
    wait(4);
}

fn endpoints(witness: &mut Witness) {
    let token = mint(&["--sub", "alice"]);
    let server = Server::start(&[
        ("auth.secret", SECRET),
        ("endpoints.heartbeat_interval", "1h"),
        ("limits.malformed_per_minute", "1"),
    ]);
    let secure = format!("/ws/secure?token={token}");
    for (path, said, answered) in [
        ("/ws", "text", "processed"),
        ("/ws?raw", "raw", "raw"),
        (secure.as_str(), "text", "said"),
        ("/ws/with-timeout", "text", "echoed"),
    ] {
        let mut socket = Socket::open(server.address(), path);
        for line in ["hello", "", "two\nlines: {}"] {
            witness.other(said, &line.into());
            socket.send(text(line));
            witness.other(answered, &Value::String(socket.read_text()));
        }
    }
    let mut silent = Socket::open(server.address(), "/ws/with-timeout?timeout=1s");
    witness.other("timed_out", &heard(&mut silent));
    witness.end(silent.read_close());
    let good = json!({"message": "hi", "else": 1});
    let long = json!({"message": "m".repeat(201)});
    for (said, is_good) in
        [(&long, true), (&json!({}), false), (&json!([]), false), (&json!({"message": 1}), false)]
    {
        let mut socket = Socket::open(server.address(), "/ws/messages");
        witness.other("validated_command", &good);
        socket.send(text(good.to_string()));
        witness.other("validated", &heard(&mut socket));
        assert_eq!(witness.book.accepts(&name(ENDPOINTS, "validated_command"), said), is_good, "{said:.80}");
        socket.send(text(said.to_string()));
        witness.other("invalid", &heard(&mut socket));
        witness.end(socket.read_close());
    }
    let mut socket = Socket::open(server.address(), "/ws/heartbeat");
    witness.other("heartbeat", &heard(&mut socket));
    let acknowledgement = json!({"type": "heartbeat_ack"});
    witness.other("heartbeat_ack", &acknowledgement);
    socket.send(text(acknowledgement.to_string()));
    for said in [json!({"content": "hi"}), json!({"content": 7}), json!({"type": "message"})] {
        witness.other("heartbeat_command", &said);
        socket.send(text(said.to_string()));
        witness.other("heartbeat_message", &heard(&mut socket));
    }
    for said in ["{", "[]"] {
        socket.send(text(said));
        witness.other("heartbeat_error", &heard(&mut socket));
    }
    witness.end(socket.read_close());
}

/// Checks the answers of the endpoints beside the chat to frames that come too fast.
fn hurried_endpoints(witness: &mut Witness) {
    let server = Server::start(&[
        ("rate_limit.enabled", "true"),
        ("rate_limit.messages_per_second", "1"),
        ("rate_limit.burst", "1"),
        ("rate_limit.frames_per_second", "1"),
        ("limits.max_rooms_per_connection", "1"),
        ("endpoints.heartbeat_interval", "1h"),
    ]);
    for (path, definitions) in [
        ("/ws/messages", ["validated", "invalid"]),
        ("/ws/heartbeat", ["heartbeat_message", "heartbeat_error"]),
    ] {
        let mut socket = Socket::open(server.address(), path);
        if path == "/ws/heartbeat" {
            witness.other("heartbeat", &heard(&mut socket));
        }
        socket.send(text(r#"{"message":"hi"}"#).repeat(3));
        let answers: Vec<_> = (0..3).map(|_| heard(&mut socket)).collect();
        for answer in &answers {
            let is_late = answer.to_string().contains("Rate limit exceeded");
            witness.other(definitions[usize::from(is_late)], answer);
        }
        assert!(answers.iter().any(|answer| answer.to_string().contains("Rate limit")), "{answers:?}");
    }
}

fn v1(witness: &mut Witness) {
    let server = Server::start(&[("presence.count_only_above", "1"), ("rate_limit.enabled", "true")]);
    let mut alice = Speaker::enter(&server, "alice");
    witness.chat(V1_EVENTS, &alice.welcome.clone());
    witness.chat(V1_EVENTS, &alice.expect("presence_diff"));
    let epoch = alice.welcome_field("epoch").to_owned();
    for (command, answer) in [
        (json!({"type": "message", "message": "hi"}), "message"),
        (json!({"type": "direct", "to": "alice", "message": "to myself"}), "direct"),
        (
            json!({"type": "history", "room": "lobby", "epoch": epoch, "before": u64::MAX, "limit": 1}),
            "history",
        ),
        (json!({"type": "presence", "room": "lobby", "after": "aaa", "limit": 1000}), "presence"),
        (
            json!({"type": "join", "room": "den", "resume": {"epoch": "another", "offset": u64::MAX}}),
            "joined",
        ),
        (json!({"type": "leave", "room": "den"}), "left"),
        (json!({"type": "ping", "id": ""}), "pong"),
        (json!({"type": "leave", "room": "den"}), "error"),
    ] {
        witness.chat(V1_COMMANDS, &command);
        alice.send(&command);
        loop {
            let event = alice.event();
            witness.chat(V1_EVENTS, &event);
            if event["type"] == answer {
                break;
            }
        }
    }
    let mut bob = Speaker::enter(&server, "bob");
    // The acks of the messages above stand in between.
    let diff = alice.find("presence_diff");
    assert_eq!(diff.get("joined"), None, "{diff}");
    witness.chat(V1_EVENTS, &diff);
    bob.expect("presence_diff");
    let mut nobody = Socket::open(server.address(), "/ws/secure");
    witness.end(nobody.read_close());
    // Refused before the upgrade, with a body.
    let mut refused = Socket::connect(server.address());
    refused.send(handshake("/nowhere", ""));
    let body = refused.read_response().body;
    witness.chat(REFUSAL, &serde_json::from_str(&body).expect("JSON"));
}

#[test]
fn every_kind_of_message_was_really_said_and_heard() {
    let mut witness = Witness { book: Book::read(), seen: BTreeSet::new(), plain_codes: BTreeSet::new() };
    plain(&mut witness);
    hurried(&mut witness);
    merged(&mut witness);
    endpoints(&mut witness);
    hurried_endpoints(&mut witness);
    v1(&mut witness);
    // `history_dir` and `wire::inbox` make a server answer this one.
    witness.plain_codes.insert("unavailable".to_owned());
    let book = &witness.book;
    let listed = book.definition(&name(COMMON, "plain_error_code"))["enum"].as_array().into_iter().flatten();
    let listed: BTreeSet<_> = listed.filter_map(Value::as_str).map(str::to_owned).collect();
    assert_eq!(witness.plain_codes, listed, "each error of the plain dialect");
    let kept = kept::all(book).into_iter().filter(|kept| kept.is_good);
    witness.seen.extend(kept.map(|kept| kept.kind(book).unwrap_or_else(|error| panic!("{error}"))));
    assert_eq!(witness.seen, super::asyncapi::messages(), "each message that the document has, and no other");
}
