//! Calls that change nothing.

use serde_json::{Value, json};

use super::{KEY, READ_KEY, ask_with, asked, call, expect_error, json_of, result, start, with};
use crate::support::eventually;
use crate::support::http::post;
use crate::support::raw::Socket;
use crate::support::speaker::Speaker;

fn names(list: &Value) -> Vec<&str> {
    let names = list.as_array().expect("a list").iter();
    names.map(|name| name.as_str().or(name["room"].as_str()).expect("a name")).collect()
}

/// 1. Users are in rooms, and messages are published there.
/// 2. Every way to ask shows that.
#[test]
fn rooms_and_their_members_and_messages_are_shown() {
    let server = start(&[]);
    let mut alice = Speaker::alone(&server, "alice?room=a");
    let _bob = Speaker::enter(&server, "bob?room=a");
    alice.expect("presence_diff");
    for number in 1..=3 {
        result(&server, "publish", &json!({"room": "a", "message": format!("m{number}"), "user": "carol"}));
        alice.expect("message");
    }
    let row = json!({"room": "a", "members": 2, "epoch": alice.welcome_field("epoch"), "offset": 3});
    // Another node may have the room open too, and hear of the latest message a moment later.
    eventually("the room is shown as it is", || asked(&server, "rooms/a") == row);
    assert_eq!(asked(&server, "rooms")["rooms"], json!([row]));
    assert_eq!(asked(&server, "rooms/a/presence")["users"], json!(["alice", "bob"]));
    let presence = asked(&server, "rooms/a/presence?limit=1");
    assert_eq!(
        presence,
        json!({"type": "presence", "room": "a", "members": 2, "users": ["alice"], "more": true})
    );
    assert_eq!(asked(&server, "rooms/a/presence?after=alice")["users"], json!(["bob"]));
    let history = asked(&server, "rooms/a/history");
    let own = alice.ask(json!({"type": "history", "room": "a"}), "history");
    for field in ["type", "room", "epoch", "messages", "more"] {
        assert_eq!(history[field], own[field], "the same object as in throng.v1: {history}");
    }
    let before = asked(&server, "rooms/a/history?before=3&limit=1");
    assert_eq!(
        (&before["messages"][0]["message"], &before["more"]),
        (&json!("m2"), &json!(true)),
        "{before}"
    );
    let other = asked(&server, "rooms/a/history?epoch=0000000000000");
    assert_eq!((&other["messages"], &other["epoch"]), (&json!([]), &own["epoch"]), "{other}");
    for path in ["rooms/none", "rooms/none/presence", "rooms/none/history"] {
        expect_error(&ask_with(&server, READ_KEY, path), 404, "room_not_found");
    }
    // With POST the fields are in the body.
    assert_eq!(result(&server, "room", &json!({"room": "a"})), row);
    assert_eq!(result(&server, "rooms/a", &json!({})), row);
    assert_eq!(result(&server, "history", &json!({"room": "a", "limit": 2}))["messages"][0]["offset"], 2);
}

#[test]
fn lists_come_in_pages() {
    let server = start(&[("rate_limit.enabled", "false"), ("limits.max_rooms_per_connection", "300")]);
    let mut alice = Speaker::alone(&server, "alice?room=r-000");
    for n in 1..250 {
        alice.ask(json!({"type": "join", "room": format!("r-{n:03}")}), "joined");
        alice.expect("presence_diff");
    }
    let _others: Vec<_> = (0..30).map(|n| Speaker::enter(&server, &format!("user-{n:02}?room=z"))).collect();
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = asked(&server, &format!("rooms?pattern=r-*&limit=99{after}"));
        let rooms = names(&page["rooms"]);
        assert!(rooms.len() <= 99 && page.get("unanswered").is_none(), "{page}");
        seen.extend(rooms.into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else { break };
        assert_eq!(Some(next), seen.last().map(String::as_str));
        after = format!("&after={next}");
    }
    assert_eq!(seen, (0..250).map(|n| format!("r-{n:03}")).collect::<Vec<_>>());
    let users = asked(&server, "users?limit=10");
    assert_eq!(names(&users["users"])[..2], ["alice", "user-00"]);
    assert_eq!((names(&users["users"]).len(), &users["next"]), (10, &json!("user-08")));
    let rest = asked(&server, "users?after=user-08");
    assert_eq!((names(&rest["users"]).len(), &rest["next"]), (21, &Value::Null), "{rest}");
    assert_eq!(asked(&server, "rooms?pattern=z")["rooms"][0]["members"], 30);
}

#[test]
fn a_user_has_connections_and_each_has_its_rooms() {
    let server = start(&[("chat.duplicate", "allow")]);
    let mut one = Speaker::alone(&server, "bob?room=a");
    one.ask(json!({"type": "join", "room": "b"}), "joined");
    let mut plain = Socket::open(server.address(), "/ws/chat/bob?room=c");
    plain.read_text();
    let bob = asked(&server, "users/bob");
    let mut connections = bob["connections"].as_array().expect("a list").clone();
    connections.sort_by_key(|connection| connection["dialect"].to_string());
    let [of_plain, of_v1] = &connections[..] else { panic!("two: {bob}") };
    assert_eq!((&of_plain["dialect"], &of_plain["rooms"]), (&json!("plain"), &json!(["c"])), "{bob}");
    assert_eq!((&of_v1["dialect"], &of_v1["rooms"]), (&json!("throng.v1"), &json!(["a", "b"])), "{bob}");
    for connection in [of_plain, of_v1] {
        let (name, node) = (connection["connection"].as_str(), connection["node"].as_str());
        assert!(name.zip(node).is_some_and(|(name, node)| name.starts_with(&format!("{node}/"))), "{bob}");
        assert!(connection["since_ms"].as_u64().is_some_and(|since| since > 1_700_000_000_000), "{bob}");
    }
    assert_ne!(of_plain["connection"], of_v1["connection"]);
    assert_eq!(asked(&server, "users/nobody"), json!({"user": "nobody", "connections": []}));
    drop((one, plain));
    eventually("bob is offline", || asked(&server, "users/bob")["connections"] == json!([]));
}

#[test]
fn a_key_that_only_reads_reads_in_both_ways_and_changes_nothing() {
    let server = start(&[]);
    let paths = ["rooms", "users", "users/alice", "info", "connections/slow"];
    for path in paths {
        for key in [KEY, READ_KEY] {
            assert_eq!(ask_with(&server, key, path).status, 200, "{path}");
        }
        expect_error(&ask_with(&server, "a-key-that-is-wrong", path), 401, "api_key");
        let headers = with("").replace(KEY, READ_KEY);
        assert_eq!(post(server.address(), &format!("/api/{path}"), &headers, "{}").status, 200, "{path}");
    }
    for path in ["publish", "broadcast", "direct", "disconnect", "kick", "leave", "forget", "batch"] {
        let response = ask_with(&server, READ_KEY, path);
        expect_error(&response, 405, "method");
        assert_eq!(response.header("allow"), Some("POST"));
        let headers = with("").replace(KEY, READ_KEY);
        expect_error(&post(server.address(), &format!("/api/{path}"), &headers, "{}"), 403, "read_only_key");
    }
}

#[test]
fn every_mistake_in_a_question_is_named() {
    let server = start(&[]);
    for (path, code) in [
        ("rooms?x=1", "unknown_field"),
        ("rooms?api_key=a-key-of-the-tests-1", "unknown_field"),
        ("rooms?limit=0", "invalid_field"),
        ("rooms?limit=1001", "invalid_field"),
        ("rooms?limit=ten", "invalid_field"),
        ("rooms?limit=", "invalid_field"),
        ("rooms?limit=1&limit=2", "invalid_field"),
        ("rooms?after=a%20b", "invalid_room"),
        ("rooms/a%20b", "invalid_room"),
        ("rooms/a?room=b", "invalid_field"),
        ("rooms/a/history?before=-1", "invalid_field"),
        ("rooms/a/history?limit=101", "invalid_field"),
        ("rooms/a/presence?after=x", "invalid_user"),
        ("users/x", "invalid_user"),
        ("users?pattern=x", "unknown_field"),
        ("info?x", "unknown_field"),
        ("connections/slow?limit=101", "invalid_field"),
    ] {
        let response = ask_with(&server, KEY, path);
        expect_error(&response, 400, code);
    }
    let long = "x".repeat(65);
    expect_error(&ask_with(&server, KEY, &format!("rooms?pattern={long}")), 400, "invalid_field");
    for path in ["rooms/a/b", "rooms/a/history/1", "slow", "connections", "room%2Fs"] {
        expect_error(&ask_with(&server, KEY, path), 404, "unknown_path");
    }
    expect_error(&call(&server, "rooms?limit=1", &json!({})), 400, "invalid_field");
    expect_error(&call(&server, "rooms", &json!({"limit": -1})), 400, "invalid_field");
    expect_error(&call(&server, "history", &json!({})), 400, "missing_field");
    let keyed = post(server.address(), "/api/rooms", &with("Idempotency-Key: k\r\n"), "{}");
    expect_error(&keyed, 400, "invalid_field");
}

#[test]
fn the_nodes_and_their_counters_are_shown() {
    let server = start(&[]);
    let _alice = Speaker::alone(&server, "alice?room=a");
    let count = server.addresses().len();
    eventually("the nodes are shown", || {
        let info = asked(&server, "info");
        let nodes = info["nodes"].as_array().expect("a list").clone();
        let connections = nodes.iter().filter_map(|node| node["counters"]["connections"].as_u64());
        let is_named = nodes.iter().any(|node| node["name"] == info["node"]);
        nodes.len() == count && is_named && connections.sum::<u64>() == 1 && info["is_up"] == true
    });
}

/// 1. A client reads nothing, and messages for it pile up.
/// 2. It is shown, with its user, and the bytes that wait for it.
#[test]
fn a_client_that_does_not_keep_up_is_shown() {
    let server = start(&[
        ("queue.max_bytes", "64MiB"),
        ("queue.max_messages", "100000"),
        ("queue.max_age", "10m"),
        ("socket.send_buffer", "8KiB"),
    ]);
    let mut socket = Socket::connect_narrow(server.address()).upgraded("/ws/chat/slowpoke?room=a");
    socket.read_text();
    let body = json!({"room": "a", "message": "x".repeat(400)});
    let commands = json!({"commands": vec![json!({"publish": body}); 1_000]});
    eventually("the client is shown", || {
        assert_eq!(call(&server, "batch", &commands).status, 200);
        let slow = asked(&server, "connections/slow?limit=1");
        let connection = &slow["connections"][0];
        connection["user"] == "slowpoke"
            && connection["bytes"].as_u64() > Some(100_000)
            && connection["messages"].as_u64() > Some(100)
            && connection["connection"].is_string()
    });
    let by_post = post(server.address(), "/api/connections/slow", &with(""), "{\"limit\":1}");
    assert_eq!(json_of(&by_post)["result"]["connections"].as_array().map(Vec::len), Some(1));
}
