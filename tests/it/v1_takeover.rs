//! Reconnecting while the old connection is still open: it is replaced by `?session=`, by a token's subject, or when it
//! does not answer a ping.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;

use crate::support::eventually;
use crate::support::frame::{Frame, PING, PONG};
use crate::support::raw::{Ended, Socket};
use crate::support::server::Server;
use crate::support::speaker::{Speaker, expect_advice, offered};
use crate::support::token::{SECRET, mint};

const REPLACED: &str = "Replaced by a newer connection";
const TAKEN: &str = "User ID already in use";

#[test]
fn a_session_replaces_its_connection_unnoticed() {
    let server = Server::start(&[("workers", "2")]);
    let mut bob = Speaker::alone(&server, "bob");
    let mut plain = Socket::open(server.address(), "/ws/chat/plain");
    bob.expect("presence_diff");
    plain.read_text();
    let mut old = Speaker::alone(&server, "alice");
    bob.expect("presence_diff");
    plain.read_text();
    bob.say("lobby", "one");
    assert_eq!(old.expect_message("bob", "one"), 1);
    for round in 2..5 {
        let path = format!(
            "alice?session={}&resume={}:{}",
            old.welcome_field("session"),
            old.welcome_field("epoch"),
            round - 1
        );
        let mut new = Speaker::enter(&server, &path);
        assert_ne!(new.welcome_field("session"), old.welcome_field("session"));
        assert_eq!(new.welcome["recovered"], true);
        let advice = old.expect_end(4501, REPLACED);
        assert_eq!(advice["reconnect"], false);
        // The old secret is no longer valid: see below. The others have noticed nothing.
        assert_eq!(bob.say("lobby", "still the same two")["offset"], round);
        assert_eq!(new.expect_message("bob", "still the same two"), round);
        old = new;
    }
    for n in 0..4 {
        let expected = if n == 0 { "one" } else { "still the same two" };
        let event = plain.read_text();
        assert!(event.contains(expected), "{event}");
    }
}

/// 1. Alice is in three rooms, with Bob in each, and her connection is taken over.
/// 2. The new connection joins two of them again, one at once and one later: no event tells of it.
/// 3. It does not join the third: after a while, a leave is announced there.
#[test]
fn other_rooms_see_a_leave_only_if_the_user_does_not_come_back() {
    let server = Server::start(&[("workers", "2")]);
    let join = |room: &str| json!({"type": "join", "room": room});
    let mut bob = Speaker::alone(&server, "bob?room=red");
    let mut old = Speaker::enter(&server, "alice");
    for room in ["green", "blue"] {
        bob.ask(join(room), "joined");
        bob.expect("presence_diff");
    }
    for room in ["red", "green", "blue"] {
        old.command(join(room));
        assert_eq!(bob.expect("presence_diff")["joined"], json!(["alice"]));
    }
    let mut new = Speaker::enter(&server, &format!("alice?session={}", old.welcome_field("session")));
    assert_eq!(old.skip_to_end().expect("no reset").1, 4501);
    let joined = new.ask(join("red"), "joined");
    assert_eq!(joined["members"], 2);
    bob.say("red", "nothing has happened");
    new.expect_message("bob", "nothing has happened");
    eventually("the old one is gone", || server.connections() == 2.0);
    let there = bob.ask(json!({"type": "presence", "room": "green"}), "presence");
    assert_eq!(there["users"], json!(["alice", "bob"]));
    new.ask(join("green"), "joined");
    let diff = bob.expect("presence_diff");
    let expected =
        json!({"type": "presence_diff", "room": "blue", "joined": [], "left": ["alice"], "members": 1});
    assert_eq!(diff, expected);
    new.say("green", "and she stays here");
    bob.expect_message("alice", "and she stays here");
    // An explicit `leave` is announced at once.
    new.ask(json!({"type": "leave", "room": "red"}), "left");
    assert_eq!(bob.expect("presence_diff")["left"], json!(["alice"]));
    drop(new);
    let diff = bob.expect("presence_diff");
    assert_eq!((&diff["room"], &diff["left"]), (&json!("green"), &json!(["alice"])));
}

/// Answers the server's pings until the newcomer is done; panics when anything else comes. One answer counts for a
/// second: a claim within it causes no ping.
#[track_caller]
fn answer(incumbent: &mut Speaker, newcomer: &JoinHandle<()>) {
    while !newcomer.is_finished() {
        match incumbent.socket.try_frame(Duration::from_millis(10)) {
            Ok(frame) => {
                assert_eq!(frame.opcode, PING, "{frame:?}");
                incumbent.socket.send(Frame::new(PONG, frame.payload).bytes());
            }
            Err(ended) => assert_eq!(ended, Ended::Silent),
        }
    }
}

#[test]
fn without_the_right_session_a_live_incumbent_stays() {
    let server = Server::start(&[]);
    let first = Speaker::alone(&server, "alice");
    let mut alice = Speaker::enter(&server, &format!("alice?session={}", first.welcome_field("session")));
    let others = Speaker::enter(&server, "carol?room=red");
    for session in ["", "0", &"0".repeat(32), first.welcome_field("session"), others.welcome_field("session")]
    {
        let (address, path) = (server.address(), format!("/ws/chat/alice?session={session}"));
        let newcomer = thread::spawn(move || {
            let mut socket = offered(Socket::connect(address), &path, "");
            let advice = serde_json::from_str(&socket.read_text()).expect("JSON");
            expect_advice(&advice, 1008, TAKEN);
            assert_eq!(socket.read_close(), (1008, TAKEN.to_owned()));
        });
        answer(&mut alice, &newcomer);
        newcomer.join().expect("a refused newcomer");
    }
    alice.say("lobby", "still here");
}

#[test]
fn a_dead_incumbent_is_replaced() {
    let server = Server::start(&[]);
    let mut dead = Speaker::alone(&server, "alice");
    let mut alice = Speaker::enter(&server, "alice");
    let (advice, code) = dead.skip_to_end().expect("no reset");
    assert_eq!(code, 4501);
    expect_advice(&advice, 4501, REPLACED);
    alice.say("lobby", "back again");
}

#[test]
fn the_session_selects_among_several_connections_of_a_user() {
    let server = Server::start(&[("chat.duplicate", "allow")]);
    let mut one = Speaker::alone(&server, "alice");
    let mut two = Speaker::enter(&server, "alice");
    let mut three = Speaker::enter(&server, &format!("alice?session={}", one.welcome_field("session")));
    one.expect_end(4501, REPLACED);
    three.say("lobby", "two of us");
    two.expect_message("alice", "two of us");
    let answer = two.ask(json!({"type": "presence", "room": "lobby"}), "presence");
    assert_eq!((&answer["users"], &answer["members"]), (&json!(["alice"]), &json!(1)));
}

#[test]
fn a_user_with_a_token_needs_no_session() {
    let server = Server::start(&[("auth.required", "true"), ("auth.secret", SECRET)]);
    let path = |user: &str| format!("{user}?token={}", mint(&["--sub", user]));
    let mut bob = Speaker::alone(&server, &path("bob"));
    let mut old = Speaker::alone(&server, &path("alice"));
    bob.expect("presence_diff");
    let mut new = Speaker::enter(&server, &path("alice"));
    old.expect_end(4501, REPLACED);
    bob.say("lobby", "nothing happened");
    new.expect_message("bob", "nothing happened");
}
