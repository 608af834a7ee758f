//! The simple endpoints, each as in its row of the protocol's table.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::client::Client;
use crate::support::server::Server;

#[tokio::test]
async fn echo_says_what_it_processed() {
    let server = Server::start(&[]);
    let mut client = Client::connect(&server, "/ws").await;
    for text in ["hello", "", "{\"a\": 1}", "two\nlines", "grüße 🦀", "\0", &"x".repeat(60_000)] {
        client.send_text(text).await;
        client.expect_text(&format!("Message processed: {text}")).await;
    }
    client.close().await;
}

#[tokio::test]
async fn echo_answers_in_order_what_comes_at_once() {
    let server = Server::start(&[]);
    let mut client = Client::connect(&server, "/ws").await;
    for n in 0..500 {
        client.send_text(format!("{n}")).await;
    }
    for n in 0..500 {
        client.expect_text(&format!("Message processed: {n}")).await;
    }
}

#[tokio::test]
async fn raw_echo_gives_text_and_binary_back_untouched() {
    let server = Server::start(&[]);
    let mut client = Client::connect(&server, "/ws?raw").await;
    for message in [Message::text("hello"), Message::binary(vec![0, 255, 7]), Message::binary(vec![])] {
        client.send(message.clone()).await;
        assert_eq!(client.recv().await, message);
    }
}

#[tokio::test]
async fn binary_is_refused_on_endpoints_of_text() {
    let server = Server::start(&[]);
    for path in ["/ws", "/ws/messages", "/ws/with-timeout"] {
        let mut client = Client::connect(&server, path).await;
        client.send(Message::binary(vec![1, 2, 3])).await;
        client.expect_close(1003, "Binary messages are not supported here").await;
    }
}

const MISSING: &str = "Missing 'message' field";
const TOO_LONG: &str = "Message too long (max 200 chars)";
const INVALID: &str = "Invalid message format";

#[tokio::test]
async fn messages_up_to_the_limit_are_received() {
    let server = Server::start(&[]);
    let mut client = Client::connect(&server, "/ws/messages").await;
    let longest = ["a".repeat(200), "é".repeat(200), "🦀".repeat(200), "e\u{301}".repeat(100)];
    let texts = ["hi", "", " ", "quote \" backslash \\ newline \n", "κόσμε", "\u{1}\u{7f}\u{2028}"];
    for text in texts.into_iter().chain(longest.iter().map(String::as_str)) {
        client.send_text(json!({"message": text, "ignored": [1, null]}).to_string()).await;
        let answer = client.recv_json().await;
        assert_eq!(answer, json!({"status": "success", "message": format!("Received: {text}")}));
    }
    // Clients may compare the text: the order of the answer's fields is promised.
    client.send_text(r#"{"message":"hi"}"#).await;
    client.expect_text(r#"{"status":"success","message":"Received: hi"}"#).await;
    // The same characters, escaped.
    client.send_text(format!(r#"{{"message":"{}"}}"#, "\\ud83e\\udd80".repeat(200))).await;
    assert_eq!(client.recv_json().await["message"], format!("Received: {}", "🦀".repeat(200)));
}

#[tokio::test]
async fn other_messages_are_answered_with_the_reason_and_a_close() {
    let server = Server::start(&[]);
    let long = |text: &str| json!({"message": text}).to_string();
    for (sent, reason) in [
        ("{}", MISSING),
        (r#"{"text":"hi"}"#, MISSING),
        (r#"{"Message":"hi"}"#, MISSING),
        (&long(&"a".repeat(201)), TOO_LONG),
        (&long(&"é".repeat(201)), TOO_LONG),
        (&long(&"🦀".repeat(201)), TOO_LONG),
        (&long(&"e\u{301}".repeat(101)), TOO_LONG),
        (&long(&"a".repeat(50_000)), TOO_LONG),
        (r#"{"message":42}"#, INVALID),
        (r#"{"message":["hi"]}"#, INVALID),
        (r#"{"message":{"message":"hi"}}"#, INVALID),
        (r#"{"message":true}"#, INVALID),
        (r#"["hi"]"#, INVALID),
        (r#""hi""#, INVALID),
        ("42", INVALID),
        ("null", INVALID),
        ("hi", INVALID),
        ("", INVALID),
        (r#"{"message":"hi""#, INVALID),
        (r#"{"message":"hi"} x"#, INVALID),
    ] {
        let mut client = Client::connect(&server, "/ws/messages").await;
        client.send_text(sent).await;
        client.expect_text(&json_error(reason)).await;
        client.expect_close(1007, reason).await;
    }
}

fn json_error(reason: &str) -> String {
    format!(r#"{{"error":"{reason}","code":1007}}"#)
}

#[tokio::test]
async fn the_limit_of_messages_is_a_setting_and_stands_in_the_reason() {
    let server = Server::start(&[("endpoints.max_message_chars", "5")]);
    let mut client = Client::connect(&server, "/ws/messages").await;
    client.send_text(r#"{"message":"12345"}"#).await;
    client.expect_text(r#"{"status":"success","message":"Received: 12345"}"#).await;
    client.send_text(r#"{"message":"123456"}"#).await;
    client.expect_text(&json_error("Message too long (max 5 chars)")).await;
    client.expect_close(1007, "Message too long (max 5 chars)").await;
}

const SILENT: &str = "Connection timed out due to inactivity";

#[tokio::test]
async fn a_silent_client_is_timed_out() {
    let server = Server::start(&[]);
    let mut client = Client::connect(&server, "/ws/with-timeout?timeout=1s").await;
    let started = Instant::now();
    client.expect_text(SILENT).await;
    client.expect_close(1000, "Inactivity timeout").await;
    assert!(started.elapsed() >= Duration::from_millis(900), "too early: {:?}", started.elapsed());
}

#[tokio::test]
async fn the_default_timeout_is_a_setting() {
    let server = Server::start(&[("endpoints.timeout", "1s")]);
    let mut client = Client::connect(&server, "/ws/with-timeout").await;
    client.expect_text(SILENT).await;
    client.expect_close(1000, "Inactivity timeout").await;
}

#[tokio::test]
async fn a_message_extends_the_timeout() {
    let server = Server::start(&[]);
    let mut client = Client::connect(&server, "/ws/with-timeout?timeout=2s").await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(4) {
        client.send_text("still here").await;
        client.expect_text("Echo: still here").await;
        // Lets time pass between two signs of life: the test is about time.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let last = Instant::now();
    client.expect_text(SILENT).await;
    assert!(last.elapsed() >= Duration::from_millis(1500), "too early: {:?}", last.elapsed());
    client.expect_close(1000, "Inactivity timeout").await;
}

#[tokio::test]
async fn pings_do_not_extend_the_timeout() {
    let server = Server::start(&[]);
    let mut client = Client::connect(&server, "/ws/with-timeout?timeout=1s").await;
    let started = Instant::now();
    let mut silence = loop {
        client.send(Message::Ping("still here".into())).await;
        match tokio::time::timeout(Duration::from_millis(100), client.recv_text()).await {
            Ok(text) => break text,
            Err(_) => assert!(started.elapsed() < Duration::from_secs(10), "pings count as activity"),
        }
    };
    assert_eq!(std::mem::take(&mut silence), SILENT);
    client.expect_close(1000, "Inactivity timeout").await;
}

#[tokio::test]
async fn an_invalid_timeout_is_refused() {
    let server = Server::start(&[("endpoints.timeout_max", "1m")]);
    for bad in ["0s", "500ms", "61s", "1h", "-1s", "5", "s", "", "abc", "1e9s", "99999999999999999999s"] {
        let status = Client::refused(&server, &format!("/ws/with-timeout?timeout={bad}"), &[]).await;
        assert_eq!(status, 400, "{bad:?}");
    }
    for good in ["1s", "5s", "60s", "1m", "1500ms"] {
        Client::connect(&server, &format!("/ws/with-timeout?timeout={good}")).await.close().await;
    }
}
