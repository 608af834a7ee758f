//! `/sse/{room}`: the messages of a room as server-sent events, on raw bytes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::frame::text;
use crate::support::http::Response;
use crate::support::raw::{Ended, Socket};
use crate::support::server::{SMALL_QUEUES, Server, Settings};
use crate::support::speaker::Speaker;
use crate::support::token::{SECRET, mint};
use crate::support::{PATIENCE, eventually};

/// A client that reads events.
struct Reader {
    socket: Socket,
    head: Response,
    /// The first event.
    welcome: Value,
}

/// Sends a request; `headers` are further lines, each with its CRLF.
fn ask(server: &Server, path: &str, headers: &str) -> Socket {
    let mut socket = Socket::connect(server.address());
    socket.send(format!("GET /sse/{path} HTTP/1.1\r\nHost: throng.test\r\n{headers}\r\n"));
    socket
}

/// Returns the value of a field of an event.
#[track_caller]
fn field<'e>(event: &'e str, name: &str) -> &'e str {
    let start = format!("{name}: ");
    let mut found = event.lines().filter_map(|line| line.strip_prefix(start.as_str()));
    let value = found.next().unwrap_or_else(|| panic!("no {name} in {event:?}"));
    assert_eq!(found.next(), None, "{event}");
    value
}

#[track_caller]
fn data(event: &str) -> Value {
    serde_json::from_str(field(event, "data")).unwrap_or_else(|error| panic!("{error}: {event}"))
}

impl Reader {
    #[track_caller]
    fn open(server: &Server, path: &str, headers: &str) -> Self {
        Self::on(ask(server, path, headers))
    }

    #[track_caller]
    fn on(mut socket: Socket) -> Self {
        let head = socket.read_head();
        assert_eq!(head.status, 200, "{head:?}");
        let event = socket.read_event();
        assert_eq!(field(&event, "event"), "welcome");
        let welcome = data(&event);
        let position = format!("{}:{}", welcome["epoch"].as_str().expect("an epoch"), welcome["offset"]);
        assert_eq!(field(&event, "id"), position);
        assert!(field(&event, "retry").parse::<u64>().is_ok_and(|ms| ms > 0), "{event}");
        Self { socket, head, welcome }
    }

    /// Reads a message, and returns its text and its id.
    #[track_caller]
    fn message(&mut self) -> (String, String) {
        let event = self.socket.read_event();
        let message = data(&event);
        assert_eq!(message["type"], "message", "{event}");
        (message["message"].as_str().expect("a text").to_owned(), field(&event, "id").to_owned())
    }
}

#[test]
fn a_reader_gets_the_messages_of_its_room_and_nobody_sees_it() {
    let server = Server::start(&[("workers", "2")]);
    let mut alice = Speaker::alone(&server, "alice?name=Ann");
    let mut readers: Vec<Reader> = (0..4).map(|_| Reader::open(&server, "lobby", "")).collect();
    let mut other = Reader::open(&server, "other", "");
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store, no-transform"),
        ("connection", "close"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(readers[0].head.header(name), Some(value));
    }
    assert_eq!(readers[0].head.header("access-control-allow-origin"), None);
    let epoch = alice.welcome_field("epoch").to_owned();
    let expected = json!({
        "type": "welcome", "room": "lobby", "epoch": epoch, "offset": 0, "recovered": false,
    });
    assert_eq!(readers[0].welcome, expected);
    alice.command(json!({"type": "message", "message": "one\ntwo", "data": {"a": [1.5]}}));
    let said = alice.expect("message");
    alice.expect("ack");
    for reader in &mut readers {
        let event = reader.socket.read_event();
        assert_eq!((data(&event), field(&event, "id")), (said.clone(), &*format!("{epoch}:1")));
    }
    // Line breaks between the parts of data would end the field.
    alice.socket.send(text("{\"type\":\"message\",\"message\":\"\",\"data\":[1,\r\n2]}"));
    assert_eq!(data(&readers[0].socket.read_event())["data"], json!([1, 2]));
    alice.expect("message");
    alice.expect("ack");
    let list = alice.ask(json!({"type": "presence", "room": "lobby"}), "presence");
    assert_eq!((&list["users"], &list["members"]), (&json!(["alice"]), &json!(1)));
    let _bob = Speaker::enter(&server, "bob");
    alice.expect("presence_diff");
    alice.say("lobby", "three");
    readers[0].message_is("three");
    let (all, streams) = (server.connections(), server.metric("throng_sse_connections", ""));
    assert_eq!((all, streams), (7.0, 5.0));
    drop(readers);
    eventually("the readers are gone", || server.metric("throng_sse_connections", "") == 1.0);
    alice.expect_nothing();
    Speaker::alone(&server, "carol?room=other").say_quietly("other", "here");
    other.message_is("here");
}

impl Reader {
    #[track_caller]
    fn message_is(&mut self, text: &str) {
        assert_eq!(self.message().0, text);
    }
}

#[test]
fn a_reader_that_comes_back_misses_nothing() {
    let settings: Settings<'_> =
        &[("history.messages", "1000"), ("history.bytes", "1MiB"), ("chat.max_message_chars", "8000")];
    let server = Server::start(settings);
    let mut alice = Speaker::alone(&server, "alice");
    let mut reader = Reader::open(&server, "lobby", "");
    alice.say_quietly("lobby", "seen");
    let (_, id) = reader.message();
    drop(reader);
    // Several pages.
    for number in 0..40 {
        alice.say_quietly("lobby", &format!("{number} {}", "x".repeat(7_000)));
    }
    let header = format!("Last-Event-ID: {id}\r\n");
    for (path, headers) in
        [("lobby", header.as_str()), (&format!("lobby?resume={id}"), ""), ("lobby?resume=x:1", &header)]
    {
        let mut again = Reader::open(&server, path, headers);
        assert_eq!((&again.welcome["recovered"], &again.welcome["offset"]), (&json!(true), &json!(1)));
        for number in 0..40 {
            let (text, id) = again.message();
            assert!(
                text.starts_with(&format!("{number} ")) && id.ends_with(&format!(":{}", number + 2)),
                "{id}"
            );
        }
        alice.say_quietly("lobby", &format!("live for {path}"));
        while again.message().0 != format!("live for {path}") {}
    }
    for wrong in ["nonsense", "5q01ku2n3d503:1", &format!("{}:999", alice.welcome_field("epoch"))] {
        let mut lost = Reader::open(&server, "lobby", &format!("Last-Event-ID: {wrong}\r\n"));
        assert_eq!(lost.welcome["recovered"], false, "{wrong}");
        alice.say_quietly("lobby", wrong);
        lost.message_is(wrong);
    }
}

#[test]
fn a_room_stays_for_its_readers_alone() {
    let server = Server::start(&[("history.messages", "0"), ("history.position_ttl", "0ms")]);
    let mut reader = Reader::open(&server, "den", "");
    for text in ["one", "two"] {
        let mut alice = Speaker::alone(&server, "alice?room=den");
        assert_eq!(alice.welcome["epoch"], reader.welcome["epoch"]);
        alice.say_quietly("den", text);
        reader.message_is(text);
        drop(alice);
        eventually("alice is gone", || server.connections() == 1.0);
    }
    drop(reader);
    eventually("the room is gone", || server.metric("throng_rooms", "") == 0.0);
}

#[test]
fn tokens_origins_and_rooms_are_checked_and_refused_in_http() {
    let settings: Settings<'_> =
        &[("auth.required", "true"), ("auth.secret", SECRET), ("admission.origins", "https://good.example")];
    let server = Server::start(settings);
    let token = mint(&["--sub", "alice", "--room", "live-*"]);
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let with_token = format!("live-1?token={token}");
    for (path, headers, status) in [
        ("live-1", "", 401),
        ("live-1?token=x", "", 401),
        ("den", &*bearer, 403),
        ("a%20b", &*bearer, 403),
        ("", &*bearer, 403),
        (&*with_token, "Origin: https://bad.example\r\n", 403),
        ("a/b", &*bearer, 404),
    ] {
        let mut socket = ask(&server, path, headers);
        let response = socket.read_response();
        response.expect_error_body();
        assert_eq!(response.status, status, "{path}: {response:?}");
        socket.expect_eof();
    }
    Reader::open(&server, "live-1", &bearer);
    let reader = Reader::open(&server, &with_token, "Origin: https://good.example\r\n");
    assert_eq!(reader.head.header("access-control-allow-origin"), Some("https://good.example"));
    assert_eq!(reader.head.header("vary"), Some("origin"));
    for (request, status) in [("POST /sse/live-1 HTTP/1.1", 405), ("HEAD /sse/live-1 HTTP/1.1", 405)] {
        let mut socket = Socket::connect(server.address());
        socket.send(format!("{request}\r\nHost: throng.test\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(socket.read_head().status, status, "{request}");
    }
    let mut old = Socket::connect(server.address());
    old.send(format!("GET /sse/live-1 HTTP/1.0\r\nHost: throng.test\r\n{bearer}\r\n"));
    assert_eq!(old.read_head().status, 400);
}

#[test]
fn readers_count_among_the_connections_and_a_token_ends_them() {
    let server = Server::start(&[("limits.max_connections_per_address", "2")]);
    let _readers = [Reader::open(&server, "lobby", ""), Reader::open(&server, "lobby", "")];
    assert_eq!(ask(&server, "lobby", "").read_response().status, 429);

    let settings: Settings<'_> =
        &[("auth.required", "true"), ("auth.secret", SECRET), ("auth.leeway", "0ms")];
    let server = Server::start(settings);
    let token = mint(&["--sub", "alice", "--ttl", "2s"]);
    let mut reader = Reader::open(&server, &format!("lobby?token={token}"), "");
    let last = reader.socket.read_event();
    assert_eq!((field(&last, "event"), &data(&last)["code"]), ("disconnect", &json!(3000)));
    reader.socket.expect_eof();
}

#[test]
fn a_silent_room_sends_comments_and_the_reader_stays() {
    let server = Server::start(&[("heartbeat.interval", "300ms"), ("heartbeat.timeout", "300ms")]);
    let mut reader = Reader::open(&server, "lobby", "");
    for _ in 0..5 {
        assert_eq!(reader.socket.read_event(), ":");
    }
    Speaker::alone(&server, "alice").say_quietly("lobby", "still here");
    loop {
        let event = reader.socket.read_event();
        if event != ":" {
            break assert_eq!(data(&event)["message"], "still here");
        }
    }
}

#[test]
fn a_reader_that_does_not_read_is_dropped_and_one_that_speaks_too() {
    let server = Server::start(SMALL_QUEUES);
    let mut narrow = Socket::connect_narrow(server.address());
    narrow.send("GET /sse/lobby HTTP/1.1\r\nHost: throng.test\r\n\r\n");
    let laggard = Reader::on(narrow);
    let mut alice = Speaker::enter(&server, "alice");
    eventually("the laggard is dropped", || {
        alice.say_quietly("lobby", &"x".repeat(4_000));
        server.metric("throng_slow_consumers_dropped_total", "") == 1.0
    });
    drop(laggard);
    let mut talker = Reader::open(&server, "lobby", "");
    talker.socket.send("GET / HTTP/1.1\r\n\r\n");
    let last = talker.socket.read_event();
    assert_eq!(data(&last)["code"], 1002, "{last}");
    assert_eq!(talker.socket.drain(PATIENCE), Ended::Eof);
}

#[test]
fn a_server_that_stops_says_when_to_come_back() {
    let mut server = Server::start(&[("drain.window", "2s")]);
    let mut readers: Vec<Reader> = (0..3).map(|_| Reader::open(&server, "lobby", "")).collect();
    server.terminate();
    for reader in &mut readers {
        let last = reader.socket.read_event();
        let advice = data(&last);
        assert_eq!((field(&last, "event"), &advice["code"]), ("disconnect", &json!(1012)));
        assert_eq!(field(&last, "retry"), advice["after_ms"].to_string());
        reader.socket.expect_eof();
    }
    drop(readers);
    assert!(server.wait_exit(Duration::from_secs(60)).success());
}
