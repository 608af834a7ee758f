//! Single rules of the exchange, each with a schedule in which it matters. Each is run with the rule and without it.

use bytes::Bytes;

use super::super::rules::{Rule, tests::BROKEN};
use super::super::{Command, Contents, Exchange, ExchangeSettings, MAX_PAYLOAD, Payload, Snapshot};
use super::server::Server;
use super::world::{Node, Settings, Table, serve};
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::script::Reply;
use crate::chat::presence::{LocalMoves, PresenceRules};
use crate::names::UserId;

/// Nodes of which all that is said arrives at once, unless it is kept back.
struct Cluster {
    nodes: Vec<Option<Node>>,
    server: Server,
    table: Table,
    settings: Settings,
    now_ms: u64,
}

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

impl Cluster {
    fn new(nodes: u64, lists_up_to: usize) -> Self {
        let rules = PresenceRules {
            is_announced: true,
            notice_limit: 1_000,
            count_only_above: lists_up_to,
            interval_ms: 1_000,
        };
        let exchange = ExchangeSettings {
            lists_up_to,
            notice_limit: 1_000,
            interval_ms: 1_000,
            read_every_ms: 1_000_000,
        };
        let mut table = Table { version: 1, ..Table::default() };
        table.live.extend((1..=nodes).map(Incarnation));
        let nodes = (1..=nodes).map(|by| Some(Node::new(Incarnation(by)))).collect();
        let settings = Settings { rules, exchange };
        Self { nodes, server: Server::default(), table, settings, now_ms: 0 }
    }

    fn node(&mut self, at: usize) -> &mut Node {
        self.nodes[at].as_mut().unwrap()
    }

    fn join(&mut self, at: usize, name: &str) {
        let (settings, now_ms) = (self.settings, self.now_ms);
        self.node(at).join(&user(name), &settings, now_ms);
    }

    fn leave(&mut self, at: usize, name: &str, returns: bool) {
        let (settings, now_ms) = (self.settings, self.now_ms);
        self.node(at).leave(&user(name), returns, &settings, now_ms);
    }

    fn set_link(&mut self, at: usize, is_up: bool) {
        let (settings, now_ms) = (self.settings, self.now_ms);
        self.node(at).set_link(is_up, &settings, now_ms);
    }

    fn kill(&mut self, at: usize) {
        self.take_for_dead(at);
        self.nodes[at] = None;
    }

    /// Lets all other nodes see that a node is dead, which does not know it.
    fn take_for_dead(&mut self, at: usize) {
        let by = self.node(at).by;
        self.table.live.remove(&by);
        self.table.dead.insert(by);
        for node in self.nodes.iter_mut().flatten().filter(|node| node.by != by) {
            node.nodes_changed(&self.table, true, &self.settings, self.now_ms);
        }
    }

    /// Lets the engine carry out the calls of a node.
    fn serve(&mut self, at: usize) {
        while self.nodes[at].as_ref().is_some_and(|node| !node.calls.is_empty()) {
            serve(&mut self.nodes, at, &mut self.server, 2);
        }
    }

    /// Lets all arrive that is on its way.
    fn settle(&mut self) {
        while self.nodes.iter().flatten().any(|node| !node.is_settled()) {
            for at in 0..self.nodes.len() {
                self.serve(at);
                if let Some(node) = &mut self.nodes[at] {
                    node.hear(&self.table, &self.settings, self.now_ms);
                    node.take_reply(&self.table, &self.settings, self.now_ms);
                }
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.now_ms += 100;
            for node in self.nodes.iter_mut().flatten() {
                node.tick(&self.settings, self.now_ms);
            }
            self.settle();
        }
    }

    fn snapshot(&self) -> Snapshot {
        let flat = self.server.fields.iter().flat_map(|(field, value)| [field, value]);
        Snapshot::parse(&Reply::Array(flat.map(|bytes| Reply::Bytes(bytes.clone())).collect())).unwrap()
    }

    /// Returns the users who were said to have left on a node, by announcement.
    fn left(&mut self, at: usize) -> Vec<Vec<String>> {
        let told = self.node(at).told.iter().filter(|(_, names)| !names.left.is_empty());
        told.map(|(_, names)| names.left.iter().map(ToString::to_string).collect()).collect()
    }

    fn members(&mut self, at: usize) -> usize {
        self.node(at).presence.members()
    }
}

/// Runs a scenario with all rules and without this one. Only the first must come out right.
fn proves(rule: Rule, scenario: impl Fn() -> bool) {
    assert!(scenario(), "{rule:?} is not kept");
    BROKEN.set(Some(rule));
    let is_right = scenario();
    BROKEN.set(None);
    assert!(!is_right, "the scenario does not depend on {rule:?}");
}

#[test]
fn the_users_of_a_dead_node_leave_together_unless_they_return() {
    let mut cluster = Cluster::new(3, 100);
    cluster.join(0, "ann");
    ["bob", "cid", "dan", "eve"].iter().for_each(|name| cluster.join(1, name));
    cluster.join(2, "fay");
    cluster.pass(1_000);
    assert_eq!((cluster.members(0), cluster.members(2)), (6, 6));
    cluster.kill(1);
    cluster.pass(10_000);
    cluster.join(2, "dan");
    cluster.pass(9_000);
    assert_eq!((cluster.members(0), cluster.left(0).len()), (6, 0), "the others may return as well");
    cluster.pass(2_000);
    assert_eq!(cluster.left(0), [["bob", "cid", "eve"]]);
    assert_eq!(cluster.left(2), [["bob", "cid", "eve"]]);
    assert_eq!((cluster.members(0), cluster.snapshot().entries.len()), (3, 2), "its entry was removed");
}

#[test]
fn a_node_that_was_taken_for_dead_leaves_nothing_behind_by_writing_once_more() {
    proves(Rule::RemoveTheDead, || {
        let mut cluster = Cluster::new(2, 100);
        cluster.join(0, "ann");
        cluster.join(1, "bob");
        cluster.pass(1_000);
        cluster.take_for_dead(1);
        cluster.pass(500);
        let before = cluster.snapshot().entries.len();
        cluster.join(1, "cid");
        cluster.pass(500);
        before == 1 && cluster.snapshot().entries.len() == 1
    });
}

#[test]
fn users_do_not_leave_while_nobody_can_say_where_they_are() {
    proves(Rule::HoldThroughABreak, || {
        let mut cluster = Cluster::new(3, 100);
        cluster.join(0, "ann");
        cluster.join(1, "bob");
        cluster.pass(1_000);
        cluster.kill(1);
        cluster.pass(18_000);
        cluster.set_link(0, false);
        cluster.join(2, "bob");
        cluster.pass(4_000);
        cluster.set_link(0, true);
        cluster.pass(1_000);
        cluster.members(0) == 2 && cluster.left(0).is_empty()
    });
}

#[test]
fn a_hole_in_the_numbers_is_read() {
    proves(Rule::ReadHoles, || {
        let mut cluster = Cluster::new(2, 100);
        cluster.join(0, "ann");
        cluster.join(1, "bob");
        cluster.pass(1_000);
        cluster.join(1, "cid");
        cluster.serve(1);
        cluster.node(0).pushes.clear();
        cluster.pass(1_000);
        cluster.leave(1, "bob", false);
        cluster.pass(1_000);
        cluster.node(0).list == Some([user("ann"), user("cid")].into())
    });
}

#[test]
fn a_push_during_a_read_is_not_lost() {
    proves(Rule::KeepWhileReading, || {
        let mut cluster = Cluster::new(2, 100);
        cluster.join(1, "bob");
        cluster.pass(1_000);
        // The read is carried out, but its answer is on its way while cid joins.
        cluster.join(0, "ann");
        cluster.serve(0);
        cluster.join(1, "cid");
        cluster.serve(1);
        let (table, settings) = (Table::default(), cluster.settings);
        cluster.node(0).hear(&table, &settings, 0);
        cluster.pass(1_000);
        cluster.members(0) == 3
    });
}

#[test]
fn a_difference_is_not_written_onto_something_else() {
    proves(Rule::CheckTheBase, || {
        let mut cluster = Cluster::new(1, 1_000);
        (0..600).for_each(|n| cluster.join(0, &format!("user-{n}")));
        cluster.pass(1_000);
        cluster.server = Server::default();
        cluster.join(0, "ann");
        cluster.pass(1_000);
        let snapshot = cluster.snapshot();
        snapshot.malformed == 0 && snapshot.entries[0].users.as_ref().is_some_and(|users| users.len() == 601)
    });
}

#[test]
fn a_node_that_comes_late_does_as_the_others() {
    proves(Rule::AgreeOnTheForm, || {
        let mut cluster = Cluster::new(3, 16);
        (0..10).for_each(|n| cluster.join(n % 2, &format!("user-{n}")));
        (10..17).for_each(|n| cluster.join(0, &format!("user-{n}")));
        cluster.pass(1_000);
        assert!(
            cluster.snapshot().entries.iter().all(|entry| entry.users.is_none()),
            "17 are too many to list"
        );
        cluster.leave(0, "user-16", false);
        cluster.leave(0, "user-15", false);
        cluster.pass(1_000);
        cluster.join(2, "zoe");
        cluster.pass(1_000);
        let are_counted = cluster.snapshot().entries.iter().all(|entry| entry.users.is_none());
        (0..6).for_each(|n| cluster.leave(n % 2, &format!("user-{n}"), false));
        cluster.pass(1_000);
        assert!(cluster.snapshot().entries.iter().all(|entry| entry.users.is_some()), "names are told again");
        assert_eq!(cluster.members(2), 10);
        are_counted
    });
}

#[test]
fn a_user_who_is_on_two_nodes_is_one_member() {
    let mut cluster = Cluster::new(2, 100);
    (0..2).for_each(|at| cluster.join(at, "ann"));
    cluster.pass(1_000);
    assert_eq!((cluster.members(0), cluster.members(1)), (1, 1));
    cluster.leave(0, "ann", false);
    cluster.pass(1_000);
    assert_eq!((cluster.members(0), cluster.members(1)), (1, 1));
    cluster.leave(1, "ann", true);
    cluster.pass(19_000);
    assert_eq!(cluster.snapshot().entries.len(), 1, "she is held");
    cluster.pass(6_000);
    assert_eq!(
        (cluster.server.fields.len(), cluster.nodes[1].as_ref().unwrap().exchange.is_some()),
        (0, false)
    );
}

fn exchange() -> Exchange {
    let settings = ExchangeSettings {
        lists_up_to: 9_000,
        notice_limit: 100,
        interval_ms: 60_000,
        read_every_ms: 1_000_000,
    };
    Exchange::new(Incarnation(7), 1, settings)
}

/// Returns the payload of the publication among these commands, and its tag.
fn publication(commands: Vec<Command>) -> Option<(u64, Bytes)> {
    use super::super::Operation::Publish;
    commands.into_iter().find_map(|command| match command {
        Command::Call { tag, operation: Publish(publication) } => Some((tag, publication.payload)),
        _ => None,
    })
}

#[test]
fn a_storm_of_joins_is_merged_and_split_into_payloads() {
    let (mut exchange, table, mut now_ms) = (exchange(), Table::default(), 0);
    exchange.link_up(now_ms);
    let nothing = Reply::Array(Vec::new());
    exchange.answered(1, Some(&nothing), &table, now_ms);
    let joined = vec![user("ann")];
    let first = exchange.moved(LocalMoves::Moved { joined, left: vec![] }, now_ms);
    let (tag, _) = publication(first).expect("in a small room at once");
    exchange.answered(tag, Some(&Reply::Int(1)), &table, now_ms);
    let joined: Vec<UserId> = (0..4_000).map(|n| user(&format!("{n:064}"))).collect();
    let commands = exchange.moved(LocalMoves::Moved { joined, left: vec![] }, now_ms);
    assert!(commands.is_empty(), "merged");
    now_ms = exchange.next_tick_ms().expect("due");
    assert_eq!(now_ms, 2_000, "an interval of a minute is too long for those who move between nodes");
    let (mut commands, mut told, mut number) = (exchange.tick(now_ms), 0, 1);
    while let Some((tag, payload)) = publication(commands) {
        assert!(payload.len() <= MAX_PAYLOAD);
        let payload = Payload::parse(&payload).unwrap().unwrap();
        number += 1;
        assert_eq!(payload.number, number);
        let Contents::Moved { joined, .. } = payload.contents else { panic!("{payload:?}") };
        told += joined.len();
        commands = exchange.answered(tag, Some(&Reply::Int(number as i64)), &table, now_ms);
        now_ms = exchange.next_tick_ms().expect("due").max(now_ms);
        commands.extend(exchange.tick(now_ms));
    }
    assert_eq!((told, number), (4_000, 5));
}

#[test]
fn a_call_that_fails_is_repeated_ever_more_slowly_and_a_silent_one_is_given_up() {
    let (mut exchange, table) = (exchange(), Table::default());
    let mut commands = exchange.link_up(0);
    let mut now_ms = 0;
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let [.., Command::Call { tag, .. }] = commands[..] else { panic!("{commands:?}") };
        assert!(exchange.answered(tag, None, &table, now_ms).is_empty());
        let next_ms = exchange.next_tick_ms().expect("to be repeated");
        pauses.push(next_ms - now_ms);
        now_ms = next_ms;
        commands = exchange.tick(now_ms);
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
    let deadline_ms = exchange.next_tick_ms().expect("a deadline");
    assert!(exchange.tick(deadline_ms).is_empty());
    let again_ms = exchange.next_tick_ms().expect("to be repeated");
    assert!(matches!(exchange.tick(again_ms)[..], [Command::Call { .. }]));
    exchange.link_down();
    assert!(
        exchange.tick(again_ms + 60_000).is_empty() && exchange.next_tick_ms().is_none(),
        "no link, no call"
    );
}

#[test]
fn a_node_that_was_never_known_to_the_engine_leaves_at_once() {
    let mut exchange = exchange();
    assert_eq!(exchange.close(0)[1..], [Command::Closed]);
    let joined = vec![user("ann")];
    assert_eq!(exchange.moved(LocalMoves::Moved { joined, left: vec![] }, 0), [], "it goes on");
}

/// 1. A node joins the cluster, and its first user enters a room.
/// 2. Somebody enters the room on another node, whose table of nodes is from before that: it asks for a newer one.
/// 3. The newcomer is let in once the user of the new node is known, or is found to be on no live node.
#[test]
fn newcomers_wait_for_the_users_of_a_node_that_has_just_joined() {
    for is_live in [true, false] {
        let mut cluster = Cluster::new(2, 100);
        cluster.table.live.remove(&Incarnation(2));
        cluster.set_link(1, true);
        cluster.join(1, "bob");
        cluster.settle();
        cluster.set_link(0, true);
        cluster.join(0, "alice");
        cluster.settle();
        let exchange = cluster.nodes[0].as_ref().unwrap().exchange.as_ref().unwrap();
        assert!(exchange.asks_for_nodes(&cluster.table));
        assert_eq!((cluster.node(0).is_ready, cluster.members(0)), (false, 1));
        if is_live {
            cluster.table.live.insert(Incarnation(2));
        }
        cluster.table.version += 1;
        let (table, settings, now_ms) = (cluster.table.clone(), cluster.settings, cluster.now_ms);
        cluster.node(0).nodes_changed(&table, false, &settings, now_ms);
        cluster.pass(300);
        assert_eq!((cluster.node(0).is_ready, cluster.members(0)), (true, 1 + usize::from(is_live)));
        let exchange = cluster.nodes[0].as_ref().unwrap().exchange.as_ref().unwrap();
        assert!(!exchange.asks_for_nodes(&table), "one early table for each node that is met");
    }
}
