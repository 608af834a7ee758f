//! The chat on an engine, on one node and on two: every client sees the same, wherever it is connected.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::engines::{Engine, Options, Topology};
use crate::nodes::Nodes;
use crate::support::eventually;
use crate::support::raw::{Socket, handshake};
use crate::support::server::Settings;
use crate::support::speaker::{OFFER, Speaker};

/// Settings for clients that answer no pings, and for a node that soon gives up waiting for the engine.
const USUAL: Settings<'static> = &[("heartbeat.interval", "1h"), ("redis.patience", "500ms")];

fn start(engine: &Engine, count: usize, more: Settings<'_>) -> Nodes {
    let mut settings = engine.settings();
    let own = USUAL.iter().chain(more);
    settings.extend(own.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    Nodes::start(count, settings)
}

fn message(room: &str, text: &str) -> Value {
    json!({"type": "message", "room": room, "message": text})
}

fn offset(event: &Value) -> u64 {
    event["offset"].as_u64().unwrap_or_else(|| panic!("no offset: {event}"))
}

/// Returns the position in the form in which a client resumes from it.
fn position(epoch: &Value, offset: u64) -> String {
    format!("{}:{offset}", epoch.as_str().expect("an epoch"))
}

#[test]
fn messages_keys_and_further_rooms_are_the_same_on_one_node_and_on_two() {
    let engine = Engine::start(Topology::Single);
    for count in [1, 2] {
        let nodes = start(&engine, count, &[]);
        let (first, last) = (nodes.node(0), nodes.node(count - 1));
        let lobby = format!("lobby-{count}");
        let mut alice = Speaker::alone(first, &format!("alice?room={lobby}"));
        let mut bob = Speaker::enter(last, &format!("bob?room={lobby}"));
        let mut plain = Socket::open(last.address(), &format!("/ws/chat/carol?room={lobby}"));
        alice.command(message(&lobby, "hello").tap("echo", json!(false)));
        let ack = alice.find("ack");
        let shown = bob.find("message");
        let fields = ["user", "message", "offset"].map(|field| &shown[field]);
        assert_eq!(fields, [&json!("alice"), &json!("hello"), &ack["offset"]], "{shown}");
        let seen = loop {
            let event: Value = serde_json::from_str(&plain.read_text()).expect("JSON");
            if event["type"] == "message" {
                break event;
            }
        };
        assert_eq!((&seen["id"], &seen["message"]), (&shown["id"], &json!("hello")), "one message, one id");

        // The same key is carried out once, on whichever node the user sends it again.
        let keyed = message(&lobby, "once").tap("key", json!("k1")).tap("echo", json!(false));
        let mut dora = Speaker::enter(first, &format!("dora?room={lobby}"));
        dora.command(keyed.clone());
        let once = dora.find("ack");
        let session = dora.welcome_field("session").to_owned();
        let mut dora = Speaker::enter(last, &format!("dora?room={lobby}&session={session}"));
        dora.command(keyed);
        let again = dora.find("ack");
        assert_eq!((&again["offset"], &again["duplicate"]), (&once["offset"], &json!(true)), "{again}");

        // A further room, in which only one of them was before.
        let attic = format!("attic-{count}");
        alice.command(json!({"type": "join", "room": attic}));
        let joined = alice.find("joined");
        assert_eq!((&joined["room"], offset(&joined)), (&json!(attic), 0), "{joined}");
        bob.command(json!({"type": "join", "room": attic}));
        bob.find("joined");
        bob.command(message(&attic, "up here"));
        let up = loop {
            let event = alice.find("message");
            if event["room"] == json!(attic) {
                break event;
            }
        };
        assert_eq!((&up["user"], offset(&up)), (&json!("bob"), 1), "{up}");
        alice.command(json!({"type": "leave", "room": attic}));
        alice.find("left");
    }
}

/// Adds a field to a command.
trait Tap {
    fn tap(self, name: &str, value: Value) -> Self;
}

impl Tap for Value {
    fn tap(mut self, name: &str, value: Value) -> Self {
        self[name] = value;
        self
    }
}

#[test]
fn a_page_that_a_node_has_seen_whole_tells_of_older_messages_that_it_has_not() {
    let engine = Engine::start(Topology::Single);
    let nodes = start(&engine, 2, &[]);
    let mut alice = Speaker::alone(nodes.node(0), "alice?room=lobby");
    alice.say_quietly("lobby", "before bob");
    let mut bob = Speaker::enter(nodes.node(1), "bob?room=lobby");
    alice.find("presence_diff");
    for text in ["one", "two"] {
        alice.say_quietly("lobby", text);
        assert_eq!(bob.find("message")["message"], text);
    }
    bob.command(json!({"type": "history", "room": "lobby", "limit": 2}));
    let page = bob.find("history");
    assert_eq!((&page["messages"][0]["message"], &page["more"]), (&json!("one"), &json!(true)), "{page}");
}

#[test]
fn a_node_gives_history_and_resumes_that_it_has_never_seen() {
    let engine = Engine::start(Topology::Single);
    let nodes = start(&engine, 2, &[]);
    let mut alice = Speaker::alone(nodes.node(0), "alice?room=lobby");
    for number in 1..=200 {
        alice.say_quietly("lobby", &format!("message {number}"));
    }
    let mut bob = Speaker::enter(nodes.node(1), "bob?room=lobby");
    assert_eq!(offset(&bob.welcome), 200, "{}", bob.welcome);
    let mut before = 201;
    let mut texts = Vec::new();
    while before > 1 {
        let limit = 70;
        bob.command(json!({"type": "history", "room": "lobby", "before": before, "limit": limit}));
        let page = bob.find("history");
        let messages = page["messages"].as_array().expect("a list").clone();
        assert!(!messages.is_empty() && messages.len() <= limit, "{page:.200}");
        assert_eq!(offset(&messages[messages.len() - 1]), before - 1, "{page:.200}");
        before = offset(&messages[0]);
        assert_eq!(page["more"], before > 1, "{page:.200}");
        texts.extend(
            messages.iter().rev().map(|message| message["message"].as_str().expect("a text").to_owned()),
        );
    }
    let said: Vec<String> = (1..=200).rev().map(|number| format!("message {number}")).collect();
    assert_eq!(texts, said);

    // A third node has not been asked for anything yet: a resume is the first thing.
    let resumed = start(&engine, 1, &[]);
    let from = position(&bob.welcome["epoch"], 40);
    let mut carol = Speaker::enter(resumed.node(0), &format!("carol?room=lobby&resume={from}"));
    assert_eq!((&carol.welcome["recovered"], offset(&carol.welcome)), (&json!(true), 40));
    for number in 41..=200 {
        let event = carol.find("message");
        assert_eq!((offset(&event), &event["message"]), (number, &json!(format!("message {number}"))));
    }
    alice.command(message("lobby", "now"));
    let live = carol.find("message");
    assert_eq!((offset(&live), &live["message"]), (201, &json!("now")));
    let mut wrong = Speaker::enter(nodes.node(1), "dan?room=lobby&resume=0000000000000:7");
    assert_eq!(wrong.welcome["recovered"], false, "{}", wrong.welcome);
    wrong.find("presence_diff");
}

#[test]
fn a_client_that_comes_back_on_the_other_node_misses_nothing() {
    let engine = Engine::start(Topology::Single);
    let nodes = start(&engine, 2, &[]);
    let mut alice = Speaker::alone(nodes.node(0), "alice?room=lobby");
    let mut bob = Speaker::enter(nodes.node(1), "bob?room=lobby");
    alice.find("presence_diff");
    let last = offset(&alice.say_quietly("lobby", "one"));
    bob.find("message");
    let (session, epoch) = (bob.welcome_field("session").to_owned(), bob.welcome["epoch"].clone());
    drop(bob);
    for text in ["two", "three"] {
        alice.command(message("lobby", text).tap("echo", json!(false)));
        alice.find("ack");
    }
    let from = position(&epoch, last);
    let mut bob = Speaker::enter(nodes.node(0), &format!("bob?room=lobby&resume={from}&session={session}"));
    assert_eq!(bob.welcome["recovered"], true, "{}", bob.welcome);
    for text in ["two", "three"] {
        assert_eq!(bob.find("message")["message"], text);
    }
    // And back again, with nothing missed.
    let from = position(&epoch, last + 2);
    let session = bob.welcome_field("session").to_owned();
    let mut bob = Speaker::enter(nodes.node(1), &format!("bob?room=lobby&resume={from}&session={session}"));
    assert_eq!((&bob.welcome["recovered"], offset(&bob.welcome)), (&json!(true), last + 2));
    alice.command(message("lobby", "four"));
    assert_eq!(bob.find("message")["message"], "four");
}

#[test]
fn messages_that_are_trimmed_before_a_node_could_read_them_are_a_gap() {
    let lines = vec!["stream-node-max-entries 10".to_owned()];
    let engine = Engine::with(Topology::Single, Options { lines, ..Options::default() });
    let nodes = start(&engine, 2, &[("history.messages", "20")]);
    let mut alice = Speaker::alone(nodes.node(0), "alice?room=lobby");
    let mut bob = Speaker::enter(nodes.node(1), "bob?room=lobby");
    alice.find("presence_diff");
    alice.say_quietly("lobby", "before");
    assert_eq!(offset(&bob.find("message")), 1);

    // The second node stands still for less than its lease, and loses what was pushed to it meanwhile.
    nodes.pause(1);
    engine.server(0).expect(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    for number in 2..=300 {
        alice.command(message("lobby", &format!("message {number}")).tap("echo", json!(false)));
        assert_eq!(offset(&alice.find("ack")), number);
    }
    nodes.resume(1);
    let (mut at, mut gaps) = (1, 0);
    while at < 300 {
        let event = bob.event();
        match event["type"].as_str() {
            Some("message") => {
                assert_eq!(offset(&event), at + 1, "a silent hole: {event}");
                at += 1;
            }
            Some("gap") => {
                assert_eq!(event["from"], at + 1, "{event}");
                at = event["to"].as_u64().expect("an offset");
                gaps += 1;
            }
            _ => {}
        }
    }
    assert_eq!((at, gaps), (300, 1));
    assert_eq!(nodes.node(1).metric("throng_engine_gaps_total", ""), 1.0);
    bob.command(message("lobby", "after"));
    assert_eq!(alice.find("message")["message"], "after");
}

#[test]
fn a_full_engine_refuses_messages_and_keeps_everybody() {
    let engine = Engine::start(Topology::Single);
    let nodes = start(&engine, 2, &[]);
    let mut alice = Speaker::alone(nodes.node(0), "alice?room=lobby");
    let mut bob = Speaker::alone(nodes.node(1), "bob?room=hall");
    alice.say_quietly("lobby", "before");
    bob.say_quietly("hall", "before");
    engine.server(0).expect(&["CONFIG", "SET", "maxmemory", "1"]);
    for _ in 0..2 {
        alice.ask_refused(message("lobby", "no room"), "unavailable");
        bob.ask_refused(message("hall", "no room"), "unavailable");
    }
    assert!(nodes.node(0).metric("throng_engine_errors_total", "") >= 1.0);
    assert_eq!(nodes.node(0).get("/readyz").status, 200, "a full engine is there");
    engine.server(0).expect(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(offset(&alice.say_quietly("lobby", "after")), 2, "a refused message has no offset");
    assert_eq!(offset(&bob.say_quietly("hall", "after")), 2);
}

#[test]
fn an_engine_that_stands_still_turns_newcomers_away_and_keeps_everybody() {
    let engine = Engine::start(Topology::Single);
    let nodes = start(&engine, 2, &[]);
    let mut alice = Speaker::alone(nodes.node(0), "alice?room=lobby");
    let mut bob = Speaker::enter(nodes.node(1), "bob?room=lobby");
    alice.find("presence_diff");
    alice.say_quietly("lobby", "before");
    bob.find("message");

    engine.pause(0);
    // This one is on its way when the server stops: whether it is appended is known when the server goes on.
    let under_way = alice.command(message("lobby", "under way").tap("echo", json!(false)));
    let is_up = |node: usize| nodes.node(node).metric("throng_engine_up", "");
    eventually("both nodes notice", || is_up(0) + is_up(1) == 0.0);
    bob.ask_refused(message("lobby", "too late"), "unavailable");
    bob.ask_refused(message("lobby", "too late"), "unavailable");
    eventually("the nodes are not ready", || (0..2).all(|n| nodes.node(n).get("/readyz").status == 503));
    assert_eq!(nodes.node(0).get("/healthz").status, 200, "a restart would not help");
    let mut newcomer = Socket::connect(nodes.node(0).address());
    newcomer.send(handshake("/ws/chat/carol?room=lobby", OFFER));
    let refusal = newcomer.read_response();
    let body: Value = serde_json::from_str(&refusal.body).expect("JSON");
    assert_eq!((refusal.status, &body["error"]["code"]), (503, &json!("no_engine")), "{refusal:?}");
    let after: u64 = refusal.header("retry-after").expect("a time").parse().expect("seconds");
    assert!((1..=5).contains(&after), "{refusal:?}");
    assert!(nodes.node(0).metric("throng_refused_total", "no_engine") >= 1.0);
    bob.expect_nothing();

    engine.resume(0);
    let ack = alice.find("ack");
    assert_eq!((&ack["re"], offset(&ack)), (&json!(under_way), 2), "{ack}");
    let shown = bob.find("message");
    assert_eq!((&shown["message"], offset(&shown)), (&json!("under way"), 2));
    nodes.wait_ready();
    bob.command(message("lobby", "after"));
    assert_eq!(alice.find("message")["message"], "after");
    Speaker::enter(nodes.node(0), "carol?room=lobby").find("presence_diff");
}

#[test]
fn members_who_were_shown_lost_messages_are_closed_with_4003() {
    let mut engine = Engine::start(Topology::Single);
    let nodes = start(&engine, 2, &[]);
    let mut alice = Speaker::alone(nodes.node(0), "alice?room=lobby");
    let mut bob = Speaker::enter(nodes.node(1), "bob?room=lobby");
    alice.find("presence_diff");
    let ack = alice.say_quietly("lobby", "lost");
    bob.find("message");
    engine.restart_empty(0);
    alice.expect_end(4003, "Position lost");
    bob.expect_end(4003, "Position lost");
    let from = position(&ack["epoch"], offset(&ack));
    let mut path = format!("alice?room=lobby&resume={from}&session=");
    path.push_str(alice.welcome_field("session"));
    nodes.wait_ready();
    let alice = Speaker::enter(nodes.node(1), &path);
    assert_eq!(alice.welcome["recovered"], false, "{}", alice.welcome);
    assert_ne!(alice.welcome["epoch"], ack["epoch"]);
}

#[test]
fn a_restart_that_loses_nothing_is_a_new_epoch_and_disturbs_nobody() {
    let mut engine = Engine::start(Topology::Single);
    let nodes = start(&engine, 2, &[]);
    let mut alice = Speaker::alone(nodes.node(0), "alice?room=lobby");
    let mut plain = Socket::open(nodes.node(1).address(), "/ws/chat/bob?room=lobby");
    alice.find("presence_diff");
    let ack = alice.say_quietly("lobby", "kept");
    engine.kill(0);
    engine.restart(0);
    let forked = alice.find("epoch");
    assert_eq!(forked, json!({"type": "epoch", "room": "lobby", "epoch": forked["epoch"], "offset": 1}));
    assert_ne!(forked["epoch"], ack["epoch"]);
    nodes.wait_ready();
    let next = alice.say_quietly("lobby", "and on");
    assert_eq!((&next["epoch"], offset(&next)), (&forked["epoch"], 2), "{next}");
    while !plain.read_text().contains("and on") {}
    let from = position(&ack["epoch"], 1);
    let mut carol = Speaker::enter(nodes.node(1), &format!("carol?room=lobby&resume={from}"));
    assert_eq!(carol.welcome["recovered"], true, "a position of the epoch before: {}", carol.welcome);
    carol.expect_message("alice", "and on");
}

#[test]
fn the_metrics_are_those_of_the_page_and_count_what_happens() {
    let engine = Engine::start(Topology::Single);
    let nodes = start(&engine, 2, &[]);
    let mut alice = Speaker::alone(nodes.node(0), "alice?room=lobby");
    // Bob stays: a node that hears of a join and its leave together tells nobody.
    let mut bob = Speaker::enter(nodes.node(1), "bob?room=lobby");
    bob.find("presence_diff");
    alice.find("presence_diff");
    alice.command(message("lobby", "counted").tap("echo", json!(false)));
    alice.find("ack");
    let node = nodes.node(0);
    let page = node.get("/metrics").body;
    let served: BTreeSet<(&str, &str)> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/watching.md");
    let manual = fs::read_to_string(manual).expect("the page");
    // The keys of a URL and certificates, which no node has here, are looked at in tests/it.
    let rows = manual.lines().filter_map(row);
    let is_absent = |name: &str| name.starts_with("throng_jwks_") || name.starts_with("throng_tls_");
    let listed = rows.filter(|(name, _)| !is_absent(name)).collect();
    assert_eq!(served, listed);

    eventually("both nodes are in the table", || node.metric("throng_nodes", "") == 2.0);
    let address = engine.server(0).address();
    assert_eq!(node.metric("throng_engine_up", &format!("shard=\"{address}\"")), 1.0);
    for (name, value) in [
        ("throng_engine_rooms_subscribed", 1.0),
        ("throng_engine_publish_seconds_count", 1.0),
        ("throng_engine_batch_messages_sum", 1.0),
        ("throng_engine_batch_messages_count", 1.0),
        ("throng_engine_waiting_bytes", 0.0),
        ("throng_engine_reconnects_total", 0.0),
        ("throng_engine_gaps_total", 0.0),
        ("throng_engine_errors_total", 0.0),
        ("throng_engine_forks_total", 0.0),
    ] {
        assert_eq!(node.metric(name, ""), value, "{name}");
    }
    engine.server(0).expect(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    eventually("it has connected again", || node.metric("throng_engine_reconnects_total", "") == 1.0);
    let is_connected = |line: &Value| line["message"] == "a server of the engine is connected";
    eventually("the log says so", || node.log().count(is_connected) == 2);
}

/// Reads the name, without labels, and the type from a row of the table of metrics.
fn row(line: &str) -> Option<(&str, &str)> {
    let mut cells = line.strip_prefix("| `")?.split(" | ");
    let name = cells.next()?.strip_suffix('`')?;
    let name = name.split('{').next().unwrap_or(name);
    Some((name, cells.next()?))
        .filter(|(name, _)| name.starts_with("throng_") || name.starts_with("process_"))
}
