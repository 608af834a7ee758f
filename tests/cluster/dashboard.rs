//! The dashboard of a node shows all nodes, with what each said in its last beat.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::engines::{Engine, Topology};
use crate::nodes::Nodes;
use crate::support::feed::{Viewer, names};
use crate::support::speaker::Speaker;

/// Returns the row of the node that listens at an address.
fn row<'a>(snapshot: &'a Value, node: &str) -> Option<&'a Value> {
    snapshot["nodes"].as_array()?.iter().find(|row| row["addresses"] == node)
}

/// Returns a counter of the node that listens at an address; null until it was told.
fn counter<'a>(snapshot: &'a Value, node: &str, name: &str) -> &'a Value {
    row(snapshot, node).map_or(&Value::Null, |row| &row["counters"][name])
}

/// Returns the names of the fields in the table under a heading of the manual.
fn listed(heading: &str) -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let page = fs::read_to_string(page).expect("the page");
    let (_, section) = page.split_once(&format!("\n{heading}\n")).expect("the section");
    let section = section.split("\n#").next().unwrap_or(section);
    let fields = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    fields
        .flat_map(|cell| cell.split(['`', ',', ' ']).filter(|name| !name.is_empty()))
        .map(str::to_owned)
        .collect()
}

/// 1. Two clients connect to one node, and one to another. They talk.
/// 2. Both nodes show how many connections each has, and the same counters.
/// 3. A node ends, and the other shows itself alone.
#[test]
fn the_feed_of_each_node_shows_all_nodes() {
    let engine = Engine::start(Topology::Single);
    let mut settings = engine.settings();
    // The clients here answer no pings.
    settings.push(("heartbeat.interval".to_owned(), "1h".to_owned()));
    let mut nodes = Nodes::start(2, settings);
    let addresses: Vec<String> = nodes.addresses().iter().map(ToString::to_string).collect();
    let (first, second) = (&*addresses[0], &*addresses[1]);
    let mut alice = Speaker::enter(nodes.node(0), "alice?room=lobby");
    let _bob = Speaker::enter(nodes.node(0), "bob?room=lobby");
    let mut carol = Speaker::enter(nodes.node(1), "carol?room=lobby");
    for text in ["one", "two", "three"] {
        alice.command(json!({"type": "message", "room": "lobby", "message": text}));
        assert_eq!(carol.find("message")["message"], text);
    }

    let is_told = |now: &Value| {
        let connections = [first, second].map(|node| counter(now, node, "connections"));
        connections == [2, 1]
            && counter(now, first, "messages") == 3
            && counter(now, second, "deliveries").as_u64() >= Some(3)
    };
    let mut viewers = [0, 1].map(|index| Viewer::open(nodes.node(index)));
    for (viewer, own) in viewers.iter_mut().zip([first, second]) {
        let now = viewer.wait_for("counters of both nodes", is_told);
        assert_eq!(now["nodes"].as_array().map(Vec::len), Some(2), "{now}");
        for node in [first, second] {
            let row = row(&now, node).expect("a row");
            assert_eq!((&row["is_this"], &row["is_live"]), (&json!(node == own), &json!(true)), "{row}");
            assert_eq!(row["name"] == now["node"], node == own, "{row}");
            assert_eq!(row["version"], env!("CARGO_PKG_VERSION"), "{row}");
            assert!(row["age_ms"].as_u64().is_some_and(|age| age < 10_000), "{row}");
            assert_eq!(names(row), listed("### Nodes in the feed").iter().map(String::as_str).collect());
            let counters = &row["counters"];
            assert_eq!(
                names(counters),
                listed("### Counters of a node").iter().map(String::as_str).collect()
            );
            assert_eq!((&counters["state"], &counters["rooms"]), (&json!("serving"), &json!(1)), "{row}");
            let number = |name: &str| counters[name].as_u64().unwrap_or_default();
            assert!(number("cpu_us") > 0 && number("resident_bytes") > 1 << 20, "{row}");
        }
        // A row and the feed of its node agree.
        assert_eq!(counter(&now, own, "started_ms"), &now["started_ms"]);
    }

    drop(carol);
    viewers[0].wait_for("nobody is on the second", |now| counter(now, second, "connections") == 0);
    nodes.terminate(1);
    let alone = |now: &Value| now["nodes"].as_array().is_some_and(|nodes| nodes.len() == 1);
    let now = viewers[0].wait_for("the first alone", alone);
    assert!(row(&now, first).is_some(), "{now}");
}
