//! Tokens: the ways to send one, the checks that a valid one passes, and the refusals of invalid ones.

use std::io::Write as _;

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::server::{Server, run};
use crate::support::token::{PAIRS, SECRET, mint, seconds_from_now, signed, unsigned};

const FAILED: &str = "Authentication failed";

fn server() -> Server {
    Server::start(&[("auth.secret", SECRET)])
}

/// Returns the ways to send a token, each as a path and headers.
fn ways_to_send(token: &str) -> [(String, Vec<(&'static str, String)>); 3] {
    let path = "/ws/secure".to_owned();
    [
        (path.clone(), vec![("Authorization", format!("Bearer {token}"))]),
        (format!("{path}?token={token}"), vec![]),
        (path, vec![("Sec-WebSocket-Protocol", format!("bearer, {token}"))]),
    ]
}

async fn enter(server: &Server, path: &str, headers: &[(&'static str, String)]) -> Client {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Client::connect_with(server, path, &headers).await
}

#[tokio::test]
async fn a_good_token_is_taken_from_header_query_and_subprotocol() {
    let server = server();
    for (path, headers) in ways_to_send(&mint(&["--sub", "alice"])) {
        let mut client = enter(&server, &path, &headers).await;
        client.send_text("hi").await;
        client.expect_text("User alice: hi").await;
        let by_subprotocol = headers.iter().any(|(name, _)| *name == "Sec-WebSocket-Protocol");
        assert_eq!(client.header("sec-websocket-protocol"), by_subprotocol.then_some("bearer"));
    }
}

#[tokio::test]
async fn the_name_is_the_tokens_name_or_else_its_subject() {
    let server = server();
    let exp = seconds_from_now(600);
    let named = signed(Algorithm::HS256, SECRET, &json!({"sub": "alice", "name": "Alice A.", "exp": exp}));
    for (token, name) in [(named, "Alice A."), (mint(&["--sub", "bob", "--name", "Bob"]), "Bob")] {
        let mut client = Client::connect(&server, &format!("/ws/secure?token={token}")).await;
        client.send_text("hi").await;
        client.expect_text(&format!("User {name}: hi")).await;
    }
}

#[tokio::test]
async fn a_bad_token_gets_a_close_and_nothing_else() {
    let server = server();
    let soon = seconds_from_now(600);
    let good = json!({"sub": "alice", "exp": soon});
    let token = signed(Algorithm::HS256, SECRET, &good);
    let (head, rest) = token.split_once('.').expect("three parts");
    let (_, signature) = rest.split_once('.').expect("three parts");
    let other_claims = signed(Algorithm::HS256, SECRET, &json!({"sub": "mallory", "exp": soon}));
    let (_, other_rest) = other_claims.split_once('.').expect("three parts");
    let (other_payload, _) = other_rest.split_once('.').expect("three parts");
    for (name, bad) in [
        ("not a token", "abc".to_owned()),
        ("three parts of nothing", "..".to_owned()),
        ("another key", signed(Algorithm::HS256, "another-key-that-is-long-enough-for-everyone", &good)),
        ("another algorithm", signed(Algorithm::HS384, SECRET, &good)),
        ("yet another algorithm", signed(Algorithm::HS512, SECRET, &good)),
        ("no algorithm", unsigned(&good)),
        ("no expiry", signed(Algorithm::HS256, SECRET, &json!({"sub": "alice"}))),
        ("no subject", signed(Algorithm::HS256, SECRET, &json!({"exp": soon}))),
        ("no rooms", signed(Algorithm::HS256, SECRET, &json!({"sub": "alice", "exp": soon, "rooms": null}))),
        (
            "issuers",
            signed(Algorithm::HS256, SECRET, &json!({"sub": "alice", "exp": soon, "iss": ["a", "b"]})),
        ),
        ("a signature for something else", format!("{head}.{other_payload}.{signature}")),
        ("no signature", format!("{head}.{other_payload}.")),
    ] {
        for (path, headers) in ways_to_send(&bad) {
            println!("bad token: {name}, {path}");
            let mut client = enter(&server, &path, &headers).await;
            client.expect_close(1008, FAILED).await;
        }
    }
}

#[tokio::test]
async fn no_token_gets_a_close_and_nothing_else() {
    let server = server();
    for headers in [&[][..], &[("Authorization", "Basic YTpi")], &[("Authorization", "Bearer")]] {
        let mut client = Client::connect_with(&server, "/ws/secure", headers).await;
        client.expect_close(1008, FAILED).await;
    }
    Client::connect(&server, "/ws/secure?token=").await.expect_close(1008, FAILED).await;
}

#[tokio::test]
async fn without_a_key_every_token_is_bad_and_the_log_says_so_once() {
    let server = Server::start(&[]);
    let token = mint(&["--sub", "alice"]);
    for _ in 0..3 {
        for (path, headers) in ways_to_send(&token) {
            enter(&server, &path, &headers).await.expect_close(1008, FAILED).await;
        }
    }
    // The warning comes at the start or with the first token, but once.
    let about_auth = |line: &Value| line["level"] == "WARN" && line.to_string().contains("auth");
    server.log().wait_for("a warning that no key is configured", about_auth);
    assert_eq!(server.log().count(about_auth), 1, "{}", server.log().text());
}

#[tokio::test]
async fn all_keys_verify_and_the_first_one_signs() {
    const NEXT: &str = "the-key-that-follows-and-has-at-least-32-bytes";
    let keys = format!("{NEXT}\n{SECRET}");
    let server = Server::start(&[("auth.secret", &keys)]);
    let claims = json!({"sub": "alice", "exp": seconds_from_now(600)});
    let output = run(&["token", "--sub", "alice"], &[("auth.secret", &keys)]);
    let made = String::from_utf8(output.stdout).expect("a token in ASCII").trim().to_owned();
    let [old, new] = [SECRET, NEXT].map(|key| signed(Algorithm::HS256, key, &claims));
    for token in [&old, &new, &made] {
        let mut client = Client::connect(&server, &format!("/ws/secure?token={token}")).await;
        client.send_text("hi").await;
        client.expect_text("User alice: hi").await;
    }
    // A server that has only the new key: what `throng token` made is signed with that one.
    let server = Server::start(&[("auth.secret", NEXT)]);
    let mut client = Client::connect(&server, &format!("/ws/secure?token={made}")).await;
    client.send_text("hi").await;
    client.expect_text("User alice: hi").await;
    Client::connect(&server, &format!("/ws/secure?token={old}")).await.expect_close(1008, FAILED).await;
}

#[tokio::test]
async fn refused_in_http_when_so_configured() {
    let server = Server::start(&[("auth.secret", SECRET), ("admission.refuse", "http")]);
    assert_eq!(Client::refused(&server, "/ws/secure", &[]).await, 401);
    assert_eq!(Client::refused(&server, "/ws/secure?token=abc", &[]).await, 401);
    let _incumbent = Client::connect(&server, "/ws/chat/alice").await;
    let bad_id = Client::refused(&server, "/ws/chat/ab", &[]).await;
    assert!(matches!(bad_id, 400 | 403), "{bad_id}");
    let bad_room = Client::refused(&server, "/ws/chat/bob?room=a%20b", &[]).await;
    assert!(matches!(bad_room, 400 | 403), "{bad_room}");
}

#[tokio::test]
async fn where_tokens_are_required_the_subject_is_the_user_id() {
    let server = Server::start(&[("auth.secret", SECRET), ("auth.required", "true")]);
    let token = mint(&["--sub", "alice"]);
    let mut alice = Client::connect(&server, &format!("/ws/chat/alice?token={token}")).await;
    alice.expect_notice("User alice has joined the chat").await;
    for path in [format!("/ws/chat/mallory?token={token}"), "/ws/chat/mallory".to_owned()] {
        Client::connect(&server, &path).await.expect_close(1008, FAILED).await;
    }
    // The same subject again is the same user: the new connection takes over at once, without notices.
    let mut again = Client::connect(&server, &format!("/ws/chat/alice?token={token}")).await;
    alice.expect_close(4501, "Replaced by a newer connection").await;
    again.send_text(r#"{"message":"me again"}"#).await;
    assert_eq!(again.recv_json().await["message"], "me again");
}

#[tokio::test]
async fn a_token_names_the_rooms_it_opens() {
    let server = Server::start(&[("auth.secret", SECRET), ("auth.required", "true")]);
    let token = mint(&["--sub", "alice", "--room", "live-*", "--room", "lobby"]);
    for (room, is_open) in [("live-1", true), ("lobby", true), ("lobby2", false), ("other", false)] {
        let mut client = Client::connect(&server, &format!("/ws/chat/alice?room={room}&token={token}")).await;
        if is_open {
            client.send_text(r#"{"message":"hi"}"#).await;
            while client.recv_json().await["room"] != room {}
            client.close().await;
        } else {
            client.expect_close(3003, "Room not allowed").await;
        }
    }
}

/// Signs a token of alice with these further claims.
fn alices(claims: &Value) -> String {
    let mut all = json!({"sub": "alice", "exp": seconds_from_now(600)});
    let claims = claims.as_object().expect("an object");
    all.as_object_mut().expect("an object").extend(claims.clone());
    signed(Algorithm::HS256, SECRET, &all)
}

/// The close code of an expired or early token must let clients try again, because another token can help.
#[tokio::test]
async fn an_expired_or_early_token_gets_3000() {
    let server = Server::start(&[("auth.secret", SECRET), ("auth.required", "true")]);
    for (claims, told) in [
        (json!({"exp": seconds_from_now(-60)}), "Token expired"),
        (json!({"nbf": seconds_from_now(120)}), "Token not yet valid"),
        (json!({"iat": seconds_from_now(120)}), "Token not yet valid"),
    ] {
        let token = alices(&claims);
        for path in ["/ws/secure", "/ws/chat/alice"] {
            let mut client = Client::connect(&server, &format!("{path}?token={token}")).await;
            client.expect_close(3000, told).await;
        }
        // A token of another user's, or one with another fault, is refused for that.
        Client::connect(&server, &format!("/ws/chat/bob?token={token}"))
            .await
            .expect_close(1008, FAILED)
            .await;
        let forged = format!("/ws/chat/alice?token={token}x");
        Client::connect(&server, &forged).await.expect_close(1008, FAILED).await;
    }
    let token = alices(&json!({"exp": seconds_from_now(-60), "rooms": null}));
    Client::connect(&server, &format!("/ws/chat/alice?token={token}")).await.expect_close(1008, FAILED).await;
}

#[tokio::test]
async fn an_expired_or_early_token_gets_401_in_http() {
    let settings = [("auth.secret", SECRET), ("auth.required", "true"), ("admission.refuse", "http")];
    let server = Server::start(&settings);
    for claims in [json!({"exp": seconds_from_now(-60)}), json!({"nbf": seconds_from_now(120)})] {
        for path in ["/ws/secure", "/ws/chat/alice"] {
            let path = format!("{path}?token={}", alices(&claims));
            assert_eq!(Client::refused(&server, &path, &[]).await, 401, "{path}");
        }
    }
}

/// The clock of the token's issuer may be a little ahead or behind.
#[tokio::test]
async fn clocks_may_differ_by_the_leeway() {
    for (leeway, is_good) in [("5m", true), ("0s", false)] {
        let server = Server::start(&[("auth.secret", SECRET), ("auth.leeway", leeway)]);
        let ahead = seconds_from_now(120);
        for claims in [json!({"nbf": ahead, "iat": ahead}), json!({"exp": seconds_from_now(-120)})] {
            let path = format!("/ws/secure?token={}", alices(&claims));
            let mut client = Client::connect(&server, &path).await;
            if is_good {
                client.send_text("hi").await;
                client.expect_text("User alice: hi").await;
            } else {
                let told = if claims.get("exp").is_some() { "Token expired" } else { "Token not yet valid" };
                client.expect_close(3000, told).await;
            }
        }
    }
    // The default leeway allows two seconds.
    let server = server();
    let ahead = seconds_from_now(2);
    let path = format!("/ws/secure?token={}", alices(&json!({"nbf": ahead, "iat": ahead})));
    let mut client = Client::connect(&server, &path).await;
    client.send_text("hi").await;
    client.expect_text("User alice: hi").await;
}

#[tokio::test]
async fn a_null_for_rooms_opens_none() {
    let server = Server::start(&[("auth.secret", SECRET), ("auth.required", "true")]);
    for rooms in [json!(null), json!("lobby"), json!([1]), json!({"0": "lobby"})] {
        let path = format!("/ws/chat/alice?token={}", alices(&json!({ "rooms": rooms })));
        Client::connect(&server, &path).await.expect_close(1008, FAILED).await;
    }
    let path = format!("/ws/chat/alice?token={}", alices(&json!({"rooms": []})));
    Client::connect(&server, &path).await.expect_close(3003, "Room not allowed").await;
}

/// The client does not learn that its token was too long. The log says it at `debug`, without the token.
#[tokio::test]
async fn a_token_of_more_than_8_kib_is_refused_and_the_log_says_why() {
    let server = Server::start(&[("auth.secret", SECRET), ("log.level", "debug")]);
    let name = "n".repeat(6_200);
    let token = alices(&json!({"name": name}));
    assert!(token.len() > 8_192, "{}", token.len());
    let headers = [("Authorization", format!("Bearer {token}"))];
    enter(&server, "/ws/secure", &headers).await.expect_close(1008, FAILED).await;
    let line = server.log().wait_for("why", |line| line["bytes"] == token.len());
    assert_eq!(line["at_most"], 8_192, "{line}");
    assert!(!server.log().text().contains(&token[..64]));
    let token = alices(&json!({"name": &name[..5_900]}));
    assert!(token.len() < 8_192, "{}", token.len());
    let headers = [("Authorization", format!("Bearer {token}"))];
    let mut client = enter(&server, "/ws/secure", &headers).await;
    client.send_text("hi").await;
    client.expect_text(&format!("User {}: hi", &name[..5_900])).await;
}

#[tokio::test]
async fn a_token_that_expires_ends_the_connection() {
    let server = Server::start(&[("auth.secret", SECRET), ("auth.leeway", "500ms")]);
    let token = signed(Algorithm::HS256, SECRET, &json!({"sub": "alice", "exp": seconds_from_now(3)}));
    let mut client = Client::connect(&server, &format!("/ws/secure?token={token}")).await;
    client.send_text("hi").await;
    client.expect_text("User alice: hi").await;
    client.expect_close(3000, "Token expired").await;
}

#[tokio::test]
async fn each_algorithm_with_a_public_key_takes_its_own_tokens_and_no_others() {
    let good = json!({"sub": "alice", "exp": seconds_from_now(600)});
    for pair in &PAIRS {
        let server = Server::start(&[("auth.algorithm", pair.name), ("auth.public_key", pair.public)]);
        for (path, headers) in ways_to_send(&pair.sign(&good)) {
            let mut client = enter(&server, &path, &headers).await;
            client.send_text("hi").await;
            client.expect_text("User alice: hi").await;
        }
        let others = PAIRS.iter().filter(|other| other.name != pair.name).map(|other| other.sign(&good));
        // A token signed with the public key as a secret is the attack that the pinned algorithm prevents.
        let confused = signed(Algorithm::HS256, pair.public, &good);
        let bad = [pair.sign(&json!({"sub": "alice"})), confused, unsigned(&good)];
        for token in others.chain(bad) {
            let mut client = Client::connect(&server, &format!("/ws/secure?token={token}")).await;
            client.expect_close(1008, FAILED).await;
        }
    }
}

#[tokio::test]
async fn audience_and_issuer_must_be_the_configured_ones() {
    let settings = [("auth.secret", SECRET), ("auth.audience", "throng"), ("auth.issuer", "idp")];
    let server = Server::start(&settings);
    let exp = seconds_from_now(600);
    let token = |aud: Value, iss: Value| {
        signed(Algorithm::HS256, SECRET, &json!({"sub": "alice", "exp": exp, "aud": aud, "iss": iss}))
    };
    for (token, is_good) in [
        (token(json!("throng"), json!("idp")), true),
        (token(json!(["other", "throng"]), json!("idp")), true),
        (token(json!("other"), json!("idp")), false),
        (token(json!("throng"), json!("other")), false),
        (signed(Algorithm::HS256, SECRET, &json!({"sub": "alice", "exp": exp, "aud": "throng"})), false),
        (signed(Algorithm::HS256, SECRET, &json!({"sub": "alice", "exp": exp, "iss": "idp"})), false),
    ] {
        let mut client = Client::connect(&server, &format!("/ws/secure?token={token}")).await;
        if is_good {
            client.send_text("hi").await;
            client.expect_text("User alice: hi").await;
        } else {
            client.expect_close(1008, FAILED).await;
        }
    }
}

#[tokio::test]
async fn the_token_among_the_subprotocols_is_never_selected() {
    let server = server();
    let token = mint(&["--sub", "alice"]);
    for offer in [format!("throng.v1, bearer, {token}"), format!("bearer, {token}, throng.v1")] {
        let headers = [("Sec-WebSocket-Protocol", offer.as_str())];
        let mut client = Client::connect_with(&server, "/ws/secure", &headers).await;
        client.send_text("hi").await;
        client.expect_text("User alice: hi").await;
        let selected = client.header("sec-websocket-protocol");
        assert!(matches!(selected, Some("throng.v1" | "bearer")), "{selected:?}");
    }
}

#[test]
fn a_bad_key_is_a_mistake_of_the_settings() {
    let [rs256, es256, _] = &PAIRS;
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"-----BEGIN PUBLIC KEY-----\nbm90IGEga2V5\n-----END PUBLIC KEY-----\n").expect("written");
    let path = file.path().to_str().expect("a path in UTF-8");
    for command in ["serve", "check-config"] {
        for (settings, said) in [
            (&[("auth.algorithm", "ES256"), ("auth.public_key", rs256.public)][..], "is an RSA key"),
            (&[("auth.algorithm", "RS256"), ("auth.public_key", es256.public)], "is an EC key"),
            (&[("auth.algorithm", "EdDSA"), ("auth.public_key_file", path)], "is not a public key"),
            (&[("auth.algorithm", "EdDSA"), ("auth.public_key_file", "/no/such/file")], "cannot be read"),
            (&[("auth.public_key", es256.public)], "HS256 takes auth.secret"),
            (&[("auth.secret", es256.public)], "is a key in PEM"),
            (&[("auth.required", "true"), ("auth.algorithm", "ES256")], "no key could verify a token"),
        ] {
            let output = run(&[command], settings);
            let words = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(64), "{command} {said}: {words}");
            assert!(words.contains("auth.") && words.contains(said), "{command}, no {said:?}: {words}");
        }
    }
}

#[test]
fn listening_beyond_loopback_without_tokens_logs_a_warning() {
    let about = |line: &Value| line["message"].as_str().is_some_and(|text| text.contains("auth.required"));
    let warnings = |server: &Server| server.log().count(|line| line["level"] == "WARN" && about(line));
    let required = [("auth.secret", SECRET), ("auth.required", "true")];
    for (listen, settings, expected) in [
        ("0.0.0.0:0", &[][..], 1),
        ("0.0.0.0:0", &[("auth.secret", SECRET)], 1),
        ("0.0.0.0:0", &required, 0),
        ("127.0.0.1:0", &[], 0),
    ] {
        // Warnings come before `listening`, for which the test waits.
        let server = Server::launch(&[], listen, settings);
        assert_eq!(warnings(&server), expected, "{listen} {settings:?}: {}", server.log().text());
    }
}
