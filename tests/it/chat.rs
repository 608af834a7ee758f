//! The chat in its plain dialect: the exact texts on which a simple client relies.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::Client;
use crate::support::raw::Socket;
use crate::support::server::Server;

/// Connects `user` to `room` and reads the notice of its own entry.
async fn enter(server: &Server, user: &str, room: &str) -> Client {
    let mut client = Client::connect(server, &format!("/ws/chat/{user}?room={room}")).await;
    client.expect_notice(&format!("User {user} has joined the chat")).await;
    client
}

/// Sends `text` and waits until it comes back.
async fn say(client: &mut Client, text: &str) {
    client.send_text(json!({ "message": text }).to_string()).await;
    assert_eq!(client.recv_json().await["message"], text);
}

#[tokio::test]
async fn everyone_is_told_of_entries_and_exits_the_newcomer_included() {
    let server = Server::start(&[]);
    let mut alice = Client::connect(&server, "/ws/chat/alice").await;
    let first = alice.recv_text().await;
    let front = r#"{"type":"system","message":"User alice has joined the chat""#;
    assert!(first.starts_with(front), "{first}");

    let mut bob = Client::connect(&server, "/ws/chat/bob").await;
    alice.expect_notice("User bob has joined the chat").await;
    bob.expect_notice("User bob has joined the chat").await;

    bob.close().await;
    alice.expect_notice("User bob has left the chat").await;
}

#[tokio::test]
async fn everyone_is_told_of_an_exit_without_a_close_frame() {
    let server = Server::start(&[]);
    let mut alice = enter(&server, "alice", "lobby").await;
    for reset in [false, true] {
        let bob = Socket::open(server.address(), "/ws/chat/bob");
        alice.expect_notice("User bob has joined the chat").await;
        if reset {
            bob.abort()
        } else {
            drop(bob)
        }
        alice.expect_notice("User bob has left the chat").await;
    }
}

#[tokio::test]
async fn a_message_goes_to_everyone_the_sender_included() {
    let server = Server::start(&[]);
    let mut alice = enter(&server, "alice", "lobby").await;
    let mut bob = enter(&server, "bob", "lobby").await;
    alice.expect_notice("User bob has joined the chat").await;
    for text in
        ["hi", "", "grüße 🦀", "quote \" backslash \\ newline \n end", "<b>&amp;</b>", "\u{2028}\u{7f}\u{1}"]
    {
        alice.send_text(json!({ "message": text }).to_string()).await;
        for client in [&mut alice, &mut bob] {
            let raw = client.recv_text().await;
            assert!(raw.starts_with(r#"{"type":"message","user":"alice","message":""#), "{raw}");
            let event: Value = serde_json::from_str(&raw).expect("JSON");
            assert_eq!(event["message"], text, "{raw}");
        }
    }
    alice.send_text(r#"{"message":"hi"}"#).await;
    let raw = bob.recv_text().await;
    assert!(raw.starts_with(r#"{"type":"message","user":"alice","message":"hi""#), "{raw}");
}

#[tokio::test]
async fn everyone_sees_one_order() {
    let server = Server::start(&[("workers", "2")]);
    let mut alice = enter(&server, "alice", "lobby").await;
    let mut bob = enter(&server, "bob", "lobby").await;
    alice.expect_notice("User bob has joined the chat").await;
    const EACH: usize = 100;
    for n in 0..EACH {
        alice.send_text(json!({ "message": format!("a{n}") }).to_string()).await;
        bob.send_text(json!({ "message": format!("b{n}") }).to_string()).await;
    }
    let mut seen = [Vec::new(), Vec::new()];
    for (client, seen) in [&mut alice, &mut bob].into_iter().zip(&mut seen) {
        for _ in 0..2 * EACH {
            seen.push(client.recv_json().await["message"].as_str().expect("a text").to_owned());
        }
    }
    assert_eq!(seen[0], seen[1]);
    for sender in ["a", "b"] {
        let own: Vec<_> = seen[0].iter().filter(|text| text.starts_with(sender)).collect();
        assert!(own.iter().enumerate().all(|(n, text)| **text == format!("{sender}{n}")), "{own:?}");
    }
}

const JSON: (&str, &str) = ("Invalid JSON format", "invalid_json");
const FIELD: (&str, &str) = ("Invalid message format: missing 'message' field", "missing_field");
const LONG: (&str, &str) = ("Message too long (max 500 chars)", "message_too_long");

#[tokio::test]
async fn errors_answer_the_sender_alone_and_the_connection_lives() {
    let server = Server::start(&[("limits.malformed_per_minute", "1000")]);
    let mut alice = enter(&server, "alice", "lobby").await;
    let mut bob = enter(&server, "bob", "lobby").await;
    alice.expect_notice("User bob has joined the chat").await;
    let long = |unit: &str, count| json!({ "message": unit.repeat(count) }).to_string();
    for (sent, (message, code)) in [
        ("hi", JSON),
        ("", JSON),
        (r#"{"message":"#, JSON),
        ("{}", FIELD),
        (r#"{"text":"hi"}"#, FIELD),
        (r#"{"type":"message"}"#, FIELD),
        (&long("a", 501), LONG),
        (&long("é", 501), LONG),
        (&long("🦀", 501), LONG),
        (&long("a", 60_000), LONG),
    ] {
        alice.send_text(sent).await;
        let raw = alice.recv_text().await;
        let front = format!(r#"{{"type":"error","message":"{message}","code":"{code}""#);
        assert!(raw.starts_with(&front), "to {sent:.40}: {raw}");
        say(&mut alice, "alive").await;
        assert_eq!(bob.recv_json().await["message"], "alive", "an error of alice's");
    }
    alice.send_text(r#"{"message":42}"#).await;
    let error = alice.recv_json().await;
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("invalid_message")), "{error}");
    say(&mut alice, "alive").await;
}

#[tokio::test]
async fn the_longest_messages_pass() {
    let server = Server::start(&[]);
    let mut alice = enter(&server, "alice", "lobby").await;
    for unit in ["a", "é", "🦀"] {
        say(&mut alice, &unit.repeat(500)).await;
    }
}

#[tokio::test]
async fn the_limit_is_a_setting_and_stands_in_the_error() {
    let server = Server::start(&[("chat.max_message_chars", "5")]);
    let mut alice = enter(&server, "alice", "lobby").await;
    say(&mut alice, "12345").await;
    alice.send_text(r#"{"message":"123456"}"#).await;
    assert_eq!(alice.recv_json().await["message"], "Message too long (max 5 chars)");
}

#[tokio::test]
async fn the_plain_dialect_reads_the_field_message_alone() {
    let server = Server::start(&[]);
    let mut alice = enter(&server, "alice", "lobby").await;
    for sent in [
        r#"{"type":"no such type","message":"hi"}"#,
        r#"{"type":"leave","message":"hi","room":"lobby"}"#,
        r#"{"message":"hi","user":"mallory","offset":99,"deep":{"a":[1,2,{"b":null}]}}"#,
        r#"  { "message" : "hi" }  "#,
        r#"{"message":"\u0068\u0069"}"#,
    ] {
        alice.send_text(sent).await;
        let event = alice.recv_json().await;
        assert_eq!((&event["type"], &event["user"]), (&json!("message"), &json!("alice")), "{sent}: {event}");
        assert_eq!(event["message"], "hi", "{sent}: {event}");
    }
}

#[tokio::test]
async fn binary_is_refused() {
    let server = Server::start(&[]);
    let mut alice = enter(&server, "alice", "lobby").await;
    alice.send(Message::binary(br#"{"message":"hi"}"#.to_vec())).await;
    alice.expect_close(1003, "Binary messages are not supported here").await;
}

#[tokio::test]
async fn user_ids_are_checked_after_decoding() {
    let server = Server::start(&[]);
    let (longest, too_long) = ("x".repeat(64), "x".repeat(65));
    let good = [
        ("abc", "abc"),
        ("Al.i_c:e-9", "Al.i_c:e-9"),
        ("al@ice", "al@ice"),
        ("al%40ice", "al@ice"),
        ("%61%62%63", "abc"),
        (longest.as_str(), longest.as_str()),
    ];
    for (round, (path, user)) in good.into_iter().enumerate() {
        // Another room each time: over two nodes, a room may hear of a user's return before the end.
        let mut client = Client::connect(&server, &format!("/ws/chat/{path}?room=round-{round}")).await;
        client.expect_notice(&format!("User {user} has joined the chat")).await;
        client.close().await;
    }
    let bad = [
        "ab",
        "a",
        "a%20b",
        "k%C3%A4se",
        "abc%0A",
        "%ff%fe%fd",
        "a%2Fbc",
        "a%22bc",
        "abc%00",
        "%61%62",
        "ab%zz",
    ];
    for path in bad.into_iter().chain([too_long.as_str()]) {
        println!("bad user id: {path}");
        let mut client = Client::connect(&server, &format!("/ws/chat/{path}")).await;
        client.expect_close(1008, "Invalid user ID").await;
    }
}

#[tokio::test]
async fn room_names_are_checked_after_decoding() {
    let server = Server::start(&[]);
    let (longest, too_long) = ("r".repeat(64), "r".repeat(65));
    for good in ["r", "a.b_c:d@e-9", "%72oom", longest.as_str()] {
        let mut client = Client::connect(&server, &format!("/ws/chat/alice?room={good}")).await;
        client.expect_notice("User alice has joined the chat").await;
        client.close().await;
    }
    for bad in ["", "a%20b", "a+b", "k%C3%A4se", "a/b", "%ff", too_long.as_str()] {
        println!("bad room: {bad}");
        let mut client = Client::connect(&server, &format!("/ws/chat/alice?room={bad}")).await;
        client.expect_close(1008, "Invalid room").await;
    }
}

#[tokio::test]
async fn rooms_do_not_hear_each_other() {
    let server = Server::start(&[("chat.default_room", "hall")]);
    let mut alice = enter(&server, "alice", "red").await;
    let mut bob = enter(&server, "bob", "blue").await;
    say(&mut alice, "in red").await;
    say(&mut bob, "in blue").await;
    // The default room has a name like any other.
    let mut carol = Client::connect(&server, "/ws/chat/carol").await;
    carol.expect_notice("User carol has joined the chat").await;
    let mut dave = enter(&server, "dave", "hall").await;
    carol.expect_notice("User dave has joined the chat").await;
    say(&mut dave, "in the hall").await;
    assert_eq!(carol.recv_json().await["message"], "in the hall");
    // A message from another room would come before this one.
    say(&mut alice, "still in red").await;
    say(&mut bob, "still in blue").await;
}

#[tokio::test]
async fn a_room_too_many_is_refused_with_1013() {
    let server = Server::start(&[("limits.max_rooms", "1")]);
    let mut alice = Client::connect(&server, "/ws/chat/alice?room=first").await;
    alice.expect_notice("User alice has joined the chat").await;
    Client::connect(&server, "/ws/chat/bob?room=second").await.expect_close(1013, "Server overloaded").await;
    // The room that exists is open to all, and a user id that got no room is free.
    let mut bob = Client::connect(&server, "/ws/chat/bob?room=first").await;
    bob.expect_notice("User bob has joined the chat").await;
}
