//! The command `message` of `throng.v1`: acks, keys, and refusals.

use serde_json::{Value, json};

use crate::support::server::Server;
use crate::support::speaker::Speaker;

#[test]
fn the_ack_follows_its_message_in_the_senders_stream() {
    let server = Server::start(&[("workers", "2")]);
    let mut alice = Speaker::alone(&server, "alice");
    let mut bob = Speaker::alone(&server, "bob");
    alice.expect("presence_diff");
    const EACH: u64 = 100;
    for n in 0..EACH {
        alice.send(&json!({"type": "message", "message": format!("a{n}"), "id": n.to_string()}));
        bob.send(&json!({"type": "message", "message": format!("b{n}"), "id": n.to_string()}));
    }
    let mut streams = Vec::new();
    for (speaker, user) in [(&mut alice, "alice"), (&mut bob, "bob")] {
        let (mut next, mut acked, mut texts) = (1, 0, Vec::new());
        let epoch = speaker.welcome_field("epoch").to_owned();
        while next <= 2 * EACH || acked < EACH {
            let message = speaker.expect("message");
            assert_eq!(message["offset"], next, "{message}");
            assert_eq!(message["id"], format!("{epoch}-{next}"), "{message}");
            texts.push(message["message"].clone());
            if message["user"] == user {
                let expected = json!({
                    "type": "ack", "re": acked.to_string(), "room": "lobby", "epoch": epoch, "offset": next,
                    "duplicate": false,
                });
                assert_eq!(speaker.event(), expected);
                acked += 1;
            }
            next += 1;
        }
        streams.push(texts);
    }
    assert_eq!(streams[0], streams[1]);
}

#[test]
fn without_echo_the_ack_comes_instead_of_the_message() {
    let server = Server::start(&[("workers", "2")]);
    let mut alice = Speaker::alone(&server, "alice");
    let mut bob = Speaker::alone(&server, "bob");
    alice.expect("presence_diff");
    for n in 0..50 {
        alice.send(&json!({"type": "message", "message": format!("a{n}"), "id": "x", "echo": false}));
        bob.send(&json!({"type": "message", "message": format!("b{n}"), "echo": n % 2 == 0}));
    }
    // Every offset comes once, as a message or as an ack.
    let mut next = 1;
    while next <= 100 {
        let event = alice.event();
        assert_eq!(event["offset"], next, "{event}");
        let is_own = event["type"] == "ack";
        assert_eq!((is_own, event["user"] == "bob"), (event["re"] == "x", !is_own), "{event}");
        next += 1;
    }
    next = 1;
    while next <= 100 {
        let event = bob.event();
        assert_eq!(event["offset"], next, "{event}");
        if event["type"] == "message" && event["user"] == "bob" {
            let ack = bob.expect("ack");
            assert_eq!((&ack["offset"], &ack["re"]), (&json!(next), &Value::Null), "no id, no re");
        }
        next += 1;
    }
    alice.expect_nothing();
}

/// Sends a message with a key; returns the ack, and whether the message itself came before it.
#[track_caller]
fn keyed(speaker: &mut Speaker, room: &str, key: &str, message: &str) -> (Value, bool) {
    let id = speaker.command(json!({"type": "message", "room": room, "message": message, "key": key}));
    let first = speaker.event();
    let was_said = first["type"] == "message";
    let ack = if was_said { speaker.event() } else { first };
    assert_eq!((&ack["type"], &ack["re"]), (&json!("ack"), &json!(id)), "{ack}");
    (ack, was_said)
}

#[test]
fn the_same_key_is_appended_once() {
    let server = Server::start(&[("chat.duplicate", "allow")]);
    let mut bob = Speaker::alone(&server, "bob");
    let mut alice = Speaker::alone(&server, "alice");
    bob.expect("presence_diff");
    let key = "k".repeat(64);
    let (first, was_said) = keyed(&mut alice, "lobby", &key, "once");
    assert_eq!((&first["offset"], &first["duplicate"], was_said), (&json!(1), &json!(false), true));
    alice.say("lobby", "between");
    // The same key is a retry, whatever the text and the connection.
    let mut again = Speaker::enter(&server, "alice");
    for speaker in [&mut alice, &mut again] {
        let (ack, was_said) = keyed(speaker, "lobby", &key, "once more");
        assert!(!was_said, "{ack}");
        for field in ["room", "epoch", "offset"] {
            assert_eq!(ack[field], first[field], "{ack}");
        }
        assert_eq!(ack["duplicate"], true, "{ack}");
    }
    alice.say("lobby", "the end");
    for (offset, text) in [(1, "once"), (2, "between"), (3, "the end")] {
        assert_eq!(bob.expect_message("alice", text), offset);
    }
    // A key belongs to one user and one room.
    assert_eq!(keyed(&mut bob, "lobby", &key, "bob's").0["duplicate"], false);
    alice.expect_message("bob", "bob's");
    alice.ask(json!({"type": "join", "room": "other"}), "joined");
    alice.expect("presence_diff");
    let (other, was_said) = keyed(&mut alice, "other", &key, "elsewhere");
    assert_eq!((&other["offset"], &other["duplicate"], was_said), (&json!(1), &json!(false), true));
}

#[test]
fn the_last_keys_of_each_user_are_remembered_and_nothing_is_refused() {
    let server = Server::start(&[("limits.max_keys_per_user", "3")]);
    let mut alice = Speaker::alone(&server, "alice");
    let duplicate =
        |speaker: &mut Speaker, key: &str| keyed(speaker, "lobby", key, "hi").0["duplicate"].clone();
    for key in ["a", "b", "c", "d"] {
        assert_eq!(duplicate(&mut alice, key), false, "{key}");
    }
    let mut bob = Speaker::alone(&server, "bob");
    alice.expect("presence_diff");
    assert_eq!(duplicate(&mut bob, "d"), false, "others have their own");
    alice.expect_message("bob", "hi");
    for key in ["b", "c", "d"] {
        assert_eq!(duplicate(&mut alice, key), true, "{key}");
    }
    assert_eq!(duplicate(&mut alice, "a"), false, "the oldest is forgotten");
}

#[test]
fn invalid_commands_are_refused_by_their_id_and_the_connection_lives() {
    let server = Server::start(&[("limits.malformed_per_minute", "1000")]);
    let mut alice = Speaker::alone(&server, "alice");
    let long = "x".repeat(65);
    for (command, code) in [
        (json!({"type": "message", "message": "m".repeat(501)}), "message_too_long"),
        (json!({"type": "message", "message": "🦀".repeat(501)}), "message_too_long"),
        (json!({"type": "message"}), "missing_field"),
        (json!({"message": "hi"}), "missing_field"),
        (json!({"type": "direct", "message": "hi"}), "missing_field"),
        (json!({"type": "join"}), "missing_field"),
        (json!({"type": "message", "message": 5}), "invalid_message"),
        (json!({"type": "message", "message": "hi", "key": ""}), "invalid_message"),
        (json!({"type": "message", "message": "hi", "key": long}), "invalid_message"),
        (json!({"type": "message", "message": "hi", "key": null}), "invalid_message"),
        (json!({"type": "message", "message": "hi", "echo": "no"}), "invalid_message"),
        (json!({"type": "message", "message": "hi", "room": "elsewhere"}), "not_in_room"),
        (json!({"type": "message", "message": "hi", "room": "no room"}), "invalid_room"),
        (json!({"type": "massage", "message": "hi"}), "unknown_type"),
        (json!({"type": "welcome"}), "unknown_type"),
        (json!({"type": ""}), "unknown_type"),
    ] {
        alice.ask_refused(command, code);
    }
    // When no id can be read, the error has none.
    for (sent, code) in [
        ("hi", "invalid_json"),
        ("{", "invalid_json"),
        ("[]", "invalid_message"),
        (r#"{"type":"ping","id":5}"#, "invalid_message"),
        (r#"{"type":"ping","id":"a","id":"b"}"#, "invalid_message"),
    ] {
        alice.socket.send(crate::support::frame::text(sent));
        let error = alice.expect("error");
        assert_eq!((&error["code"], &error["re"]), (&json!(code), &Value::Null), "{sent}: {error}");
    }
    let id = "ü".repeat(64);
    alice.send(&json!({"type": "ping", "id": id}));
    assert_eq!(alice.expect("pong"), json!({"type": "pong", "re": id}));
    alice.send(&json!({"type": "ping", "id": id.clone() + "ü"}));
    assert_eq!(alice.expect("error")["re"], Value::Null);
    assert_eq!(alice.say("lobby", "nothing of that was said")["offset"], 1);
}

#[test]
fn a_refusal_of_the_rate_limit_says_when_to_try_again() {
    let server = Server::start(&[
        ("rate_limit.enabled", "true"),
        ("rate_limit.messages_per_second", "1"),
        ("rate_limit.burst", "3"),
        ("rate_limit.strikes", "1000"),
    ]);
    let mut alice = Speaker::alone(&server, "alice");
    let mut refused = Vec::new();
    for n in 0..20 {
        alice.send(&json!({"type": "message", "message": "hi", "id": n.to_string(), "echo": false}));
    }
    // Refusals come at once, and acks in the stream of the room.
    for _ in 0..20 {
        let answer = alice.event();
        assert!(answer["re"].is_string(), "{answer}");
        if answer["type"] != "ack" {
            refused.push(answer);
        }
    }
    assert!(refused.len() >= 10, "{refused:?}");
    for error in refused {
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("rate_limited")), "{error}");
        assert!(error["retry_after_ms"].as_u64().is_some_and(|ms| (1..=1000).contains(&ms)), "{error}");
    }
    // Private messages cost a token, too; commands that publish nothing cost none.
    alice.ask_refused(json!({"type": "direct", "to": "alice", "message": "hi"}), "rate_limited");
    alice.expect_nothing();
}
