//! `history.dir`: acknowledged messages are there after the process was killed, and clients resume from their
//! positions.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::server::{Server, run};

/// `EX_UNAVAILABLE` of `sysexits.h`: the folder cannot be used.
const UNAVAILABLE: i32 = 69;
const V1: &[(&str, &str)] = &[("Sec-WebSocket-Protocol", "throng.v1")];

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

pub(crate) fn start(dir: &TempDir) -> Server {
    let dir = dir.path().join("history");
    let dir = dir.to_str().expect("UTF-8");
    Server::start(&[("history.dir", dir), ("history.messages", "1000000"), ("history.bytes", "64MiB")])
}

/// Connects a client of `throng.v1` to the default room; returns it with its `welcome`.
pub(crate) async fn enter(server: &Server, user: &str, resume: Option<(&str, u64)>) -> (Client, Value) {
    let resume = resume.map_or(String::new(), |(epoch, offset)| format!("?resume={epoch}:{offset}"));
    let mut client = Client::connect_with(server, &format!("/ws/chat/{user}{resume}"), V1).await;
    let welcome = client.recv_json().await;
    assert_eq!(welcome["type"], "welcome", "{welcome}");
    (client, welcome)
}

pub(crate) async fn say(client: &mut Client, command: &Value) {
    client.send_text(command.to_string()).await;
}

/// Skips events up to one of this type, and returns that.
pub(crate) async fn next(client: &mut Client, wanted: &str) -> Value {
    loop {
        let event = client.recv_json().await;
        assert_ne!(event["type"], "error", "{event}");
        if event["type"] == wanted {
            return event;
        }
    }
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

#[tokio::test]
async fn a_killed_server_comes_back_with_everything_that_it_had_acknowledged() {
    let dir = folder();
    let server = start(&dir);
    let (mut alice, welcome) = enter(&server, "alice", None).await;
    let epoch = text(&welcome["epoch"]).to_owned();
    assert_eq!((&welcome["offset"], &welcome["recovered"]), (&json!(0), &json!(false)));
    for offset in 1..=20 {
        let echo = offset % 2 == 0;
        say(
            &mut alice,
            &json!({"type": "message", "message": format!("number {offset}"), "id": "x", "echo": echo}),
        )
        .await;
        let ack = next(&mut alice, "ack").await;
        assert_eq!(
            (&ack["offset"], &ack["re"], &ack["duplicate"]),
            (&json!(offset), &json!("x"), &json!(false))
        );
        assert_eq!(ack["epoch"], epoch);
    }
    // Dropping the server sends SIGKILL.
    drop(server);

    let server = start(&dir);
    let (mut alice, welcome) = enter(&server, "alice", Some((&epoch, 5))).await;
    assert_eq!(
        (&welcome["recovered"], &welcome["epoch"], &welcome["offset"]),
        (&json!(true), &json!(epoch), &json!(5))
    );
    for offset in 6..=20 {
        let message = next(&mut alice, "message").await;
        assert_eq!(
            (&message["offset"], &message["message"], &message["user"]),
            (&json!(offset), &json!(format!("number {offset}")), &json!("alice"))
        );
    }
    say(&mut alice, &json!({"type": "message", "message": "on we go"})).await;
    let message = next(&mut alice, "message").await;
    assert_eq!((&message["offset"], &message["message"]), (&json!(21), &json!("on we go")));

    // Another epoch of the room, and an offset that does not exist yet.
    for (epoch, offset) in [("0000000000000", 5), (epoch.as_str(), 22)] {
        let (_bob, welcome) = enter(&server, "bob", Some((epoch, offset))).await;
        assert_eq!((&welcome["recovered"], &welcome["offset"]), (&json!(false), &json!(21)));
    }
}

#[tokio::test]
async fn a_retry_after_a_kill_is_appended_once() {
    let dir = folder();
    let once = json!({"type": "message", "message": "once", "key": "k-1", "id": "r"});
    let mut places = Vec::new();
    for _ in 0..3 {
        let server = start(&dir);
        let (mut alice, welcome) = enter(&server, "alice", None).await;
        say(&mut alice, &once).await;
        let ack = next(&mut alice, "ack").await;
        places.push((welcome["epoch"].clone(), ack["offset"].clone(), ack["duplicate"].clone()));
        // The same key twice at once, in one batch of the log or in two.
        say(&mut alice, &json!({"type": "message", "message": "twice", "key": "k-2", "id": "1"})).await;
        say(&mut alice, &json!({"type": "message", "message": "twice", "key": "k-2", "id": "2"})).await;
        let (first, second) = (next(&mut alice, "ack").await, next(&mut alice, "ack").await);
        assert_eq!((&first["offset"], &second["offset"]), (&json!(2), &json!(2)));
        assert_eq!(
            (&first["re"], &second["re"], &second["duplicate"]),
            (&json!("1"), &json!("2"), &json!(true))
        );
    }
    let expected: Vec<_> =
        [false, true, true].map(|duplicate| (places[0].0.clone(), json!(1), json!(duplicate))).into();
    assert_eq!(places, expected);
}

/// A client that missed no message is told so, also when the room was forgotten or the process killed meanwhile.
#[tokio::test]
async fn a_position_outlives_members_messages_and_the_process() {
    let dir = folder();
    let path = dir.path().join("history");
    let settings = [("history.dir", path.to_str().expect("UTF-8")), ("history.ttl", "1ms")];
    let server = Server::start(&settings);
    let (mut alice, welcome) = enter(&server, "alice", None).await;
    let silent = text(&welcome["epoch"]).to_owned();
    say(&mut alice, &json!({"type": "join", "room": "red"})).await;
    let epoch = text(&next(&mut alice, "joined").await["epoch"]).to_owned();
    for number in 1..=3 {
        say(&mut alice, &json!({"type": "message", "room": "red", "message": "hi", "echo": false})).await;
        assert_eq!(next(&mut alice, "ack").await["offset"], number);
    }
    drop(alice);
    eventually("both rooms are forgotten", || server.metric("throng_rooms", "") == 0.0);
    // Dropping the server sends SIGKILL.
    drop(server);

    let server = Server::start(&settings);
    let (mut alice, welcome) = enter(&server, "alice", Some((&silent, 0))).await;
    assert_eq!((&welcome["recovered"], &welcome["offset"]), (&json!(true), &json!(0)), "{welcome}");
    for (offset, recovered) in [(2, false), (3, true)] {
        let resume = json!({"epoch": epoch, "offset": offset});
        say(&mut alice, &json!({"type": "join", "room": "red", "resume": resume})).await;
        let joined = next(&mut alice, "joined").await;
        assert_eq!((&joined["recovered"], &joined["offset"]), (&json!(recovered), &json!(3)), "{joined}");
        say(&mut alice, &json!({"type": "leave", "room": "red"})).await;
        next(&mut alice, "left").await;
    }
}

/// Sends messages for ever, and reads so that it is not dropped.
async fn talk(server: &Server, user: usize, round: usize) {
    let (mut client, _) = enter(server, &format!("user-{user}"), None).await;
    for number in 0.. {
        let said = format!("{round}/{user}/{number}");
        say(&mut client, &json!({"type": "message", "message": said, "id": said})).await;
        if number % 20 == 19 {
            while next(&mut client, "ack").await["re"] != said {}
        }
    }
}

#[tokio::test]
async fn nothing_that_was_acknowledged_under_load_is_lost_by_a_kill() {
    let dir = folder();
    let mut epoch = None;
    let mut acknowledged: Vec<(u64, String)> = Vec::new();
    for round in 0..3 {
        let server = start(&dir);
        let (mut alice, welcome) = enter(&server, "alice", None).await;
        let now = text(&welcome["epoch"]).to_owned();
        assert_eq!(*epoch.get_or_insert_with(|| now.clone()), now, "the epoch stays");
        // The kill comes while other clients send without end.
        let talkers = (0..3).map(|user| talk(&server, user, round));
        let acknowledge = async {
            for number in 0..100 {
                let said = format!("{round}/{number}");
                say(&mut alice, &json!({"type": "message", "message": said, "id": said, "echo": false}))
                    .await;
                let ack = next(&mut alice, "ack").await;
                acknowledged.push((ack["offset"].as_u64().expect("an offset"), text(&ack["re"]).to_owned()));
            }
        };
        tokio::select! {
            _ = futures_util::future::join_all(talkers) => unreachable!("they never stop"),
            () = acknowledge => {}
        }
        drop(server);
    }
    let server = start(&dir);
    let epoch = epoch.expect("there were rounds");
    let (mut reader, welcome) = enter(&server, "reader", Some((&epoch, 0))).await;
    assert_eq!(welcome["recovered"], true, "{welcome}");
    say(&mut reader, &json!({"type": "message", "message": "the end"})).await;
    let mut found = Vec::new();
    loop {
        let message = next(&mut reader, "message").await;
        found.push(text(&message["message"]).to_owned());
        assert_eq!(message["offset"], found.len(), "without a hole");
        if message["message"] == "the end" {
            break;
        }
    }
    assert_eq!(acknowledged.len(), 300);
    assert!(found.len() > 400, "the other clients have sent messages, too: {}", found.len());
    for (offset, said) in acknowledged {
        assert_eq!(found[offset as usize - 1], said, "at {offset}");
    }
}

/// Returns the text of a number.
fn said(number: u64) -> String {
    format!("{number}: {}", "x".repeat(400))
}

/// Sends the text of a number under a key; returns the ack or the error.
async fn ask(client: &mut Client, number: u64) -> Value {
    let id = format!("k-{number}");
    say(client, &json!({"type": "message", "message": said(number), "key": id, "id": id})).await;
    loop {
        let event = client.recv_json().await;
        if event["re"] == id {
            return event;
        }
    }
}

/// 1. The disk is full: messages get no offset, and their senders an error.
/// 2. No client is disconnected: every offset that a client knows of is on disk.
/// 3. The disk has space again: offsets go on in the same epoch, without a hole.
/// 4. The process is killed: the next one has all messages.
#[tokio::test]
async fn a_disk_that_is_full_for_a_while_loses_no_position() {
    let dir = folder();
    let path = dir.path().join("history");
    let server = Server::start_with_short_files(16, &[("history.dir", path.to_str().expect("UTF-8"))]);
    let (mut bob, _) = enter(&server, "bob", None).await;
    let (mut alice, welcome) = enter(&server, "alice", None).await;
    let epoch = text(&welcome["epoch"]).to_owned();
    let mut plain = Client::connect(&server, "/ws/chat/plain").await;
    plain.expect_notice("User plain has joined the chat").await;
    let mut last = 0;
    let refused = loop {
        let answer = ask(&mut alice, last + 1).await;
        if answer["type"] != "ack" {
            break answer;
        }
        last += 1;
        assert_eq!((&answer["offset"], &answer["epoch"]), (&json!(last), &json!(epoch)));
    };
    assert!((5..100).contains(&last), "{last} messages in 16 KiB");
    assert!(server.metric("throng_history_write_failures_total", "") >= 1.0);
    assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("unavailable")), "{refused}");
    for _ in 0..3 {
        assert_eq!(ask(&mut alice, last + 1).await["code"], "unavailable");
    }
    for number in 1..=last {
        assert_eq!(plain.recv_json().await["offset"], number);
    }
    plain.send_text(json!({"message": said(0)}).to_string()).await;
    assert_eq!(plain.recv_json().await["code"], "unavailable");
    // The writer's thread answers these commands, and counts them too.
    assert_eq!(server.metric("throng_errors_total", "\"unavailable\""), 5.0);

    server.lift_file_limit();
    for number in last + 1..=last + 5 {
        let ack = ask(&mut alice, number).await;
        assert_eq!((&ack["type"], &ack["duplicate"]), (&json!("ack"), &json!(false)), "{ack}");
        assert_eq!((&ack["offset"], &ack["epoch"]), (&json!(number), &json!(epoch)));
        assert_eq!(plain.recv_json().await["offset"], number);
    }
    for number in 1..=last + 5 {
        let message = next(&mut bob, "message").await;
        assert_eq!((&message["offset"], &message["message"]), (&json!(number), &json!(said(number))));
    }
    drop(server);

    let server = start(&dir);
    let (mut bob, welcome) = enter(&server, "bob", Some((&epoch, 1))).await;
    assert_eq!((&welcome["recovered"], &welcome["epoch"]), (&json!(true), &json!(epoch)));
    for number in 2..=last + 5 {
        let message = next(&mut bob, "message").await;
        assert_eq!((&message["offset"], &message["message"]), (&json!(number), &json!(said(number))));
    }
}

/// Messages sent before `leave` are written, acknowledged and delivered before `left`. An ack behind it would name an
/// offset in a room that the client is not in.
#[tokio::test]
async fn a_leave_is_announced_after_the_acks_of_earlier_messages() {
    let dir = folder();
    let server = start(&dir);
    let (mut alice, _) = enter(&server, "alice", None).await;
    let mut last = 0;
    for round in 0..20 {
        say(&mut alice, &json!({"type": "join", "room": "red"})).await;
        assert_eq!(next(&mut alice, "joined").await["offset"], last);
        for number in 0..10 {
            let echo = number % 3 > 0;
            say(&mut alice, &json!({"type": "message", "room": "red", "message": "hi", "echo": echo})).await;
        }
        let id = format!("left-{round}");
        say(&mut alice, &json!({"type": "leave", "room": "red", "id": id})).await;
        say(&mut alice, &json!({"type": "ping"})).await;
        for number in 0..10 {
            last += 1;
            if number % 3 > 0 {
                assert_eq!(stream(&mut alice).await, ("message".into(), json!(last)));
            }
            assert_eq!(stream(&mut alice).await, ("ack".into(), json!(last)));
        }
        assert_eq!(stream(&mut alice).await.0, "left");
        assert_eq!(stream(&mut alice).await.0, "pong");
    }
}

/// Returns the type and the offset of the next event that is not about presence.
async fn stream(client: &mut Client) -> (String, Value) {
    loop {
        let event = client.recv_json().await;
        if event["type"] != "presence_diff" {
            return (text(&event["type"]).to_owned(), event["offset"].clone());
        }
    }
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_closes_its_history_and_plain_clients_need_not_know() {
    let dir = folder();
    for round in 0..2 {
        let mut server = start(&dir);
        let mut alice = Client::connect(&server, "/ws/chat/alice").await;
        alice.expect_notice("User alice has joined the chat").await;
        alice.send_text(r#"{"message":"hi"}"#).await;
        let message = alice.recv_json().await;
        assert_eq!((&message["type"], &message["message"]), (&json!("message"), &json!("hi")));
        assert_eq!(message["offset"], round + 1);
        assert_eq!(server.get("/readyz").status, 200);
        alice.close().await;
        server.terminate();
        let status = server.wait_exit(Duration::from_secs(20));
        assert!(status.success(), "{status}");
    }
}

#[test]
fn a_folder_that_cannot_be_used_ends_the_start_with_its_reason() {
    let dir = folder();
    let _server = start(&dir);
    let file = dir.path().join("file");
    std::fs::write(&file, "not a folder").expect("written");
    let taken = dir.path().join("history");
    for (path, reason) in [(&*taken, "in use by another process"), (&*file, "cannot make the folder")] {
        let settings = [("history.dir", path.to_str().expect("UTF-8"))];
        let output = run(&["serve", "--listen", "127.0.0.1:0"], &settings);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(UNAVAILABLE), "{said}");
        assert!(said.contains("history.dir") && said.contains(reason), "{said}");
    }
}
