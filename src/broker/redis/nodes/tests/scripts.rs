//! The scripts on the table of nodes, on a real server.

use super::{details, name};
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::directory::tests::server::Server;
use crate::broker::redis::keys::Keys;
use crate::broker::redis::nodes::beat::{self, Beat, BeatReply, Timing};
use crate::broker::redis::nodes::table::{Table, TableId};
use crate::broker::redis::nodes::{MAX_NODES, NodeName, TABLE_LIFE_S};
use crate::broker::redis::script::Reply;

const KEY: &str = "throng:{all}:n";
/// Nobody dies, however long a test takes.
const PATIENT: Timing = Timing { lease_ms: 1 << 40, gap_ms: 1 << 40 };
/// A node without a beat at this very moment is dead.
const HASTY: Timing = Timing { lease_ms: 0, gap_ms: 1 << 40 };

struct Cluster {
    server: Server,
}

impl Cluster {
    fn new() -> Self {
        Self { server: Server::start() }
    }

    /// Beats as node `number` in incarnation `incarnation`, which has seen the table `seen`.
    fn beat(&mut self, number: u64, incarnation: u64, seen: Option<TableId>, timing: Timing) -> BeatReply {
        let new_table = TableId(1_000 + incarnation);
        let beat = Beat { name: name(number), incarnation: Incarnation(incarnation), seen, new_table };
        let call = beat::call(&Keys::new("throng"), &beat, &details(), timing);
        beat::reply(&self.server.call(&call).unwrap()).unwrap()
    }

    fn beaten(&mut self, number: u64, incarnation: u64, seen: Option<TableId>, timing: Timing) -> Table {
        match self.beat(number, incarnation, seen, timing) {
            BeatReply::Beaten(table) => table,
            other => panic!("{other:?}"),
        }
    }

    fn remove(&mut self, number: u64, incarnation: u64, leaves: bool) -> bool {
        self.remove_named(&name(number), incarnation, leaves)
    }

    fn remove_named(&mut self, name: &NodeName, incarnation: u64, leaves: bool) -> bool {
        let call = beat::remove(&Keys::new("throng"), name, Incarnation(incarnation), leaves);
        beat::removed(&self.server.call(&call).unwrap()).unwrap()
    }
}

/// Returns each node's incarnation, and whether it is live, in the order of incarnations.
fn states(table: &Table) -> Vec<(u64, bool)> {
    let mut states: Vec<_> = table.nodes.iter().map(|node| (node.incarnation.0, node.is_live)).collect();
    states.sort_unstable();
    states
}

#[test]
fn a_beat_returns_the_table_with_what_the_nodes_tell() {
    let mut cluster = Cluster::new();
    let before_ms = cluster.server.now_ms();
    let first = cluster.beaten(1, 1, None, PATIENT);
    assert_eq!((first.id, states(&first)), (TableId(1_001), vec![(1, true)]));
    assert!((before_ms..=cluster.server.now_ms()).contains(&first.now_ms));
    let second = cluster.beaten(2, 2, None, PATIENT);
    assert_eq!((second.id, states(&second)), (TableId(1_001), vec![(1, true), (2, true)]));
    let later = cluster.beaten(1, 1, Some(first.id), PATIENT);
    let node = later.nodes.iter().find(|node| node.incarnation == Incarnation(1)).unwrap();
    assert_eq!((node.joined_ms, node.beat_ms), (first.now_ms, later.now_ms));
    assert_eq!((&node.details, &node.name), (&details(), &name(1)));
    assert!((TABLE_LIFE_S as i64 - 60..=TABLE_LIFE_S as i64).contains(&cluster.server.life(KEY)));
}

#[test]
fn the_engine_alone_declares_a_node_dead_and_tells_it() {
    let mut cluster = Cluster::new();
    let id = cluster.beaten(1, 1, None, PATIENT).id;
    cluster.beaten(2, 2, None, PATIENT);
    // Node 3 joins, so that its own silence does not matter, and finds the others silent.
    assert_eq!(states(&cluster.beaten(3, 3, None, HASTY)), [(1, false), (2, false), (3, true)]);
    assert_eq!(cluster.beat(1, 1, Some(id), PATIENT), BeatReply::Dead, "the mark holds");
    assert_eq!(cluster.beat(1, 1, Some(id), PATIENT), BeatReply::Dead);
    // It begins anew at once, under its old name.
    assert_eq!(states(&cluster.beaten(1, 4, None, PATIENT)), [(2, false), (3, true), (4, true)]);
    assert_eq!(cluster.beat(1, 1, Some(id), PATIENT), BeatReply::Dead, "another has its place");

    assert!(cluster.remove(2, 2, false) && !cluster.remove(2, 2, false));
    assert_eq!(cluster.beat(2, 2, Some(id), PATIENT), BeatReply::Dead, "its entry was removed");
    assert_eq!(states(&cluster.beaten(2, 5, None, PATIENT)), [(3, true), (4, true), (5, true)]);
}

#[test]
fn a_name_in_use_is_refused_until_its_holder_is_silent() {
    let mut cluster = Cluster::new();
    let first = cluster.beaten(1, 1, None, PATIENT);
    let entry = |cluster: &mut Cluster| cluster.server.hash(KEY).into_iter().find(|(field, _)| field == "n1");
    let before = entry(&mut cluster);
    let BeatReply::Held { for_ms, beat_ms } = cluster.beat(1, 2, None, PATIENT) else { panic!() };
    assert!(for_ms <= PATIENT.lease_ms && for_ms > PATIENT.lease_ms / 2, "{for_ms}");
    assert_eq!(beat_ms, first.now_ms);
    assert_eq!(entry(&mut cluster), before);
    // A refused beat shows that the engine is there, so that the silence of the holder counts.
    cluster.server.admin(&["HSET", KEY, "#t", "5"]);
    cluster.beat(1, 2, None, PATIENT);
    let last = cluster.server.hash(KEY).into_iter().find(|(field, _)| field == "#t").unwrap().1;
    assert!(last.parse::<u64>().unwrap() >= first.now_ms, "{last}");
    assert_eq!(states(&cluster.beaten(1, 2, None, HASTY)), [(2, true)]);
}

#[test]
fn nobody_dies_because_the_engine_was_away() {
    let mut cluster = Cluster::new();
    let timing = Timing { lease_ms: 60_000, gap_ms: 30_000 };
    let id = cluster.beaten(1, 1, None, timing).id;
    cluster.beaten(2, 2, None, timing);
    // As if all of this had been written an hour ago.
    let hour_ago = cluster.server.now_ms() - 3_600_000;
    let set = |cluster: &mut Cluster, field: &str, value: &str| {
        cluster.server.admin(&["HSET", KEY, field, value]);
    };
    let entry = |incarnation: u64| format!("{} {hour_ago} {hour_ago} l\n\n\n", Incarnation(incarnation));
    let age = |cluster: &mut Cluster| {
        set(cluster, "n1", &entry(1));
        set(cluster, "n2", &entry(2));
        set(cluster, "#u", &hour_ago.to_string());
    };
    age(&mut cluster);
    set(&mut cluster, "#t", &hour_ago.to_string());
    assert_eq!(states(&cluster.beaten(1, 1, Some(id), timing)), [(1, true), (2, true)]);
    assert_eq!(states(&cluster.beaten(2, 2, Some(id), timing)), [(1, true), (2, true)]);
    // The same silence, while another node was beating.
    age(&mut cluster);
    assert_eq!(states(&cluster.beaten(3, 3, None, timing)), [(1, false), (2, false), (3, true)]);
    assert_eq!(cluster.beat(1, 1, Some(id), timing), BeatReply::Dead);

    // An empty engine is a new table, in which nobody is dead.
    cluster.server.admin(&["FLUSHALL"]);
    let new = cluster.beaten(2, 2, Some(id), timing);
    assert_eq!(states(&new), [(2, true)]);
    assert_ne!(new.id, id);
    assert_eq!(states(&cluster.beaten(1, 1, Some(id), timing)), [(1, true), (2, true)]);
}

#[test]
fn a_clock_that_was_set_back_kills_nobody_and_keeps_nobody_alive() {
    let mut cluster = Cluster::new();
    let id = cluster.beaten(1, 1, None, PATIENT).id;
    let future = (cluster.server.now_ms() + 3_600_000).to_string();
    let entry = format!("{} {future} {future} l\n\n\n", Incarnation(2));
    cluster.server.admin(&["HSET", KEY, "n2", &entry, "#t", &future, "#u", &future]);
    let table = cluster.beaten(1, 1, Some(id), Timing { lease_ms: 60_000, ..PATIENT });
    assert_eq!(states(&table), [(1, true), (2, true)]);
    assert!(table.nodes.iter().all(|node| node.beat_ms <= table.now_ms), "{table:?}");
    assert_eq!(states(&cluster.beaten(3, 3, None, HASTY)), [(1, false), (2, false), (3, true)]);
}

#[test]
fn only_the_dead_are_removed_unless_they_leave() {
    let mut cluster = Cluster::new();
    let id = cluster.beaten(1, 1, None, PATIENT).id;
    assert!(!cluster.remove(1, 1, false) && !cluster.remove(1, 2, true) && !cluster.remove(2, 2, true));
    cluster.beaten(2, 2, None, PATIENT);
    assert!(cluster.remove(1, 1, true));
    assert_eq!(states(&cluster.beaten(2, 2, Some(id), PATIENT)), [(2, true)]);
    assert!(cluster.remove(2, 2, true));
    assert_eq!(cluster.server.hash(KEY), [], "the last one takes the table along");
}

#[test]
fn an_entry_of_another_version_is_counted_and_kept() {
    let mut cluster = Cluster::new();
    let id = cluster.beaten(1, 1, None, PATIENT).id;
    cluster.server.admin(&["HSET", KEY, "n7", "something else"]);
    let newer = format!("{} 5 6 l\nonly one line", Incarnation(8));
    cluster.server.admin(&["HSET", KEY, "n8", &newer]);
    let table = cluster.beaten(1, 1, Some(id), PATIENT);
    assert_eq!((states(&table), table.unknown), (vec![(1, true), (8, true)], 1));
    let kept = cluster.server.hash(KEY);
    assert!(kept.contains(&("n7".into(), "something else".into())), "{kept:?}");
    assert!(kept.contains(&("n8".into(), newer)), "{kept:?}");
}

#[test]
fn the_table_is_bounded() {
    let mut cluster = Cluster::new();
    for number in 0..MAX_NODES as u64 {
        let entry = format!("{} 1 1 d\n\n\n", Incarnation(number + 100));
        cluster.server.admin(&["HSET", KEY, &format!("m{number}"), &entry]);
    }
    assert_eq!(cluster.beat(1, 1, None, PATIENT), BeatReply::Full);
    assert!(cluster.remove_named(&"m5".parse().unwrap(), 105, false));
    assert_eq!(cluster.beaten(1, 1, None, PATIENT).nodes.len(), MAX_NODES);
}

#[test]
fn other_replies_are_malformed() {
    let bytes = |text: &'static str| Reply::Bytes(text.into());
    for bad in [
        Reply::Nil,
        Reply::Array(vec![]),
        Reply::Array(vec![bytes("ok")]),
        Reply::Array(vec![bytes("dead"), Reply::Int(-1)]),
        Reply::Array(vec![bytes("dead"), Reply::Int(1), Reply::Int(1)]),
        Reply::Array(vec![bytes("held"), Reply::Int(1)]),
        Reply::Array(vec![bytes("ok"), Reply::Int(1), bytes("0")]),
        Reply::Array(vec![bytes("ok"), Reply::Int(1), bytes("0000000000000001"), bytes("n1")]),
        Reply::Array(vec![bytes("else"), Reply::Int(1)]),
    ] {
        let error = beat::reply(&bad).unwrap_err();
        assert!(error.to_string().contains("beat"), "{error}");
    }
}
