//! Every error of `throng.v1`, received over a real socket.

use std::collections::BTreeSet;

use super::tape::{Tape, TapedClient, too_fast};
use crate::snapshots::check;
use crate::support::server::Server;
use crate::support::token::{SECRET, mint};
use crate::support::vocabulary;

/// Records errors under limits so low that each is reached.
fn limits(tape: &mut Tape) {
    let server = Server::start(&[
        ("node", "n1"),
        ("chat.max_message_chars", "5"),
        ("chat.max_data_bytes", "5B"),
        ("limits.max_rooms_per_connection", "2"),
        ("limits.max_keys_per_user", "1"),
    ]);
    tape.section("Invalid commands, and commands above a limit.");
    let alice = &mut TapedClient::enter(tape, "alice", &server, "alice", &["welcome", "presence_diff"]);
    for (command, code) in [
        ("{", "invalid_json"),
        ("[]", "invalid_message"),
        (r#"{"type":"message","id":"1","message":null}"#, "invalid_message"),
        (r#"{"type":"message","id":"2"}"#, "missing_field"),
        (r#"{"type":"message","id":"3","message":"longer"}"#, "message_too_long"),
        (r#"{"type":"message","id":"3","message":"hi","data":[1, 2]}"#, "data_too_long"),
        (r#"{"type":"message","id":"3","message":"hi","data":1e309}"#, "invalid_message"),
        (r#"{"type":"shout","id":"4"}"#, "unknown_type"),
        (r#"{"type":"join","id":"5","room":"a b"}"#, "invalid_room"),
        (r#"{"type":"leave","id":"6","room":"den"}"#, "not_in_room"),
        (r#"{"type":"join","id":"7","room":"lobby"}"#, "already_joined"),
        (r#"{"type":"direct","id":"8","to":"nobody","message":"hi"}"#, "user_not_found"),
    ] {
        alice.fails(tape, command, code);
    }
    alice.does(tape, r#"{"type":"join","id":"9","room":"den"}"#, &["joined", "presence_diff"]);
    alice.fails(tape, r#"{"type":"join","id":"10","room":"attic"}"#, "too_many_rooms");
    alice.does(tape, r#"{"type":"message","id":"11","message":"hi","key":"a"}"#, &["message", "ack"]);
    // The server remembers one key only, and refuses none.
    alice.does(tape, r#"{"type":"message","id":"12","message":"hi","key":"b"}"#, &["message", "ack"]);
    // No message of a failed command was appended.
    alice.does(tape, r#"{"type":"message","id":"13","message":"bye"}"#, &["message", "ack"]);
}

fn permission(tape: &mut Tape) {
    let server = Server::start(&[
        ("node", "n1"),
        ("auth.required", "true"),
        ("auth.secret", SECRET),
        ("limits.max_rooms", "1"),
    ]);
    tape.section("Commands that the token does not allow, or for which the node has no room.");
    let path = format!("alice?room=live-1&token={}", mint(&["--sub", "alice", "--room", "live-*"]));
    let alice = &mut TapedClient::enter(tape, "alice", &server, &path, &["welcome", "presence_diff"]);
    alice.fails(tape, r#"{"type":"join","id":"1","room":"den"}"#, "forbidden");
    alice.fails(tape, r#"{"type":"join","id":"2","room":"live-2"}"#, "unavailable");
    alice.fails(tape, r#"{"type":"token","id":"3","token":"a.b.c"}"#, "invalid_token");
}

#[test]
fn every_error_comes_over_a_socket() {
    let mut tape = Tape::default();
    limits(&mut tape);
    permission(&mut tape);
    too_fast(&mut tape);
    let seen: BTreeSet<&str> = tape.heard.iter().filter_map(|event| event["code"].as_str()).collect();
    let errors = vocabulary::errors();
    assert_eq!(seen, errors.iter().map(|error| error.code()).collect(), "every error");
    check("wire-errors.txt", &tape.text);
}
