//! Who is there: `presence`, `presence_diff` beside the notices of the plain dialect, and `typing`.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::frame::text;
use crate::support::raw::Socket;
use crate::support::server::Server;
use crate::support::speaker::Speaker;
use crate::support::{PATIENCE, eventually};

#[test]
fn users_are_listed_in_pages() {
    let server = Server::start(&[("chat.duplicate", "allow"), ("workers", "2")]);
    let mut alice = Speaker::alone(&server, "alice");
    let plain: Vec<_> =
        (0..9).map(|n| Socket::open(server.address(), &format!("/ws/chat/user-{}", n % 7))).collect();
    (0..7).for_each(|_| drop(alice.expect("presence_diff")));
    let mut listed = vec![];
    let mut after = Value::Null;
    loop {
        let mut command = json!({"type": "presence", "room": "lobby", "limit": 3});
        if let Some(last) = after.as_str() {
            command["after"] = last.into();
        }
        let answer = alice.ask(command, "presence");
        let users = answer["users"].as_array().expect("users");
        assert_eq!((&answer["room"], &answer["members"]), (&json!("lobby"), &json!(8)), "{answer}");
        assert_eq!(users.len(), if listed.len() < 6 { 3 } else { 2 }, "{answer}");
        listed.extend(users.clone());
        after = listed.last().cloned().unwrap_or_default();
        if answer["more"] == false {
            break;
        }
    }
    let expected: Vec<_> =
        std::iter::once("alice".to_owned()).chain((0..7).map(|n| format!("user-{n}"))).collect();
    assert_eq!(listed, expected);
    let all = alice.ask(json!({"type": "presence", "room": "lobby"}), "presence");
    assert_eq!((&all["users"], &all["more"]), (&json!(expected), &json!(false)));
    for wrong in [json!({"limit": 0}), json!({"limit": 1001}), json!({"after": "a b"}), json!({"after": 5})] {
        let mut command = json!({"type": "presence", "room": "lobby"});
        command.as_object_mut().expect("an object").extend(wrong.as_object().expect("fields").clone());
        alice.ask_in_vain(command, "invalid_message");
    }
    drop(plain);
}

#[test]
fn in_a_small_room_each_dialect_hears_of_everybody_in_its_way() {
    let server = Server::start(&[("workers", "2")]);
    let mut alice = Speaker::alone(&server, "alice");
    let mut plain = Socket::open(server.address(), "/ws/chat/plain");
    let diff = |joined: &[&str], left: &[&str], members: usize| {
        let kind = "presence_diff";
        json!({"type": kind, "room": "lobby", "joined": joined, "left": left, "members": members})
    };
    assert_eq!(alice.event(), diff(&["plain"], &[], 2));
    assert!(plain.read_text().starts_with(r#"{"type":"system","message":"User plain has joined the chat""#));
    let mut bob = Speaker::enter(&server, "bob");
    assert_eq!(bob.event(), diff(&["bob"], &[], 3));
    assert_eq!(alice.event(), diff(&["bob"], &[], 3));
    assert!(plain.read_text().starts_with(r#"{"type":"system","message":"User bob has joined the chat""#));
    drop(bob);
    assert_eq!(alice.event(), diff(&[], &["bob"], 2));
    assert!(plain.read_text().starts_with(r#"{"type":"system","message":"User bob has left the chat""#));
    alice.say("lobby", "and nothing else");
    assert!(plain.read_text().contains("and nothing else"));
}

#[test]
fn in_larger_rooms_the_news_are_merged_and_then_only_counted() {
    let server = Server::start(&[
        ("presence.notice_limit", "2"),
        ("presence.count_only_above", "5"),
        ("presence.interval", "500ms"),
    ]);
    let mut alice = Speaker::alone(&server, "alice");
    let mut plain = Socket::open(server.address(), "/ws/chat/plain");
    alice.expect("presence_diff");
    plain.read_text();
    let enter = |n: usize| Socket::open(server.address(), &format!("/ws/chat/user-{n}"));
    let mut others: Vec<_> = (0..3).map(enter).collect();
    // In as many pieces as intervals have passed meanwhile, each user once.
    let mut joined = BTreeSet::new();
    while joined.len() < 3 {
        let diff = alice.expect("presence_diff");
        assert_eq!(diff["left"], json!([]), "{diff}");
        for user in diff["joined"].as_array().expect("names") {
            assert!(joined.insert(user.to_string()), "twice: {diff}");
        }
        assert_eq!(diff["members"], joined.len() + 2, "{diff}");
    }
    // The names go, the number stays.
    others.extend((3..8).map(enter));
    let mut members = 0;
    while members < 10 {
        let diff = alice.expect("presence_diff");
        members = diff["members"].as_u64().expect("a number");
        assert!(members > 5, "{diff}");
        assert_eq!(diff, json!({"type": "presence_diff", "room": "lobby", "members": members}));
    }
    // The plain client has heard of eight, in words.
    let mut heard = 0;
    while heard < 8 {
        let event: Value = serde_json::from_str(&plain.read_text()).expect("JSON");
        assert_eq!(event["type"], "system", "{event}");
        let words: Vec<_> = event["message"].as_str().expect("a text").split(' ').collect();
        heard += match words[..] {
            ["User", _, "has", "joined", "the", "chat"] => 1,
            [count, "users", "have", "joined", "the", "chat"] => count.parse().expect("a number"),
            _ => panic!("{event}"),
        };
    }
    assert_eq!(heard, 8);
}

#[test]
fn a_user_with_three_connections_comes_and_goes_once() {
    let server = Server::start(&[("chat.duplicate", "allow"), ("workers", "2")]);
    let mut bob = Speaker::alone(&server, "bob");
    let mut alice: Vec<_> = (0..2).map(|_| Speaker::enter(&server, "alice")).collect();
    let plain = Socket::open(server.address(), "/ws/chat/alice");
    let diff = bob.expect("presence_diff");
    assert_eq!((&diff["joined"], &diff["members"]), (&json!(["alice"]), &json!(2)), "{diff}");
    bob.say("lobby", "three, and one user");
    let count = bob.ask(json!({"type": "presence", "room": "lobby"}), "presence");
    assert_eq!((&count["users"], &count["members"]), (&json!(["alice", "bob"]), &json!(2)));
    alice.pop();
    drop(plain);
    eventually("two are gone", || server.connections() == 2.0);
    bob.say("lobby", "still there");
    alice.clear();
    let diff = bob.expect("presence_diff");
    assert_eq!((&diff["left"], &diff["members"]), (&json!(["alice"]), &json!(1)), "{diff}");
}

#[test]
fn a_rule_can_keep_a_room_quiet_in_this_dialect_too() {
    let server = Server::start(&[("rooms", r#"[{pattern="quiet-*", presence=false}]"#)]);
    let mut alice = Speaker::enter(&server, "alice?room=quiet-1");
    let mut bob = Speaker::enter(&server, "bob?room=quiet-1");
    bob.say("quiet-1", "hi");
    alice.expect_message("bob", "hi");
    let answer = alice.ask(json!({"type": "presence", "room": "quiet-1"}), "presence");
    assert_eq!(answer["users"], json!(["alice", "bob"]));
}

#[test]
fn typing_is_shown_to_the_others_and_to_nobody_else() {
    let server = Server::start(&[("workers", "2")]);
    let mut alice = Speaker::alone(&server, "alice");
    let mut bob = Speaker::alone(&server, "bob");
    alice.expect("presence_diff");
    let mut elsewhere = Speaker::alone(&server, "carol?room=red");
    let mut plain = Socket::open(server.address(), "/ws/chat/plain");
    for speaker in [&mut alice, &mut bob] {
        speaker.expect("presence_diff");
    }
    // It is the first to be dropped, so it may take a second try.
    let shown = (0..20).find_map(|_| {
        alice.send(&json!({"type": "typing", "room": "lobby"}));
        bob.socket.try_frame(Duration::from_secs(1)).ok()
    });
    let shown: Value = serde_json::from_slice(&shown.expect("it is shown").payload).expect("JSON");
    assert_eq!(shown, json!({"type": "typing", "room": "lobby", "user": "alice"}));
    // No event but the message is next, for its author, for the plain client and in another room.
    alice.say("lobby", "typed");
    assert!(plain.read_text().contains("User plain has joined the chat"));
    assert!(plain.read_text().contains("typed"));
    elsewhere.expect_nothing();
    let kept = alice.ask(json!({"type": "history", "room": "lobby"}), "history");
    assert_eq!(kept["messages"].as_array().map(Vec::len), Some(1), "{kept}");
    // To who speaks plainly it is not even a command.
    plain.send(text(r#"{"type":"typing","room":"lobby","message":"plain text"}"#));
    assert_eq!(bob.find("message")["message"], "typed");
    bob.expect_message("plain", "plain text");
    assert!(plain.try_frame(PATIENCE).is_ok_and(|frame| frame.payload.ends_with(b"}")));
}
