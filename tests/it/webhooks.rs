//! Webhooks: events reach another server at least once and in order, whatever it does, and what is lost is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::frame::text;
use crate::support::http::post;
use crate::support::receiver::{Answer, Asked, OTHER_SECRET, Receiver, SECRET, events, secret_file};
use crate::support::server::{Server, Settings};
use crate::support::speaker::Speaker;
use crate::support::{PATIENCE, eventually};

const KEY: &str = "a-key-of-the-tests-1";

/// Starts a server on one node that tells `receiver` of some events.
fn start(receiver: &Receiver, dir: &TempDir, events: &[&str], more: Settings<'_>) -> Server {
    let file = secret_file(dir.path(), &[SECRET, OTHER_SECRET]);
    let url = receiver.url("/hook");
    let receivers =
        format!("[{{url = {url:?}, secret_file = {file:?}, events = {events:?}, rooms = [\"a*\"]}}]");
    let own = [
        ("engine", "memory"),
        ("workers", "2"),
        ("api.keys", KEY),
        ("webhooks.receivers", &receivers),
        ("webhooks.linger", "1ms"),
    ];
    Server::start(&[&own, more].concat())
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Publishes `count` messages in a room through the API, in one call.
fn publish(server: &Server, room: &str, count: usize) {
    let commands: Vec<Value> =
        (0..count).map(|_| json!({"publish": {"room": room, "message": "text"}})).collect();
    for command in commands {
        let headers = format!("X-API-Key: {KEY}\r\nContent-Type: application/json\r\n");
        let answer = post(server.address(), "/api/publish", &headers, &command["publish"].to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

fn of_kind<'a>(events: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["type"] == kind)
}

/// Returns the offsets of the messages of a room, in the order in which they were taken.
fn offsets(events: &[Value], room: &str) -> Vec<u64> {
    let messages = of_kind(events, "message").filter(|event| event["room"] == room);
    messages.map(|event| event["offset"].as_u64().expect("an offset")).collect()
}

const ALL: &[&str] = &[
    "user_online",
    "user_offline",
    "room_occupied",
    "room_vacated",
    "member_joined",
    "member_left",
    "message",
    "disconnected",
];

/// 1. A user comes, says something, goes, comes back at once, and goes again.
/// 2. The server stops before the user counts as offline.
/// 3. All of it was told by then, and the user was online once.
#[test]
fn everything_is_told_before_the_server_stops() {
    let (receiver, dir) = (Receiver::start(|_| Answer::ok()), folder());
    let mut server = start(&receiver, &dir, ALL, &[("webhooks.offline_after", "1h")]);
    let mut alice = Speaker::alone(&server, "alice?room=a");
    let said = alice.say("a", "hi \"🦀\"");
    drop(alice);
    receiver.wait_for_events("member_left", 1);
    drop(Speaker::alone(&server, "alice?room=a"));
    receiver.wait_for_events("member_left", 2);
    assert!(of_kind(&receiver.events(), "user_offline").next().is_none());
    server.terminate();
    assert!(server.wait_exit(PATIENCE).success());

    let events = receiver.events();
    let mut kinds = BTreeMap::<&str, usize>::new();
    for event in &events {
        *kinds.entry(event["type"].as_str().expect("a type")).or_default() += 1;
    }
    let expected = [
        ("resync", 1),
        ("user_online", 1),
        ("user_offline", 1),
        ("room_occupied", 1),
        ("room_vacated", 1),
        ("member_joined", 2),
        ("member_left", 2),
        ("message", 1),
        ("disconnected", 2),
    ];
    assert_eq!(kinds, BTreeMap::from(expected), "{events:?}");
    let order: Vec<&str> = events
        .iter()
        .filter(|event| event["room"] == "a")
        .map(|event| event["type"].as_str().unwrap_or_default())
        .collect();
    let expected = [
        "room_occupied",
        "member_joined",
        "message",
        "member_left",
        "member_joined",
        "member_left",
        "room_vacated",
    ];
    assert_eq!(order, expected);
    let message = of_kind(&events, "message").next().expect("a message");
    let expected = json!({
        "id": message["id"], "type": "message", "at_ms": message["at_ms"], "room": "a", "user": "alice",
        "epoch": said["epoch"], "offset": said["offset"], "message_id": message["message_id"],
        "message": "hi \"🦀\"",
    });
    assert_eq!(message, &expected);
    let ended = of_kind(&events, "disconnected").next().expect("an end");
    assert_eq!((&ended["user"], &ended["code"]), (&json!("alice"), &json!(1006)), "{ended}");
    assert_eq!(of_kind(&events, "resync").next().expect("one")["reason"], "started");
    let ids: BTreeSet<&str> = events.iter().filter_map(|event| event["id"].as_str()).collect();
    assert_eq!(ids.len(), events.len(), "every event has an id of its own");
    for asked in receiver.asked() {
        assert_eq!((&asked.body["dropped"], asked.path.as_str()), (&json!(0), "/hook"));
        assert!(asked.body["time_ms"].is_u64() && asked.body["node"].is_string(), "{asked:?}");
    }
}

/// Messages wait on different ways until they have a position: in memory, or until they are on disk.
#[test]
fn a_message_is_told_with_the_name_and_the_data_that_it_carries() {
    // Blanks and line breaks between the parts, numbers and escapes stay as they were written.
    const DATA: &str = "{\"a\" :\r\n [1.50,\n1E2,\"\\u00fc\\n\"]}";
    let history = folder();
    let on_disk = ("history.dir", history.path().to_str().expect("UTF-8"));
    for more in [&[][..], &[on_disk]] {
        let (receiver, dir) = (Receiver::start(|_| Answer::ok()), folder());
        let server = start(&receiver, &dir, &["message"], more);
        let mut alice = Speaker::alone(&server, "alice?room=a&name=Ann+%22%E5%B1%B1%22");
        let carrying = format!(r#"{{"type":"message","room":"a","message":"one","data":{DATA}}}"#);
        alice.socket.send(text(&carrying));
        alice.expect("message");
        alice.expect("ack");
        alice.say_quietly("a", "two");
        let mut bob = Speaker::enter(&server, "bob?room=a");
        bob.command(json!({"type": "message", "message": "three"}));
        let events = receiver.wait_for_events("message", 3);
        let told: Vec<_> = of_kind(&events, "message")
            .map(|event| (&event["message"], event.get("name"), event.get("data").is_some()))
            .collect();
        let (name, [one, two, three]) = (json!("Ann \"山\""), ["one", "two", "three"].map(Value::from));
        assert_eq!(told, [(&one, Some(&name), true), (&two, Some(&name), false), (&three, None, false)]);
        let end = format!(",\"message\":\"one\",\"name\":\"Ann \\\"山\\\"\",\"data\":{DATA}}}");
        let raw: String = receiver.asked().into_iter().map(|asked| asked.raw).collect();
        assert!(raw.contains(&end), "{raw}");
    }
}

#[test]
fn a_user_who_stays_away_is_offline_and_the_room_vacated() {
    let (receiver, dir) = (Receiver::start(|_| Answer::ok()), folder());
    let server = start(&receiver, &dir, ALL, &[("webhooks.offline_after", "50ms")]);
    for round in 1..=2 {
        drop(Speaker::alone(&server, "alice?room=a"));
        receiver.wait_for_events("user_offline", round);
        let events = receiver.wait_for_events("room_vacated", round);
        assert_eq!(of_kind(&events, "user_online").count(), round, "{events:?}");
    }
    // A room that no pattern names, and a user who is told of nevertheless.
    drop(Speaker::alone(&server, "bob?room=b"));
    receiver.wait_for_events("user_offline", 3);
    assert!(receiver.events().iter().all(|event| event["room"].is_null() || event["room"] == "a"));
}

/// 1. The receiver breaks off, hangs in the middle of its answer, fails, and points elsewhere. Messages are published
///    meanwhile.
/// 2. It takes everything: all messages come, in order, and none is missing.
/// 3. Each attempt had a signature of its own, and every attempt of one request the same id.
#[test]
fn a_receiver_that_fails_gets_everything_in_order_once_it_works() {
    let mut attempts = 0;
    let failing = move |_: &Asked| {
        attempts += 1;
        match attempts {
            1 => Answer::Drop,
            2 => Answer::Hang,
            3 => Answer::Status(500, "Retry-After: 0\r\n", "wrong".into()),
            4 => Answer::Status(302, "Retry-After: 0\r\nLocation: /elsewhere\r\n", String::new()),
            _ => Answer::ok(),
        }
    };
    let (receiver, dir) = (Receiver::start(|_| Answer::ok()), folder());
    let server = start(&receiver, &dir, &["message"], &[("webhooks.timeout", "1s")]);
    receiver.wait_for_events("resync", 1);
    receiver.answer(failing);
    publish(&server, "a", 250);
    let events = receiver.wait_for_events("message", 250);
    assert_eq!(offsets(&events, "a"), (1..=250).collect::<Vec<u64>>());
    let asked: Vec<Asked> = receiver.asked().into_iter().skip(1).collect();
    assert!(asked.iter().all(|asked| asked.path == "/hook" && asked.body["dropped"] == 0));
    let ids: Vec<&str> = asked.iter().take(5).map(|asked| asked.header("webhook-id")).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let batches = asked.iter().map(|asked| asked.body["events"].as_array().map_or(0, Vec::len));
    assert!(batches.max() <= Some(100));
    for asked in &asked {
        asked.verify(&[SECRET, OTHER_SECRET]);
    }
    for (outcome, count) in [("error", 1.0), ("timeout", 1.0), ("status", 2.0)] {
        assert_eq!(server.metric("throng_webhook_attempts_total", outcome), count, "{outcome}");
    }
    let lines = server.log().text();
    assert!(!lines.contains("whsec_") && !lines.contains(&SECRET[6..]), "no secret in the log");
}

/// 1. The receiver says that it is not ready, and more events come than are kept.
/// 2. It is ready: it gets the oldest events, the exact number of the others, and a resync.
#[test]
fn dropped_events_are_counted_exactly_and_told() {
    let not_ready = |_: &Asked| Answer::Status(503, "Retry-After: 1\r\n", String::new());
    let (receiver, dir) = (Receiver::start(not_ready), folder());
    let server = start(&receiver, &dir, &["message"], &[("webhooks.max_events", "100")]);
    publish(&server, "a", 150);
    assert_eq!(server.metric("throng_webhook_events_total", ""), 151.0);
    assert_eq!(server.metric("throng_webhook_dropped_total", ""), 51.0);
    assert_eq!(server.metric("throng_webhook_queue", ""), 100.0);
    assert!(server.metric("throng_webhook_attempts_total", "status") >= 1.0);
    receiver.answer(|_| Answer::ok());
    let events = receiver.wait_for_events("message", 99);
    assert_eq!(offsets(&events, "a"), (1..=99).collect::<Vec<u64>>());
    let asked = receiver.wait_for("the number of dropped events", |asked| told_dropped(asked) == 51);
    let telling = asked.iter().find(|asked| asked.is_taken && asked.body["dropped"] != 0).expect("one");
    assert!(of_kind(&events_of(telling), "resync").any(|event| event["reason"] == "dropped"), "{telling:?}");
    publish(&server, "a", 1);
    receiver.wait_for_events("message", 100);
    assert_eq!(told_dropped(&receiver.asked()), 51, "told once");
}

fn events_of(asked: &Asked) -> Vec<Value> {
    events(std::slice::from_ref(asked))
}

fn told_dropped(asked: &[Asked]) -> u64 {
    let taken = asked.iter().filter(|asked| asked.is_taken);
    taken.map(|asked| asked.body["dropped"].as_u64().expect("a number")).sum()
}

#[test]
fn events_that_are_too_old_are_given_up_and_told() {
    let not_ready = |_: &Asked| Answer::Status(503, "Retry-After: 1\r\n", String::new());
    let (receiver, dir) = (Receiver::start(not_ready), folder());
    let server = start(&receiver, &dir, &["message"], &[("webhooks.keep", "1s")]);
    publish(&server, "a", 3);
    eventually("they are dropped", || server.metric("throng_webhook_dropped_total", "") == 4.0);
    assert_eq!(server.metric("throng_webhook_queue", ""), 0.0);
    receiver.answer(|_| Answer::ok());
    publish(&server, "a", 1);
    let events = receiver.wait_for_events("message", 1);
    assert_eq!((offsets(&events, "a"), told_dropped(&receiver.asked())), (vec![4], 4));
}

#[test]
fn a_receiver_that_is_gone_is_left_alone() {
    let gone = |_: &Asked| Answer::Status(410, "", String::new());
    let (receiver, dir) = (Receiver::start(|_| Answer::ok()), folder());
    let server = start(&receiver, &dir, &["message"], &[]);
    receiver.wait_for_events("resync", 1);
    receiver.answer(gone);
    publish(&server, "a", 1);
    eventually("the event is dropped", || server.metric("throng_webhook_dropped_total", "") == 1.0);
    publish(&server, "a", 5);
    assert_eq!(server.metric("throng_webhook_dropped_total", ""), 6.0);
    assert_eq!(server.metric("throng_webhook_queue", ""), 0.0);
    assert_eq!(receiver.asked().len(), 2);
}

#[test]
fn a_room_whose_events_are_stuck_does_not_hold_up_the_others() {
    let stuck = |asked: &Asked| match asked.raw.contains("\"room\":\"a-stuck\"") {
        true => Answer::Hang,
        false => Answer::ok(),
    };
    let (receiver, dir) = (Receiver::start(stuck), folder());
    let server = start(&receiver, &dir, &["message"], &[("webhooks.timeout", "1m")]);
    publish(&server, "a-stuck", 1);
    receiver.wait_for("the stuck request", |asked| asked.iter().any(|asked| !asked.is_taken));
    for number in 0..12 {
        publish(&server, &format!("a{number}"), 1);
    }
    // All twelve share the lane of the stuck room once in 8^12 runs.
    receiver.wait_for_events("message", 1);
    assert!(offsets(&receiver.events(), "a-stuck").is_empty());
}

/// A stop does not wait for a receiver that does not answer: longer than the drain it takes by the last second only.
#[test]
fn a_stop_does_not_wait_for_a_stuck_receiver() {
    let (receiver, dir) = (Receiver::start(|_| Answer::Hang), folder());
    let settings = [("webhooks.timeout", "1m"), ("drain.window", "0ms")];
    let mut server = start(&receiver, &dir, &["message"], &settings);
    publish(&server, "a", 1);
    server.terminate();
    assert!(server.wait_exit(Duration::from_secs(30)).success());
    let left = server.log().wait_for("the events that are left", |line| line["left"].is_u64());
    assert_eq!(left["left"], 2, "{left}");
}
