//! `GET /rooms` on several nodes, when one of them stands still.

use std::collections::HashSet;
use std::time::Instant;

use crate::engines::{Engine, Topology};
use crate::nodes::Nodes;
use crate::support::eventually;
use crate::support::raw::Socket;
use crate::support::speaker::Speaker;

/// Clients that ask at the same moment.
const CROWD: usize = 50;

/// Lets a crowd ask a node at the same moment. All get a list, and about the same one. Returns the lists.
#[track_caller]
fn ask(nodes: &Nodes, node: usize) -> HashSet<String> {
    let began = Instant::now();
    let mut crowd: Vec<_> = (0..CROWD).map(|_| Socket::connect(nodes.addresses()[node])).collect();
    for socket in &mut crowd {
        socket.send("GET /rooms HTTP/1.1\r\nHost: throng.test\r\nConnection: close\r\n\r\n");
    }
    let body = |mut socket: Socket| {
        let response = socket.read_response();
        assert_eq!(response.status, 200, "{response:?}");
        response.body
    };
    let lists: HashSet<_> = crowd.into_iter().map(body).collect();
    // One whose second ends while the crowd asks, the next, and one for each second that a slow machine needs.
    assert!(lists.len() as u64 <= 2 + began.elapsed().as_secs(), "{lists:?}");
    lists
}

/// 1. A node stands still. 2. Crowds ask the other one, while Alice says something new there before each. All get a
///    list. Soon the lists lack the room that only the silent node knows, and still tell what Alice says. 3. The node
///    starts anew, and its room is in the list again.
#[test]
fn a_silent_node_is_left_out_of_the_listed_rooms() {
    let engine = Engine::start(Topology::Single);
    // A client must not be closed for its silence while a node stands still.
    let own = [
        ("chat.listed_rooms", "*"),
        ("heartbeat.interval", "1h"),
        ("heartbeat.timeout", "1h"),
        ("rate_limit.enabled", "false"),
    ];
    let own = own.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let mut nodes = Nodes::start(2, engine.settings().into_iter().chain(own).collect());
    let mut alice = Speaker::alone(nodes.node(0), "alice?room=near");
    let _bob = Speaker::alone(nodes.node(1), "bob?room=far");
    let has = |lists: &HashSet<String>, room: &str| {
        lists.iter().all(|list| list.contains(&format!(r#"{{"room":"{room}","members":"#)))
    };
    eventually("both rooms are there", || {
        let lists = ask(&nodes, 0);
        has(&lists, "near") && has(&lists, "far")
    });
    nodes.pause(1);
    let mut without = HashSet::new();
    let mut number = 0;
    eventually("the silent node is left out, again and again", || {
        number += 1;
        alice.say_quietly("near", &format!("number {number}"));
        let lists = ask(&nodes, 0);
        assert!(has(&lists, "near"), "{lists:?}");
        without.extend(lists.into_iter().filter(|list| !list.contains(r#""far""#)));
        without.len() >= 2
    });
    // Not resumed: on a slow machine it may have been silent for so long that it would close its clients.
    nodes.kill(1);
    nodes.restart(1);
    let _carl = Speaker::alone(nodes.node(1), "carl?room=far");
    eventually("both rooms are there again", || {
        let lists = ask(&nodes, 0);
        has(&lists, "near") && has(&lists, "far")
    });
}
