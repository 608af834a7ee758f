//! The log: the line at a connection's end, and the secrets that no line may contain.

use serde_json::Value;

use crate::support::client::Client;
use crate::support::frame::text;
use crate::support::raw::{Socket, handshake};
use crate::support::server::Server;
use crate::support::token::{SECRET, mint};

/// True when the line is about the end of a connection.
fn is_end(line: &Value) -> bool {
    line.get("code").is_some() && line.get("endpoint").is_some() && line.get("reason").is_some()
}

/// Returns the field of that name, with or without a unit behind it (`duration_ms`).
#[track_caller]
fn field<'a>(line: &'a Value, name: &str) -> &'a Value {
    let fields = line.as_object().expect("an object");
    let found = fields.iter().find(|(key, _)| *key == name || key.starts_with(&format!("{name}_")));
    found.unwrap_or_else(|| panic!("no {name}: {line}")).1
}

#[tokio::test]
async fn the_end_of_a_connection_is_one_line_that_says_how_it_went() {
    let server = Server::start(&[("log.level", "debug")]);
    let mut client = Client::connect(&server, "/ws/chat/alice").await;
    client.expect_notice("User alice has joined the chat").await;
    for _ in 0..3 {
        client.send_text(r#"{"message":"hi"}"#).await;
        client.recv_text().await;
    }
    client.close().await;
    let line = server.log().wait_for("the end of alice", |line| is_end(line) && line["user"] == "alice");
    // The client's close frame had no code.
    assert_eq!(field(&line, "code"), 1005, "{line}");
    assert!(field(&line, "endpoint").as_str().is_some_and(|endpoint| endpoint.contains("chat")), "{line}");
    for name in ["id", "reason", "duration"] {
        assert!(!field(&line, name).is_null(), "{line}");
    }
    assert_eq!(field(&line, "messages"), 3, "{line}");
    assert!(field(&line, "bytes").as_u64().is_some_and(|bytes| bytes >= 3 * 16), "{line}");
    assert_eq!(server.log().count(|line| is_end(line) && line["user"] == "alice"), 1);
}

#[test]
fn every_end_has_its_code_in_the_log() {
    let server = Server::start(&[("log.level", "debug")]);
    let address = server.address();
    Socket::open(address, "/ws").send([0x83, 0x80, 0, 0, 0, 0]);
    Socket::open(address, "/ws/messages").send(text("not JSON"));
    Socket::open(address, "/ws/chat/ab");
    drop(Socket::open(address, "/ws/with-timeout"));
    for code in [1002, 1007, 1008, 1006] {
        server.log().wait_for(&format!("an end with {code}"), |line| is_end(line) && line["code"] == code);
    }
}

#[test]
fn events_caused_by_peers_are_not_logged_by_default() {
    let server = Server::start(&[]);
    let loud = || server.log().count(|line| matches!(line["level"].as_str(), Some("WARN" | "ERROR")));
    // Lines about the server's own start do not count.
    let before = loud();
    for bytes in [&[0x83, 0x80, 0, 0, 0, 0][..], &[0x81, 0x00]] {
        let mut socket = Socket::open(server.address(), "/ws");
        socket.send(bytes);
        assert_eq!(socket.read_close().0, 1002);
        socket.expect_eof();
    }
    assert_eq!(server.log().count(is_end), 0, "{}", server.log().text());
    assert_eq!(loud(), before, "{}", server.log().text());
}

#[test]
fn neither_tokens_nor_texts_are_ever_logged() {
    let server = Server::start(&[
        ("log.level", "trace"),
        ("auth.secret", SECRET),
        ("limits.malformed_per_minute", "3"),
    ]);
    let token = mint(&["--sub", "alice"]);
    let signature = token.rsplit('.').next().expect("a signature");
    let canaries = [
        "canary-said",
        "canary-bad-json",
        "canary-token",
        "canary-session",
        "canary-reason",
        signature,
        SECRET,
    ];

    let mut sockets = Vec::new();
    for headers in [
        format!("Authorization: Bearer {token}\r\n"),
        format!("Sec-WebSocket-Protocol: bearer, {token}\r\n"),
        "Authorization: Bearer canary-token\r\n".to_owned(),
        "Sec-WebSocket-Protocol: bearer, canary-token\r\n".to_owned(),
    ] {
        let mut socket = Socket::connect(server.address());
        socket.send(handshake("/ws/secure", &headers));
        socket.expect_upgrade();
        sockets.push(socket);
    }
    for path in [
        format!("/ws/secure?token={token}"),
        format!("/ws?token={token}"),
        "/ws/secure?token=canary-token".to_owned(),
        "/ws/chat/alice?session=canary-session&token=canary-token".to_owned(),
        "/ws/chat/alice?session=canary-session".to_owned(),
        "/ws/messages".to_owned(),
        "/ws/heartbeat".to_owned(),
    ] {
        sockets.push(Socket::open(server.address(), &path));
    }
    // Refused in HTTP, with a token in the target.
    let page = server.get("/nowhere?token=canary-token&session=canary-session");
    assert_eq!(page.status, 404);
    for socket in &mut sockets {
        let said = text(r#"{"message":"canary-said","content":"canary-said"}"#);
        let bad = text("canary-bad-json").repeat(5);
        socket.try_send([said, bad, crate::support::frame::close(4000, "canary-reason")].concat());
    }
    for mut socket in sockets {
        socket.drain(crate::support::PATIENCE);
    }
    // The line of this last connection comes after all others.
    Socket::open(server.address(), "/ws").send([0x83, 0x80, 0, 0, 0, 0]);
    server.log().wait_for("the last end", |line| is_end(line) && line["code"] == 1002);
    let log = server.log().text();
    for canary in canaries {
        let line = log.lines().find(|line| line.contains(canary));
        assert_eq!(line, None, "{canary:?} is in the log");
    }
}
