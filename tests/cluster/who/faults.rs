//! Users on several nodes, when nodes die, stand still or are silent, and when the engine is away, fails over or has
//! lost its data.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    alone, answer, direct, expect_nothing_left, leave, refused, rig, rig_of, settings_of, with_session,
};
use crate::engines::{Engine, Options, Topology, slowly};
use crate::nodes::Nodes;
use crate::support::frame::CLOSE;
use crate::support::raw::{Ended, Socket, handshake};
use crate::support::server;
use crate::support::speaker::Speaker;
use crate::support::{eventually, sized};

#[test]
fn the_users_of_a_killed_node_are_free_after_its_lease() {
    let (engine, mut nodes) = rig(2, &[]);
    let alice = alone(nodes.node(0), "alice");
    eventually("both nodes know both", || nodes.node(1).metric("throng_nodes", "") == 2.0);
    nodes.kill(0);
    eventually("the other node takes it for dead", || nodes.node(1).metric("throng_nodes", "") == 1.0);
    let mut again = alone(nodes.node(1), "alice");
    again.expect_nothing();
    let mut bob = alone(nodes.node(1), "bob");
    assert_eq!(bob.ask(direct("alice", "hi"), "ack")["delivered"], 1);
    drop((alice, again, bob));
    nodes.terminate(1);
    expect_nothing_left(&engine);
}

/// 1. A node is stopped for longer than its lease, and its user connects to another node.
/// 2. The node goes on: it closes its clients with 1012, and the user stays where it is.
/// 3. It serves clients again.
#[test]
fn a_node_that_stood_still_begins_anew() {
    let (engine, nodes) = rig(2, &[]);
    let mut old = alone(nodes.node(0), "alice");
    let mut bob = Speaker::alone(nodes.node(0), "bob");
    eventually("both nodes know both", || nodes.node(1).metric("throng_nodes", "") == 2.0);
    nodes.pause(0);
    eventually("the other node takes it for dead", || nodes.node(1).metric("throng_nodes", "") == 1.0);
    let mut alice = alone(nodes.node(1), "alice");
    nodes.resume(0);
    for speaker in [&mut old, &mut bob] {
        assert_eq!(speaker.skip_to_end().expect("no reset").1, 1012);
    }
    eventually("it is back", || nodes.node(1).metric("throng_nodes", "") == 2.0);
    eventually("it is ready", || nodes.node(0).get("/readyz").status == 200);
    let mut bob = Speaker::alone(nodes.node(0), "bob");
    bob.say("lobby", "here again");
    assert_eq!(bob.ask(direct("alice", "hi"), "ack")["delivered"], 1);
    assert_eq!(alice.expect("direct")["message"], "hi");
    alice.expect_nothing();
    drop((alice, bob));
    leave(&engine, nodes);
}

#[test]
fn a_name_in_use_ends_the_start_and_is_free_after_a_clean_stop() {
    let engine = Engine::start(Topology::Single);
    let settings = settings_of(&engine, &[("node", "one")]);
    let mut nodes = Nodes::start(1, settings.clone());
    let own: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let output = server::run(&["serve", "--listen", "127.0.0.1:0"], &own);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{text}");
    assert!(text.contains("node = \"one\"") && text.contains("another live node"), "{text}");
    // After a clean stop the next one need not wait for a lease.
    nodes.terminate(0);
    let before = Instant::now();
    nodes.restart(0);
    assert!(before.elapsed() < Duration::from_secs(8), "it waited for {:?}", before.elapsed());
    leave(&engine, nodes);
}

#[test]
fn users_are_unique_on_a_cluster_whose_masters_fail_over() {
    let (engine, nodes) = rig_of(Topology::Cluster, 2, &[]);
    let mut old = alone(nodes.node(0), "alice");
    let mut bob = alone(nodes.node(1), "bob");
    assert_eq!(bob.ask(direct("alice", "hi"), "ack")["delivered"], 1);
    assert_eq!(old.expect("direct")["message"], "hi");
    for master in engine.masters() {
        let replica = engine.replica_of(master).expect("each master has a replica");
        engine.fail_over(master, replica);
    }
    slowly("both nodes are ready", || (0..2).all(|index| nodes.node(index).get("/readyz").status == 200));
    eventually("a private message arrives", || {
        bob.command(direct("alice", "again"));
        bob.event()["delivered"] == 1
    });
    let mut new = Speaker::enter(nodes.node(1), &with_session("alice", &old));
    assert_eq!(old.skip_to_end().expect("no reset").1, 4501);
    new.command(json!({"type": "ping"}));
    new.find("pong");
    drop((new, bob));
    leave(&engine, nodes);
}

/// 1. A node does not answer: a private message counts nobody there, and neither does its retry.
/// 2. The node goes on, and does not deliver the message late.
#[test]
fn a_silent_node_counts_no_delivery_and_delivers_nothing_late() {
    let (engine, nodes) = rig(2, &[]);
    let mut alice = alone(nodes.node(0), "alice");
    let mut bob = alone(nodes.node(1), "bob");
    nodes.pause(0);
    let keyed = json!({"type": "direct", "to": "alice", "message": "late", "key": "k"});
    for _ in 0..2 {
        assert_eq!(bob.ask(keyed.clone(), "ack")["delivered"], 0);
    }
    assert!(nodes.node(1).metric("throng_control_timeouts_total", "") >= 1.0);
    nodes.resume(0);
    eventually("a private message arrives", || {
        bob.command(direct("alice", "in time"));
        bob.event()["delivered"] == 1
    });
    assert_eq!(alice.expect("direct")["message"], "in time");
    drop((alice, bob));
    leave(&engine, nodes);
}

/// 1. A node does not answer, and loses a user to another node: by a session, and because its client is not known to be
///    alive.
/// 2. The node goes on, before it is taken for dead, and closes the old connections.
#[test]
fn a_node_that_was_silent_closes_the_connections_that_were_replaced() {
    let (engine, nodes) = rig(2, &[]);
    let mut old = [alone(nodes.node(0), "alice"), alone(nodes.node(0), "bob")];
    nodes.pause(0);
    let alice = Speaker::enter(nodes.node(1), &with_session("alice", &old[0]));
    let bob = alone(nodes.node(1), "bob");
    nodes.resume(0);
    for speaker in &mut old {
        let (advice, code) = speaker.skip_to_end().expect("no reset");
        assert_eq!(code, 4501, "{advice}");
    }
    drop((alice, bob));
    leave(&engine, nodes);
}

/// 1. The engine is restarted without data: the nodes claim the user ids of their connections again.
/// 2. Newcomers are refused as before, and private messages find their way.
#[test]
fn user_ids_are_claimed_again_when_the_engine_has_lost_them() {
    let (mut engine, nodes) = rig(2, &[]);
    let mut alice = alone(nodes.node(0), "alice");
    let mut bob = alone(nodes.node(1), "bob");
    engine.restart_empty(0);
    let has = |user: &str| engine.keys().iter().any(|key| key.name.ends_with(&format!("u:{{{user}}}")));
    eventually("both are claimed again", || has("alice") && has("bob"));
    // Both rooms have begun anew with it, and nothing in them was lost.
    alice.expect("epoch");
    bob.expect("epoch");
    let newcomer = refused(nodes.node(1), "alice");
    answer(&mut alice, &newcomer);
    newcomer.join().expect("a refused newcomer");
    eventually("both nodes know both", || nodes.node(1).metric("throng_nodes", "") == 2.0);
    assert_eq!(bob.ask(direct("alice", "hi"), "ack")["delivered"], 1);
    alice.find("direct");
    drop((alice, bob));
    leave(&engine, nodes);
}

/// 1. The replica is cut off. After that alice leaves, bob moves to another node and carol comes, of which the replica
///    hears nothing.
/// 2. The replica's data take the place of the master's. The nodes release the old connections again, and claim the new
///    ones again.
#[test]
fn users_that_came_moved_or_left_during_a_lossy_failover_are_known_after_it() {
    let options = Options { replicas: true, ..Options::default() };
    let mut engine = Engine::with(Topology::Single, options);
    let nodes = Nodes::start(2, settings_of(&engine, &[]));
    let both = [alone(nodes.node(0), "alice"), alone(nodes.node(1), "bob")];
    let replica = engine.replica_of(0).expect("a replica");
    engine.wait_in_sync(replica);
    engine.cut_off(replica);
    drop(both);
    let users = |engine: &Engine| {
        let keys = engine.keys().into_iter();
        let users = keys.filter_map(|key| Some((key.name.strip_prefix("throng:u:")?.to_owned(), key.fields)));
        users.collect::<Vec<_>>()
    };
    eventually("both have left", || users(&engine).is_empty());
    let mut bob = alone(nodes.node(0), "bob");
    let mut carol = alone(nodes.node(0), "carol");
    engine.promote_cut_off(0, replica);
    let wanted = [("{bob}".to_owned(), Some(1)), ("{carol}".to_owned(), Some(1))];
    eventually("all is as it was before", || users(&engine) == wanted);
    nodes.wait_ready();
    carol.command(direct("bob", "hi"));
    assert_eq!(carol.find("ack")["delivered"], 1);
    bob.find("direct");
    drop((bob, carol));
    leave(&engine, nodes);
}

/// A claim needs the engine. Without it a newcomer is refused soon, and connections that are open stay.
#[test]
fn without_the_engine_newcomers_are_refused_and_nobody_else_notices() {
    let (mut engine, nodes) = rig(2, &[]);
    let mut alice = alone(nodes.node(0), "alice");
    engine.kill(0);
    eventually("the node is not ready", || nodes.node(0).get("/readyz").status == 503);
    alice.expect_nothing();
    alice.ask_refused(direct("alice", "hi"), "unavailable");
    let mut newcomer = Socket::connect(nodes.node(0).address());
    newcomer.send(handshake("/ws/chat/bob", ""));
    assert_eq!(newcomer.read_response().status, 503);
    engine.restart(0);
    nodes.wait_ready();
    eventually("a private message arrives", || {
        alice.command(direct("alice", "again"));
        let mut both = [alice.event(), alice.event()];
        both.sort_by_key(|event| event["type"].to_string());
        both[0]["delivered"] == 1
    });
    drop(alice);
    leave(&engine, nodes);
}

/// Many connections want the same user id at once, on all nodes: one of them has it in the end, and nothing is left of
/// the others.
#[test]
fn of_racing_newcomers_one_has_the_user_id_in_the_end() {
    let (engine, nodes) = rig(3, &[("chat.duplicate", "replace")]);
    for _ in 0..sized(3, 30) {
        let racers: Vec<JoinHandle<Speaker>> = (0..12)
            .map(|number| {
                let socket = Socket::connect(nodes.node(number % 3).address());
                thread::spawn(move || Speaker::unwelcome(socket, "alice?room=race", ""))
            })
            .collect();
        let mut racers: Vec<Speaker> =
            racers.into_iter().map(|racer| racer.join().expect("a racer")).collect();
        eventually("one is left", || (0..3).map(|index| nodes.node(index).connections()).sum::<f64>() == 1.0);
        let open = racers.iter_mut().filter_map(|racer| {
            loop {
                match racer.socket.try_frame(Duration::from_millis(20)) {
                    Ok(frame) if frame.opcode == CLOSE => {
                        assert_eq!(frame.closing().0, 4501);
                        return None;
                    }
                    Ok(_) => {}
                    Err(Ended::Silent) => return Some(()),
                    Err(ended) => panic!("{ended:?}"),
                }
            }
        });
        assert_eq!(open.count(), 1);
    }
    leave(&engine, nodes);
}
