//! Messages that carry data beside their text, and users who have names.

use serde_json::{Value, json};

use crate::history_dir::{folder, start};
use crate::support::frame::text;
use crate::support::http::post;
use crate::support::raw::Socket;
use crate::support::server::{Server, Settings};
use crate::support::speaker::Speaker;
use crate::support::token::{SECRET, mint, seconds_from_now, signed};

/// JSON that a parser would write in another way: blanks, digits, escapes, and a field that occurs twice.
const DATA: &str = concat!(
    "{ \"data\" : [ 1.50,-0,1E2, 12345678901234567890123 ],\t",
    r#""\u0061":"\u00fc\/\n","#,
    "\r\n\"a\":\"ü\\ud83e\\udd80\" }"
);
/// The most levels of nesting that data may have: the message is one more.
const DEPTH: usize = 15;
const KEY: &str = "a-key-of-the-tests-1";

fn say(data: &str) -> String {
    format!("{{\"type\":\"message\",\"message\":\"hi\",\"data\" :\n{data}\t, \"id\":\"1\"}}")
}

#[track_caller]
fn message(socket: &mut Socket) -> String {
    socket.skip_to_text("{\"type\":\"message\"")
}

fn v1(server: &Server, path: &str) -> Speaker {
    Speaker::enter(server, path)
}

#[test]
fn data_arrives_in_its_own_bytes_in_both_dialects_and_from_the_history() {
    let dir = folder();
    let (memory, disk) = (Server::start(&[]), start(&dir));
    for server in [&memory, &disk] {
        let mut plain = Socket::open(server.address(), "/ws/chat/plain?name=P+%22%E5%B1%B1%22");
        let mut bob = v1(server, "bob");
        let epoch = bob.welcome_field("epoch").to_owned();
        plain.send(text(say(DATA)));
        let end = format!(",\"name\":\"P \\\"山\\\"\",\"data\":{DATA}}}");
        for socket in [&mut plain, &mut bob.socket] {
            let event = message(socket);
            assert!(event.ends_with(&end), "{event}");
        }
        bob.socket.send(text(say("\"\\ud83e\\udd80\"")));
        let event = message(&mut plain);
        assert!(event.ends_with(",\"data\":\"\\ud83e\\udd80\"}") && !event.contains("\"name\""), "{event}");
        bob.socket.send(text(r#"{"type":"message","message":"hi"}"#));
        assert!(message(&mut plain).ends_with('}') && !message_has_more(&mut bob));
        bob.socket.send(text(r#"{"type":"history","room":"lobby","limit":3}"#));
        let history = bob.socket.skip_to_text("{\"type\":\"history\"");
        assert!(history.contains(&end), "{history}");
        let mut again = v1(server, &format!("carol?resume={epoch}:0"));
        assert!(message(&mut again.socket).ends_with(&end), "replayed as it was said");
    }
    drop(disk);
    let server = start(&dir);
    let mut bob = v1(&server, "bob");
    bob.socket.send(text(r#"{"type":"history","room":"lobby"}"#));
    let history = bob.socket.skip_to_text("{\"type\":\"history\"");
    assert!(history.contains(&format!("\"data\":{DATA}}}")), "{history}");
}

/// Skips messages up to one without data; returns whether that has a name.
fn message_has_more(speaker: &mut Speaker) -> bool {
    loop {
        let event = message(&mut speaker.socket);
        if !event.contains("\"data\"") {
            return event.contains("\"name\"");
        }
    }
}

#[test]
fn a_private_message_carries_data_and_the_name_of_its_sender() {
    let server = Server::start(&[("workers", "2")]);
    let mut alice = v1(&server, "alice?name=Ann&room=a");
    let mut plain = Socket::open(server.address(), "/ws/chat/plain?room=b");
    plain.read_text();
    let direct = format!(r#"{{"type":"direct","to":"plain","data":{DATA},"message":"psst"}}"#);
    alice.socket.send(text(&direct));
    let event = plain.skip_to_text("{\"type\":\"direct\"");
    assert!(event.ends_with(&format!(",\"name\":\"Ann\",\"data\":{DATA}}}")), "{event}");
}

#[test]
fn data_that_is_too_long_too_deep_or_not_for_every_parser_is_refused_and_the_connection_lives() {
    let server = Server::start(&[("chat.max_data_bytes", "64B"), ("limits.malformed_per_minute", "1000")]);
    let mut plain = Socket::open(server.address(), "/ws/chat/plain");
    plain.read_text();
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let twice = r#"1,"d\u0061ta":1"#;
    for (data, code) in [
        (format!("\"{}\"", "x".repeat(62)), None),
        (format!("\"{}\"", "x".repeat(63)), Some("data_too_long")),
        // It counts as it is written: two characters, and four bytes between the quotes.
        (format!("\"{}\"", "ü".repeat(32)), Some("data_too_long")),
        (nested(DEPTH), None),
        (nested(DEPTH + 1), Some("invalid_json")),
        ("null".into(), None),
        ("false".into(), None),
        ("\"\"".into(), None),
        (twice.into(), Some("invalid_message")),
        ("1e309".into(), Some("invalid_message")),
        (r#"["\ud83d"]"#.into(), Some("invalid_message")),
        ("[1,]".into(), Some("invalid_json")),
        ("01".into(), Some("invalid_json")),
        ("\"\t\"".into(), Some("invalid_json")),
        (String::new(), Some("invalid_json")),
    ] {
        plain.send(text(say(&data)));
        let answer = plain.read_text();
        match code {
            None => assert!(answer.ends_with(&format!(",\"data\":{data}}}")), "{data}: {answer}"),
            Some(code) => assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{data}: {answer}"),
        }
    }
    // A command that has no use for data takes any.
    let mut bob = v1(&server, "bob");
    bob.socket.send(text(r#"{"type":"ping","id":"1","data":1e309}"#));
    bob.socket.skip_to_text("{\"type\":\"pong\"");
    let closed = Server::start(&[("chat.max_data_bytes", "0B")]);
    let mut bob = Speaker::alone(&closed, "bob");
    bob.ask_refused(json!({"type": "message", "message": "hi", "data": 1}), "data_too_long");
}

#[test]
fn a_name_is_shown_to_the_members_of_a_room_with_its_user() {
    let server = Server::start(&[]);
    let mut alice = Speaker::alone(&server, "alice?name=Ann");
    let mut bob = v1(&server, "bob");
    bob.expect("presence_diff");
    alice.expect("presence_diff");
    let cid = v1(&server, "cid?name=%D8%B3%D8%A7%D8%B1%D8%A9");
    let joined = alice.expect("presence_diff");
    assert_eq!((&joined["joined"], &joined["names"]), (&json!(["cid"]), &json!({"cid": "سارة"})));
    assert!(bob.expect("presence_diff").get("names").is_some());
    let list = bob.ask(json!({"type": "presence", "room": "lobby"}), "presence");
    assert_eq!(list["names"], json!({"alice": "Ann", "cid": "سارة"}), "{list}");
    let page =
        bob.ask(json!({"type": "presence", "room": "lobby", "after": "alice", "limit": 1}), "presence");
    assert_eq!((&page["users"], page.get("names")), (&json!(["bob"]), None));
    drop(cid);
    let left = bob.expect("presence_diff");
    assert_eq!((&left["left"], left.get("names")), (&json!(["cid"]), None));
    // A user who comes back without a name has none.
    let _cid = v1(&server, "cid");
    bob.expect("presence_diff");
    let list = bob.ask(json!({"type": "presence", "room": "lobby"}), "presence");
    assert_eq!(list["names"], json!({"alice": "Ann"}), "{list}");
}

#[test]
fn a_claimed_name_is_checked_and_one_of_a_token_is_the_token_s() {
    let server = Server::start(&[]);
    let long = format!("alice?name={}", "%C3%BC".repeat(65));
    for path in ["alice?name=", "alice?name=a%0Ab", "alice?name=a%E2%80%AEb", "alice?name=%20", &long] {
        let mut socket = Socket::open(server.address(), &format!("/ws/chat/{path}"));
        assert_eq!(socket.read_close(), (1008, "Invalid name".into()), "{path}");
    }
    let required: Settings<'_> = &[("auth.required", "true"), ("auth.secret", SECRET)];
    let server = Server::start(required);
    let exp = seconds_from_now(600);
    for (claims, name) in [
        (json!({"sub": "alice", "exp": exp, "name": "Ann 山"}), json!("Ann 山")),
        (json!({"sub": "alice", "exp": exp, "name": "a\u{202e}b"}), Value::Null),
        (json!({"sub": "alice", "exp": exp}), Value::Null),
    ] {
        let token = signed(jsonwebtoken::Algorithm::HS256, SECRET, &claims);
        let mut alice = v1(&server, &format!("alice?name=Mallory&token={token}"));
        alice.socket.send(text(r#"{"type":"message","message":"hi"}"#));
        let event: Value = serde_json::from_str(&message(&mut alice.socket)).expect("JSON");
        assert_eq!(event["name"], name, "{claims}");
    }
    let token = mint(&["--sub", "bob"]);
    assert!(v1(&server, &format!("bob?token={token}")).expect("presence_diff").get("names").is_none());
}

#[test]
fn the_api_publishes_data_and_names_in_its_callers_own_bytes() {
    let server = Server::start(&[("api.keys", KEY), ("workers", "2")]);
    let headers = format!("X-API-Key: {KEY}\r\nContent-Type: application/json\r\n");
    let call = |method: &str, body: &str| post(server.address(), &format!("/api/{method}"), &headers, body);
    let mut plain = Socket::open(server.address(), "/ws/chat/plain");
    plain.read_text();
    let end = format!(",\"name\":\"The \\\"bot\\\"\",\"data\":{DATA}}}");
    let fields = format!(r#""name":"The \"bot\"","message":"hi", "data" : {DATA}"#);
    for (method, body) in [
        ("publish", format!(r#"{{"room":"lobby",{fields}}}"#)),
        ("broadcast", format!(r#"{{{fields},"rooms":["a","lobby"]}}"#)),
        ("direct", format!(r#"{{"to":"plain",{fields}}}"#)),
        ("direct", format!(r#"{{{fields},"to":["nobody","plain"]}}"#)),
    ] {
        let response = call(method, &body);
        assert_eq!(response.status, 200, "{response:?}");
        let event = plain.read_text();
        assert!(event.ends_with(&end), "{method}: {event}");
    }
    // Each command of a batch has its own, whatever stands in the ones before it.
    let many: String = (0..20).map(|n| format!(r#","x{n}":{{"data":[{n}]}}"#)).collect();
    let batch = format!(
        r#"{{"commands":[{{"publish":{{"room":"lobby","message":"1","data":[ 1 ]{many}}}}},
            {{"publish":{{"room":"lobby","message":"2"}}}},
            {{"direct":{{"d\u0061ta":[ 3 ],"to":"plain","message":"3"}}}},
            {{"publish":{{"room":"lobby","message":"4","data":{{"publish":{{"data":5}}}}}}}}]}}"#
    );
    let response = call("batch", &batch);
    assert!(response.body.contains("unknown_field"), "{response:?}");
    // A private message and those of a room may overtake each other.
    let mut events: Vec<String> = (0..3).map(|_| plain.read_text()).collect();
    let said = |event: &String| serde_json::from_str::<Value>(event).expect("JSON")["message"].to_string();
    events.sort_by_key(said);
    assert!(!events[0].contains("data"), "{events:?}");
    assert!(
        events[1].ends_with(",\"data\":[ 3 ]}")
            && events[2].ends_with(",\"data\":{\"publish\":{\"data\":5}}}")
    );
    for (body, code) in [
        (format!(r#"{{"room":"a","message":"m","data":"{}"}}"#, "x".repeat(4_095)), "data_too_long"),
        (r#"{"room":"a","message":"m","data":1e309}"#.into(), "invalid_field"),
        (r#"{"room":"a","message":"m","data":1,"data":2}"#.into(), "invalid_field"),
        (r#"{"room":"a","message":"m","name":"a\nb"}"#.into(), "invalid_name"),
        (r#"{"room":"a","message":"m","name":7}"#.into(), "invalid_name"),
    ] {
        let response = call("publish", &body);
        assert!(response.status == 400 && response.body.contains(code), "{response:?}");
    }
}
