//! Coming back while the old connection still stands: `?session=`, a token's subject, and the question whether it
//! lives.

use std::thread;

use serde_json::json;

use crate::support::frame::{Frame, PING, PONG};
use crate::support::raw::Socket;
use crate::support::server::Server;
use crate::support::speaker::{Speaker, expect_advice, offered};
use crate::support::token::{SECRET, mint};

const REPLACED: &str = "Replaced by a newer connection";
const TAKEN: &str = "User ID already in use";

#[test]
fn the_session_takes_the_place_of_its_connection_and_nobody_notices() {
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
        let path =
            format!("alice?session={}&resume={}:{}", old.told("session"), old.told("epoch"), round - 1);
        let mut new = Speaker::enter(&server, &path);
        assert_ne!(new.told("session"), old.told("session"));
        assert_eq!(new.welcome["recovered"], true);
        let advice = old.expect_end(4501, REPLACED);
        assert_eq!(advice["reconnect"], false);
        // The old secret is worth nothing any more: see below. For the others nothing has happened.
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

/// Answers the ping that asks whether it is alive, and nothing else may come before.
#[track_caller]
fn answer(incumbent: &mut Speaker) {
    let frame = incumbent.frame();
    assert_eq!(frame.opcode, PING, "{frame:?}");
    incumbent.socket.send(Frame::new(PONG, frame.payload).bytes());
}

#[test]
fn without_the_right_session_an_incumbent_that_lives_stays() {
    let server = Server::start(&[]);
    let first = Speaker::alone(&server, "alice");
    let mut alice = Speaker::enter(&server, &format!("alice?session={}", first.told("session")));
    let others = Speaker::enter(&server, "carol?room=red");
    for session in ["", "0", &"0".repeat(32), first.told("session"), others.told("session")] {
        let (address, path) = (server.address(), format!("/ws/chat/alice?session={session}"));
        let newcomer = thread::spawn(move || {
            let mut socket = offered(Socket::connect(address), &path, "");
            let advice = serde_json::from_str(&socket.read_text()).expect("JSON");
            expect_advice(&advice, 1008, TAKEN);
            assert_eq!(socket.read_close(), (1008, TAKEN.to_owned()));
        });
        answer(&mut alice);
        newcomer.join().expect("a refused newcomer");
    }
    alice.say("lobby", "still here");
}

#[test]
fn an_incumbent_that_is_dead_is_replaced() {
    let server = Server::start(&[]);
    let mut dead = Speaker::alone(&server, "alice");
    let mut alice = Speaker::enter(&server, "alice");
    let (advice, code) = dead.skip_to_end().expect("no reset");
    assert_eq!(code, 4501);
    expect_advice(&advice, 4501, REPLACED);
    alice.say("lobby", "back again");
}

#[test]
fn among_several_connections_of_a_user_the_session_says_which() {
    let server = Server::start(&[("chat.duplicate", "allow")]);
    let mut one = Speaker::alone(&server, "alice");
    let mut two = Speaker::enter(&server, "alice");
    let mut three = Speaker::enter(&server, &format!("alice?session={}", one.told("session")));
    one.expect_end(4501, REPLACED);
    three.say("lobby", "two of us");
    two.expect_message("alice", "two of us");
    let answer = two.ask(json!({"type": "presence", "room": "lobby"}), "presence");
    assert_eq!((&answer["users"], &answer["members"]), (&json!(["alice"]), &json!(1)));
}

#[test]
fn who_has_proved_its_name_needs_no_session() {
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
