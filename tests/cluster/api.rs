//! The server API over several nodes, when one of them or the engine stands still.

use serde_json::{Value, json};

use crate::engines::{Engine, Topology};
use crate::nodes::Nodes;
use crate::support::eventually;
use crate::support::http::post;
use crate::support::raw::Socket;
use crate::support::speaker::Speaker;

const KEY: &str = "a-key-of-the-tests-1";

fn start(engine: &Engine) -> Nodes {
    // A client must not be closed for its silence while a node stands still.
    let own = [("api.keys", KEY), ("heartbeat.interval", "1h"), ("heartbeat.timeout", "1h")];
    let own = own.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Nodes::start(2, engine.settings().into_iter().chain(own).collect())
}

/// Makes a call at a node. Returns the status and the body of the answer.
#[track_caller]
fn call(nodes: &Nodes, node: usize, path: &str, body: &Value) -> (u16, Value) {
    let headers = format!("X-API-Key: {KEY}\r\nContent-Type: application/json\r\n");
    let response = post(nodes.addresses()[node], &format!("/api/{path}"), &headers, &body.to_string());
    let is_later = response.header("retry-after").is_some();
    assert_eq!(is_later, response.status == 503, "{response:?}");
    (response.status, serde_json::from_str(&response.body).expect("JSON"))
}

/// Makes a call that must succeed. Returns its result.
#[track_caller]
fn result(nodes: &Nodes, node: usize, path: &str, body: &Value) -> Value {
    let (status, body) = call(nodes, node, path, body);
    assert_eq!(status, 200, "{body}");
    body["result"].clone()
}

#[track_caller]
fn expect_error((status, body): (u16, Value), wanted: u16, code: &str) -> String {
    assert_eq!((status, &body["error"]["code"]), (wanted, &json!(code)), "{body}");
    body["error"]["message"].as_str().expect("a text").to_owned()
}

/// 1. A node stands still, for less than its lease.
/// 2. A question is answered by the other, and names it. An order ends with 504, names it, and is carried out at once
///    on the other.
/// 3. The node goes on: the order is repeated, and has its answer.
#[test]
fn a_node_that_stands_still_is_named_and_the_others_obey() {
    let engine = Engine::start(Topology::Single);
    let nodes = start(&engine);
    let mut alice = Speaker::alone(nodes.node(0), "alice?room=a");
    let mut bob = Speaker::alone(nodes.node(1), "bob?room=b");
    let silent = bob.welcome_field("node").to_owned();
    let order = json!({"commands": [{"disconnect": {"user": "alice"}}, {"leave": {"user": "bob", "room": "b"}}],
                       "parallel": true});
    nodes.pause(1);
    // Both at once, because each takes two seconds, and the node is taken for dead after its lease.
    let (question, ordered) = std::thread::scope(|scope| {
        let question = scope.spawn(|| result(&nodes, 0, "users", &json!({})));
        let ordered = scope.spawn(|| call(&nodes, 0, "disconnect", &json!({"user": "alice"})));
        (question.join().expect("an answer"), ordered.join().expect("an answer"))
    });
    assert_eq!(question["unanswered"], json!([silent]), "{question}");
    let text = expect_error(ordered, 504, "unknown_outcome");
    assert!(text.contains(&silent), "{text}");
    alice.expect_end(4501, "Kicked");
    nodes.resume(1);
    eventually("both nodes answer", || {
        let (status, body) = call(&nodes, 0, "batch", &order);
        assert_eq!(status, 200, "{body}");
        // An order whose answer was late has been carried out nevertheless, and the next one finds nothing to do.
        body["result"]["results"].as_array().expect("a list").iter().all(|part| part.get("result").is_some())
    });
    assert_eq!(bob.find("left"), json!({"type": "left", "room": "b"}));
    eventually("alice is gone", || result(&nodes, 0, "users", &json!({}))["users"] == json!(["bob"]));
}

/// 1. The engine stands still: a message that is under way has no answer for ten seconds, and ends with 504.
/// 2. Later calls are refused with 503 at once, on both nodes. `info` says that the engine is not there.
/// 3. The engine goes on. The message is sent again with its key, and the room has it once, and nothing that was
///    refused.
#[test]
fn a_message_that_the_engine_did_not_answer_is_published_once_when_it_is_sent_again() {
    let engine = Engine::start(Topology::Single);
    let nodes = start(&engine);
    let mut alice = Speaker::alone(nodes.node(0), "alice?room=a");
    let message = |text: &str| json!({"room": "a", "message": text, "key": text});
    result(&nodes, 0, "publish", &message("before"));
    alice.find("message");
    engine.pause(0);
    let text = expect_error(call(&nodes, 0, "publish", &message("under way")), 504, "unknown_outcome");
    assert!(text.contains("the same key"), "{text}");
    for node in [0, 1] {
        eventually("the node notices", || result(&nodes, node, "info", &json!({}))["is_up"] == false);
        for (path, body) in [
            ("publish", message("refused")),
            ("direct", json!({"to": "alice", "message": "refused", "key": "refused"})),
            ("disconnect", json!({"user": "alice"})),
            ("leave", json!({"user": "alice", "room": "a"})),
            ("forget", json!({"room": "a"})),
            ("users", json!({})),
        ] {
            expect_error(call(&nodes, node, path, &body), 503, "unavailable");
        }
    }
    engine.resume(0);
    nodes.wait_ready();
    let again = result(&nodes, 1, "publish", &message("under way"));
    assert_eq!(again["offset"], 2, "{again}");
    let last = result(&nodes, 1, "publish", &message("after"));
    assert_eq!(last["offset"], 3, "{last}");
    for text in ["under way", "after"] {
        assert_eq!(alice.expect("message")["message"], text);
    }
    alice.expect_nothing();
    let mut bob = Socket::open(nodes.addresses()[1], "/ws/chat/bob?room=a");
    bob.read_text();
    let history = result(&nodes, 1, "history", &json!({"room": "a"}));
    let texts =
        history["messages"].as_array().expect("a list").iter().map(|message| message["message"].clone());
    assert_eq!(texts.collect::<Vec<_>>(), ["before", "under way", "after"]);
}
