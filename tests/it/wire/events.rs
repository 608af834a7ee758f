//! Every command with each of its fields, and every event with each of its fields, over real sockets.

use super::tape::{Tape, TapedClient, too_fast};
use super::{ELSEWHERE, rows};
use crate::manual;
use crate::snapshots::check;
use crate::support::raw::Socket;
use crate::support::server::{SMALL_QUEUES, Server, Settings};
use crate::support::token::{SECRET, mint};
use crate::support::vocabulary;

fn talk(tape: &mut Tape) {
    let server = Server::start(&[
        ("node", "n1"),
        ("rate_limit.enabled", "true"),
        ("limits.max_keys_per_user", "2"),
        ("workers", "1"),
    ]);
    tape.section("Two people, from the first word to the last.");
    let mut alice = TapedClient::offer(tape, "alice", &server, "alice?room=lobby");
    let welcome = alice.hears(tape, &["welcome"]);
    alice.hears(tape, &["presence_diff"]);
    let bob = &mut TapedClient::enter(tape, "bob  ", &server, "bob", &["welcome", "presence_diff"]);
    alice.hears(tape, &["presence_diff"]);
    let say = r#"{"type":"message","id":"1","room":"lobby","message":"hi","key":"a","echo":true}"#;
    alice.does(tape, say, &["message", "ack"]);
    alice.does(tape, say.replace("\"1\"", "\"2\"").as_str(), &["ack"]);
    alice.does(tape, r#"{"type":"message","id":"3","message":"quiet","echo":false}"#, &["ack"]);
    bob.hears(tape, &["message", "message"]);
    let direct = r#"{"type":"direct","id":"4","to":"bob","message":"psst","key":"b"}"#;
    alice.does(tape, direct, &["ack"]);
    alice.does(tape, direct.replace("\"4\"", "\"5\"").as_str(), &["ack"]);
    bob.hears(tape, &["direct"]);
    alice.does(tape, r#"{"type":"typing","id":"6","room":"lobby"}"#, &[]);
    bob.hears(tape, &["typing"]);
    let epoch = welcome["epoch"].as_str().expect("an epoch");
    for command in [
        format!(r#"{{"type":"history","id":"7","room":"lobby","epoch":"{epoch}","before":3,"limit":1}}"#),
        r#"{"type":"presence","id":"8","room":"lobby","after":"alice","limit":1}"#.to_owned(),
    ] {
        let kind = if command.contains("history") { "history" } else { "presence" };
        alice.does(tape, &command, &[kind]);
    }
    alice.does(tape, r#"{"type":"ping","id":"9"}"#, &["pong"]);
    alice.does(tape, r#"{"type":"heartbeat_ack","id":"10"}"#, &[]);
    rooms(tape, &mut alice);
    bob.socket.finish();
    alice.hears(tape, &["presence_diff"]);
    // Reconnects with session and position, which replaces the old connection.
    let session = welcome["session"].as_str().expect("a session");
    let path = format!("alice?room=lobby&resume={epoch}:1&session={session}");
    let mut again = TapedClient::enter(tape, "alice", &server, &path, &["welcome", "message"]);
    alice.ends(tape, 4501, "Replaced by a newer connection");
    again.does(tape, r#"{"type":"ping","id":"1"}"#, &["pong"]);
}

fn rooms(tape: &mut Tape, alice: &mut TapedClient) {
    alice.say(tape, r#"{"type":"join","id":"12","room":"den"}"#);
    let joined = alice.hears(tape, &["joined"]);
    alice.hears(tape, &["presence_diff"]);
    let epoch = joined["epoch"].as_str().expect("an epoch").to_owned();
    alice.does(tape, r#"{"type":"message","id":"13","room":"den","message":"here"}"#, &["message", "ack"]);
    alice.does(tape, r#"{"type":"leave","id":"14","room":"den"}"#, &["left"]);
    let resume = format!(r#"{{"epoch":"{epoch}","offset":0}}"#);
    let join = format!(r#"{{"type":"join","id":"15","room":"den","resume":{resume}}}"#);
    alice.does(tape, &join, &["joined", "message", "presence_diff"]);
}

fn tokens(tape: &mut Tape) {
    let server = Server::start(&[("node", "n1"), ("auth.required", "true"), ("auth.secret", SECRET)]);
    tape.section("A token takes the place of another, and allows fewer rooms.");
    let path = format!("alice?room=lobby&token={}", mint(&["--sub", "alice"]));
    let alice = &mut TapedClient::enter(tape, "alice", &server, &path, &["welcome", "presence_diff"]);
    alice.does(tape, r#"{"type":"join","id":"1","room":"den"}"#, &["joined", "presence_diff"]);
    let next = mint(&["--sub", "alice", "--room", "lobby", "--ttl", "2h"]);
    tape.hide(&next, "TOKEN");
    alice.does(tape, &format!(r#"{{"type":"token","id":"2","token":"{next}"}}"#), &["left", "ack"]);
}

fn carried(tape: &mut Tape) {
    let server = Server::start(&[("node", "n1")]);
    tape.section("Messages carry data, and their senders have names.");
    let path = "alice?name=Anna+%22A%22+M%C3%BCller";
    let mut alice = TapedClient::enter(tape, "alice", &server, path, &["welcome", "presence_diff"]);
    let bob = &mut TapedClient::enter(tape, "bob  ", &server, "bob?name=B", &["welcome", "presence_diff"]);
    alice.hears(tape, &["presence_diff"]);
    let data = r#"{ "a" :[1.50,"\u00fc\n",null] }"#;
    let say = format!(r#"{{"type":"message","id":"1","data":{data},"message":"hi"}}"#);
    alice.does(tape, &say, &["message", "ack"]);
    // A private message may overtake one of the room.
    bob.hears(tape, &["message"]);
    let direct = format!(r#"{{"type":"direct","id":"2","to":"bob","message":"psst","data" : {data} }}"#);
    alice.does(tape, &direct, &["ack"]);
    bob.hears(tape, &["direct"]);
    bob.does(tape, r#"{"type":"presence","id":"3","room":"lobby"}"#, &["presence"]);
    bob.does(tape, r#"{"type":"history","id":"4","room":"lobby"}"#, &["history"]);
}

fn silence(tape: &mut Tape) {
    let server = Server::start(&[("node", "n1"), ("heartbeat.interval", "1s")]);
    tape.section("Nobody speaks.");
    let mut alice = TapedClient::enter(tape, "alice", &server, "alice", &["welcome", "presence_diff"]);
    alice.hears(tape, &["heartbeat"]);
    alice.does(tape, r#"{"type":"heartbeat_ack"}"#, &["heartbeat"]);
}

fn loss(tape: &mut Tape) {
    let settings: Settings<'_> = &[("node", "n1"), ("queue.policy", "drop_oldest")];
    let server = Server::start(&[settings, SMALL_QUEUES].concat());
    tape.section("A client does not read.");
    let narrow = Socket::connect_narrow(server.address());
    let mut laggard = TapedClient::on(tape, "alice", narrow, "alice");
    let mut author = crate::support::speaker::Speaker::enter(&server, "bob");
    while server.metric("throng_messages_dropped_total", "") == 0.0 {
        author.say_quietly("lobby", &"x".repeat(4000));
    }
    laggard.finds(tape, "gap");
}

#[test]
fn every_command_and_every_event_comes_over_a_socket_with_all_of_its_fields() {
    let mut tape = Tape::default();
    talk(&mut tape);
    too_fast(&mut tape);
    tokens(&mut tape);
    carried(&mut tape);
    silence(&mut tape);
    loss(&mut tape);
    assert_eq!(vocabulary::fields(&tape.sent), manual::commands(), "every command with all of its fields");
    let (mut heard, mut declared) = (vocabulary::fields(&tape.heard), vocabulary::events());
    // Both dialects have this one event, which stands in another table.
    let message = heard.remove("message").expect("messages");
    let parts = ["user", "message", "room", "offset", "id", "ts", "name", "data"].map(str::to_owned);
    assert_eq!(message, parts.into());
    declared.remove("message");
    for elsewhere in rows(ELSEWHERE, "event") {
        declared.remove(&elsewhere).expect("an event that is declared");
    }
    assert_eq!(heard, declared, "every event with all of its fields");
    check("wire-events.txt", &tape.text);
}
