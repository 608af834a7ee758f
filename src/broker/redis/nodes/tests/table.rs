//! The table as one node sees it.

use super::{details, name, node};
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::nodes::table::{Table, TableId};
use crate::broker::redis::nodes::{Details, Node, NodeEvent, Nodes};

fn table(now_ms: u64, nodes: Vec<Node>) -> Table {
    Table { now_ms, id: TableId(1), nodes, unknown: 0 }
}

#[test]
fn changes_are_told_once() {
    use NodeEvent::{Died, Joined};
    let mut nodes = Nodes::default();
    let joined = |number| Joined(name(number), Incarnation(number));
    let died = |number| Died(name(number), Incarnation(number));
    assert_eq!(nodes.apply(table(1, vec![node(1, 1, true), node(3, 0, false)])), [joined(1)]);
    assert_eq!(nodes.apply(table(2, vec![node(1, 1, true), node(2, 2, true)])), [joined(2)]);
    assert_eq!(nodes.apply(table(3, vec![node(1, 1, false), node(2, 2, true)])), [died(1)]);
    assert_eq!(nodes.apply(table(4, vec![node(2, 2, true)])), [], "it was dead already");
    let again = Node { name: name(2), ..node(4, 5, true) };
    let expected = [died(2), Joined(name(2), Incarnation(4))];
    assert_eq!(nodes.apply(table(5, vec![again])), expected, "the same name, and another incarnation");
    assert_eq!(nodes.live_list().as_of_ms, 5);
    assert_eq!(nodes.live_list().list, ",0000000000000004,");
    assert!(nodes.get(Incarnation(4)).is_some() && nodes.get(Incarnation(2)).is_none());
}

#[test]
fn the_oldest_live_node_removes_the_dead() {
    let mut nodes = Nodes::default();
    nodes.apply(table(9, vec![node(1, 1, false), node(2, 5, true), node(3, 5, true), node(4, 2, false)]));
    assert!(
        nodes.is_oldest(Incarnation(2))
            && !nodes.is_oldest(Incarnation(3))
            && !nodes.is_oldest(Incarnation(1))
    );
    let removed: Vec<_> = nodes.to_remove(Incarnation(2)).map(|(_, incarnation)| incarnation.0).collect();
    assert_eq!(removed, [1, 4]);
    assert_eq!(nodes.to_remove(Incarnation(3)).count(), 0);
}

#[test]
fn details_are_bounded_and_keep_their_lines() {
    let details = details();
    assert_eq!(details.version(), "1.2.3");
    assert_eq!(details.addresses(), "10.0.0.1:8080 [::1]:8080");
    assert_eq!(details.counters(), "{\"connections\":7}");
    let more = [&details.encode()[..], b"\na line of a later version"].concat().into();
    assert_eq!(Details::parse(&more), Some(details));
    assert_eq!(Details::parse(&"a\nb".into()), None);
    let long = |len: usize| "x".repeat(len).into();
    for (version, addresses, counters) in [
        (long(65), long(0), long(0)),
        (long(0), long(513), long(0)),
        (long(0), long(0), long(4_097)),
        ("a\nb".into(), long(0), long(0)),
        (long(0), b"\xff"[..].into(), long(0)),
    ] {
        let error = Details::new(version, addresses, counters).unwrap_err();
        assert!(error.to_string().contains("at most"), "{error}");
    }
}
