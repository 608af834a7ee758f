//! Calls of a live server: every answer is as the document says, and the document allows a request exactly when the
//! server does.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::document::Document;
use super::refused::{limits, others, refusals};
use super::request::Request;
use super::witness::{KEY, Witness, start};
use crate::schemas::yaml::entries;
use crate::support::eventually;
use crate::support::speaker::Speaker;

/// Errors that no server here gives, each with the reason. The first two are the only ones of their statuses.
const UNHEARD: [(u16, &str, &str); 5] = [
    (504, "unknown_outcome", "tests/cluster stops a node, and an engine"),
    (409, "not_reloadable", "the binary can always read its settings again"),
    (503, "revocations_full", "it takes a million of them"),
    (
        429,
        "connections_per_address",
        "calls are not counted, unless the reserved handshake permits are all taken",
    ),
    (429, "handshakes_per_address", "the same"),
];

/// Lets each call of the document have an answer. Every example in it is good.
fn examples(witness: &mut Witness) {
    let server = start(&[]);
    let _bob = Speaker::alone(&server, "bob?room=den");
    for sample in witness.samples() {
        let operation = sample.operation(&witness.document);
        let bodies = match witness.document.body(&operation) {
            Some(schema) => witness.examples(&schema).iter().map(|body| Some(body.to_string())).collect(),
            None => vec![None],
        };
        for body in bodies {
            // An earlier call may have ended the connection, or have forgotten the room.
            let _alice = Speaker::enter(&server, "alice?room=lobby");
            let said = json!({"room": "lobby", "message": "hi", "user": "alice"});
            witness.call(&server, ("post", "/api/publish", Some(said)), 200, "");
            let request = Request { body, ..sample.clone() };
            witness.check(&request, &request.send(server.address()), 200, "");
        }
    }
}

/// Asks with every parameter, and gets pages with others behind them.
fn questions(witness: &mut Witness) {
    let server = start(&[]);
    let _speakers: Vec<_> =
        ["alice", "bob", "carol"].map(|user| Speaker::enter(&server, &format!("{user}?room=lobby"))).into();
    for room in ["lobby", "lobby", "den"] {
        let said = json!({"room": room, "message": "hi"});
        witness.call(&server, ("post", "/api/publish", Some(said)), 200, "");
    }
    // Another node hears a moment later of who has come and of what was said.
    let mut shows = |target: &str, is_shown: &dyn Fn(&Value) -> bool| {
        eventually(target, || is_shown(&witness.call(&server, ("get", target, None), 200, "")));
    };
    shows("/api/rooms?limit=1&pattern=*&after=a", &|page| page["next"] == "den");
    shows("/api/rooms?after=den", &|page| page["next"].is_null());
    shows("/api/users?limit=1&after=alice", &|page| page["next"] == "bob");
    for path in ["/api/rooms/lobby/presence?", "/api/presence?room=lobby&"] {
        shows(&format!("{path}after=alice&limit=1"), &|page| page["users"] == json!(["bob"]));
    }
    for path in ["/api/rooms/lobby/history?", "/api/history?room=lobby&"] {
        shows(&format!("{path}before=2&limit=1"), &|page| page["messages"][0]["offset"] == 1);
        shows(&format!("{path}epoch=another"), &|page| page["messages"] == json!([]));
    }
    shows("/api/connections/slow?limit=100", &|page| page["connections"].is_array());
    shows("/api/users/nobody", &|page| page["connections"] == json!([]));
    // Nodes of two versions may have other counters, so that the schema is open. Those of this version are compared.
    let listed = Document::read();
    let listed: BTreeSet<_> =
        entries(&listed.value, "/components/schemas/counters/properties").keys().collect();
    shows("/api/info", &|info| {
        let counters = info["nodes"][0]["counters"].as_object().expect("counters");
        counters.keys().collect::<BTreeSet<_>>() == listed
    });
    // With an engine, a question for the history opens the room.
    for path in ["room", "presence", "history"] {
        let room = format!("none-{path}");
        let body = json!({"room": room});
        witness.call(&server, ("post", &format!("/api/{path}"), Some(body)), 404, "room_not_found");
    }
    for path in ["rooms/none", "rooms/none/presence", "rooms/none/history", "room?room=nil"] {
        witness.call(&server, ("get", &format!("/api/{path}"), None), 404, "room_not_found");
    }
}

/// Sends fields that are wrong. The document has to refuse the same.
fn bodies(witness: &mut Witness) {
    let server = start(&[("chat.max_message_chars", "10"), ("chat.max_data_bytes", "10B")]);
    for (path, body, code) in [
        ("publish", json!([]), "invalid_field"),
        ("publish", json!({"message": "hi"}), "missing_field"),
        ("publish", json!({"room": "a b", "message": "hi"}), "invalid_room"),
        ("publish", json!({"room": "a", "message": 1}), "invalid_field"),
        ("publish", json!({"room": "a", "message": "hi", "user": "ab"}), "invalid_user"),
        ("publish", json!({"room": "a", "message": "hi", "key": ""}), "invalid_key"),
        ("publish", json!({"room": "a", "message": "hi", "key": "k".repeat(65)}), "invalid_key"),
        ("publish", json!({"room": "a", "message": "12345678901"}), "message_too_long"),
        ("broadcast", json!({"rooms": [], "message": "hi"}), "invalid_field"),
        ("broadcast", json!({"rooms": "a", "message": "hi"}), "invalid_field"),
        ("broadcast", json!({"rooms": vec!["a"; 1_001], "message": "hi"}), "invalid_field"),
        ("direct", json!({"to": 1, "message": "hi"}), "invalid_field"),
        ("direct", json!({"to": "ab", "message": "hi"}), "invalid_user"),
        ("direct", json!({"to": [], "message": "hi"}), "invalid_field"),
        ("disconnect", json!({"user": "bob", "code": 1000}), "invalid_field"),
        ("disconnect", json!({"user": "bob", "code": 5000}), "invalid_field"),
        ("disconnect", json!({"user": "bob", "code": "4501"}), "invalid_field"),
        ("kick", json!({"user": "bob", "reason": "x".repeat(124)}), "invalid_field"),
        ("kick", json!({"user": "bob", "except": [1]}), "invalid_field"),
        ("leave", json!({"user": "bob"}), "missing_field"),
        ("forget", json!({"room": ""}), "invalid_room"),
        ("publish", json!({"room": "a", "message": "hi", "name": ""}), "invalid_name"),
        ("publish", json!({"room": "a", "message": "hi", "data": "123456789"}), "data_too_long"),
        ("revoke", json!({}), "missing_field"),
        ("revoke", json!({"token": "7"}), "missing_field"),
        ("revoke", json!({"token": "", "until": 4_000_000_000_u64}), "invalid_field"),
        ("revoke", json!({"token": "7", "until": "soon"}), "invalid_field"),
        ("revoke", json!({"token": "7", "until": 4_000_000_000_u64, "user": "alice"}), "invalid_field"),
        ("revoke", json!({"user": "alice", "issued_before": -1}), "invalid_field"),
        ("revoke", json!({"user": "alice", "until": 4_000_000_000_u64}), "unknown_field"),
        ("batch", json!({"commands": []}), "invalid_field"),
        (
            "batch",
            json!({"commands": vec![json!({"leave": {"user": "bob", "room": "a"}}); 1_001]}),
            "invalid_field",
        ),
        (
            "batch",
            json!({"commands": [{"leave": {"user": "bob", "room": "a"}}], "parallel": 1}),
            "invalid_field",
        ),
        ("rooms", json!({"limit": 0}), "invalid_field"),
        ("rooms", json!({"limit": 1_001}), "invalid_field"),
        ("rooms", json!({"pattern": "x".repeat(65)}), "invalid_field"),
        ("users", json!({"after": "ab"}), "invalid_user"),
        ("history", json!({"room": "a", "before": -1}), "invalid_field"),
        ("history", json!({"room": "a", "epoch": 1}), "invalid_field"),
        ("history", json!({"limit": 1}), "missing_field"),
        ("connections/slow", json!({"limit": 101}), "invalid_field"),
    ] {
        witness.call(&server, ("post", &format!("/api/{path}"), Some(body)), 400, code);
    }
    let nobody = json!({"to": "nobody", "message": "hi"});
    witness.call(&server, ("post", "/api/direct", Some(nobody)), 404, "user_not_found");
}

/// Makes a server read settings that have a mistake.
fn mistakes(witness: &mut Witness) {
    let keys = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&keys, "a-secret-of-the-tests-of-32-bytes\n").expect("it can be written");
    let server = start(&[("auth.secret_file", keys.path().to_str().expect("UTF-8"))]);
    keys.close().expect("it is gone");
    witness.call(&server, ("post", "/api/reload", Some(json!({}))), 422, "invalid_settings");
}

/// Sends queries and headers that are wrong.
fn heads(witness: &mut Witness) {
    let server = start(&[]);
    for (target, code) in [
        ("rooms?limit=0", "invalid_field"),
        ("rooms?limit=ten", "invalid_field"),
        ("rooms?after=a%20b", "invalid_room"),
        ("rooms?limit=1&limit=2", "invalid_field"),
        ("rooms/a%20b", "invalid_room"),
        ("rooms/a?room=a", "invalid_field"),
        ("rooms/a/presence?after=ab", "invalid_user"),
        ("rooms/a/history?limit=101", "invalid_field"),
        ("rooms/a/history?before=-1", "invalid_field"),
        ("users/ab", "invalid_user"),
        ("user", "missing_field"),
        ("connections/slow?limit=0", "invalid_field"),
    ] {
        witness.call(&server, ("get", &format!("/api/{target}"), None), 400, code);
    }
    for (path, body, key, status, code) in [
        ("publish", json!({"room": "a", "message": "hi"}), "k", 200, ""),
        ("publish", json!({"room": "a", "message": "hi"}), &"k".repeat(65), 400, "invalid_key"),
        ("leave", json!({"user": "bob", "room": "a"}), "k", 400, "invalid_field"),
    ] {
        let mut request = Request::new("post", &format!("/api/{path}"), Some(body.to_string()), KEY);
        request.idempotency_key = Some(key.to_owned());
        witness.check(&request, &request.send(server.address()), status, code);
    }
}

/// Sends parts that are wrong. Each has an outcome of its own, of which the document has the form as well.
fn parts(witness: &Witness) {
    let server = start(&[]);
    let parts = json!({"commands": [
        {"publish": {"room": "a", "message": "hi"}}, {"publish": {"room": "a b", "message": "hi"}}, {"shout": {}},
        {"direct": {"to": "nobody", "message": "hi"}}, {"leave": {"user": "bob", "room": "a"}},
        {"disconnect": {"user": "bob"}}, {"direct": {"to": ["bob"], "message": "hi"}},
    ]});
    let request = Request::new("post", "/api/batch", Some(parts.to_string()), KEY);
    let response = request.send(server.address());
    let operation = request.operation(&witness.document);
    assert_eq!(response.status, 200);
    assert_eq!(
        witness.document.faults_of_answer(&operation, &response),
        Vec::<String>::new(),
        "{response:?}"
    );
    assert!(
        !request.faults(&witness.document).is_empty(),
        "the document does not allow the parts that are wrong"
    );
}

#[test]
fn every_answer_is_as_the_document_says_and_every_answer_of_the_document_was_given() {
    let mut witness = Witness::new();
    examples(&mut witness);
    questions(&mut witness);
    bodies(&mut witness);
    heads(&mut witness);
    mistakes(&mut witness);
    parts(&witness);
    refusals(&mut witness);
    others(&witness);
    limits(&mut witness);
    let document = &witness.document;
    for operation in document.operations() {
        for status in entries(&document.value, &format!("{}/responses", operation.pointer())).keys() {
            let status = status.parse().expect("a status");
            let is_unheard = UNHEARD[..2].iter().any(|(code, ..)| *code == status);
            let is_seen = witness.statuses.contains(&(operation.clone(), status));
            assert_eq!(is_seen, !is_unheard, "{operation:?}: {status}");
        }
    }
    let listed = entries(&document.value, "/components/schemas").iter().filter_map(|(name, schema)| {
        let status: u16 = name.strip_prefix("code_")?.parse().ok()?;
        Some(schema["oneOf"].as_array().expect("a list").iter().map(move |code| (status, code)))
    });
    let listed =
        listed.flatten().map(|(status, code)| (status, code["const"].as_str().expect("a code").to_owned()));
    witness.codes.extend(UNHEARD.iter().map(|(status, code, _)| (*status, (*code).to_owned())));
    // `others` asks for what has no place among the calls.
    witness.codes.insert((405, "method".to_owned()));
    assert_eq!(witness.codes, listed.collect::<BTreeSet<_>>());
}
