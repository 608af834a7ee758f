//! Private messages: the command `direct`.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::raw::Socket;
use crate::support::server::{SMALL_QUEUES, Server};
use crate::support::speaker::Speaker;

fn to(user: &str, message: &str) -> Value {
    json!({"type": "direct", "to": user, "message": message})
}

#[track_caller]
fn expect_direct(speaker: &mut Speaker, from: &str, message: &str) -> Value {
    let event = speaker.expect("direct");
    let (id, ts) = (event["id"].as_str().expect("an id"), event["ts"].as_u64().expect("a time"));
    let expected = json!({"type": "direct", "user": from, "message": message, "id": id, "ts": ts});
    assert_eq!(event, expected);
    assert!(ts > 1_700_000_000_000, "{event}");
    event
}

#[test]
fn a_private_message_reaches_every_connection_of_its_user_and_nobody_else() {
    let server = Server::start(&[("chat.duplicate", "allow"), ("workers", "2")]);
    let mut alice = Speaker::alone(&server, "alice?room=a");
    let mut bobs: Vec<_> =
        ["b", "c", "d"].map(|room| Speaker::alone(&server, &format!("bob?room={room}"))).into();
    let mut carol = Speaker::alone(&server, "carol?room=e");
    let ack = alice.ask(to("bob", "psst \"🦀\""), "ack");
    assert_eq!(ack, json!({"type": "ack", "re": ack["re"], "delivered": 3}));
    let ids: Vec<_> =
        bobs.iter_mut().map(|bob| expect_direct(bob, "alice", "psst \"🦀\"")["id"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    // A user may send private messages to itself.
    alice.command(to("alice", "note"));
    let mut both = [alice.event(), alice.event()];
    both.sort_by_key(|event| event["type"].to_string());
    assert_eq!((&both[0]["delivered"], &both[1]["message"]), (&json!(1), &json!("note")));
    // Neither other users nor the sender's room receive it.
    carol.expect_nothing();
    alice.expect_nothing();
}

#[test]
fn a_private_message_to_an_absent_user_is_not_found() {
    let server = Server::start(&[]);
    let mut alice = Speaker::alone(&server, "alice");
    for nobody in ["bob", "no", "not a name", ""] {
        alice.ask_refused(to(nobody, "hi"), "user_not_found");
    }
    let bob = Speaker::alone(&server, "bob");
    alice.expect("presence_diff");
    assert_eq!(alice.ask(to("bob", "hi"), "ack")["delivered"], 1);
    drop(bob);
    assert_eq!(alice.expect("presence_diff")["left"], json!(["bob"]));
    // A closed connection leaves its room before it frees its name.
    eventually("bob's name is free", || {
        alice.command(to("bob", "hi"));
        alice.event()["code"] == "user_not_found"
    });
    alice.ask_refused(to("bob", &"x".repeat(501)), "message_too_long");
}

#[test]
fn a_private_message_with_a_key_is_delivered_once() {
    let server = Server::start(&[]);
    let mut alice = Speaker::alone(&server, "alice?room=a");
    let mut bob = Speaker::alone(&server, "bob?room=b");
    let mut carol = Speaker::alone(&server, "carol?room=c");
    let keyed =
        |user: &str, message: &str| json!({"type": "direct", "to": user, "message": message, "key": "k"});
    for _ in 0..3 {
        assert_eq!(alice.ask(keyed("bob", "once"), "ack")["delivered"], 1);
    }
    assert_eq!(alice.ask(keyed("carol", "another's"), "ack")["delivered"], 1);
    assert_eq!(alice.ask(to("bob", "the end"), "ack")["delivered"], 1);
    expect_direct(&mut bob, "alice", "once");
    expect_direct(&mut bob, "alice", "the end");
    expect_direct(&mut carol, "alice", "another's");
}

#[tokio::test]
async fn a_plain_client_gets_private_messages_too() {
    let server = Server::start(&[]);
    let mut plain = Client::connect(&server, "/ws/chat/plain?room=p").await;
    plain.expect_notice("User plain has joined the chat").await;
    let mut alice = Speaker::on(Socket::connect(server.address()), "alice", "");
    alice.expect("presence_diff");
    assert_eq!(alice.ask(to("plain", "psst"), "ack")["delivered"], 1);
    let event = plain.recv_json().await;
    assert_eq!((&event["type"], &event["user"]), (&json!("direct"), &json!("alice")), "{event}");
}

/// 1. Bob does not read.
/// 2. Alice sends him so much that his queue would be full: she gets errors, he stays, and others can reach him.
/// 3. He receives every acknowledged message, and then she can go on.
#[test]
fn a_flood_of_private_messages_is_refused_and_its_recipient_is_not_dropped() {
    const TRIES: usize = 300;
    let server = Server::start(SMALL_QUEUES);
    let narrow = Socket::connect_narrow(server.address());
    let mut bob = Speaker::on(narrow, "bob?room=b", "");
    let mut alice = Speaker::enter(&server, "alice?room=a");
    let mut carol = Speaker::enter(&server, "carol?room=c");
    let text = "x".repeat(1000);
    let (mut acked, mut refused) = (0, 0);
    for _ in 0..TRIES {
        alice.command(to("bob", &text));
        let answer = alice.event();
        match answer["type"].as_str() {
            Some("ack") => acked += 1,
            _ => {
                assert_eq!(answer["code"], "unavailable", "{answer}");
                refused += 1;
            }
        }
    }
    assert!(refused > TRIES / 2, "{acked} are on their way");
    assert_eq!(carol.ask(to("bob", "from carol"), "ack")["delivered"], 1);
    for _ in 0..acked {
        expect_direct(&mut bob, "alice", &text);
    }
    expect_direct(&mut bob, "carol", "from carol");
    assert_eq!(alice.ask(to("bob", "on"), "ack")["delivered"], 1);
    expect_direct(&mut bob, "alice", "on");
    assert_eq!(server.metric("throng_slow_consumers_dropped_total", ""), 0.0);
}
