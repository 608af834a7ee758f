//! A worker's inbox that is full (`fanout.max_inbox_bytes`): commands fail with `unavailable` and change nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::frame::text;
use crate::support::raw::Socket;
use crate::support::server::{Server, Settings};
use crate::support::speaker::Speaker;

/// The smallest inbox that is allowed, and no other limit that could be reached.
const SMALL: Settings<'static> = &[
    ("fanout.max_inbox_bytes", "64KiB"),
    ("chat.max_message_chars", "10000"),
    ("limits.max_keys_per_user", "1000000"),
    ("history.messages", "100000"),
    ("history.bytes", "64MiB"),
    ("queue.max_messages", "1000000"),
    ("queue.max_bytes", "64MiB"),
    ("queue.total_bytes", "1GiB"),
    ("queue.max_age", "5m"),
    ("workers", "1"),
];
/// Commands that are sent at once: more than an inbox takes if the worker does not empty it meanwhile.
const BURST: u64 = 200;
/// Most bursts that are sent before the test gives up.
const MAX_BURSTS: u64 = 200;

/// Sends the commands `make(id)` until an answer is an error; returns every answer by id. Messages of the room are
/// passed to `heard`.
#[track_caller]
fn send_until_full(
    speaker: &mut Speaker,
    make: impl Fn(u64) -> Value,
    mut heard: impl FnMut(Value),
) -> BTreeMap<u64, Value> {
    let mut answers = BTreeMap::new();
    for burst in 0..MAX_BURSTS {
        let ids = burst * BURST..(burst + 1) * BURST;
        let commands: Vec<u8> = ids
            .clone()
            .flat_map(|id| {
                let mut command = make(id);
                command["id"] = id.to_string().into();
                text(command.to_string())
            })
            .collect();
        speaker.socket.send(commands);
        while answers.len() < ids.end as usize {
            let event = speaker.event();
            match event["re"].as_str() {
                Some(re) => {
                    let known = answers.insert(re.parse().expect("an id of ours"), event);
                    assert_eq!(known, None, "answered twice");
                }
                None => heard(event),
            }
        }
        if answers.values().any(|answer| answer["type"] == "error") {
            return answers;
        }
    }
    panic!("the inbox takes {MAX_BURSTS} times {BURST} messages");
}

/// Splits the answers into accepted and refused ones; every refusal must be `unavailable`.
#[track_caller]
fn split(answers: BTreeMap<u64, Value>) -> (BTreeMap<u64, Value>, BTreeSet<u64>) {
    let (taken, refused): (BTreeMap<_, _>, BTreeMap<_, _>) =
        answers.into_iter().partition(|(_, answer)| answer["type"] == "ack");
    assert!(!taken.is_empty() && !refused.is_empty(), "{} taken, {} refused", taken.len(), refused.len());
    for (id, answer) in &refused {
        let expected = json!({
            "type": "error", "message": "Service unavailable, try again", "code": "unavailable",
            "re": id.to_string(),
        });
        assert_eq!(answer, &expected);
    }
    (taken, refused.into_keys().collect())
}

fn said(id: u64) -> String {
    format!("number {id} {}", "x".repeat(1000))
}

#[test]
fn a_message_that_a_full_inbox_refuses_is_not_appended() {
    let server = Server::start(SMALL);
    let mut bob = Speaker::alone(&server, "bob");
    let mut alice = Speaker::alone(&server, "alice");
    bob.expect("presence_diff");
    let make = |id: u64| json!({"type": "message", "message": said(id), "key": id.to_string()});
    let mut seen = Vec::new();
    let answers = send_until_full(&mut alice, make, |event| seen.push(event));
    let (taken, refused) = split(answers);
    // The accepted messages use all offsets without a hole.
    let offsets: Vec<u64> = taken.values().map(|ack| ack["offset"].as_u64().expect("an offset")).collect();
    assert_eq!(offsets, (1..=taken.len() as u64).collect::<Vec<_>>(), "no offset was used for a refusal");
    let expected: Vec<String> = taken.keys().map(|id| said(*id)).collect();
    let own: Vec<&Value> = seen.iter().map(|event| &event["message"]).collect();
    assert_eq!(own, expected.iter().collect::<Vec<_>>());
    for (place, text) in expected.iter().enumerate() {
        assert_eq!(bob.expect_message("alice", text), place as u64 + 1);
    }
    // The key of a refused message is not remembered: the retry is new.
    let again = *refused.first().expect("one of them");
    alice.send(&json!({"type": "message", "message": said(again), "key": again.to_string(), "id": "again"}));
    let next = taken.len() as u64 + 1;
    assert_eq!(alice.expect_message("alice", &said(again)), next);
    let ack = alice.expect("ack");
    assert_eq!(
        (&ack["re"], &ack["offset"], &ack["duplicate"]),
        (&json!("again"), &json!(next), &json!(false))
    );
    assert_eq!(bob.expect_message("alice", &said(again)), next);
    // The history shows the same.
    let page = alice.ask(json!({"type": "history", "room": "lobby", "limit": 2}), "history");
    let texts: Vec<&Value> =
        page["messages"].as_array().expect("messages").iter().map(|message| &message["message"]).collect();
    assert_eq!(texts, [&json!(expected.last().expect("taken")), &json!(said(again))]);
}

#[test]
fn a_private_message_that_a_full_inbox_refuses_reaches_nobody() {
    let server = Server::start(SMALL);
    let mut bob = Speaker::alone(&server, "bob?room=b");
    let mut alice = Speaker::alone(&server, "alice?room=a");
    let make = |id: u64| json!({"type": "direct", "to": "bob", "message": said(id), "key": id.to_string()});
    let answers = send_until_full(&mut alice, make, |event| panic!("{event:.100}"));
    let (taken, refused) = split(answers);
    assert!(taken.values().all(|ack| ack["delivered"] == 1), "{taken:?}");
    let again = *refused.first().expect("one of them");
    assert_eq!(alice.ask(make(again), "ack")["delivered"], 1);
    for id in taken.keys().chain([&again]) {
        assert_eq!(bob.expect("direct")["message"], said(*id));
    }
    bob.expect_nothing();
}

#[test]
fn an_empty_inbox_takes_the_longest_message_of_the_settings() {
    // In a room of both dialects the message is in two batches, and each of its characters might need six bytes.
    let server = Server::start(SMALL);
    let mut alice = Speaker::alone(&server, "alice");
    let mut plain = Socket::open(server.address(), "/ws/chat/plain");
    alice.expect("presence_diff");
    plain.read_text();
    for (offset, character) in ["x", "\u{1}", "🦀"].into_iter().enumerate() {
        let longest = character.repeat(10_000);
        assert_eq!(alice.say("lobby", &longest)["offset"], offset as u64 + 1);
        let event: Value = serde_json::from_str(&plain.read_text()).expect("JSON");
        assert_eq!(event["message"], longest);
    }
}
