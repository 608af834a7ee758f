//! The server API: its calls, its errors, its keys and its limits.

mod doors;
mod orders;
mod reads;

use serde_json::{Value, json};

use crate::support::http::{Response, post};
use crate::support::raw::Socket;
use crate::support::server::{Server, Settings};
use crate::support::speaker::Speaker;
use crate::support::{PATIENCE, eventually};

const KEY: &str = "a-key-of-the-tests-1";
const READ_KEY: &str = "a-key-that-only-reads";
const TYPE: &str = "Content-Type: application/json\r\n";

pub(crate) fn start(more: Settings<'_>) -> Server {
    let keys = format!("backend={KEY}");
    let own = [("api.keys", keys.as_str()), ("api.read_keys", READ_KEY), ("workers", "2")];
    Server::start(&[&own, more].concat())
}

/// Returns the header lines of a good call, and others.
pub(crate) fn with(more: &str) -> String {
    format!("X-API-Key: {KEY}\r\n{TYPE}{more}")
}

/// Makes a call with the right key, on any node.
#[track_caller]
pub(crate) fn call(server: &Server, method: &str, body: &Value) -> Response {
    post(server.address(), &format!("/api/{method}"), &with(""), &body.to_string())
}

#[track_caller]
pub(crate) fn json_of(response: &Response) -> Value {
    serde_json::from_str(&response.body).unwrap_or_else(|error| panic!("{error}: {response:?}"))
}

/// Makes a call that must succeed, and returns its result.
#[track_caller]
pub(crate) fn result(server: &Server, method: &str, body: &Value) -> Value {
    let response = call(server, method, body);
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
    json_of(&response)["result"].clone()
}

/// Asks with `GET` and this key, on any node.
#[track_caller]
fn ask_with(server: &Server, key: &str, path: &str) -> Response {
    let mut socket = Socket::connect(server.address());
    let head = format!("GET /api/{path} HTTP/1.1\r\nHost: throng.test\r\nConnection: close\r\n");
    socket.send(format!("{head}X-API-Key: {key}\r\n\r\n"));
    socket.read_response()
}

/// Asks with `GET`, and returns the result.
#[track_caller]
fn asked(server: &Server, path: &str) -> Value {
    let response = ask_with(server, READ_KEY, path);
    assert_eq!(
        (response.status, response.header("content-type")),
        (200, Some("application/json")),
        "{response:?}"
    );
    json_of(&response)["result"].clone()
}

/// Asserts that a response is an error with this status and code.
#[track_caller]
pub(crate) fn expect_error(response: &Response, status: u16, code: &str) {
    response.expect_error_body();
    let body = json_of(response);
    assert_eq!((response.status, &body["error"]["code"]), (status, &json!(code)), "{response:?}");
    assert_eq!(response.header("retry-after").is_some(), matches!(status, 429 | 503), "{response:?}");
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{response:?}");
}

/// Returns the texts of the next messages.
#[track_caller]
fn texts(speaker: &mut Speaker, count: usize) -> Vec<String> {
    let messages = (0..count).map(|_| speaker.expect("message")["message"].clone());
    messages.map(|text| text.as_str().expect("a text").to_owned()).collect()
}

#[test]
fn a_published_message_reaches_the_room_with_the_position_that_is_answered() {
    let server = start(&[]);
    let mut alice = Speaker::alone(&server, "alice?room=a");
    let mut plain = Socket::open(server.address(), "/ws/chat/bob?room=a");
    plain.read_text();
    alice.expect("presence_diff");
    for (number, (fields, user)) in [
        (json!({"room": "a", "message": "hi \"🦀\""}), "server"),
        (json!({"room": "a", "message": "", "user": "carol"}), "carol"),
        (json!({"user": "alice", "message": "as alice", "room": "a"}), "alice"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = result(&server, "publish", &fields);
        let event = alice.expect("message");
        let expected = json!({
            "room": "a", "epoch": alice.welcome_field("epoch"), "offset": number + 1, "id": event["id"],
            "duplicate": false,
        });
        assert_eq!(answer, expected);
        assert_eq!((&event["user"], &event["message"]), (&json!(user), &fields["message"]), "{event}");
        assert_eq!((&event["offset"], &event["room"]), (&answer["offset"], &json!("a")), "{event}");
        let shown: Value = serde_json::from_str(&plain.read_text()).expect("JSON");
        assert_eq!(shown, event, "both dialects get the same message");
    }
}

#[test]
fn a_message_for_a_room_without_members_waits_in_its_history() {
    let server = start(&[]);
    for number in 1..=3 {
        let answer = result(&server, "publish", &json!({"room": "a", "message": format!("m{number}")}));
        assert_eq!(answer["offset"], number);
    }
    let mut alice = Speaker::alone(&server, "alice?room=a");
    let history = alice.ask(json!({"type": "history", "room": "a"}), "history");
    let said: Vec<_> = history["messages"].as_array().expect("a list").iter().collect();
    assert_eq!(said.len(), 3, "{history}");
    assert!(said.iter().zip(1..).all(|(message, number)| message["message"] == format!("m{number}")));
}

/// 1. A message is published with a key, in the body or in the header.
/// 2. It is sent again, to any node and with another text: the first answer comes once more, with `duplicate`.
/// 3. The room has it once. The key is free for other users and other rooms.
#[test]
fn a_retry_with_the_same_key_is_published_once() {
    let server = start(&[]);
    let mut alice = Speaker::alone(&server, "alice?room=a");
    for (key, header) in [("k-1", false), ("k-2 ü", false), ("k-3", true)] {
        let publish = |user: &str, room: &str, text: &str| {
            let mut body = json!({"room": room, "message": text, "user": user});
            let headers = if header { with(&format!("Idempotency-Key: {key}\r\n")) } else { with("") };
            if !header {
                body["key"] = json!(key);
            }
            let response = post(server.address(), "/api/publish", &headers, &body.to_string());
            assert_eq!(response.status, 200, "{response:?}");
            json_of(&response)["result"].clone()
        };
        let first = publish("server", "a", "once");
        assert_eq!(first["duplicate"], false);
        for _ in 0..3 {
            let again = publish("server", "a", "twice");
            assert_eq!(again["duplicate"], true, "{again}");
            assert_eq!((&again["offset"], &again["id"]), (&first["offset"], &first["id"]));
        }
        assert_eq!(publish("carol", "a", "other user")["duplicate"], false);
        assert_eq!(publish("server", "b", "other room")["duplicate"], false);
        assert_eq!(texts(&mut alice, 2), ["once", "other user"]);
    }
    alice.expect_nothing();
}

#[test]
fn only_a_key_in_a_header_opens_the_api() {
    let server = start(&[]);
    let body = json!({"room": "a", "message": "hi"}).to_string();
    let ask = |path: &str, headers: &str| post(server.address(), path, &format!("{TYPE}{headers}"), &body);
    for headers in [
        "",
        "X-API-Key: a-key-of-the-tests-2\r\n",
        "X-API-Key: backend=a-key-of-the-tests-1\r\n",
        "X-API-Key: backend\r\n",
        "X-API-Key:\r\n",
        "Authorization: Basic a-key-of-the-tests-1\r\n",
        "Authorization: a-key-of-the-tests-1\r\n",
        "Cookie: api_key=a-key-of-the-tests-1\r\n",
        "X-Forwarded-For: 127.0.0.1\r\n",
    ] {
        let refused = ask("/api/publish", headers);
        expect_error(&refused, 401, "api_key");
        assert!(refused.body.contains("api.keys"), "{refused:?}");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    }
    for query in ["api_key", "key", "token"] {
        expect_error(&ask(&format!("/api/publish?{query}={KEY}"), ""), 401, "api_key");
    }
    // Without the key nobody learns which calls there are.
    expect_error(&ask("/api/nothing", ""), 401, "api_key");
    assert!(server.metric("throng_refused_total", "api_key") >= 1.0);
    for headers in [format!("Authorization: Bearer {KEY}\r\n"), format!("X-API-Key: {KEY}\r\n")] {
        assert_eq!(ask("/api/publish", &headers).status, 200, "{headers}");
    }
    expect_error(&ask("/api/publish", &format!("X-API-Key: {READ_KEY}\r\n")), 403, "read_only_key");
}

/// The key that a server without any makes for its dashboard publishes nothing.
#[test]
fn without_keys_the_api_refuses_everything() {
    let server = Server::start(&[]);
    let refused = post(
        server.addresses()[0],
        "/api/publish",
        &format!("{TYPE}X-API-Key: {}\r\n", server.key()),
        "{\"room\":\"a\",\"message\":\"hi\"}",
    );
    expect_error(&refused, 401, "api_key");
}

#[test]
fn requests_that_a_page_can_send_are_refused() {
    let server = start(&[]);
    let body = json!({"room": "a", "message": "hi"}).to_string();
    let ask = |headers: &str| post(server.address(), "/api/publish", headers, &body);
    let key = format!("X-API-Key: {KEY}\r\n");
    for origin in [
        "http://other.test",
        "http://throng.test:8080",
        "http://throng.test.evil.test",
        "http://sub.throng.test",
        "ws://throng.test",
        "throng.test",
        "null",
        "",
        "http://throng.test\r\nOrigin: http://throng.test",
        "http://throng.test\r\nOrigin: http://other.test",
    ] {
        expect_error(&ask(&with(&format!("Origin: {origin}\r\n"))), 403, "origin");
    }
    // The dashboard is a page of the server itself, with or without a proxy for TLS, and needs a key like everybody.
    for origin in ["http://throng.test", "https://throng.test", "HTTP://Throng.test:80"] {
        let origin = format!("Origin: {origin}\r\n");
        assert_eq!(ask(&with(&origin)).status, 200, "{origin}");
        expect_error(&ask(&format!("{TYPE}{origin}")), 401, "api_key");
        expect_error(&ask(&format!("{TYPE}{origin}X-API-Key: {READ_KEY}\r\n")), 403, "read_only_key");
    }
    for kind in ["", "Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"] {
        expect_error(&ask(&format!("{key}{kind}")), 415, "content_type");
    }
    expect_error(&ask(&with("Content-Type: text/plain\r\n")), 415, "content_type");
    for kind in ["application/json; charset=utf-8", "Application/JSON"] {
        assert_eq!(ask(&format!("{key}Content-Type: {kind}\r\n")).status, 200, "{kind}");
    }
    let mut socket = Socket::connect(server.address());
    socket.send(format!("OPTIONS /api/publish HTTP/1.1\r\nHost: throng.test\r\n{}\r\n", with("")));
    let refused = socket.read_response();
    expect_error(&refused, 405, "method");
    assert_eq!(refused.header("allow"), Some("POST"));
    let mut socket = Socket::connect(server.address());
    socket.send(format!("GET /api/publish?room=a HTTP/1.1\r\nHost: throng.test\r\n{}\r\n", with("")));
    expect_error(&socket.read_response(), 405, "method");
    expect_error(&call(&server, "nothing", &json!({})), 404, "unknown_path");
    expect_error(&call(&server, "publish/a", &json!({})), 404, "unknown_path");
}

#[test]
fn every_mistake_in_a_body_is_named() {
    let server = start(&[("chat.max_message_chars", "10"), ("limits.max_request_body", "1KiB")]);
    let good = json!({"room": "a", "message": "hi"});
    let edit = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body.to_string()
    };
    for (body, code) in [
        (String::new(), "invalid_json"),
        ("{\"room\":\"a\"".to_owned(), "invalid_json"),
        ("[]".to_owned(), "invalid_field"),
        ("\"room\"".to_owned(), "invalid_field"),
        ("{}".to_owned(), "missing_field"),
        (json!({"room": "a"}).to_string(), "missing_field"),
        (json!({"message": "hi"}).to_string(), "missing_field"),
        (edit("mesage", json!("hi")), "unknown_field"),
        (edit("echo", json!(true)), "unknown_field"),
        (edit("type", json!("message")), "unknown_field"),
        ("{\"room\":\"a\",\"room\":\"b\",\"message\":\"hi\"}".to_owned(), "invalid_field"),
        (edit("room", json!("no room")), "invalid_room"),
        (edit("room", json!("")), "invalid_room"),
        (edit("room", json!(7)), "invalid_room"),
        (edit("room", json!(["a"])), "invalid_room"),
        (edit("user", json!("ab")), "invalid_user"),
        (edit("user", Value::Null), "invalid_user"),
        (edit("message", json!(1)), "invalid_field"),
        (edit("message", json!("12345678901")), "message_too_long"),
        (edit("key", json!("")), "invalid_key"),
        (edit("key", json!("k".repeat(65))), "invalid_key"),
        (edit("key", json!(1)), "invalid_key"),
    ] {
        expect_error(&post(server.address(), "/api/publish", &with(""), &body), 400, code);
    }
    let named = post(server.address(), "/api/publish", &with(""), &edit("mesage", json!("hi")));
    assert!(named.body.contains("'mesage'"), "{named:?}");
    let twice = with("Idempotency-Key: a\r\n");
    let both = post(server.address(), "/api/publish", &twice, &edit("key", json!("a")));
    expect_error(&both, 400, "invalid_key");
    let large = edit("message", json!("x".repeat(1024)));
    expect_error(&post(server.address(), "/api/publish", &with(""), &large), 413, "body_too_large");
    let mut alice = Speaker::alone(&server, "alice?room=a");
    let history = alice.ask(json!({"type": "history", "room": "a"}), "history");
    assert_eq!(history["messages"], json!([]), "nothing of that was published");
    assert_eq!(result(&server, "publish", &json!({"room": "a", "message": "1234567890"}))["offset"], 1);
}

/// 1. A batch has a thousand messages, some of which are wrong, others repeated.
/// 2. Each has its own outcome, in order, and the good ones are in their rooms in order.
#[test]
fn a_batch_of_a_thousand_has_an_outcome_for_each() {
    let server = start(&[("queue.max_messages", "4096")]);
    let mut rooms: Vec<_> =
        ["a", "b"].map(|room| Speaker::alone(&server, &format!("user-{room}?room={room}"))).into();
    let commands: Vec<Value> = (0..1_000)
        .map(|n| {
            let room = if n % 2 == 0 { "a" } else { "b" };
            match n {
                500 => json!({"publish": {"room": "no room", "message": "x"}}),
                501 => json!({"publish": {"room": "b"}}),
                502 => json!({"shout": {"room": "a", "message": "x"}}),
                503 => json!("publish"),
                504 => json!({"direct": {"to": "nobody", "message": "x"}}),
                _ => json!({"publish": {"room": room, "message": n.to_string(), "key": (n / 4).to_string()}}),
            }
        })
        .collect();
    let results = result(&server, "batch", &json!({"commands": commands}))["results"].clone();
    let results = results.as_array().expect("a list");
    assert_eq!(results.len(), 1_000);
    let mut offsets = [0, 0];
    for (n, outcome) in results.iter().enumerate() {
        let expected = match n {
            500 => Some("invalid_room"),
            501 => Some("missing_field"),
            502 | 503 => Some("invalid_field"),
            504 => Some("user_not_found"),
            _ => None,
        };
        if let Some(code) = expected {
            assert_eq!(outcome["error"]["code"], code, "{n}: {outcome}");
            continue;
        }
        let result = &outcome["result"];
        // Of two messages of a room under one key the second is a duplicate. 504 said nothing, so 506 is a first one.
        let is_repeated = n % 4 >= 2 && n != 506;
        assert_eq!(result["duplicate"], is_repeated, "{n}: {outcome}");
        if !is_repeated {
            offsets[n % 2] += 1;
        }
        assert_eq!(result["offset"], offsets[n % 2], "{n}: {outcome}");
    }
    for (speaker, last) in rooms.iter_mut().zip(offsets) {
        for offset in 1..=last {
            assert_eq!(speaker.expect("message")["offset"], offset);
        }
        speaker.expect_nothing();
    }
    for (body, code) in [
        (json!({}), "missing_field"),
        (json!({"commands": []}), "invalid_field"),
        (json!({"commands": {}}), "invalid_field"),
        (json!({"commands": vec![json!({}); 1_001]}), "invalid_field"),
        (json!({"commands": [{}], "parallel": 1}), "invalid_field"),
        (json!({"commands": [{}], "key": "k"}), "unknown_field"),
    ] {
        expect_error(&call(&server, "batch", &body), 400, code);
    }
    let keyed = post(
        server.address(),
        "/api/batch",
        &with("Idempotency-Key: k\r\n"),
        "{\"commands\":[{\"publish\":{\"room\":\"a\",\"message\":\"x\"}}]}",
    );
    expect_error(&keyed, 400, "invalid_field");
}

#[test]
fn a_broadcast_reaches_each_room_and_names_those_that_are_wrong() {
    let server = start(&[]);
    let mut rooms: Vec<_> =
        ["a", "b"].map(|room| Speaker::alone(&server, &format!("user-{room}?room={room}"))).into();
    let body = json!({"rooms": ["a", "no room", "b", 1], "message": "all", "key": "k"});
    for is_repeated in [false, true] {
        let results = result(&server, "broadcast", &body)["results"].clone();
        for (index, room) in [(0, "a"), (2, "b")] {
            let outcome = &results[index]["result"];
            assert_eq!((&outcome["room"], &outcome["offset"]), (&json!(room), &json!(1)), "{results}");
            assert_eq!(outcome["duplicate"], is_repeated, "{results}");
        }
        assert_eq!(results[1]["error"]["code"], "invalid_room");
        assert_eq!(results[3]["error"]["code"], "invalid_room");
    }
    for speaker in &mut rooms {
        assert_eq!(texts(speaker, 1), ["all"]);
        speaker.expect_nothing();
    }
    for (body, code) in [
        (json!({"rooms": [], "message": "x"}), "invalid_field"),
        (json!({"rooms": "a", "message": "x"}), "invalid_field"),
        (json!({"rooms": vec!["a"; 1_001], "message": "x"}), "invalid_field"),
        (json!({"rooms": ["a"], "room": "a", "message": "x"}), "unknown_field"),
    ] {
        expect_error(&call(&server, "broadcast", &body), 400, code);
    }
}

#[test]
fn a_private_message_reaches_each_connection_of_its_recipients() {
    let server = start(&[("chat.duplicate", "allow")]);
    let mut bobs: Vec<_> = ["b", "c"].map(|room| Speaker::alone(&server, &format!("bob?room={room}"))).into();
    let mut carol = Speaker::alone(&server, "carol?room=d");
    for key in [json!({}), json!({"key": "k"})] {
        let mut body = json!({"to": "bob", "message": "psst", "user": "alice"});
        body.as_object_mut().expect("an object").extend(key.as_object().expect("an object").clone());
        assert_eq!(result(&server, "direct", &body), json!({"delivered": 2}));
        for bob in &mut bobs {
            let event = bob.expect("direct");
            assert_eq!((&event["user"], &event["message"]), (&json!("alice"), &json!("psst")), "{event}");
        }
    }
    // The key is known: the first answer comes again, and nobody gets the message once more.
    let again = json!({"to": "bob", "message": "psst", "user": "alice", "key": "k"});
    assert_eq!(result(&server, "direct", &again), json!({"delivered": 2}));
    let many = json!({"to": ["carol", "nobody", "bob", "x y"], "message": "all"});
    let results = result(&server, "direct", &many)["results"].clone();
    assert_eq!(
        (&results[0]["result"]["delivered"], &results[2]["result"]["delivered"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(results[1]["error"]["code"], "user_not_found");
    assert_eq!(results[3]["error"]["code"], "invalid_user");
    for speaker in bobs.iter_mut().chain([&mut carol]) {
        assert_eq!(speaker.expect("direct")["message"], "all");
        speaker.expect_nothing();
    }
    expect_error(&call(&server, "direct", &json!({"to": "nobody", "message": "x"})), 404, "user_not_found");
    for (body, code) in [
        (json!({"to": [], "message": "x"}), "invalid_field"),
        (json!({"to": 1, "message": "x"}), "invalid_field"),
        (json!({"to": "x y", "message": "x"}), "invalid_user"),
        (json!({"to": "bob", "message": "x", "room": "a"}), "unknown_field"),
    ] {
        expect_error(&call(&server, "direct", &body), 400, code);
    }
}

/// 1. Messages are published, and the server is killed at once.
/// 2. The next one has them, and knows their keys.
#[test]
fn with_a_history_on_disk_an_answered_message_and_its_key_survive() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = [("history.dir", folder.path().to_str().expect("a path in UTF-8"))];
    let message = |n: usize| json!({"room": "a", "message": format!("m{n}"), "key": format!("k{n}")});
    let mut server = start(&dir);
    let first: Vec<_> = (0..50).map(|n| result(&server, "publish", &message(n))).collect();
    server.signal("KILL");
    server.wait_exit(PATIENCE);
    let server = start(&dir);
    for (n, first) in first.iter().enumerate() {
        let again = result(&server, "publish", &message(n));
        assert_eq!((&again["id"], &again["duplicate"]), (&first["id"], &json!(true)), "{again}");
    }
    assert_eq!(result(&server, "publish", &message(50))["offset"], 51);
}

/// 1. A user has connections of both dialects, perhaps on several nodes.
/// 2. A call ends them all, and nobody else's.
/// 3. The name is free again, and a user who is not there has no connections to end.
#[test]
fn a_user_is_disconnected_on_every_node() {
    let server = start(&[("chat.duplicate", "allow")]);
    // A node hears a moment later who has left a room on another node: each round has rooms of its own.
    for path in ["disconnect", "kick"] {
        let mut bobs: Vec<_> = ["b", "c", "d", "e"]
            .map(|room| Speaker::alone(&server, &format!("bob?room={path}-{room}")))
            .into();
        let mut plain = Socket::open(server.address(), &format!("/ws/chat/bob?room={path}-f"));
        plain.read_text();
        let mut carol = Speaker::alone(&server, &format!("carol?room={path}-g"));
        assert_eq!(result(&server, path, &json!({"user": "bob"})), json!({"closed": 5}));
        for bob in &mut bobs {
            let event = bob.expect("disconnect");
            assert_eq!((&event["code"], &event["reconnect"]), (&json!(4501), &json!(false)), "{event}");
            assert_eq!(bob.socket.read_close(), (4501, "Kicked".to_owned()));
        }
        assert_eq!(plain.skip_to_close(), (4501, "Kicked".to_owned()));
        carol.expect_nothing();
        eventually("no connection of bob is left", || {
            result(&server, path, &json!({"user": "bob"})) == json!({"closed": 0})
        });
    }
    let commands = json!({"commands": [
        {"publish": {"room": "g", "message": "before"}}, {"disconnect": {"user": "nobody"}}, {"disconnect": {}},
    ]});
    let results = result(&server, "batch", &commands)["results"].clone();
    assert_eq!(results[1]["result"], json!({"closed": 0}));
    assert_eq!(results[2]["error"]["code"], "missing_field");
    for (body, code) in [
        (json!({}), "missing_field"),
        (json!({"user": "x y"}), "invalid_user"),
        (json!({"user": "bob", "codes": 4000}), "unknown_field"),
    ] {
        expect_error(&call(&server, "disconnect", &body), 400, code);
    }
}

#[test]
fn a_connection_is_kept_for_further_calls() {
    let server = start(&[]);
    let mut socket = Socket::connect(server.address());
    for offset in 1..=5 {
        let body = json!({"room": "a", "message": "hi"}).to_string();
        let length = body.len();
        let head = format!("POST /api/publish HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n");
        socket.send(format!("{head}{}\r\n{body}", with("")));
        assert_eq!(json_of(&socket.read_response())["result"]["offset"], offset);
    }
}

#[test]
fn a_key_has_a_rate_and_the_server_a_number_of_calls_under_way() {
    let server = start(&[("api.requests_per_second", "1"), ("api.max_in_flight", "1")]);
    let address = server.addresses()[0];
    let body = json!({"room": "a", "message": "hi"}).to_string();
    let ask = || post(address, "/api/publish", &with(""), &body);
    assert_eq!(ask().status, 200);
    expect_error(&ask(), 429, "rate_limited");
    let server = start(&[("api.max_in_flight", "1")]);
    let address = server.addresses()[0];
    let ask = || post(address, "/api/publish", &with(""), &body);
    // A call is under way for as long as its body is not whole. It may lose the place to the call that looks for it.
    let head = format!("POST /api/publish HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n", body.len());
    let mut slow = Vec::new();
    eventually("a slow call is under way", || {
        let mut socket = Socket::connect(address);
        socket.send(format!("{head}{}\r\n{{", with("")));
        slow.push(socket);
        ask().status == 503
    });
    expect_error(&ask(), 503, "at_capacity");
    let answered = slow.iter_mut().map(|socket| {
        socket.try_send(&body[1..]);
        socket.read_response().status
    });
    assert_eq!(answered.filter(|status| *status == 200).count(), 1);
    eventually("the slow call is over", || ask().status == 200);
}

/// A call has one line, with the name of its key, and neither the key nor a text.
#[test]
fn the_log_has_a_line_for_each_call_without_secrets() {
    let server = start(&[("log.format", "json"), ("log.level", "trace")]);
    let address = server.addresses()[0];
    let text = "a text that nobody logs";
    let ask = |method: &str, body: Value| {
        post(address, &format!("/api/{method}"), &with(""), &body.to_string()).status
    };
    let key = "an idempotency key";
    assert_eq!(ask("publish", json!({"room": "the-room", "message": text, "key": key})), 200);
    assert_eq!(ask("direct", json!({"to": "the-user", "message": text})), 404);
    assert_eq!(ask("broadcast", json!({"rooms": ["a", "b", "c d"], "message": text})), 200);
    let line = |method: &str| {
        let is_it = |line: &Value| line["message"] == "api call" && line["method"] == method;
        let line = server.log().wait_for("the line of the call", is_it);
        assert_eq!((&line["level"], &line["key"]), (&json!("INFO"), &json!("backend")), "{line}");
        line
    };
    let publish = line("publish");
    assert_eq!((&publish["room"], &publish["outcome"]), (&json!("the-room"), &json!("ok")), "{publish}");
    let direct = line("direct");
    assert_eq!(
        (&direct["user"], &direct["outcome"]),
        (&json!("the-user"), &json!("user_not_found")),
        "{direct}"
    );
    let broadcast = line("broadcast");
    assert_eq!((&broadcast["parts"], &broadcast["failed"]), (&json!(3), &json!(1)), "{broadcast}");
    let log = server.log().text();
    assert!(!log.contains(KEY) && !log.contains(text) && !log.contains(key), "{log}");
}

#[test]
fn a_server_that_stops_refuses_calls() {
    let server = start(&[("drain.window", "60s")]);
    let _held: Vec<_> = (0..20).map(|_| Socket::open(server.address(), "/ws")).collect();
    server.terminate();
    eventually("not ready any more", || server.get("/readyz").status == 503);
    let body = json!({"room": "a", "message": "hi"}).to_string();
    expect_error(&post(server.addresses()[0], "/api/publish", &with(""), &body), 503, "draining");
}
