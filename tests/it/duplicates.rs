//! Two connections with one user id: which of them stays.

use std::sync::mpsc;
use std::thread;

use crate::support::PATIENCE;
use crate::support::client::{Client, patiently};
use crate::support::frame::{Frame, PONG, TEXT, text};
use crate::support::raw::Socket;
use crate::support::server::Server;

const TAKEN: &str = "User ID already in use";
const REPLACED: &str = "Replaced by a newer connection";
const ALICE: &str = "/ws/chat/alice";
const JOINED: &str = "User alice has joined the chat";

/// Answers the server's pings as long as the test runs; panics when anything else comes.
fn keep_alive(mut client: Client) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let message = client.listen().await;
        panic!("the incumbent got {message:?}");
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_live_incumbent_keeps_its_name() {
    let server = Server::start(&[]);
    let mut incumbent = Client::connect(&server, ALICE).await;
    incumbent.expect_notice(JOINED).await;
    let incumbent = keep_alive(incumbent);
    for _ in 0..2 {
        Client::connect(&server, ALICE).await.expect_close(1008, TAKEN).await;
    }
    assert!(!incumbent.is_finished(), "the incumbent notices nothing");
    // A name is taken in every room.
    Client::connect(&server, "/ws/chat/alice?room=other").await.expect_close(1008, TAKEN).await;
    incumbent.abort();
}

#[tokio::test]
async fn a_name_is_free_again_when_its_connection_ends() {
    let server = Server::start(&[]);
    for round in 0..20 {
        // Another room each time: over two nodes, a room may hear of the return before the end.
        let mut alice = Client::connect(&server, &format!("{ALICE}?room=round-{round}")).await;
        alice.expect_notice(JOINED).await;
        alice.close().await;
    }
}

#[tokio::test]
async fn a_dead_incumbent_does_not_lock_its_owner_out() {
    let server = Server::start(&[]);
    // The socket reads and answers nothing, as behind a dead link.
    let mut dead = Socket::open(server.address(), ALICE);
    let mut newcomer = Client::connect(&server, ALICE).await;
    newcomer.send_text(r#"{"message":"back again"}"#).await;
    let own = patiently("the own message", async {
        loop {
            let event = newcomer.recv_json().await;
            if event["type"] == "message" {
                return event;
            }
        }
    });
    assert_eq!(own.await["message"], "back again");
    assert_eq!(dead.skip_to_close(), (4501, REPLACED.to_owned()));
    dead.expect_eof();
}

/// Regression: 1. alice is alive. 2. Newcomers claim her name before her pong is back. 3. The second claim displaced
/// the first, which counted as "no answer", and alice was replaced.
#[test]
fn simultaneous_claims_do_not_evict_a_live_connection() {
    let server = Server::start(&[]);
    let mut alice = Socket::open(server.address(), ALICE);
    let (refusals, refused) = mpsc::sync_channel(3);
    let newcomers: Vec<_> = (0..3)
        .map(|_| {
            let (address, refusals) = (server.address(), refusals.clone());
            thread::spawn(move || {
                refusals.send(Socket::open(address, ALICE).read_close()).expect("a listener")
            })
        })
        .collect();
    let taken = || (1008, TAKEN.to_owned());
    // Two claims of one address may wait, and share the answer. The third is refused meanwhile, and only then does
    // alice answer.
    assert_eq!(refused.recv_timeout(PATIENCE), Ok(taken()));
    alice.send(Frame::new(PONG, "").bytes());
    assert_eq!([(); 2].map(|()| refused.recv_timeout(PATIENCE)), [Ok(taken()), Ok(taken())]);
    newcomers.into_iter().for_each(|newcomer| newcomer.join().expect("a refused newcomer"));
    alice.send(text(r#"{"message":"still here"}"#));
    while !matches!(alice.try_frame(PATIENCE).expect("alice is connected").opcode, TEXT) {}
}

#[tokio::test]
async fn replace_always_lets_the_newcomer_in() {
    let server = Server::start(&[("chat.duplicate", "replace")]);
    let mut first = Client::connect(&server, ALICE).await;
    first.expect_notice(JOINED).await;
    let mut second = Client::connect(&server, ALICE).await;
    first.expect_close(4501, REPLACED).await;
    second.send_text(r#"{"message":"me"}"#).await;
    while second.recv_json().await["message"] != "me" {}
}

#[tokio::test]
async fn allow_permits_several_connections_of_one_user() {
    let server = Server::start(&[("chat.duplicate", "allow")]);
    let mut bob = Client::connect(&server, "/ws/chat/bob").await;
    bob.expect_notice("User bob has joined the chat").await;
    let mut first = Client::connect(&server, ALICE).await;
    first.expect_notice(JOINED).await;
    let mut second = Client::connect(&server, ALICE).await;
    second.send_text(r#"{"message":"me"}"#).await;
    while second.recv_json().await["message"] != "me" {}
    while first.recv_json().await["message"] != "me" {}
    second.close().await;
    first.send_text(r#"{"message":"still me"}"#).await;
    while first.recv_json().await["message"] != "still me" {}
    first.close().await;
    // Presence counts users, not connections: alice joins once, and leaves with her last connection.
    let mut seen = Vec::new();
    while seen.last().is_none_or(|text| text != "User alice has left the chat") {
        seen.push(bob.recv_json().await["message"].as_str().expect("a text").to_owned());
    }
    assert_eq!(seen, [JOINED, "me", "still me", "User alice has left the chat"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_taken_name_is_409_when_refusals_are_in_http() {
    let server = Server::start(&[("admission.refuse", "http")]);
    let mut incumbent = Client::connect(&server, ALICE).await;
    incumbent.expect_notice(JOINED).await;
    let incumbent = keep_alive(incumbent);
    assert_eq!(Client::refused(&server, ALICE, &[]).await, 409);
    incumbent.abort();
}
