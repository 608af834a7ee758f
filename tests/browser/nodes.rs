//! The dashboard of a cluster: the sums and the table of all nodes, and the page about one of them.

use serde_json::json;

use crate::axe::expect_no_violation;
use crate::chat::{speak, speaker};
use crate::dashboard::{fact, look_with};
use crate::driver::Browser;
use crate::looks::{DESK, PHONE, resize, set_scheme};
use crate::page::Page;
use crate::support::engine::Engine;
use crate::support::server::Server;

const KEY: &str = "a-key-of-all-the-nodes";

/// Starts a node with the settings of an engine.
fn start(engine: &[(&str, String)], name: &str) -> Server {
    let own = [("node", name), ("api.keys", KEY), ("heartbeat.interval", "1h")];
    let engine = engine.iter().map(|(key, value)| (*key, value.as_str()));
    Server::start(&engine.chain(own).collect::<Vec<_>>())
}

/// Returns an expression for the text of a cell in a node's row of the table. Columns count from 0.
fn cell(node: &str, column: usize) -> String {
    let row =
        format!("$$('#nodes tr').find((row) => textOf(row.cells[0]).split(' ')[0] === {})", json!(node));
    format!("{row}?.cells[{column}].innerText")
}

/// Checks the page in every size and scheme.
async fn examine(page: &Page<'_>, what: &str) {
    for size in [DESK, PHONE] {
        resize(page, size).await;
        page.until("nothing sticks out", "document.documentElement.scrollWidth <= innerWidth").await;
        for scheme in ["light", "dark"] {
            set_scheme(page, scheme).await;
            expect_no_violation(page, &format!("{what}, {scheme}, {} pixels wide", size.0)).await;
        }
    }
    resize(page, DESK).await;
}

#[tokio::test]
async fn the_dashboard_shows_all_nodes_and_each_alone() {
    let (engine, browser) = (Engine::shared(), Browser::start().await);
    let settings = engine.settings();
    let [north, south] = ["north", "south"].map(|name| start(&settings, name));
    let _ann = speaker(&north, "ann", "garden", 0).await;
    let _ben = speaker(&north, "ben", "garden", 0).await;
    let mut cat = speaker(&south, "cat", "lobby", 0).await;

    // All nodes: sums, and a row for each node.
    let page = look_with(&browser, &north, KEY).await;
    page.until("three people on both", &format!("/^3 of/.test({})", fact("Connections"))).await;
    page.until("two nodes", &format!("{} === '2 of 2'", fact("Live nodes"))).await;
    for (node, connections) in [("north", "2"), ("south", "1")] {
        page.until("connections of a node", &format!("{} === '{connections}'", cell(node, 2))).await;
        page.until("its state", &format!("{} === 'serving'", cell(node, 1))).await;
    }
    page.until("the node that serves the page", &format!("{} === 'north (this node)'", cell("north", 0)))
        .await;
    page.until("no table of one node", "!$('#shards') && !$('#drops') && $('#nodes')").await;
    examine(&page, "the dashboard of all nodes").await;
    let is_moving = |text: String| format!("parseFloat({text}) > 0");
    let talk = async {
        loop {
            speak(&mut cat, "cat", 5).await;
        }
    };
    let see = async {
        page.until("messages of the second", &is_moving(cell("south", 4))).await;
        page.until("messages of all", &is_moving(fact("Messages"))).await;
        page.until("and of the other node", &format!("parseFloat({}) === 0", cell("north", 4))).await;

        // The other node, by its beats.
        page.click("#nodes tr:nth-child(2) a").await;
        page.sees("#subject", "Node south, seen from node north").await;
        page.until("in the address", "location.search === '?node=south'").await;
        page.until("its messages", &is_moving(fact("Messages"))).await;
    };
    tokio::select! {
        () = talk => unreachable!("it never ends"),
        () = see => {}
    }
    page.until("its one client", &format!("/^1 of/.test({})", fact("Connections"))).await;
    page.until("nothing that a beat does not have", "!$('#shards') && !$('#nodes') && $('#drops')").await;
    let own = json!(format!("http://{}/dashboard?node=south", south.address()));
    page.until("the way to its own page", &format!("$('#elsewhere').href === {own}")).await;
    examine(&page, "the dashboard of another node").await;

    // A name that no node has, and the way from there to the node itself.
    page.run("location.search = '?node=west'", vec![]).await;
    page.sees("#unknown", "No node is called west. These nodes are known: north, south").await;
    page.until("no numbers", "!$('#numbers')").await;
    examine(&page, "the dashboard of an unknown node").await;
    page.click("#unknown a").await;
    page.sees("#subject", "Node north").await;
    page.until("its two clients", &format!("/^2 of/.test({})", fact("Connections"))).await;
    page.until("everything about it", "$('#shards') && $('#closes') && $('#drops')").await;
    page.click("#way a").await;
    page.until("all nodes again", &format!("/^3 of/.test({})", fact("Connections"))).await;

    // A node that has gone leaves the table.
    drop(south);
    page.until("it is gone", &format!("{} === '1 of 1'", fact("Live nodes"))).await;
    page.until("two people", &format!("/^2 of/.test({})", fact("Connections"))).await;
    browser.finish().await;
}
