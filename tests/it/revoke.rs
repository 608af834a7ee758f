//! Revoked tokens: new connections with them are refused, and those that are open end.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::api::{call, expect_error, result, start};
use crate::support::frame::text;
use crate::support::raw::Socket;
use crate::support::server::{Server, Settings};
use crate::support::speaker::{Speaker, offered};
use crate::support::token::{SECRET, seconds_from_now, signed};

const REVOKED: &str = "Token revoked";

/// Starts a server with an API that demands tokens, where a user may have several connections.
pub(crate) fn demanding(more: Settings<'_>) -> Server {
    let own = [("auth.required", "true"), ("auth.secret", SECRET), ("chat.duplicate", "allow")];
    start(&[&own, more].concat())
}

/// Makes a token with these claims besides `sub` and `exp`.
pub(crate) fn token(user: &str, claims: Value) -> String {
    let mut all = json!({"sub": user, "exp": seconds_from_now(600)});
    let more = claims.as_object().expect("claims").clone();
    all.as_object_mut().expect("claims").extend(more);
    signed(Algorithm::HS256, SECRET, &all)
}

fn enter(server: &Server, user: &str, token: &str) -> Speaker {
    let mut speaker = Speaker::enter(server, &format!("{user}?room={user}&token={token}"));
    // A further connection of a user is no news for the room, nor for itself.
    speaker.command(json!({"type": "ping"}));
    speaker.find("pong");
    speaker
}

/// Asserts that a newcomer with this token is refused with 3003.
#[track_caller]
fn expect_refused(server: &Server, user: &str, token: &str) {
    let path = format!("/ws/chat/{user}?token={token}");
    let mut newcomer = offered(Socket::connect(server.address()), &path, "");
    newcomer.read_text();
    assert_eq!(newcomer.read_close(), (3003, REVOKED.to_owned()));
}

#[test]
fn a_revoked_token_ends_its_connections_and_opens_none() {
    let server = demanding(&[]);
    let (first, second) = (token("alice", json!({"jti": "first"})), token("alice", json!({"jti": "second"})));
    let mut revoked = enter(&server, "alice", &first);
    let mut secure = Socket::open(server.address(), &format!("/ws/secure?token={first}"));
    let mut kept = enter(&server, "alice", &second);
    secure.send(text("hi"));
    assert_eq!(secure.read_text(), "User alice: hi");

    let body = json!({"token": "first", "until": seconds_from_now(600)});
    assert_eq!(result(&server, "revoke", &body)["closed"], 2);
    revoked.expect_end(3003, REVOKED);
    assert_eq!(secure.read_close(), (3003, REVOKED.to_owned()));
    expect_refused(&server, "alice", &first);
    let mut secure = Socket::open(server.address(), &format!("/ws/secure?token={first}"));
    assert_eq!(secure.read_close(), (3003, REVOKED.to_owned()));
    // Again it ends nothing, and other tokens of the user hold.
    assert_eq!(result(&server, "revoke", &body)["closed"], 0);
    kept.expect_nothing();
    enter(&server, "alice", &second);
}

#[test]
fn the_tokens_of_a_user_are_revoked_up_to_a_moment() {
    let server = demanding(&[]);
    let now = seconds_from_now(0);
    let old = token("alice", json!({"iat": now - 100, "jti": "old"}));
    let undated = token("alice", json!({}));
    let fresh = token("alice", json!({"iat": now + 5}));
    let [mut first, mut second] = [&old, &undated].map(|token| enter(&server, "alice", token));
    let mut third = enter(&server, "alice", &fresh);
    let mut other = enter(&server, "bob", &token("bob", json!({"iat": now - 100})));

    let early = json!({"user": "alice", "issued_before": now - 200});
    assert_eq!(result(&server, "revoke", &early)["closed"], 1, "the one that does not say when");
    second.expect_end(3003, REVOKED);
    first.expect_nothing();
    assert_eq!(result(&server, "revoke", &json!({"user": "alice"}))["closed"], 1);
    first.expect_end(3003, REVOKED);
    for token in [&old, &undated] {
        expect_refused(&server, "alice", token);
    }
    third.expect_nothing();
    other.expect_nothing();
    enter(&server, "alice", &fresh);
}

/// The file survives a kill at any moment, and holds neither a user nor a token.
#[test]
fn with_a_history_on_disk_revocations_survive_a_kill() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("history");
    let settings = [("history.dir", folder.to_str().expect("a path"))];
    let (first, second) = (token("alice", json!({"jti": "first"})), token("alice", json!({"jti": "second"})));
    let bobs = token("bob", json!({"iat": seconds_from_now(-5)}));
    let mut server = demanding(&settings);
    let body = json!({"token": "first", "until": seconds_from_now(600)});
    assert_eq!(result(&server, "revoke", &body), json!({"closed": 0, "durable": true}));
    assert_eq!(result(&server, "revoke", &json!({"user": "bob"})), json!({"closed": 0, "durable": true}));
    server.signal("KILL");
    server.wait_exit(crate::support::PATIENCE);
    let file = std::fs::read(folder.join("revocations")).expect("a file");
    assert!(!file.windows(3).any(|part| part == b"bob"), "it names a user");

    let server = demanding(&settings);
    expect_refused(&server, "alice", &first);
    expect_refused(&server, "bob", &bobs);
    enter(&server, "alice", &second);
}

#[test]
fn every_mistake_in_a_revocation_is_named() {
    let server = demanding(&[]);
    let until = seconds_from_now(60);
    for (body, code) in [
        (json!({}), "missing_field"),
        (json!({"token": "a"}), "missing_field"),
        (json!({"until": until}), "missing_field"),
        (json!({"token": "", "until": until}), "invalid_field"),
        (json!({"token": 7, "until": until}), "invalid_field"),
        (json!({"token": "a", "until": "soon"}), "invalid_field"),
        (json!({"token": "a", "until": -1}), "invalid_field"),
        (json!({"token": "a", "until": 1.5}), "invalid_field"),
        // In milliseconds.
        (json!({"token": "a", "until": until * 1000}), "invalid_field"),
        (json!({"user": "alice", "issued_before": null}), "invalid_field"),
        (json!({"user": "a b"}), "invalid_user"),
        (json!({"user": "alice", "token": "a", "until": until}), "invalid_field"),
        (json!({"user": "alice", "until": until}), "unknown_field"),
        (json!({"token": "a", "until": until, "issued_before": 1}), "unknown_field"),
        (json!({"token": "a", "until": until, "key": "k"}), "unknown_field"),
    ] {
        expect_error(&call(&server, "revoke", &body), 400, code);
    }
    for body in [json!({"token": "a", "until": 1}), json!({"user": "alice", "issued_before": 0})] {
        assert_eq!(result(&server, "revoke", &body)["closed"], 0, "{body}");
    }
}

#[test]
fn a_token_that_lives_too_long_is_refused() {
    let server = demanding(&[("auth.max_token_life", "10m")]);
    let now = seconds_from_now(0);
    enter(&server, "alice", &token("alice", json!({"iat": now, "exp": now + 600})));
    for claims in [json!({"iat": now, "exp": now + 601}), json!({"exp": now + 60})] {
        let mut newcomer = offered(
            Socket::connect(server.address()),
            &format!("/ws/chat/alice?token={}", token("alice", claims)),
            "",
        );
        newcomer.read_text();
        assert_eq!(newcomer.read_close().0, 1008);
    }
}
