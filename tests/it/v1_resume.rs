//! Resuming, with `?resume=` and with `join`: the client gets exactly the missed messages, or a clear refusal.

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::raw::Socket;
use crate::support::server::{Server, Settings};
use crate::support::speaker::Speaker;

/// Connects with `resume` as the value of `?resume=`.
#[track_caller]
fn back(server: &Server, user: &str, resume: &str) -> Speaker {
    Speaker::enter(server, &format!("{user}?room=red&resume={resume}"))
}

/// Asserts that these messages come next without a hole, and behind them nothing but presence events.
#[track_caller]
fn expect_missed(speaker: &mut Speaker, offsets: std::ops::RangeInclusive<u64>) {
    for offset in offsets {
        let message = speaker.expect("message");
        let text = format!("number {offset}");
        assert_eq!((&message["offset"], &message["message"]), (&json!(offset), &json!(text)), "{message}");
    }
}

/// Makes a room `red` with ten messages of bob, of which the last four are kept; returns its epoch, too.
fn ten(settings: Settings<'_>) -> (Server, Speaker, String) {
    let server = Server::start(settings);
    let mut bob = Speaker::enter(&server, "bob?room=red");
    for n in 1..=10 {
        assert_eq!(bob.say_quietly("red", &format!("number {n}"))["offset"], n);
    }
    let epoch = bob.welcome_field("epoch").to_owned();
    (server, bob, epoch)
}

const FOUR: Settings<'static> =
    &[("history.messages", "4"), ("presence.notice_limit", "0"), ("presence.interval", "1h")];

/// Returns positions that a client may ask for, each with the offset behind which messages come; `None` when it is not
/// recovered.
fn wishes(epoch: &str) -> Vec<(String, Value, Option<u64>)> {
    let row = |epoch: &str, offset: u64, from| {
        (format!("{epoch}:{offset}"), json!({"epoch": epoch, "offset": offset}), from)
    };
    vec![
        row(epoch, 10, Some(11)),
        row(epoch, 9, Some(10)),
        row(epoch, 6, Some(7)),
        row(epoch, 5, None),
        row(epoch, 0, None),
        row(epoch, 11, None),
        row(epoch, u64::MAX, None),
        row("0000000000000", 9, None),
        row("", 9, None),
        row("no-epoch-at-all", 9, None),
    ]
}

#[test]
fn the_handshake_resumes_exactly_or_not_at_all() {
    let (server, mut bob, epoch) = ten(FOUR);
    let mut rows = wishes(&epoch);
    for unparsable in
        ["", "9", &epoch, &format!("{epoch}:"), &format!("{epoch}:-1"), &format!("{epoch}:x"), ":"]
    {
        rows.push((unparsable.to_owned(), Value::Null, None));
    }
    for (n, (text, _, from)) in rows.into_iter().enumerate() {
        let mut alice = back(&server, &format!("alice-{n}"), &text);
        let welcome = &alice.welcome;
        let position = from.map_or(10, |from| from - 1);
        assert_eq!(welcome["recovered"], from.is_some(), "{text}: {welcome}");
        assert_eq!((&welcome["offset"], &welcome["epoch"]), (&json!(position), &json!(epoch)), "{text}");
        if let Some(from) = from {
            expect_missed(&mut alice, from..=10);
        }
        alice.expect_nothing();
    }
    let recoveries = |label: &str| server.metric("throng_recoveries_total", label);
    assert_eq!((recoveries("true"), recoveries("false")), (3.0, 14.0));
    // New messages come behind the missed ones.
    let mut alice = back(&server, "alice", &format!("{epoch}:7"));
    expect_missed(&mut alice, 8..=10);
    bob.say_quietly("red", "number 11");
    expect_missed(&mut alice, 11..=11);
}

#[test]
fn a_join_resumes_exactly_or_not_at_all() {
    let (server, mut bob, epoch) = ten(FOUR);
    let mut alice = Speaker::enter(&server, "alice");
    for (text, resume, from) in wishes(&epoch) {
        let joined = alice.ask(json!({"type": "join", "room": "red", "resume": resume}), "joined");
        let position = from.map_or(10, |from| from - 1);
        let expected = json!({
            "type": "joined", "re": joined["re"], "room": "red", "epoch": epoch, "offset": position,
            "recovered": from.is_some(), "members": 1,
        });
        // Presence events are an hour away: bob was not announced yet.
        assert_eq!(joined, expected, "{text}");
        if let Some(from) = from {
            expect_missed(&mut alice, from..=10);
        }
        alice.ask(json!({"type": "leave", "room": "red"}), "left");
    }
    for (wrong, code) in [
        (json!("x"), "invalid_message"),
        (json!(null), "invalid_message"),
        (json!({"epoch": 5, "offset": 5}), "invalid_message"),
        (json!({"epoch": epoch, "offset": -1}), "invalid_message"),
        (json!({"epoch": epoch}), "missing_field"),
    ] {
        alice.ask_refused(json!({"type": "join", "room": "red", "resume": wrong}), code);
    }
    alice.ask(json!({"type": "join", "room": "red", "resume": {"epoch": epoch, "offset": 8}}), "joined");
    expect_missed(&mut alice, 9..=10);
    bob.say_quietly("red", "number 11");
    expect_missed(&mut alice, 11..=11);
}

/// Waits until the room is forgotten, after everybody has left and its messages have expired.
#[track_caller]
fn await_forgotten(server: &Server) {
    eventually("the room is forgotten", || server.metric("throng_rooms", "") == 0.0);
}

/// Asserts that a client that resumes from this position of `red` has missed nothing, and receives nothing.
#[track_caller]
fn expect_nothing_missed(server: &Server, epoch: &str, offset: u64) {
    let mut alice = Speaker::alone(server, &format!("alice?room=red&resume={epoch}:{offset}"));
    let welcome = &alice.welcome;
    assert_eq!((&welcome["recovered"], &welcome["offset"]), (&json!(true), &json!(offset)), "{welcome}");
    assert_eq!(alice.welcome_field("epoch"), epoch);
    alice.expect_nothing();
}

/// 1. A client is alone in a room and loses its connection before there is a message.
/// 2. The empty room is forgotten.
/// 3. The client resumes and has missed nothing; the same once more, and with `join`.
#[test]
fn a_resume_in_a_quiet_room_misses_nothing() {
    let server = Server::start(&[]);
    let alice = Speaker::alone(&server, "alice?room=red");
    let epoch = alice.welcome_field("epoch").to_owned();
    assert_eq!(alice.welcome["offset"], 0);
    drop(alice);
    for _ in 0..2 {
        await_forgotten(&server);
        expect_nothing_missed(&server, &epoch, 0);
    }
    let mut bob = Speaker::alone(&server, "bob?room=blue");
    let resume = json!({"epoch": epoch, "offset": 0});
    let joined = bob.ask(json!({"type": "join", "room": "red", "resume": resume}), "joined");
    assert_eq!((&joined["recovered"], &joined["epoch"]), (&json!(true), &json!(epoch)));
}

#[test]
fn a_resume_in_a_quiet_room_misses_nothing_after_its_messages_expired() {
    let server = Server::start(&[("history.ttl", "1ms")]);
    let mut alice = Speaker::alone(&server, "alice?room=red");
    for text in ["one", "two"] {
        alice.say("red", text);
    }
    let epoch = alice.welcome_field("epoch").to_owned();
    drop(alice);
    await_forgotten(&server);
    expect_nothing_missed(&server, &epoch, 2);
    await_forgotten(&server);
    for offset in [0, 1, 3] {
        let alice = back(&server, "alice", &format!("{epoch}:{offset}"));
        let welcome = &alice.welcome;
        assert_eq!((&welcome["recovered"], &welcome["offset"]), (&json!(false), &json!(2)), "{welcome}");
        drop(alice);
        await_forgotten(&server);
    }
    // Offsets go on from the last one.
    let mut alice = Speaker::alone(&server, "alice?room=red");
    assert_eq!(alice.say("red", "three")["offset"], 3);
}

#[test]
fn a_room_whose_position_is_not_remembered_has_another_epoch() {
    let server = Server::start(&[("history.messages", "0"), ("history.position_ttl", "0ms")]);
    let mut alice = Speaker::alone(&server, "alice?room=red");
    alice.say("red", "one");
    let old = alice.welcome_field("epoch").to_owned();
    drop(alice);
    await_forgotten(&server);
    let alice = back(&server, "alice", &format!("{old}:1"));
    assert_eq!((&alice.welcome["recovered"], &alice.welcome["offset"]), (&json!(false), &json!(0)));
    assert_ne!(alice.welcome_field("epoch"), old);
}

/// A history for many messages of 4 KiB, and sockets that hold few.
const LARGE: [(&str, &str); 7] = [
    ("chat.max_message_chars", "8000"),
    ("history.messages", "1000"),
    ("history.bytes", "64MiB"),
    ("socket.send_buffer", "16KiB"),
    ("queue.max_age", "5m"),
    ("queue.max_bytes", "64MiB"),
    ("queue.max_messages", "100000"),
];

/// Builds a text of about 4 KiB.
fn large(n: u64) -> String {
    format!("number {n} {}", "x".repeat(4000))
}

/// Reads up to the message `last`; returns the number of messages, and the gaps.
#[track_caller]
fn read_up_to(speaker: &mut Speaker, mut at: u64, last: u64) -> (u64, Vec<(u64, u64)>) {
    let (mut messages, mut gaps) = (0, Vec::new());
    while at < last {
        let event = speaker.event();
        let number =
            |field: &str| event[field].as_u64().unwrap_or_else(|| panic!("no {field}: {event:.200}"));
        match event["type"].as_str() {
            Some("message") => {
                assert_eq!(number("offset"), at + 1, "a hole or a repetition");
                at += 1;
                messages += 1;
            }
            Some("gap") => {
                assert_eq!((number("from"), &event["room"]), (at + 1, &json!("red")), "{event}");
                assert!(number("to") > at, "{event}");
                at = number("to");
                gaps.push((number("from"), number("to")));
            }
            Some("presence_diff") => assert!(at > 0, "a presence event before the missed messages"),
            _ => panic!("{event:.200}"),
        }
    }
    (messages, gaps)
}

#[test]
fn missed_messages_come_in_pages_and_join_the_live_ones() {
    let server = Server::start(&[LARGE.as_slice(), &[("workers", "2")]].concat());
    let mut bob = Speaker::alone(&server, "bob?room=red");
    for n in 1..=200 {
        bob.say_quietly("red", &large(n));
    }
    let epoch = bob.welcome_field("epoch").to_owned();
    let narrow = Socket::connect_narrow(server.address());
    let mut alice = Speaker::on(narrow, &format!("alice?room=red&resume={epoch}:10"), "");
    assert_eq!((&alice.welcome["recovered"], &alice.welcome["offset"]), (&json!(true), &json!(10)));
    let mut carol = Speaker::enter(&server, "carol");
    carol.command(json!({"type": "join", "room": "red", "resume": {"epoch": epoch, "offset": 0}}));
    bob.find("presence_diff");
    // Most messages cannot have left yet, because alice reads nothing and her kernel holds little.
    for n in 201..=250 {
        bob.send(&json!({"type": "message", "room": "red", "message": large(n), "echo": false}));
    }
    assert_eq!(read_up_to(&mut alice, 10, 250), (240, vec![]));
    let joined = carol.find("joined");
    assert_eq!((&joined["recovered"], &joined["offset"]), (&json!(true), &json!(0)));
    assert_eq!(read_up_to(&mut carol, 0, 250), (250, vec![]));
}

#[test]
fn commands_wait_until_missed_messages_are_sent() {
    let server = Server::start(&LARGE);
    let mut bob = Speaker::alone(&server, "bob?room=red");
    for n in 1..=100 {
        bob.say_quietly("red", &large(n));
    }
    let path = format!("alice?room=red&resume={}:0", bob.welcome_field("epoch"));
    let mut alice = Speaker::on(Socket::connect_narrow(server.address()), &path, "");
    alice.command(json!({"type": "ping"}));
    alice.command(json!({"type": "message", "room": "red", "message": "mine"}));
    for n in 1..=100 {
        assert_eq!(alice.expect("message")["offset"], n);
    }
    // She has seen no presence event meanwhile, and now gets only the number of members.
    let count = json!({"type": "presence_diff", "room": "red", "members": 2});
    assert_eq!(alice.event(), count);
    let rest: Vec<_> = (0..3).map(|_| alice.event()).collect();
    let kinds: Vec<_> = rest.iter().filter_map(|event| event["type"].as_str()).collect();
    assert!(kinds.contains(&"pong") && kinds.contains(&"ack"), "{kinds:?}");
    assert!(rest.iter().any(|event| event["message"] == "mine" && event["offset"] == 101), "{rest:?}");
}

#[test]
fn messages_evicted_during_a_replay_are_a_gap() {
    let lossy = [LARGE.as_slice(), &[("history.messages", "60"), ("workers", "2")]].concat();
    let server = Server::start(&lossy);
    let mut bob = Speaker::alone(&server, "bob?room=red");
    for n in 1..=60 {
        bob.say_quietly("red", &large(n));
    }
    let epoch = bob.welcome_field("epoch").to_owned();
    let narrow = Socket::connect_narrow(server.address());
    let mut alice = Speaker::on(narrow, &format!("alice?room=red&resume={epoch}:0"), "");
    assert_eq!(alice.welcome["recovered"], true);
    bob.find("presence_diff");
    // Until alice reads, the server holds a few pages for her, and evicts everything else meanwhile.
    for n in 61..=150 {
        bob.say_quietly("red", &large(n));
    }
    let (messages, gaps) = read_up_to(&mut alice, 0, 150);
    assert!(!gaps.is_empty(), "no message was evicted");
    let missing: u64 = gaps.iter().map(|(from, to)| to - from + 1).sum();
    assert_eq!(messages + missing, 150);
    bob.say_quietly("red", "at last");
    assert_eq!(alice.find("message")["offset"], 151);
    bob.say_quietly("red", "the end");
    assert_eq!(alice.find("message")["offset"], 152, "everything once");
}
