//! Users on several nodes: a user id has one holder wherever it connects, private messages find it, and nodes that die,
//! stand still or leave keep nobody out.

mod faults;

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::checker::leftovers;
use crate::engines::{Engine, Topology};
use crate::nodes::Nodes;
use crate::support::frame::{Frame, PING, PONG};
use crate::support::raw::{Ended, Socket};
use crate::support::server::Server;
use crate::support::speaker::{Speaker, expect_advice, offered};
use crate::support::token::{SECRET, mint};
use crate::support::{PATIENCE, eventually};

const REPLACED: &str = "Replaced by a newer connection";
const TAKEN: &str = "User ID already in use";

/// Starts an engine and nodes on it, which do not expect their clients to answer pings.
fn rig(count: usize, settings: &[(&str, &str)]) -> (Engine, Nodes) {
    rig_of(Topology::Single, count, settings)
}

fn rig_of(topology: Topology, count: usize, settings: &[(&str, &str)]) -> (Engine, Nodes) {
    let engine = Engine::start(topology);
    let nodes = Nodes::start(count, settings_of(&engine, settings));
    (engine, nodes)
}

fn settings_of(engine: &Engine, settings: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all = engine.settings();
    all.push(("heartbeat.interval".to_owned(), "1h".to_owned()));
    all.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    all
}

/// Enters a room alone, and reads the event of the own entry.
fn alone(node: &Server, user: &str) -> Speaker {
    let separator = if user.contains('?') { '&' } else { '?' };
    Speaker::alone(node, &format!("{user}{separator}room=room-{}", fastrand::u64(..)))
}

fn with_session(user: &str, of: &Speaker) -> String {
    format!("{user}?session={}", of.welcome_field("session"))
}

fn direct(to: &str, message: &str) -> Value {
    json!({"type": "direct", "to": to, "message": message})
}

/// Connects in a thread of its own, and expects to be refused because the user id is in use.
fn refused(node: &Server, user: &str) -> JoinHandle<()> {
    let (address, path) = (node.address(), format!("/ws/chat/{user}"));
    thread::spawn(move || {
        let mut socket = offered(Socket::connect(address), &path, "");
        let advice = serde_json::from_str(&socket.read_text()).expect("JSON");
        expect_advice(&advice, 1008, TAKEN);
        assert_eq!(socket.read_close(), (1008, TAKEN.to_owned()));
    })
}

/// Answers the server's pings until the newcomer is done. Returns how many there were.
fn answer(incumbent: &mut Speaker, newcomer: &JoinHandle<()>) -> usize {
    let mut pings = 0;
    while !newcomer.is_finished() {
        match incumbent.socket.try_frame(Duration::from_millis(10)) {
            Ok(frame) => {
                assert_eq!(frame.opcode, PING, "{frame:?}");
                pings += 1;
                incumbent.socket.send(Frame::new(PONG, frame.payload).bytes());
            }
            Err(ended) => assert_eq!(ended, Ended::Silent),
        }
    }
    pings
}

/// Ends all nodes, and checks that nothing is left in the engine.
fn leave(engine: &Engine, mut nodes: Nodes) {
    for index in 0..nodes.len() {
        nodes.terminate(index);
    }
    expect_nothing_left(engine);
}

#[track_caller]
fn expect_nothing_left(engine: &Engine) {
    let mut left = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        left = leftovers::in_engine(&engine.keys(), &engine.channels());
        // The users of a node that was killed stay in rooms that nobody has entered since, until the room expires.
        left.retain(|left| !left.contains("}:w\"") || !left.contains("expires: true"));
        if left.is_empty() {
            return;
        }
        // The interval between two looks, not the length of the wait.
        thread::sleep(Duration::from_millis(20));
    }
    panic!("left in the engine: {left:?}");
}

#[test]
fn a_living_holder_on_another_node_keeps_its_user_id() {
    let (engine, nodes) = rig(2, &[]);
    let mut alice = alone(nodes.node(0), "alice");
    let newcomer = refused(nodes.node(1), "alice");
    assert!(answer(&mut alice, &newcomer) > 0, "the holder was not asked");
    newcomer.join().expect("a refused newcomer");
    alice.expect_nothing();
    // The id is free as soon as its holder has left.
    drop(alice);
    eventually("the id is free", || engine.keys().iter().all(|key| !key.name.contains("u:{alice}")));
    let mut again = alone(nodes.node(1), "alice");
    again.expect_nothing();
    drop(again);
    leave(&engine, nodes);
}

#[test]
fn a_dead_holder_on_another_node_is_replaced() {
    let (engine, nodes) = rig(2, &[]);
    let mut dead = alone(nodes.node(0), "alice");
    let mut alice = alone(nodes.node(1), "alice");
    let (advice, code) = dead.skip_to_end().expect("no reset");
    assert_eq!(code, 4501);
    expect_advice(&advice, 4501, REPLACED);
    alice.expect_nothing();
    drop(alice);
    leave(&engine, nodes);
}

#[test]
fn a_session_replaces_its_connection_on_another_node() {
    let (engine, nodes) = rig(2, &[]);
    let mut old = Speaker::alone(nodes.node(0), "alice");
    for round in 1..6 {
        let mut new = Speaker::enter(nodes.node(round % 2), &with_session("alice", &old));
        let (advice, code) = old.skip_to_end().expect("no reset");
        assert_eq!(code, 4501, "round {round}");
        expect_advice(&advice, 4501, REPLACED);
        new.command(json!({"type": "ping"}));
        new.find("pong");
        old = new;
    }
    drop(old);
    leave(&engine, nodes);
}

#[test]
fn replace_and_tokens_let_the_newcomer_in_on_any_node() {
    let tokens = [("auth.required", "true"), ("auth.secret", SECRET)];
    for (settings, suffix) in [
        (&[("chat.duplicate", "replace")][..], String::new()),
        (&tokens[..], format!("?token={}", mint(&["--sub", "alice"]))),
    ] {
        let (engine, nodes) = rig(2, settings);
        let path = format!("alice{suffix}");
        let mut first = alone(nodes.node(0), &path);
        let mut second = alone(nodes.node(1), &path);
        first.expect_end(4501, REPLACED);
        let mut third = alone(nodes.node(1), &path);
        second.expect_end(4501, REPLACED);
        third.expect_nothing();
        drop(third);
        leave(&engine, nodes);
    }
}

#[test]
fn allow_permits_a_user_on_all_nodes_and_private_messages_reach_all() {
    let (engine, nodes) = rig(3, &[("chat.duplicate", "allow")]);
    let mut alices: Vec<Speaker> = [0, 1, 1, 2].map(|index| alone(nodes.node(index), "alice")).into();
    let mut bob = alone(nodes.node(0), "bob");
    assert_eq!(bob.ask(direct("alice", "hi"), "ack")["delivered"], 4);
    let ids: Vec<Value> = alices
        .iter_mut()
        .map(|alice| {
            let event = alice.expect("direct");
            assert_eq!((&event["user"], &event["message"]), (&json!("bob"), &json!("hi")), "{event}");
            event["id"].clone()
        })
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    // A session replaces the connection that has it, and no other.
    let mut five = Speaker::enter(nodes.node(2), &with_session("alice", &alices[0]));
    alices.remove(0).expect_end(4501, REPLACED);
    eventually("the replaced one is gone", || bob.ask(direct("alice", "again"), "ack")["delivered"] == 4);
    five.find("direct");
    drop((alices, bob, five));
    leave(&engine, nodes);
}

#[test]
fn a_private_message_with_a_key_is_delivered_once_whichever_node_is_asked() {
    let (engine, nodes) = rig(2, &[]);
    let mut bob = alone(nodes.node(1), "bob");
    let mut alice = alone(nodes.node(0), "alice");
    let keyed = |to: &str| json!({"type": "direct", "to": to, "message": "once", "key": "k"});
    for _ in 0..3 {
        assert_eq!(alice.ask(keyed("bob"), "ack")["delivered"], 1);
    }
    let mut elsewhere = Speaker::enter(nodes.node(1), &with_session("alice", &alice));
    elsewhere.expect("presence_diff");
    alice.expect_end(4501, REPLACED);
    assert_eq!(elsewhere.ask(keyed("bob"), "ack")["delivered"], 1);
    // A key without a recipient is not used up.
    elsewhere.ask_refused(keyed("carol"), "user_not_found");
    let mut carol = alone(nodes.node(0), "carol");
    assert_eq!(elsewhere.ask(keyed("carol"), "ack")["delivered"], 1);
    assert_eq!(carol.expect("direct")["message"], "once");
    assert_eq!(bob.expect("direct")["message"], "once");
    bob.expect_nothing();
    drop((elsewhere, bob, carol));
    leave(&engine, nodes);
}

/// A user cannot get a new burst by connecting to another node.
#[test]
fn the_rate_limit_of_a_user_follows_it_to_another_node() {
    let limits = [
        ("rate_limit.enabled", "true"),
        ("rate_limit.messages_per_second", "1"),
        ("rate_limit.burst", "60"),
        ("rate_limit.strikes", "1000"),
    ];
    let (engine, nodes) = rig(2, &limits);
    let mut alice = alone(nodes.node(0), "alice");
    let mut bob = alone(nodes.node(0), "bob");
    let sent = |speaker: &mut Speaker| {
        (0..70)
            .filter(|_| {
                speaker.command(direct("bob", "hi"));
                speaker.event()["type"] == "ack"
            })
            .count()
    };
    assert!((60..70).contains(&sent(&mut alice)));
    drop(alice);
    eventually("the id is free", || nodes.node(0).connections() == 1.0);
    let mut again = alone(nodes.node(1), "alice");
    let more = sent(&mut again);
    assert!(more < 30, "{more} messages more");
    let mut taken_over = Speaker::enter(nodes.node(0), &with_session("alice", &again));
    taken_over.expect("presence_diff");
    again.expect_end(4501, REPLACED);
    let more = sent(&mut taken_over);
    assert!(more < 30, "{more} messages more after a takeover");
    bob.find("direct");
    drop((again, taken_over, bob));
    leave(&engine, nodes);
}
