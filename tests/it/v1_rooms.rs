//! Several rooms on one connection: the commands `join` and `leave`.

use serde_json::{Value, json};

use crate::support::frame::text;
use crate::support::raw::Socket;
use crate::support::server::Server;
use crate::support::speaker::Speaker;
use crate::support::token::{SECRET, mint};

fn join(room: &str) -> Value {
    json!({"type": "join", "room": room})
}

fn leave(room: &str) -> Value {
    json!({"type": "leave", "room": room})
}

#[test]
fn rooms_are_joined_and_left() {
    let server = Server::start(&[("workers", "2")]);
    let mut bob = Speaker::alone(&server, "bob?room=red");
    bob.say("red", "before alice");
    let mut alice = Speaker::alone(&server, "alice");
    let joined = alice.ask(join("red"), "joined");
    let expected = json!({
        "type": "joined", "re": joined["re"], "room": "red", "epoch": bob.welcome_field("epoch"), "offset": 1,
        "recovered": false, "members": 2,
    });
    assert_eq!(joined, expected);
    for speaker in [&mut alice, &mut bob] {
        let diff = speaker.expect("presence_diff");
        assert_eq!(
            (&diff["room"], &diff["joined"], &diff["members"]),
            (&json!("red"), &json!(["alice"]), &json!(2))
        );
    }
    assert_eq!(bob.say("red", "with alice")["offset"], 2);
    assert_eq!(alice.expect_message("bob", "with alice"), 2);
    // Messages of both rooms come on one connection, each room with its own offsets.
    assert_eq!(alice.say("lobby", "in the lobby")["offset"], 1);
    assert_eq!(alice.say("red", "in red")["offset"], 3);
    bob.expect_message("alice", "in red");
    let left = alice.ask(leave("red"), "left");
    assert_eq!(left, json!({"type": "left", "re": left["re"], "room": "red"}));
    let diff = bob.expect("presence_diff");
    assert_eq!((&diff["left"], &diff["members"]), (&json!(["alice"]), &json!(1)), "{diff}");
    bob.say("red", "without alice");
    alice.expect_nothing();
    // A room can be joined again, and the room of the handshake can be left like any other.
    assert_eq!(alice.ask(join("red"), "joined")["offset"], 4);
    alice.expect("presence_diff");
    alice.ask(leave("lobby"), "left");
    alice.ask_refused(json!({"type": "message", "message": "no room named"}), "not_in_room");
    alice.say("red", "still here");
}

#[test]
fn messages_before_a_leave_come_before_its_answer() {
    let server = Server::start(&[("workers", "1")]);
    let mut alice = Speaker::alone(&server, "alice");
    for n in 0..20 {
        alice.send(&json!({"type": "message", "message": n.to_string()}));
    }
    alice.command(leave("lobby"));
    for n in 0..20 {
        assert_eq!(alice.expect_message("alice", &n.to_string()), n + 1);
        assert_eq!(alice.expect("ack")["offset"], n + 1);
    }
    alice.expect("left");
}

#[test]
fn invalid_joins_and_leaves_are_refused() {
    let server =
        Server::start(&[("limits.max_rooms_per_connection", "3"), ("limits.malformed_per_minute", "1000")]);
    let mut alice = Speaker::alone(&server, "alice");
    alice.ask_refused(join("lobby"), "already_joined");
    alice.ask_refused(leave("red"), "not_in_room");
    let long = "r".repeat(65);
    for bad in ["", "a b", "a/b", "käse", long.as_str()] {
        for kind in ["join", "leave", "history", "presence", "typing"] {
            alice.ask_refused(json!({"type": kind, "room": bad}), "invalid_room");
        }
    }
    for kind in ["leave", "history", "presence", "typing"] {
        alice.ask_refused(json!({"type": kind, "room": "elsewhere"}), "not_in_room");
    }
    for room in ["red", "blue"] {
        alice.ask(join(room), "joined");
        alice.expect("presence_diff");
    }
    let error = alice.ask_refused(join("green"), "too_many_rooms");
    assert_eq!(error["message"], "Too many rooms (max 3)");
    alice.ask_refused(join("red"), "already_joined");
    alice.ask(leave("blue"), "left");
    alice.ask(join("green"), "joined");
}

#[test]
fn a_room_too_many_for_the_node_is_unavailable() {
    let server = Server::start(&[("limits.max_rooms", "1")]);
    let mut alice = Speaker::alone(&server, "alice");
    let error = alice.ask_refused(join("second"), "unavailable");
    assert_eq!(error["message"], "Service unavailable: too many rooms, try again later");
    alice.say("lobby", "alive");
}

/// 1. A client sends one message in each of as many rooms as there may be, and leaves them.
/// 2. Others can still enter the default room and new ones: the rooms that were left first are evicted.
/// 3. The room with a member in it is not evicted.
#[test]
fn empty_rooms_cannot_keep_others_out() {
    let server = Server::start(&[("limits.max_rooms", "3")]);
    let mut bob = Speaker::alone(&server, "bob?room=here");
    bob.say("here", "first");
    let mut mallory = Speaker::alone(&server, "mallory?room=red");
    for room in ["red", "room-1", "room-2", "room-3", "room-4", "room-5"] {
        if room != "red" {
            mallory.ask(join(room), "joined");
            mallory.expect("presence_diff");
        }
        mallory.say(room, "mine");
        mallory.ask(leave(room), "left");
    }
    assert_eq!(server.metric("throng_rooms", ""), 3.0);
    let mut alice = Speaker::alone(&server, "alice");
    alice.say("lobby", "in the default room");
    alice.ask(join("new"), "joined");
    alice.expect("presence_diff");
    assert_eq!(bob.say("here", "second")["offset"], 2);
}

/// 1. A client sends one message under a key in each of as many rooms as there may be, and leaves them.
/// 2. A newcomer can enter a new room at once, for which a room of the user with the most rooms is evicted.
/// 3. Keys are still known, those of evicted rooms too: a message that is sent again is appended once.
#[test]
fn remembered_keys_cannot_keep_others_out() {
    let server = Server::start(&[("limits.max_rooms", "5")]);
    let mut bob = Speaker::alone(&server, "bob?room=quiet");
    bob.say("quiet", "kept");
    bob.ask(leave("quiet"), "left");
    let mut mallory = Speaker::alone(&server, "mallory?room=room-0");
    let keyed =
        |room: &str| json!({"type": "message", "room": room, "message": "hi", "key": "k", "echo": false});
    for n in 0..6 {
        let room = format!("room-{n}");
        if n > 0 {
            mallory.ask(join(&room), "joined");
            mallory.expect("presence_diff");
        }
        assert_eq!(mallory.ask(keyed(&room), "ack")["duplicate"], false);
        mallory.ask(leave(&room), "left");
    }
    assert_eq!(server.metric("throng_rooms", ""), 5.0);
    let mut alice = Speaker::alone(&server, "alice?room=new");
    alice.ask(join("newer"), "joined");
    for n in 0..6 {
        let room = format!("room-{n}");
        mallory.ask(join(&room), "joined");
        mallory.expect("presence_diff");
        let again = mallory.ask(keyed(&room), "ack");
        assert_eq!((&again["offset"], &again["duplicate"]), (&json!(1), &json!(true)), "{again}");
        mallory.ask(leave(&room), "left");
    }
    // Bob, who has one room, has lost nothing.
    let mut bob = Speaker::alone(&server, "robert?room=quiet");
    let history = bob.ask(json!({"type": "history", "room": "quiet"}), "history");
    assert_eq!(history["messages"].as_array().map(Vec::len), Some(1), "{history}");
}

#[test]
fn a_token_names_the_rooms_that_may_be_entered() {
    let server = Server::start(&[("auth.required", "true"), ("auth.secret", SECRET)]);
    let token = mint(&["--sub", "alice", "--room", "live-*", "--room", "hall"]);
    let path = format!("alice?room=live-1&token={token}");
    let mut alice = Speaker::on(Socket::connect(server.address()), &path, "");
    alice.expect("presence_diff");
    for allowed in ["live-2", "hall"] {
        alice.ask(join(allowed), "joined");
        alice.expect("presence_diff");
    }
    for forbidden in ["lobby", "alive-1", "hall2"] {
        let error = alice.ask_refused(join(forbidden), "forbidden");
        assert_eq!(error["message"], "Forbidden: the token does not allow this room");
    }
    alice.say("hall", "alive");
}

#[test]
fn after_a_reconnect_all_rooms_can_be_joined_at_once_at_any_limit() {
    const ROOMS: usize = 300;
    let server = Server::start(&[
        ("rate_limit.enabled", "true"),
        ("limits.max_rooms_per_connection", &ROOMS.to_string()),
    ]);
    let mut alice = Speaker::enter(&server, "alice");
    let joins: Vec<u8> = (1..ROOMS)
        .flat_map(|room| text(format!(r#"{{"type":"join","id":"{room}","room":"room-{room}"}}"#)))
        .collect();
    alice.socket.send(joins);
    let mut joined = 0;
    while joined < ROOMS - 1 {
        let event = alice.event();
        match event["type"].as_str() {
            Some("joined") => joined += 1,
            Some("presence_diff") => {}
            _ => panic!("{event}"),
        }
    }
}
