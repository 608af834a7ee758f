//! A room that goes on in other epochs, as in a cluster whose engine is replaced: the Rust client and the terminal chat
//! against a server that plays a script.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use throng::client::{Event, State};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::support::rust_client::{Own, builder};
use crate::support::terminal::Chat;

/// The server's part in one connection.
struct Scene {
    /// The position with which the client must come.
    resume: Option<&'static str>,
    /// Events to send, from the welcome on. The last one may be a `disconnect`, whose close follows it.
    events: Vec<Value>,
}

fn welcome(epoch: &str, offset: u64, recovered: bool) -> Value {
    json!({"type": "welcome", "session": "0123456789abcdef0123456789abcdef", "node": "n1", "user": "ann",
           "room": "lobby", "epoch": epoch, "offset": offset, "recovered": recovered, "heartbeat_ms": 25_000,
           "limits": {}})
}

fn message(epoch: &str, offset: u64) -> Value {
    let id = format!("{epoch}-{offset}");
    json!({"type": "message", "user": "bob", "message": id, "room": "lobby", "offset": offset, "id": id, "ts": 1})
}

const A: &str = "000000000000a";
const B: &str = "000000000000b";
const C: &str = "000000000000c";
const D: &str = "000000000000d";

/// Returns a conversation over three connections. The engine is replaced twice without a loss, once with the client
/// there and once with the client away. The third time, message 10 is lost.
fn script() -> Vec<Scene> {
    let lost = json!({"type": "disconnect", "code": 4003, "reason": "Position lost", "reconnect": true, "after_ms": 9});
    let restarting = json!({"type": "disconnect", "code": 1012, "reason": "Server restarting", "reconnect": true,
                            "after_ms": 7});
    let epoch = json!({"type": "epoch", "room": "lobby", "epoch": B, "offset": 8});
    vec![
        Scene {
            resume: None,
            events: vec![welcome(A, 7, false), message(A, 8), epoch, message(B, 9), restarting],
        },
        Scene { resume: Some("000000000000b:9"), events: vec![welcome(C, 9, true), message(C, 10), lost] },
        Scene { resume: Some("000000000000c:10"), events: vec![welcome(D, 9, false), message(D, 10)] },
    ]
}

/// Starts a server that plays the script; returns its address. A client that comes once more is not let in.
async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        for scene in script() {
            let (socket, _) = listener.accept().await.expect("a connection");
            play(socket, scene).await;
        }
    });
    address
}

async fn play(socket: TcpStream, scene: Scene) {
    let mut target = String::new();
    #[expect(clippy::result_large_err, reason = "the signature is the library's")]
    let accept = |request: &Request, mut response: Response| {
        target = request.uri().to_string();
        response
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", "throng.v1".parse().expect("a header's value"));
        Ok(response)
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(socket, accept).await.expect("a handshake");
    let resume = target.split(['?', '&']).find_map(|pair| pair.strip_prefix("resume="));
    assert_eq!(resume, scene.resume, "{target}");
    let is_recovering = scene.events[0]["recovered"] == true;
    for event in scene.events {
        if event["type"] == "disconnect" && is_recovering {
            // The ping stands behind the missed messages, and its answer makes the room complete.
            answer_ping(&mut socket).await;
        }
        socket.send(Message::text(event.to_string())).await.expect("the client is there");
        if event["type"] == "disconnect" {
            let code = u16::try_from(event["code"].as_u64().expect("a code")).expect("a close code");
            let reason = event["reason"].as_str().expect("a reason").to_owned().into();
            let _ = socket.close(Some(CloseFrame { code: code.into(), reason })).await;
        }
    }
    // Reads until the client is gone.
    while let Some(Ok(_)) = socket.next().await {}
}

async fn answer_ping(socket: &mut tokio_tungstenite::WebSocketStream<TcpStream>) {
    while let Some(Ok(frame)) = socket.next().await {
        let Ok(command) = serde_json::from_slice::<Value>(&frame.into_data()) else { continue };
        if command["type"] == "ping" {
            let pong = json!({"type": "pong", "re": command["id"]});
            return socket.send(Message::text(pong.to_string())).await.expect("the client is there");
        }
    }
    panic!("the client went away without a ping");
}

#[tokio::test]
async fn the_client_follows_a_room_over_epochs_and_reports_the_one_loss() {
    let server = serve().await;
    let mut ann = Own::start(builder(&format!("ws://{server}"), "ann"));
    let mut told = Vec::new();
    ann.until("the last message", |event| {
        told.push(match event {
            Event::State(State::Waiting { reason, .. }) => reason.to_string(),
            Event::State(_) | Event::Welcome { .. } => return None,
            Event::Message { offset, .. } => offset.to_string(),
            Event::Recovered { messages, .. } => format!("recovered {messages}"),
            Event::Missed { messages, .. } => format!("missed {messages:?}"),
            other => panic!("{other:?}"),
        });
        (told.len() == 8).then_some(())
    })
    .await;
    let expected = [
        "8",
        "9",
        "Server restarting (1012)",
        "10",
        "recovered 1",
        "Position lost (4003)",
        "missed None",
        "10",
    ];
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_terminal_shows_the_one_loss_and_nothing_else_of_epochs() {
    let chat = Chat::start_at(serve().await, "ann", &[], &[]);
    chat.output.wait_for_line("the last message", |line| line == "lobby bob: 000000000000d-10");
    let lines: Vec<String> = chat.output.text().lines().map(str::to_owned).collect();
    let expected = [
        "-- connecting",
        "-- connected as ann in lobby",
        "lobby bob: 000000000000a-8",
        "lobby bob: 000000000000b-9",
        "-- reconnecting in 1 s: Server restarting (1012)",
        "-- connecting, attempt 2",
        "-- connected as ann in lobby",
        "lobby bob: 000000000000c-10",
        "-- recovered 1 message in lobby",
        "-- reconnecting in 1 s: Position lost (4003)",
        "-- connecting, attempt 3",
        "-- connected as ann in lobby",
        "-- you missed some messages in lobby",
        "lobby bob: 000000000000d-10",
    ];
    assert_eq!(lines, expected);
}
