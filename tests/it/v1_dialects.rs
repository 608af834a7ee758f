//! Both dialects in one room: clients of the other one do not change what a plain client receives.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::Client;
use crate::support::frame::{TEXT, text};
use crate::support::raw::Socket;
use crate::support::server::Server;
use crate::support::speaker::Speaker;

#[test]
fn a_message_is_the_same_bytes_in_both_dialects() {
    let server = Server::start(&[("workers", "2")]);
    let mut alice = Speaker::alone(&server, "alice");
    let mut plain = Socket::open(server.address(), "/ws/chat/plain");
    alice.expect("presence_diff");
    plain.read_text();
    for said in ["hi", "", "grüße \"🦀\"\n", "\u{2028}\u{1}"] {
        alice.send(&json!({"type": "message", "message": said}));
        let frame = plain.read_frame();
        assert_eq!((frame.opcode, &frame), (TEXT, &alice.frame()));
        let own: Value = serde_json::from_slice(&frame.payload).expect("JSON");
        assert_eq!(own["message"], said);
        alice.expect("ack");
        plain.send(text(json!({"message": said}).to_string()));
        assert_eq!(plain.read_frame(), alice.frame());
    }
}

#[test]
fn a_plain_client_receives_the_same_with_and_without_other_dialects() {
    // The same events twice: the other member speaks one dialect, then the other.
    let story = |v1: bool| {
        let server = Server::start(&[]);
        let mut plain = Socket::open(server.address(), "/ws/chat/plain");
        let mut heard = vec![plain.read_text()];
        let path = "bob";
        let command = json!({"type": "message", "message": "hello", "id": "x", "key": "k"}).to_string();
        if v1 {
            let mut bob = Speaker::alone(&server, path);
            heard.push(plain.read_text());
            bob.socket.send([text(&command), text(&command), text(r#"{"type":"ping"}"#)].concat());
            bob.command(json!({"type": "join", "room": "red"}));
            bob.find("joined");
            heard.push(plain.read_text());
        } else {
            let mut bob = Socket::open(server.address(), &format!("/ws/chat/{path}"));
            heard.push(plain.read_text());
            bob.send(text(&command));
            heard.push(plain.read_text());
        }
        heard.push(plain.read_text());
        for sent in [r#"{"type":"history","room":"lobby"}"#, r#"{"type":"no","message":"plain"}"#, "?"] {
            plain.send(text(sent));
            heard.push(plain.read_text());
        }
        heard.iter().map(|event| masked(event)).collect::<Vec<_>>()
    };
    assert_eq!(story(true), story(false));
}

/// Masks the values of an event that differ from run to run; keeps the order of its fields.
fn masked(event: &str) -> String {
    let mut masked = event.to_owned();
    let value: Value = serde_json::from_str(event).expect("JSON");
    for field in ["ts", "id"] {
        if let Some(value) = value.get(field) {
            masked = masked.replace(&value.to_string(), "differs");
        }
    }
    masked
}

#[tokio::test]
async fn other_implementations_of_both_dialects_talk_to_each_other() {
    let server = Server::start(&[]);
    let mut plain = Client::connect(&server, "/ws/chat/plain").await;
    plain.expect_notice("User plain has joined the chat").await;
    let offer = [("sec-websocket-protocol", "throng.v1")];
    let mut alice = Client::connect_with(&server, "/ws/chat/alice", &offer).await;
    assert_eq!(plain.header("sec-websocket-protocol"), None);
    assert_eq!(alice.recv_json().await["type"], "welcome");
    assert_eq!(alice.recv_json().await["joined"], json!(["alice"]));
    plain.expect_notice("User alice has joined the chat").await;
    plain.send_text(r#"{"message":"hi"}"#).await;
    assert_eq!(plain.recv_text().await, alice.recv_text().await);
    alice.send_text(r#"{"type":"message","message":"hello","echo":false,"id":"7"}"#).await;
    let ack = alice.recv_json().await;
    let message = plain.recv_json().await;
    assert_eq!((&ack["offset"], &ack["re"]), (&message["offset"], &json!("7")));
    alice.send_text(r#"{"type":"typing","room":"lobby"}"#).await;
    alice.send(Message::binary(vec![1])).await;
    let advice = alice.recv_json().await;
    assert_eq!((&advice["type"], &advice["code"]), (&json!("disconnect"), &json!(1003)));
    alice.expect_close(1003, "Binary messages are not supported here").await;
    plain.expect_notice("User alice has left the chat").await;
}
