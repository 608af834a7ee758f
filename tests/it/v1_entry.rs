//! The handshake of `throng.v1`: the subprotocol that is selected, and the `welcome`.

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::raw::{Socket, handshake};
use crate::support::server::Server;
use crate::support::speaker::Speaker;
use crate::support::token::{SECRET, mint};

/// Returns the subprotocol that the server selects on `path` for the header lines `offer`.
#[track_caller]
fn selected(server: &Server, path: &str, offer: &str) -> Option<String> {
    let mut socket = Socket::connect(server.address());
    socket.send(handshake(path, offer));
    socket.expect_upgrade().header("sec-websocket-protocol").map(str::to_owned)
}

#[test]
fn the_dialect_is_spoken_where_it_is_offered() {
    let server = Server::start(&[("chat.duplicate", "allow")]);
    let chat = "/ws/chat/alice";
    for (path, offer, expected) in [
        (chat, "Sec-WebSocket-Protocol: throng.v1\r\n", Some("throng.v1")),
        (chat, "sec-websocket-protocol: other, throng.v1 ,more\r\n", Some("throng.v1")),
        (chat, "Sec-WebSocket-Protocol: other\r\nSec-WebSocket-Protocol: throng.v1\r\n", Some("throng.v1")),
        (chat, "Sec-WebSocket-Protocol: throng.v1, bearer, a.b.c\r\n", Some("throng.v1")),
        (chat, "Sec-WebSocket-Protocol: bearer, a.b.c\r\n", Some("bearer")),
        (chat, "Sec-WebSocket-Protocol: throng.v2\r\n", None),
        (chat, "Sec-WebSocket-Protocol: throng.v1x\r\n", None),
        (chat, "", None),
        ("/ws", "Sec-WebSocket-Protocol: throng.v1\r\n", None),
        ("/ws/heartbeat", "Sec-WebSocket-Protocol: throng.v1\r\n", None),
    ] {
        assert_eq!(selected(&server, path, offer).as_deref(), expected, "{path} {offer:?}");
    }
}

#[tokio::test]
async fn another_implementation_gets_in_too() {
    let server = Server::start(&[]);
    let mut client =
        Client::connect_with(&server, "/ws/chat/alice", &[("sec-websocket-protocol", "throng.v1")]).await;
    assert_eq!(client.header("sec-websocket-protocol"), Some("throng.v1"));
    assert_eq!(client.recv_json().await["type"], "welcome");
    assert_eq!(client.recv_json().await["type"], "presence_diff");
    client.send_text(r#"{"type":"message","message":"hi","id":"1"}"#).await;
    assert_eq!(client.recv_json().await["message"], "hi");
    assert_eq!(client.recv_json().await["re"], "1");
    client.close().await;
}

#[test]
fn a_token_comes_along_with_the_offer_and_is_never_echoed() {
    let server = Server::start(&[("auth.required", "true"), ("auth.secret", SECRET)]);
    let token = mint(&["--sub", "alice"]);
    let mut socket = Socket::connect(server.address());
    let offer = format!("Sec-WebSocket-Protocol: throng.v1, bearer, {token}\r\n");
    socket.send(handshake("/ws/chat/alice", &offer));
    let response = socket.expect_upgrade();
    assert_eq!(response.header("sec-websocket-protocol"), Some("throng.v1"));
    assert!(!format!("{response:?}").contains(&token));
    let welcome: Value = serde_json::from_str(&socket.read_text()).expect("JSON");
    assert_eq!(welcome["user"], "alice", "{welcome}");
    // A token in the `Authorization` header or in the query is as good.
    let address = server.address();
    let header = format!("Authorization: Bearer {token}\r\n");
    let first = Speaker::on(Socket::connect(address), "alice", &header);
    assert_eq!(first.welcome_field("user"), "alice");
    let second = Speaker::on(Socket::connect(address), &format!("alice?token={token}"), "");
    assert_eq!(second.welcome_field("user"), "alice");
}

/// Returns the names of an object's fields in their order on the wire.
fn fields(raw: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut depth, mut is_text, mut is_escaped, mut start) = (0, false, false, 0);
    for (at, byte) in raw.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => {
                is_text = !is_text;
                if is_text {
                    start = at + 1;
                } else if depth == 1 && raw.as_bytes()[at + 1] == b':' {
                    names.push(raw[start..at].to_owned());
                }
            }
            b'{' | b'[' if !is_text => depth += 1,
            b'}' | b']' if !is_text => depth -= 1,
            _ => {}
        }
    }
    names
}

#[test]
fn the_welcome_comes_first_and_says_everything() {
    let server = Server::start(&[
        ("node", "node-7"),
        ("heartbeat.interval", "17s"),
        ("limits.max_rooms_per_connection", "7"),
        ("chat.max_message_chars", "33"),
        ("rate_limit.enabled", "true"),
    ]);
    let mut socket = Socket::connect(server.address());
    socket.send(handshake("/ws/chat/alice", "Sec-WebSocket-Protocol: throng.v1\r\n"));
    socket.expect_upgrade();
    let raw = socket.read_text();
    let order =
        ["type", "session", "node", "user", "room", "epoch", "offset", "recovered", "heartbeat_ms", "limits"];
    assert_eq!(fields(&raw), order, "{raw}");
    let welcome: Value = serde_json::from_str(&raw).expect("JSON");
    let session = welcome["session"].as_str().expect("a session");
    assert!(session.len() == 32 && session.bytes().all(|byte| byte.is_ascii_hexdigit()), "{raw}");
    assert!(welcome["epoch"].as_str().is_some_and(|epoch| epoch.len() >= 8), "{raw}");
    let expected = json!({
        "type": "welcome", "session": session, "node": "node-7", "user": "alice", "room": "lobby",
        "epoch": welcome["epoch"], "offset": 0, "recovered": false, "heartbeat_ms": 17_000,
        "limits": {
            "max_message_bytes": 65536, "max_message_chars": 33, "max_rooms": 7, "max_keys": 3040,
            "messages_per_second": 10, "burst": 40, "max_data_bytes": 4096,
        },
    });
    assert_eq!(welcome, expected);
}

#[test]
fn the_room_of_the_handshake_is_the_default_of_the_commands() {
    let server = Server::start(&[("chat.default_room", "hall")]);
    let mut alice = Speaker::alone(&server, "alice?room=r%65d");
    assert_eq!((alice.welcome_field("room"), &alice.welcome["offset"]), ("red", &json!(0)));
    alice.say("red", "one");
    alice.send(&json!({"type": "message", "message": "two"}));
    assert_eq!(alice.expect_message("alice", "two"), 2);
    assert_eq!(alice.expect("ack")["room"], "red");
    // A client that enters later starts behind earlier messages, and does not receive them.
    let mut bob = Speaker::alone(&server, "bob?room=red");
    assert_eq!((&bob.welcome["offset"], &bob.welcome["recovered"]), (&json!(2), &json!(false)));
    assert_eq!(bob.welcome_field("epoch"), alice.welcome_field("epoch"));
    assert_ne!(bob.welcome_field("session"), alice.welcome_field("session"));
    bob.expect_nothing();
    assert_eq!(Speaker::enter(&server, "carol").welcome_field("room"), "hall");
}
