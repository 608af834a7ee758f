//! Hooks: another server decides who connects and who enters a room; its failures and its silence have an outcome of
//! their own, and never make others wait.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::eventually;
use crate::support::raw::Socket;
use crate::support::receiver::{Answer, Asked, Receiver, SECRET, secret_file};
use crate::support::server::{Server, Settings};
use crate::support::speaker::Speaker;

/// Starts a server on one node that asks `receiver`: `connect` and `join` are the paths.
fn start(receiver: &Receiver, dir: &TempDir, hooks: &[&str], more: Settings<'_>) -> Server {
    let file = secret_file(dir.path(), &[SECRET]);
    let urls: Vec<(String, String)> =
        hooks.iter().map(|hook| (format!("hooks.{hook}"), receiver.url(&format!("/{hook}")))).collect();
    let urls = urls.iter().map(|(key, url)| (key.as_str(), url.as_str()));
    let own = [("engine", "memory"), ("workers", "2"), ("hooks.secret_file", file.as_str())];
    Server::start(&own.into_iter().chain(urls).chain(more.iter().copied()).collect::<Vec<_>>())
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn allow() -> Answer {
    Answer::json(&json!({"allow": true}))
}

/// Connects, and asserts that the connection is refused with this code and reason.
#[track_caller]
fn expect_refused(server: &Server, path: &str, code: u16, reason: &str) {
    Speaker::unwelcome(Socket::connect(server.address()), path, "").expect_end(code, reason);
}

/// Returns the number of questions of a hook with this outcome.
fn questions(server: &Server, hook: &str, outcome: &str) -> f64 {
    server.metric("throng_hook_questions_total", &format!("hook=\"{hook}\",outcome=\"{outcome}\""))
}

#[test]
fn the_answer_says_who_comes_in_and_on_which_terms() {
    let (receiver, dir) = (Receiver::start(|_| allow()), folder());
    let server = start(&receiver, &dir, &["connect"], &[("hooks.headers", "X-Session, x-other")]);
    let headers = "X-Session: s 1\r\nX-Session: s2\r\nCookie: secret\r\n";
    let alice = Speaker::on(Socket::connect(server.address()), "alice?room=a1", headers);
    assert_eq!(alice.welcome_field("user"), "alice");
    let asked = receiver.asked();
    let expected = json!({
        "user": "alice", "room": "a1", "address": "127.0.0.1", "headers": {"X-Session": "s 1, s2"},
    });
    assert_eq!((asked.len(), &asked[0].body, asked[0].path.as_str()), (1, &expected, "/connect"));
    asked[0].verify(&[SECRET]);

    let answer = json!({"allow": true, "user": "bob", "rooms": ["a*"], "more": 1});
    receiver.answer(move |_| Answer::json(&answer));
    let mut bob = Speaker::on(Socket::connect(server.address()), "anyone?room=a1", "");
    assert_eq!(bob.welcome_field("user"), "bob");
    bob.expect("presence_diff");
    bob.ask(json!({"type": "join", "room": "a2"}), "joined");
    bob.expect("presence_diff");
    bob.ask_refused(json!({"type": "join", "room": "b"}), "forbidden");
    expect_refused(&server, "anyone?room=b", 3003, "Room not allowed");
    // The answer proves who the user is: the newer connection replaces the older one.
    let newer = Speaker::on(Socket::connect(server.address()), "someone?room=a1", "");
    assert_eq!(newer.welcome_field("user"), "bob");
    bob.skip_to_end();
    assert_eq!(questions(&server, "connect", "allowed"), 4.0);
}

/// 1. The hook is told the name that a user claims, and answers with another one, which the others are shown.
/// 2. It answers without a name: the claimed one counts. A name that must not be shown is as none.
#[test]
fn the_answer_names_the_user_for_the_others() {
    let (receiver, dir) = (Receiver::start(|_| allow()), folder());
    let server = start(&receiver, &dir, &["connect"], &[]);
    let mut alice = Speaker::alone(&server, "alice?room=a");
    for (answer, shown) in [
        (json!({"allow": true, "name": "B\u{f6}b \"\u{5c71}\""}), "B\u{f6}b \"\u{5c71}\""),
        (json!({"allow": true}), "Mallory"),
        (json!({"allow": true, "name": "B\u{202e}b"}), "Mallory"),
    ] {
        receiver.answer(move |_| Answer::json(&answer));
        let mut bob = Speaker::enter(&server, "bob?room=a&name=Mallory");
        assert_eq!(receiver.asked().last().expect("a question").body["name"], "Mallory");
        assert_eq!(alice.expect("presence_diff")["names"], json!({"bob": shown}));
        bob.command(json!({"type": "message", "message": "hi"}));
        let message = alice.expect("message");
        assert_eq!((&message["user"], &message["name"]), (&json!("bob"), &json!(shown)), "{message}");
        drop(bob);
        alice.expect("presence_diff");
    }
}

#[test]
fn a_connection_ends_when_the_answer_expires() {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("a date after 1970").as_millis() as u64;
    let answer = json!({"allow": true, "expires_at_ms": now_ms + 1_500});
    let (receiver, dir) = (Receiver::start(move |_| Answer::json(&answer)), folder());
    let server = start(&receiver, &dir, &["connect"], &[]);
    let mut alice = Speaker::unwelcome(Socket::connect(server.address()), "alice", "");
    let (_, code) = alice.skip_to_end().expect("an end");
    assert_eq!(code, 3000);
}

#[test]
fn a_refusal_is_told_with_its_reason() {
    let reason = |asked: &Asked| match asked.body["user"] == "alice" {
        true => Answer::json(&json!({"allow": false, "reason": "banned until Monday"})),
        false => Answer::json(&json!({"allow": false})),
    };
    let (receiver, dir) = (Receiver::start(reason), folder());
    let server = start(&receiver, &dir, &["connect"], &[]);
    expect_refused(&server, "alice", 1008, "banned until Monday");
    expect_refused(&server, "bob", 1008, "Not allowed");
    assert_eq!(questions(&server, "connect", "refused"), 2.0);
}

/// 1. The other server fails in five ways: newcomers are to come again.
/// 2. Nobody asks it for a while.
#[test]
fn after_five_failures_in_a_row_nobody_asks() {
    let mut count = 0;
    let failing = move |_: &Asked| {
        count += 1;
        match count {
            1 => Answer::Status(500, "", String::new()),
            2 => Answer::Hang,
            3 => Answer::json(&json!({"allow": 1})),
            4 => Answer::json(&json!({"allow": true, "user": "a name with blanks"})),
            _ => Answer::Status(302, "Location: /other\r\n", String::new()),
        }
    };
    let (receiver, dir) = (Receiver::start(failing), folder());
    let server = start(&receiver, &dir, &["connect"], &[("hooks.timeout", "500ms")]);
    for _ in 0..7 {
        expect_refused(&server, "alice", 1013, "Server overloaded");
    }
    assert_eq!(receiver.asked().len(), 5);
    for (outcome, count) in [("error", 4.0), ("timeout", 1.0), ("not_asked", 2.0)] {
        assert_eq!(questions(&server, "connect", outcome), count, "{outcome}");
    }
}

#[test]
fn a_failure_lets_in_if_that_is_wished() {
    let (receiver, dir) = (Receiver::start(|_| Answer::Drop), folder());
    let server = start(&receiver, &dir, &["connect", "join"], &[("hooks.on_failure", "allow")]);
    let mut alice = Speaker::alone(&server, "alice?room=a");
    assert_eq!(alice.welcome_field("user"), "alice");
    alice.ask(json!({"type": "join", "room": "b"}), "joined");
    assert!(questions(&server, "connect", "error") == 1.0 && questions(&server, "join", "error") == 2.0);
}

/// 1. A user enters a room with the handshake and others by command. One is forbidden, and a plain client cannot enter
///    it either.
/// 2. Each pair of user and room was asked about once.
/// 3. The other server fails: the user is to try again, and the failure is not remembered.
#[test]
fn rooms_are_asked_about_once_each() {
    let mut fails = true;
    let decide = move |asked: &Asked| match asked.body["room"].as_str() {
        Some("closed") => Answer::json(&json!({"allow": false, "reason": "no"})),
        Some("later") if std::mem::take(&mut fails) => Answer::Status(503, "", String::new()),
        _ => allow(),
    };
    let (receiver, dir) = (Receiver::start(decide), folder());
    let server = start(&receiver, &dir, &["join"], &[]);
    let mut alice = Speaker::alone(&server, "alice?room=a");
    let join = |room: &str| json!({"type": "join", "room": room});
    for _ in 0..3 {
        alice.ask_refused(join("closed"), "forbidden");
        alice.ask(join("b"), "joined");
        alice.expect("presence_diff");
        alice.ask(json!({"type": "leave", "room": "b"}), "left");
    }
    alice.ask_refused(join("later"), "unavailable");
    alice.ask(join("later"), "joined");
    expect_refused(&server, "bob?room=closed", 3003, "Room not allowed");
    let asked: Vec<Value> = receiver.asked().into_iter().map(|asked| asked.body).collect();
    let pairs = [
        ("alice", "a"),
        ("alice", "closed"),
        ("alice", "b"),
        ("alice", "later"),
        ("alice", "later"),
        ("bob", "closed"),
    ];
    assert_eq!(asked, pairs.map(|(user, room)| json!({"user": user, "room": room})));
    assert_eq!(questions(&server, "join", "remembered"), 4.0);
}

/// 1. Two newcomers wait for an answer that does not come, which is as many as may be asked about at once.
/// 2. A third one is told at once to come again, and a member goes on chatting.
#[test]
fn a_herd_of_newcomers_is_bounded() {
    let (receiver, dir) = (Receiver::start(|_| allow()), folder());
    let settings = [("hooks.max_in_flight", "2"), ("hooks.timeout", "10s")];
    let server = start(&receiver, &dir, &["connect"], &settings);
    let mut alice = Speaker::alone(&server, "alice?room=a");
    receiver.answer(|_| Answer::Hang);
    let waiting: Vec<Socket> = (0..2)
        .map(|number| {
            let mut socket = Socket::connect(server.address());
            socket.send(crate::support::raw::handshake(&format!("/ws/chat/user{number}"), ""));
            socket
        })
        .collect();
    eventually("two wait", || server.metric("throng_hook_in_flight", "connect") == 2.0);
    let began = std::time::Instant::now();
    expect_refused(&server, "carol", 1013, "Server overloaded");
    alice.say("a", "still here");
    assert!(began.elapsed() < Duration::from_secs(9), "nobody waited for an answer");
    assert_eq!(questions(&server, "connect", "busy"), 1.0);
    drop(waiting);
}
