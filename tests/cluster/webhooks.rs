//! Webhooks over several nodes: of all nodes one tells that a user is online or offline, and a node that is killed is
//! missed.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engines::{Engine, Topology};
use crate::nodes::Nodes;
use crate::support::eventually;
use crate::support::raw::Socket;
use crate::support::receiver::{Answer, Receiver, SECRET, secret_file};
use crate::support::speaker::Speaker;

/// Starts nodes that all tell one receiver.
fn start(engine: &Engine, receiver: &Receiver, dir: &TempDir, count: usize, events: &[&str]) -> Nodes {
    let (url, file) = (receiver.url("/hook"), secret_file(dir.path(), &[SECRET]));
    let receivers = format!("[{{url = {url:?}, secret_file = {file:?}, events = {events:?}}}]");
    let more = [
        ("webhooks.receivers", receivers.as_str()),
        ("webhooks.offline_after", "1h"),
        ("webhooks.linger", "1ms"),
        ("chat.duplicate", "replace"),
        ("heartbeat.interval", "1h"),
    ];
    let more = more.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Nodes::start(count, engine.settings().into_iter().chain(more).collect())
}

fn enter(nodes: &Nodes, node: usize, path: &str) -> Speaker {
    Speaker::on(Socket::connect(nodes.addresses()[node]), path, "")
}

fn kinds_of<'a>(events: &'a [Value], user: &str) -> Vec<&'a str> {
    let own = events.iter().filter(|event| event["user"] == user && event["room"].is_null());
    own.map(|event| event["type"].as_str().expect("a type")).collect()
}

/// 1. A user connects to one node, is taken over by a connection to the other, goes, and comes back to the first.
/// 2. The node that knew the user first stops, and the user stays connected to the other one.
/// 3. The user goes, and the other node stops: the user was online once, and is offline now.
/// 4. A message that was said on one node was told once.
#[test]
fn a_user_who_moves_between_nodes_is_online_once_and_offline_once() {
    let (engine, receiver) = (Engine::start(Topology::Single), Receiver::start(|_| Answer::ok()));
    let dir = tempfile::tempdir().expect("a folder");
    let mut nodes = start(&engine, &receiver, &dir, 2, &["user_online", "user_offline", "message"]);
    let mut first = enter(&nodes, 0, "alice?room=a");
    receiver.wait_for_events("user_online", 1);
    let second = enter(&nodes, 1, "alice?room=a");
    first.skip_to_end();
    drop(second);
    let mut third = enter(&nodes, 0, "alice?room=a");
    third.say("a", "hi");
    receiver.wait_for_events("message", 1);
    let fourth = enter(&nodes, 1, "alice?room=a");
    third.skip_to_end();
    nodes.terminate(0);
    assert_eq!(kinds_of(&receiver.events(), "alice"), ["user_online"]);
    drop(fourth);
    eventually("the end is seen", || nodes.node(1).connections() == 0.0);
    nodes.terminate(1);
    let events = receiver.events();
    let kinds: Vec<&str> = events
        .iter()
        .filter(|event| event["user"] == "alice")
        .filter_map(|event| event["type"].as_str())
        .collect();
    assert_eq!(kinds, ["user_online", "message", "user_offline"], "{events:?}");
}

/// 1. A node is killed. One of the others tells which it was.
/// 2. A user of that node comes back on another one, and is told to be online again.
#[test]
fn a_killed_node_is_told_and_its_users_come_online_again() {
    let (engine, receiver) = (Engine::start(Topology::Single), Receiver::start(|_| Answer::ok()));
    let dir = tempfile::tempdir().expect("a folder");
    let mut nodes = start(&engine, &receiver, &dir, 2, &["user_online", "user_offline"]);
    let bob = enter(&nodes, 0, "bob?room=a");
    receiver.wait_for_events("user_online", 1);
    let name = bob.welcome_field("node").to_owned();
    nodes.kill(0);
    drop(bob);
    let events = receiver.wait_for_events("resync", 1);
    let resync = events.iter().find(|event| event["type"] == "resync").expect("one");
    assert_eq!((&resync["reason"], &resync["node"]), (&json!("node_lost"), &json!(name)));
    let _bob = enter(&nodes, 1, "bob?room=a");
    let events = receiver.wait_for_events("user_online", 2);
    assert_eq!(kinds_of(&events, "bob"), ["user_online", "user_online"]);
}
