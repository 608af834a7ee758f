//! Calls that end connections, take users out of rooms, and forget rooms.

use serde_json::{Value, json};

use super::{asked, call, expect_error, result, start, texts};
use crate::support::raw::Socket;
use crate::support::speaker::Speaker;
use crate::support::{PATIENCE, eventually};

/// 1. A user has three connections.
/// 2. Two of them are ended with a code and a reason of the caller's own; the third is excepted.
#[test]
fn a_disconnect_may_name_a_code_and_a_reason_and_spare_connections() {
    let server = start(&[("chat.duplicate", "allow")]);
    for (code, reconnect) in [(4100, true), (4499, true), (4500, false), (4999, false)] {
        let mut bobs: Vec<_> =
            ["b", "c", "d"].map(|room| Speaker::alone(&server, &format!("bob?room={code}-{room}"))).into();
        let room = json!([format!("{code}-d")]);
        let mut spared = Value::Null;
        eventually("all are there", || {
            let connections = asked(&server, "users/bob")["connections"].clone();
            let all = connections.as_array().expect("a list");
            spared = all
                .iter()
                .find(|one| one["rooms"] == room)
                .map_or(Value::Null, |one| one["connection"].clone());
            all.len() == 3
        });
        let order = json!({"user": "bob", "code": code, "reason": "see you: \u{e4}", "except": [spared]});
        assert_eq!(result(&server, "disconnect", &order), json!({"closed": 2}));
        let mut last = bobs.pop().expect("three");
        for bob in &mut bobs {
            let event = bob.expect("disconnect");
            assert_eq!((&event["code"], &event["reconnect"]), (&json!(code), &json!(reconnect)), "{event}");
            assert_eq!(bob.socket.read_close(), (code, "see you: \u{e4}".to_owned()));
        }
        last.expect_nothing();
        assert_eq!(
            result(&server, "disconnect", &json!({"user": "bob", "reason": "x"})),
            json!({"closed": 1})
        );
        last.expect("disconnect");
        assert_eq!(last.socket.read_close(), (4501, "x".to_owned()));
        eventually("bob is offline", || asked(&server, "users/bob")["connections"] == json!([]));
    }
    for wrong in [
        json!({"code": 1000}),
        json!({"code": 3999}),
        json!({"code": 5000}),
        json!({"code": "4501"}),
        json!({"reason": "x".repeat(124)}),
        json!({"reason": 1}),
        json!({"except": "a"}),
        json!({"except": [1]}),
    ] {
        let mut order = json!({"user": "bob"});
        order.as_object_mut().expect("an object").extend(wrong.as_object().expect("an object").clone());
        expect_error(&call(&server, "disconnect", &order), 400, "invalid_field");
    }
}

/// 1. A user leaves a room on an operator's order: `throng.v1` says so without `re`, and stays connected.
/// 2. A plain client has no other room: it is ended with 4501.
/// 3. The members of the room see the user go.
#[test]
fn a_user_leaves_a_room_on_order() {
    let server = start(&[("chat.duplicate", "allow")]);
    let mut carol = Speaker::alone(&server, "carol?room=a");
    let mut bob = Speaker::alone(&server, "bob?room=b");
    bob.ask(json!({"type": "join", "room": "a"}), "joined");
    bob.expect("presence_diff");
    carol.expect("presence_diff");
    let order = json!({"user": "bob", "room": "a"});
    assert_eq!(result(&server, "leave", &order), json!({"left": 1}));
    assert_eq!(bob.expect("left"), json!({"type": "left", "room": "a"}));
    assert_eq!(carol.expect("presence_diff")["left"], json!(["bob"]));
    assert_eq!(result(&server, "leave", &order), json!({"left": 0}));
    // The connection goes on in its other room, and may come back.
    bob.say("b", "still here");
    bob.ask(json!({"type": "join", "room": "a"}), "joined");
    bob.expect("presence_diff");
    carol.expect("presence_diff");
    let mut plain = Socket::open(server.address(), "/ws/chat/bob?room=a");
    let both = json!({"commands": [{"leave": order}, {"leave": {"user": "nobody", "room": "a"}}]});
    let results = result(&server, "batch", &both)["results"].clone();
    assert_eq!(results, json!([{"result": {"left": 2}}, {"result": {"left": 0}}]));
    bob.expect("left");
    assert_eq!(plain.skip_to_close(), (4501, "Kicked".to_owned()));
    assert_eq!(carol.expect("presence_diff")["left"], json!(["bob"]));
    for (body, code) in [
        (json!({"user": "bob"}), "missing_field"),
        (json!({"room": "a"}), "missing_field"),
        (json!({"user": "bob", "room": "a b"}), "invalid_room"),
        (json!({"user": "bob", "room": "a", "code": 4000}), "unknown_field"),
    ] {
        expect_error(&call(&server, "leave", &body), 400, code);
    }
}

/// 1. A member resumes from an old position after the room was forgotten: it has a new epoch and no old message.
/// 2. Members are told by 4003, which they come back after.
#[test]
fn a_forgotten_room_begins_anew() {
    let server = start(&[]);
    let mut alice = Speaker::alone(&server, "alice?room=a");
    let mut plain = Socket::open(server.address(), "/ws/chat/bob?room=a");
    plain.read_text();
    alice.expect("presence_diff");
    let before = alice.say("a", "old");
    assert_eq!(result(&server, "forget", &json!({"room": "a"})), json!({"closed": 2}));
    let event = alice.expect("disconnect");
    assert_eq!((&event["code"], &event["reconnect"]), (&json!(4003), &json!(true)), "{event}");
    assert_eq!(plain.skip_to_close(), (4003, "Position lost".to_owned()));
    let position = format!("{}:1", before["epoch"].as_str().expect("an epoch"));
    eventually("the connections are gone", || asked(&server, "users")["users"] == json!([]));
    let mut again = Speaker::enter(&server, &format!("alice?room=a&resume={position}"));
    assert_eq!((&again.welcome["recovered"], &again.welcome["offset"]), (&json!(false), &json!(0)));
    assert_ne!(again.welcome["epoch"], before["epoch"]);
    again.expect("presence_diff");
    result(&server, "publish", &json!({"room": "a", "message": "new"}));
    assert_eq!(texts(&mut again, 1), ["new"]);
    let history = again.ask(json!({"type": "history", "room": "a"}), "history");
    assert_eq!(history["messages"].as_array().map(Vec::len), Some(1), "{history}");
    // A room of which nothing is known.
    assert_eq!(result(&server, "forget", &json!({"room": "none"})), json!({"closed": 0}));
    // One that nobody is in.
    let first = result(&server, "publish", &json!({"room": "b", "message": "waits", "key": "k"}));
    assert_eq!(result(&server, "forget", &json!({"room": "b"})), json!({"closed": 0}));
    let second = result(&server, "publish", &json!({"room": "b", "message": "waits", "key": "k"}));
    assert_eq!((&second["offset"], &second["duplicate"]), (&json!(1), &json!(false)), "{second}");
    assert_ne!(first["epoch"], second["epoch"]);
    for (body, code) in [(json!({}), "missing_field"), (json!({"room": "a b"}), "invalid_room")] {
        expect_error(&call(&server, "forget", &body), 400, code);
    }
}

#[test]
fn a_room_that_was_forgotten_stays_forgotten_after_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = [("history.dir", folder.path().to_str().expect("a path in UTF-8"))];
    let mut server = start(&dir);
    let say = |server: &_, room: &str| result(server, "publish", &json!({"room": room, "message": "old"}));
    let (gone, kept, renewed) = (say(&server, "gone"), say(&server, "kept"), say(&server, "renewed"));
    for room in ["gone", "renewed"] {
        assert_eq!(result(&server, "forget", &json!({"room": room})), json!({"closed": 0}));
    }
    let again = say(&server, "renewed");
    assert_ne!(again["epoch"], renewed["epoch"]);
    server.signal("KILL");
    server.wait_exit(PATIENCE);
    let server = start(&dir);
    let rooms = asked(&server, "rooms")["rooms"].clone();
    let shown: Vec<_> =
        rooms.as_array().expect("a list").iter().map(|row| (&row["room"], &row["epoch"])).collect();
    assert_eq!(shown, [(&json!("kept"), &kept["epoch"]), (&json!("renewed"), &again["epoch"])]);
    assert_ne!(say(&server, "gone")["epoch"], gone["epoch"]);
}
