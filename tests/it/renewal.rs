//! A new token over an open connection: `{"type":"token"}` of `throng.v1`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use jsonwebtoken::Algorithm;
use serde_json::json;

use crate::api::result;
use crate::revoke::{demanding, token};
use crate::support::rust_client::{Own, builder};
use crate::support::server::Server;
use crate::support::speaker::Speaker;
use crate::support::token::{seconds_from_now, signed};

/// Sends a token; returns how long it holds, in milliseconds.
#[track_caller]
fn renew(speaker: &mut Speaker, token: &str) -> u64 {
    let ack = speaker.ask(json!({"type": "token", "token": token}), "ack");
    assert_eq!(ack.as_object().map(serde_json::Map::len), Some(3), "{ack}");
    ack["expires_ms"].as_u64().expect("a time")
}

/// 1. Two users have tokens that expire soon. One of them sends another.
/// 2. The other is closed with 3000. The first one stays, and its old token is forgotten.
#[test]
fn a_new_token_keeps_the_connection_beyond_the_old_one() {
    let server = demanding(&[("auth.leeway", "0s")]);
    let soon = seconds_from_now(3);
    let [mut alice, mut bob] = ["alice", "bob"].map(|user| {
        let token = token(user, json!({"exp": soon}));
        let mut speaker = Speaker::enter(&server, &format!("{user}?room={user}&token={token}"));
        speaker.expect("presence_diff");
        speaker
    });
    let left_ms = alice.welcome["expires_ms"].as_u64().expect("a time");
    assert!((1..=3_000).contains(&left_ms), "{left_ms}");
    let left_ms = renew(&mut alice, &token("alice", json!({"exp": seconds_from_now(600)})));
    assert!((540_000..=600_000).contains(&left_ms), "{left_ms}");
    bob.expect_end(3000, "Token expired");
    alice.expect_nothing();
    alice.say("alice", "still here");
    // A token that expires earlier holds, too.
    renew(&mut alice, &token("alice", json!({"exp": seconds_from_now(2)})));
    alice.expect_end(3000, "Token expired");
}

#[test]
fn a_bad_token_is_refused_and_changes_nothing() {
    let server = demanding(&[]);
    let good = token("alice", json!({"rooms": ["a", "b"]}));
    let mut alice = Speaker::alone(&server, &format!("alice?room=a&token={good}"));
    result(&server, "revoke", &json!({"token": "gone", "until": seconds_from_now(600)}));
    let forged = signed(Algorithm::HS256, "another-key-of-at-least-32-bytes", &json!({"sub": "alice"}));
    for (bad, said) in [
        (token("bob", json!({})), "authentication failed"),
        (token("alice", json!({"exp": seconds_from_now(-60)})), "it has expired"),
        (token("alice", json!({"nbf": seconds_from_now(60)})), "it is not valid yet"),
        (token("alice", json!({"jti": "gone"})), "it is revoked"),
        (token("alice", json!({"rooms": null})), "authentication failed"),
        (forged, "authentication failed"),
        ("x".repeat(9_000), "authentication failed"),
        (String::new(), "authentication failed"),
    ] {
        let error = alice.ask_refused(json!({"type": "token", "token": bad}), "invalid_token");
        assert_eq!(error["message"], format!("Token refused: {said}"));
        assert!(!server.log().text().contains(&bad) || bad.is_empty(), "a token is in the log");
    }
    alice.ask_refused(json!({"type": "join", "room": "c"}), "forbidden");
    alice.ask(json!({"type": "join", "room": "b"}), "joined");
}

#[test]
fn the_rooms_of_a_new_token_hold_at_once() {
    let server = demanding(&[]);
    let mut alice = Speaker::alone(&server, &format!("alice?room=a-1&token={}", token("alice", json!({}))));
    for room in ["a-2", "b-1"] {
        alice.ask(json!({"type": "join", "room": room}), "joined");
        alice.expect("presence_diff");
    }
    // A message of before is answered before its room is left.
    let said = alice.command(json!({"type": "message", "room": "a-2", "message": "last words"}));
    let id = alice.command(json!({"type": "token", "token": token("alice", json!({"rooms": ["b-*", "c"]}))}));
    alice.expect_message("alice", "last words");
    assert_eq!(alice.expect("ack")["re"], said);
    let mut left = [alice.expect("left"), alice.expect("left")];
    left.sort_by_key(|event| event["room"].to_string());
    assert_eq!(left, ["a-1", "a-2"].map(|room| json!({"type": "left", "room": room})));
    assert_eq!(alice.expect("ack")["re"], id);
    alice.ask_refused(json!({"type": "join", "room": "a-2"}), "forbidden");
    alice.ask_refused(json!({"type": "message", "message": "to the first room"}), "not_in_room");
    alice.say("b-1", "here");
    alice.ask(json!({"type": "join", "room": "c"}), "joined");
}

/// The connection is known by its new token from then on.
#[test]
fn a_new_token_is_revoked_and_the_old_one_not_any_more() {
    let server = demanding(&[]);
    let old = token("alice", json!({"jti": "old"}));
    let mut alice = Speaker::alone(&server, &format!("alice?token={old}"));
    renew(&mut alice, &token("alice", json!({"jti": "new"})));
    let revoke =
        |jti: &str| result(&server, "revoke", &json!({"token": jti, "until": seconds_from_now(600)}));
    assert_eq!(revoke("old")["closed"], 0);
    alice.expect_nothing();
    assert_eq!(revoke("new")["closed"], 1);
    alice.expect_end(3003, "Token revoked");
}

#[test]
fn tokens_are_renewed_at_the_rate_of_other_commands() {
    let server = demanding(&[
        ("rate_limit.enabled", "true"),
        ("rate_limit.messages_per_second", "1"),
        ("rate_limit.burst", "1"),
        ("limits.max_rooms_per_connection", "1"),
    ]);
    let good = token("alice", json!({}));
    let mut alice = Speaker::alone(&server, &format!("alice?token={good}"));
    let commands: Vec<_> = (0..2).map(|_| alice.command(json!({"type": "token", "token": good}))).collect();
    assert_eq!(alice.expect("ack")["re"], commands[0]);
    let refused = alice.expect("error");
    assert_eq!((&refused["re"], &refused["code"]), (&json!(commands[1]), &json!("rate_limited")));
}

#[test]
fn where_no_token_is_demanded_none_is_taken() {
    let server = Server::start(&[]);
    let mut alice = Speaker::alone(&server, "alice");
    assert_eq!(alice.welcome.get("expires_ms"), None, "{}", alice.welcome);
    let error = alice.ask_refused(json!({"type": "token", "token": "a.b.c"}), "invalid_token");
    assert_eq!(error["message"], "Token refused: this server asks for none");
}

/// The client gets a token for its connection, and others over the same connection, each before the last one expires.
#[tokio::test]
async fn the_rust_client_renews_its_token_by_itself() {
    let server = demanding(&[("auth.leeway", "0s")]);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    // The third token allows another room: that the client is put out of its room shows that the server has taken it.
    let get = move || {
        let rooms = if count.fetch_add(1, Relaxed) < 2 { "lobby" } else { "elsewhere" };
        let token = token("alice", json!({"exp": seconds_from_now(4), "rooms": [rooms]}));
        async move { Ok::<_, std::io::Error>(token) }
    };
    let mut alice = Own::start(builder(&format!("ws://{}", server.address()), "alice").token_from(get));
    let mut states = Vec::new();
    let room = alice
        .until("the end of its time in the room", |event| {
            if let throng::client::Event::State(state) = event {
                states.push(state.clone());
            }
            match event {
                throng::client::Event::Expelled { room, .. } => Some(room.clone()),
                _ => None,
            }
        })
        .await;
    assert_eq!(room.as_str(), "lobby");
    assert_eq!(asked.load(Relaxed), 3);
    assert_eq!(states.iter().filter(|state| matches!(state, throng::client::State::Online)).count(), 1);
}
