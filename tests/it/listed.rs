//! `GET /rooms`: the rooms that the settings let everybody see, for programs without any key.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::raw::Socket;
use crate::support::server::Server;
use crate::support::speaker::Speaker;

/// Most rooms of the list.
const MOST: usize = 200;
/// Most characters of a message in it, without the ellipsis.
const MOST_CHARS: usize = 120;

/// Returns the rooms of the list.
#[track_caller]
fn listed(server: &Server) -> Vec<Value> {
    let response = server.get("/rooms");
    assert_eq!(response.status, 200, "{response:?}");
    let body: Value = serde_json::from_str(&response.body).expect("JSON");
    body["rooms"].as_array().expect("rooms").clone()
}

/// Returns the names and members of the list.
#[track_caller]
fn counts(server: &Server) -> Vec<(String, u64)> {
    let count = |row: &Value| {
        (row["room"].as_str().expect("a name").to_owned(), row["members"].as_u64().expect("a number"))
    };
    listed(server).iter().map(count).collect()
}

fn members(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(room, count)| ((*room).to_owned(), *count)).collect()
}

#[test]
fn no_room_is_listed_unless_the_settings_say_so() {
    let server = Server::start(&[]);
    let mut alice = Speaker::alone(&server, "alice");
    alice.say("lobby", "nobody else may find this");
    let response = server.get("/rooms");
    assert_eq!((response.status, &*response.body), (200, r#"{"rooms":[]}"#));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(response.header("access-control-allow-origin"), None);
}

#[test]
fn the_list_is_a_page_for_get_and_head() {
    let server = Server::start(&[("chat.listed_rooms", "*")]);
    let request = |line: &str| {
        let mut socket = Socket::connect(server.address());
        socket.send(format!("{line} HTTP/1.1\r\nHost: throng.test\r\nConnection: close\r\n\r\n"));
        socket
    };
    let mut socket = request("HEAD /rooms");
    let head = socket.read_head();
    assert_eq!((head.status, head.header("content-length")), (200, Some("12")));
    socket.expect_eof();
    let refused = request("POST /rooms").read_response();
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(request("GET /rooms/lobby").read_response().status, 404);
    assert_eq!(request("GET /rooms?room=lobby").read_response().body, r#"{"rooms":[]}"#);
}

/// 1. People enter rooms, of which the patterns name some. 2. The list has these, those with most members first.
///    3. A room that everybody has left stays for its messages; one without is gone. The others are never named.
#[test]
fn listed_rooms_stand_by_members_and_others_are_never_named() {
    let server = Server::start(&[("chat.listed_rooms", "open-*,hall"), ("presence.notice_limit", "0")]);
    let mut people = Vec::new();
    for (user, room) in [
        ("anna", "open-b"),
        ("bob", "open-b"),
        ("carl", "open-a"),
        ("dora", "hall"),
        ("emil", "hallway"),
        ("fay", "hallway"),
        ("gus", "my-open-door"),
    ] {
        people.push(Speaker::enter(&server, &format!("{user}?room={room}")));
    }
    let all = members(&[("open-b", 2), ("hall", 1), ("open-a", 1)]);
    eventually("all are there", || counts(&server) == all);
    people[0].send(&json!({"type": "message", "message": "bye"}));
    people[0].find("ack");
    drop(people);
    eventually("they are gone", || counts(&server) == members(&[("open-b", 0)]));
    assert!(!server.get("/rooms").body.contains("hallway"));
}

#[test]
fn a_room_shows_the_beginning_of_its_last_message() {
    let server = Server::start(&[("chat.listed_rooms", "*"), ("chat.max_message_chars", "1000")]);
    let mut alice = Speaker::alone(&server, "alice?room=red&name=Alice%20%C3%84.");
    let row = |server: &Server| listed(server).into_iter().next().expect("a room");
    eventually("the room is there", || !listed(&server).is_empty());
    assert_eq!(row(&server), json!({"room": "red", "members": 1}));
    let long = "ä\"\n€🦀\\".repeat(50);
    let cut = long.chars().take(MOST_CHARS).collect::<String>() + "…";
    for (text, shown) in [("hi", "hi"), ("", ""), (&*long, &*cut), ("<b>\u{1}", "<b>\u{1}")] {
        alice.send(&json!({"type": "message", "message": text, "data": {"ts": 1, "name": "x", "room": "y"}}));
        let ts = alice.find("message")["ts"].clone();
        eventually("the message is there", || row(&server)["last"]["ts"] == ts);
        let last = json!({"user": "alice", "name": "Alice Ä.", "message": shown, "ts": ts});
        assert_eq!(row(&server), json!({"room": "red", "members": 1, "last": last}));
    }
}

#[track_caller]
fn join(speaker: &mut Speaker, room: &str) {
    speaker.send(&json!({"type": "join", "room": room}));
    assert_eq!(speaker.find("joined")["room"], room);
}

#[test]
fn a_long_list_keeps_the_largest_rooms() {
    let server = Server::start(&[("chat.listed_rooms", "*"), ("limits.max_rooms_per_connection", "300")]);
    let mut alice = Speaker::enter(&server, "alice?room=z");
    let mut bob = Speaker::enter(&server, "bob?room=z");
    for n in 0..MOST + 9 {
        join(&mut alice, &format!("room-{n:03}"));
    }
    join(&mut bob, "room-207");
    let names = (0..MOST - 2).map(|n| (format!("room-{n:03}"), 1));
    let expected: Vec<_> = members(&[("room-207", 2), ("z", 2)]).into_iter().chain(names).collect();
    eventually("the largest are there", || counts(&server) == expected);
}

/// 1. Alice writes again and again, and the list is read after each message. 2. It changes about once a second.
#[test]
fn the_list_is_made_at_most_once_a_second() {
    let server = Server::start(&[("chat.listed_rooms", "*"), ("rate_limit.enabled", "false")]);
    let mut alice = Speaker::alone(&server, "alice");
    let began = Instant::now();
    let mut lists = HashSet::new();
    let mut reads = 0;
    // A machine that is so slow that the lists may all differ shows nothing: then there are more reads.
    while reads < 50 || reads < 4 * began.elapsed().as_secs() {
        alice.say_quietly("lobby", &format!("number {reads}"));
        lists.insert(server.get("/rooms").body);
        reads += 1;
        assert!(began.elapsed() < Duration::from_secs(60), "a read takes more than a quarter of a second");
    }
    // One when the first second begins, and one in which the last read falls.
    let most = began.elapsed().as_secs() + 2;
    assert!(lists.len() as u64 <= most, "{} lists in {:?}", lists.len(), began.elapsed());
    eventually("the last message is there", || {
        listed(&server)[0]["last"]["message"] == format!("number {}", reads - 1)
    });
}

/// Many ask at the same moment, before there is a list, and all of them get it.
#[test]
fn a_crowd_gets_one_answer() {
    let server = Server::start(&[("chat.listed_rooms", "*")]);
    let _alice = Speaker::alone(&server, "alice");
    let mut crowd: Vec<_> = (0..50).map(|_| Socket::connect(server.address())).collect();
    for socket in &mut crowd {
        socket.send("GET /rooms HTTP/1.1\r\nHost: throng.test\r\nConnection: close\r\n\r\n");
    }
    for mut socket in crowd {
        let response = socket.read_response();
        assert_eq!((response.status, response.body.contains("lobby")), (200, true), "{response:?}");
    }
}
