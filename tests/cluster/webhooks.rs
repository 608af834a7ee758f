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
    start_with(engine, receiver, dir, count, events, "1h")
}

/// Does as [`start`], with the time after which a user is offline and a room vacated.
fn start_with(
    engine: &Engine,
    receiver: &Receiver,
    dir: &TempDir,
    count: usize,
    events: &[&str],
    offline_after: &str,
) -> Nodes {
    let (url, file) = (receiver.url("/hook"), secret_file(dir.path(), &[SECRET]));
    let receivers = format!("[{{url = {url:?}, secret_file = {file:?}, events = {events:?}}}]");
    let more = [
        ("webhooks.receivers", receivers.as_str()),
        ("webhooks.offline_after", offline_after),
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

/// Returns the kinds of the events of a room, in the order in which they were delivered.
fn kinds_of_room<'a>(events: &'a [Value], room: &str) -> Vec<&'a str> {
    let own = events.iter().filter(|event| event["room"] == room);
    own.map(|event| event["type"].as_str().expect("a type")).collect()
}

/// 1. A node is killed. One of the others tells which it was, and that its users are offline: also a user who had left
///    it and was not offline yet.
/// 2. A user who had another connection on the other node, or came there meanwhile, is not told to be offline.
/// 3. A user of that node comes back on another one, and is told to be online again.
#[test]
fn the_users_of_a_killed_node_are_told_to_be_offline() {
    let (engine, receiver) = (Engine::start(Topology::Single), Receiver::start(|_| Answer::ok()));
    let dir = tempfile::tempdir().expect("a folder");
    let mut nodes = start_with(&engine, &receiver, &dir, 2, &["user_online", "user_offline"], "3s");
    let bob = enter(&nodes, 0, "bob?room=a");
    let carol = enter(&nodes, 0, "carol?room=a");
    let name = bob.welcome_field("node").to_owned();
    let alice = enter(&nodes, 0, "alice?room=a");
    let _moved = enter(&nodes, 1, "alice?room=a");
    receiver.wait_for_events("user_online", 3);
    // Her node waits for three seconds when it dies.
    drop(carol);
    eventually("the end is seen", || nodes.node(0).connections() == 1.0);
    nodes.kill(0);
    drop((bob, alice));
    receiver.wait_for_events("user_offline", 2);
    let events = receiver.wait_for_events("resync", 1);
    let resync = events.iter().find(|event| event["type"] == "resync").expect("one");
    assert_eq!((&resync["reason"], &resync["node"]), (&json!("node_lost"), &json!(name)));
    for user in ["bob", "carol"] {
        assert_eq!(kinds_of(&events, user), ["user_online", "user_offline"], "{user}");
    }
    let _bob = enter(&nodes, 1, "bob?room=a");
    let events = receiver.wait_for_events("user_online", 4);
    assert_eq!(kinds_of(&events, "bob"), ["user_online", "user_offline", "user_online"]);
    assert_eq!(kinds_of(&events, "alice"), ["user_online"]);
}

/// 1. Members come to a room on both nodes and go: it is occupied once, and vacated once after the last has gone.
/// 2. Somebody comes before the last member of the other node goes, whose node stops: the room was never vacated.
/// 3. The node with the last member stops: the room is vacated at once.
#[test]
fn a_room_on_several_nodes_is_occupied_once_and_vacated_once() {
    let (engine, receiver) = (Engine::start(Topology::Single), Receiver::start(|_| Answer::ok()));
    let dir = tempfile::tempdir().expect("a folder");
    let events = ["room_occupied", "room_vacated"];
    let mut nodes = start_with(&engine, &receiver, &dir, 2, &events, "2s");
    let first = enter(&nodes, 0, "alice?room=a");
    receiver.wait_for_events("room_occupied", 1);
    let second = enter(&nodes, 1, "bob?room=a");
    drop(first);
    let mut third = enter(&nodes, 0, "carol?room=b");
    receiver.wait_for_events("room_occupied", 2);
    drop(second);
    receiver.wait_for_events("room_vacated", 1);
    let _first = enter(&nodes, 1, "alice?room=a");
    let told = receiver.wait_for_events("room_occupied", 3);
    assert_eq!(kinds_of_room(&told, "a"), ["room_occupied", "room_vacated", "room_occupied"]);
    assert_eq!(kinds_of_room(&told, "b"), ["room_occupied"]);
    // Carol has seen her successor, so the engine knows him, and her node does not tell that the room is vacated.
    let _fourth = enter(&nodes, 1, "dave?room=b");
    while third.find("presence_diff")["joined"] != json!(["dave"]) {}
    drop(third);
    nodes.terminate(0);
    nodes.terminate(1);
    let told = receiver.events();
    assert_eq!(kinds_of_room(&told, "b"), ["room_occupied", "room_vacated"]);
    let all = ["room_occupied", "room_vacated", "room_occupied", "room_vacated"];
    assert_eq!(kinds_of_room(&told, "a"), all);
}
