//! The command `history`: reading a room back, page by page.

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::raw::Socket;
use crate::support::server::Server;
use crate::support::speaker::Speaker;

/// Reads a page; returns its offsets, and whether there is more.
#[track_caller]
fn page(speaker: &mut Speaker, more: Value) -> (Vec<u64>, bool) {
    let mut command = json!({"type": "history", "room": "red"});
    for (name, value) in more.as_object().expect("fields") {
        command[name] = value.clone();
    }
    let answer = speaker.ask(command, "history");
    assert_eq!((&answer["room"], &answer["epoch"]), (&json!("red"), &json!(speaker.welcome_field("epoch"))));
    let messages = answer["messages"].as_array().expect("messages").iter();
    let offsets = messages.map(|message| message["offset"].as_u64().expect("an offset")).collect();
    (offsets, answer["more"].as_bool().expect("more"))
}

#[test]
fn a_room_is_read_back_page_by_page() {
    let server = Server::start(&[("history.messages", "130"), ("limits.malformed_per_minute", "1000")]);
    let mut alice = Speaker::alone(&server, "alice?room=red");
    assert_eq!(page(&mut alice, json!({})), (vec![], false));
    for n in 1..=140 {
        alice.say_quietly("red", &format!("number {n}"));
    }
    let all = |from: u64, to: u64| (from..=to).collect::<Vec<_>>();
    let epoch = alice.welcome_field("epoch").to_owned();
    for (fields, expected) in [
        (json!({}), (all(91, 140), true)),
        (json!({"limit": 3}), (all(138, 140), true)),
        (json!({"limit": 3, "before": 138}), (all(135, 137), true)),
        (json!({"limit": 3, "before": 138, "epoch": epoch}), (all(135, 137), true)),
        (json!({"limit": 100}), (all(41, 140), true)),
        (json!({"limit": 100, "before": 41}), (all(11, 40), false)),
        (json!({"limit": 5, "before": 12}), (vec![11], false)),
        (json!({"before": 11}), (vec![], false)),
        (json!({"before": 0}), (vec![], false)),
        (json!({"limit": 2, "before": u64::MAX}), (all(139, 140), true)),
        // Offsets of another epoch have no meaning in this one.
        (json!({"epoch": "0000000000000"}), (vec![], false)),
        (json!({"epoch": "none", "before": 50}), (vec![], false)),
        (json!({"epoch": ""}), (vec![], false)),
    ] {
        assert_eq!(page(&mut alice, fields.clone()), expected, "{fields}");
    }
    for wrong in [json!({"limit": 0}), json!({"limit": 101}), json!({"before": -1}), json!({"epoch": 1})] {
        let mut command = json!({"type": "history", "room": "red"});
        command.as_object_mut().expect("an object").extend(wrong.as_object().expect("fields").clone());
        alice.ask_refused(command, "invalid_message");
    }
}

#[test]
fn a_page_holds_the_messages_as_they_were_sent() {
    let server = Server::start(&[]);
    let mut alice = Speaker::alone(&server, "alice?room=red");
    let mut live = Vec::new();
    for text in ["hi", "", "grüße \"🦀\" \\ \n"] {
        alice.send(&json!({"type": "message", "message": text}));
        live.push(alice.raw());
        alice.expect("ack");
    }
    alice.send(&json!({"type": "history", "room": "red"}));
    let raw = alice.raw();
    let array = format!(r#""messages":[{}],"more":false"#, live.join(","));
    assert!(raw.contains(&array), "{raw} has not {array}");
}

#[test]
fn long_messages_make_short_pages() {
    let server = Server::start(&[
        ("chat.max_message_chars", "8000"),
        ("history.bytes", "4MiB"),
        ("history.messages", "1000"),
    ]);
    let mut alice = Speaker::alone(&server, "alice?room=red");
    for _ in 0..100 {
        alice.say_quietly("red", &"x".repeat(4000));
    }
    let (mut next, mut pages) = (101, 0);
    while next > 1 {
        let (offsets, more) = page(&mut alice, json!({"limit": 100, "before": next}));
        let first = offsets[0];
        assert_eq!(offsets, (first..next).collect::<Vec<_>>());
        assert!(offsets.len() <= 20, "{} messages of 4 KiB in a page", offsets.len());
        assert_eq!(more, first > 1);
        next = first;
        pages += 1;
    }
    assert!(pages >= 5, "{pages}");
}

#[test]
fn answers_are_never_dropped_and_hold_up_the_commands_behind_them() {
    let server = Server::start(&[
        ("chat.max_message_chars", "8000"),
        ("history.bytes", "4MiB"),
        ("queue.max_bytes", "64KiB"),
        ("queue.max_messages", "8"),
        ("queue.max_age", "5m"),
        ("socket.send_buffer", "16KiB"),
    ]);
    let mut bob = Speaker::alone(&server, "bob?room=red");
    for _ in 0..20 {
        bob.say_quietly("red", &"x".repeat(4000));
    }
    let mut alice = Speaker::on(Socket::connect_narrow(server.address()), "alice?room=red", "");
    alice.expect("presence_diff");
    const QUESTIONS: usize = 100;
    for n in 0..QUESTIONS {
        alice.send(&json!({"type": "history", "room": "red", "id": n.to_string()}));
    }
    // Alice asks for six megabytes and reads nothing. At most two answers of 64 KiB may wait for her.
    let queued = || server.metric("throng_queue_bytes", "");
    eventually("an answer waits", || queued() > 0.0);
    for n in 0..QUESTIONS {
        let waiting = queued();
        assert!(waiting < 160.0 * 1024.0, "{waiting} bytes are queued");
        let answer = alice.expect("history");
        assert_eq!(answer["re"], n.to_string());
        assert!(answer["messages"].as_array().is_some_and(|messages| messages.len() > 10), "{answer:.200}");
    }
}
