//! Revoked tokens on several nodes: what one is told holds on all of them, and on those that come later.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::engines::{Engine, Topology};
use crate::nodes::Nodes;

use crate::support::eventually;
use crate::support::http::post;
use crate::support::raw::Socket;
use crate::support::server::Server;
use crate::support::speaker::{Speaker, offered};
use crate::support::token::{SECRET, seconds_from_now, signed};

const KEY: &str = "a-key-of-the-tests-1";

fn start(engine: &Engine) -> Nodes {
    let mut settings = engine.settings();
    let own = [
        ("auth.required", "true"),
        ("auth.secret", SECRET),
        ("api.keys", KEY),
        ("chat.duplicate", "allow"),
        ("heartbeat.interval", "1h"),
    ];
    settings.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
    Nodes::start(2, settings)
}

fn token(user: &str, jti: &str) -> String {
    let claims = json!({"sub": user, "exp": seconds_from_now(600), "iat": seconds_from_now(-60), "jti": jti});
    signed(Algorithm::HS256, SECRET, &claims)
}

#[track_caller]
fn revoke(server: &Server, body: &Value) -> Value {
    let headers = format!("X-API-Key: {KEY}\r\nContent-Type: application/json\r\n");
    let response = post(server.address(), "/api/revoke", &headers, &body.to_string());
    assert_eq!(response.status, 200, "{response:?}");
    serde_json::from_str::<Value>(&response.body).expect("JSON")["result"].clone()
}

#[track_caller]
fn expect_refused(server: &Server, user: &str, token: &str) {
    let path = format!("/ws/chat/{user}?token={token}");
    let mut newcomer = offered(Socket::connect(server.address()), &path, "");
    newcomer.read_text();
    assert_eq!(newcomer.read_close(), (3003, "Token revoked".to_owned()));
}

/// 1. Tokens are used on both nodes, and revoked through the first one.
/// 2. Their connections end on both. Both refuse the tokens at once, and accept others.
/// 3. A node that is started again refuses them, too.
#[test]
fn revoked_tokens_hold_on_no_node_and_not_after_a_restart() {
    let engine = Engine::start(Topology::Single);
    let mut nodes = start(&engine);
    for index in [0, 1] {
        eventually("both nodes know both", || nodes.node(index).metric("throng_nodes", "") == 2.0);
    }
    let (one, other) = (token("alice", "one"), token("alice", "other"));
    let bobs = token("bob", "bobs");
    let enter = |index: usize, user: &str, token: &str| {
        Speaker::enter(nodes.node(index), &format!("{user}?room={user}-{index}&token={token}"))
    };
    let mut revoked = [0, 1].map(|index| enter(index, "alice", &one));
    let mut kept = enter(1, "alice", &other);
    let mut bob = enter(1, "bob", &bobs);
    let body = json!({"token": "one", "until": seconds_from_now(600)});
    assert_eq!(revoke(nodes.node(0), &body), json!({"closed": 2, "durable": true}));
    assert_eq!(revoke(nodes.node(0), &json!({"user": "bob"})), json!({"closed": 1, "durable": true}));
    for speaker in revoked.iter_mut().chain([&mut bob]) {
        let (end, code) = speaker.skip_to_end().expect("a close");
        assert_eq!((&end["reason"], code), (&json!("Token revoked"), 3003));
    }
    for index in [0, 1] {
        expect_refused(nodes.node(index), "alice", &one);
        expect_refused(nodes.node(index), "bob", &bobs);
    }
    kept.command(json!({"type": "ping"}));
    kept.find("pong");

    nodes.kill(1);
    nodes.restart(1);
    expect_refused(nodes.node(1), "alice", &one);
    expect_refused(nodes.node(1), "bob", &bobs);
    Speaker::enter(nodes.node(1), &format!("alice?room=new&token={other}"));
}
