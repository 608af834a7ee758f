//! Rooms that drop messages instead of laggards: a `gap` stands where messages are missing.

use serde_json::json;

use crate::support::eventually;
use crate::support::raw::Socket;
use crate::support::server::{SMALL_QUEUES, Server, Settings};
use crate::support::speaker::Speaker;

/// Starts a server with a room rule for each policy.
const RULES: Settings<'static> = &[
    (
        "rooms",
        r#"[{pattern="old-*", queue_policy="drop_oldest"}, {pattern="new-*", queue_policy="drop_newest"}]"#,
    ),
    ("workers", "1"),
];

fn lossy() -> Server {
    Server::start(&[RULES, SMALL_QUEUES].concat())
}

/// The messages and gaps that a laggard finds when it reads.
#[derive(Debug, Default)]
struct Found {
    messages: Vec<u64>,
    gaps: Vec<(u64, u64)>,
}

/// Reads up to the offset `last`; asserts that each offset is in one message or gap.
#[track_caller]
fn read_up_to(laggard: &mut Speaker, room: &str, last: u64) -> Found {
    let mut found = Found::default();
    let mut at = 0;
    while at < last {
        let event = laggard.event();
        assert_eq!(event["room"], room, "{event:.200}");
        let number =
            |field: &str| event[field].as_u64().unwrap_or_else(|| panic!("no {field}: {event:.200}"));
        if event["type"] == "gap" {
            let (from, to) = (number("from"), number("to"));
            assert_eq!(event, json!({"type": "gap", "room": room, "from": from, "to": to}));
            assert!(from == at + 1 && to >= from, "at {at}: {event}");
            found.gaps.push((from, to));
            at = to;
        } else {
            assert_eq!((&event["type"], number("offset")), (&json!("message"), at + 1), "a silent hole");
            at += 1;
            found.messages.push(at);
        }
    }
    found
}

/// Fills the queue of a client that does not read, and then reads it.
#[track_caller]
fn lag(server: &Server, room: &str) -> (Found, Speaker, Speaker) {
    let mut author = Speaker::enter(server, &format!("author?room={room}"));
    let path = format!("laggard?room={room}");
    let mut laggard = Speaker::on(Socket::connect_narrow(server.address()), &path, "");
    for _ in 0..200 {
        author.say_quietly(room, &"x".repeat(4000));
    }
    let found = read_up_to(&mut laggard, room, 200);
    assert!(!found.gaps.is_empty() && !found.messages.is_empty(), "{found:?}");
    assert_eq!(server.connections(), 2.0);
    (found, author, laggard)
}

#[test]
fn drop_oldest_keeps_the_newest_and_sends_a_gap_for_the_rest() {
    let server = lossy();
    let (found, mut author, mut laggard) = lag(&server, "old-1");
    assert_eq!(found.messages.last(), Some(&200), "{found:?}");
    assert_eq!(found.gaps.len(), 1, "adjacent ones are one: {found:?}");
    author.say_quietly("old-1", "caught up");
    assert_eq!(laggard.expect_message("author", "caught up"), 201);
    let dropped: u64 = found.gaps.iter().map(|(from, to)| to - from + 1).sum();
    assert_eq!(server.metric("throng_messages_dropped_total", "") as u64, dropped);
}

#[test]
fn drop_newest_keeps_the_oldest_and_sends_a_gap_for_the_rest() {
    let server = lossy();
    let (found, mut author, mut laggard) = lag(&server, "new-1");
    let (first_gap, _) = found.gaps[0];
    let before: Vec<_> = (1..first_gap).collect();
    assert!(found.messages.starts_with(&before) && first_gap > 10, "{found:?}");
    assert_eq!(found.gaps.last().map(|(_, to)| *to), Some(200), "the newest went: {found:?}");
    author.say_quietly("new-1", "caught up");
    assert_eq!(laggard.expect_message("author", "caught up"), 201);
}

#[test]
fn a_room_without_a_rule_disconnects_with_advice() {
    let server = lossy();
    let mut author = Speaker::enter(&server, "author?room=strict");
    let mut laggards: Vec<_> = (0..6)
        .map(|n| {
            let socket = Socket::connect_narrow(server.address());
            Speaker::on(socket, &format!("laggard-{n}?room=strict"), "")
        })
        .collect();
    let dropped = || server.metric("throng_slow_consumers_dropped_total", "") as usize;
    // One after the other, so that each is looked at while the server closes it.
    let mut told = 0;
    for (n, laggard) in laggards.iter_mut().enumerate() {
        while dropped() <= n {
            author.say_quietly("strict", &"x".repeat(4000));
        }
        if let Some((advice, code)) = laggard.skip_to_end() {
            assert_eq!(code, 4001);
            let reason = advice["reason"].as_str().expect("a reason").to_owned();
            assert!(reason.starts_with("Slow consumer: "), "{advice}");
            crate::support::speaker::expect_advice(&advice, 4001, &reason);
            told += 1;
        }
    }
    assert!(told > 0, "every one was reset");
    eventually("the author is left", || server.connections() == 1.0);
}
