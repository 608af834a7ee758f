//! One of three nodes is killed while thousands of clients are connected through a proxy: all of them are back on the
//! other nodes by themselves, and miss nothing.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use throng::client::{Backoff, Client, Event, State};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::engines::{Engine, Topology};
use crate::nodes::Nodes;
use crate::support::log::Log;
use crate::support::rust_client::{Own, within};
use crate::support::{Running, eventually, sized};

const NODES: usize = 3;
const ROOMS: usize = 50;
/// Messages in each room before the node is killed.
const BEFORE: usize = 10;
/// Messages in each room in all.
const TOTAL: usize = 30;
/// Longest wait for one step: thousands of handshakes without optimisation, beside other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// Settings for thousands of clients that all come at once. Presence is not the subject of this test.
const QUIET: &[(&str, &str)] = &[
    ("heartbeat.interval", "25s"),
    ("heartbeat.timeout", "60s"),
    ("presence.notice_limit", "0"),
    ("presence.interval", "1h"),
];

/// Waits for `future` at most [`PATIENCE`].
#[track_caller]
fn patiently<F: Future>(future: F) -> impl Future<Output = F::Output> {
    within(PATIENCE, "a step", future)
}

/// Starts the proxy of `examples/cluster` in front of the nodes. Returns the URL of the chat.
fn start_proxy(nodes: &Nodes) -> (Running, String) {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("a free port").to_string();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/cluster/haproxy.cfg");
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(config).env("BIND", &address).stdout(Stdio::null());
    for (index, node) in nodes.addresses().iter().enumerate() {
        command.env(format!("NODE_{}", index + 1), node.to_string());
    }
    let proxy = Running(command.spawn().expect("haproxy runs; tests/run installs it"));
    eventually("the proxy listens", || std::net::TcpStream::connect(&address).is_ok());
    (proxy, format!("ws://{address}"))
}

/// The things that a member or a sender has seen.
#[derive(Debug, Default)]
struct Seen {
    texts: Vec<String>,
    is_thrown_out: bool,
    has_recovered: bool,
}

impl Seen {
    fn take(&mut self, event: Event) {
        match event {
            Event::State(State::Waiting { .. }) => self.is_thrown_out = true,
            Event::Recovered { .. } => self.has_recovered = true,
            Event::Message { text, .. } => self.texts.push(text),
            Event::Gap { .. } | Event::Missed { .. } | Event::Expelled { .. } => {
                panic!("something is lost: {event:?}")
            }
            _ => {}
        }
    }
}

fn client(url: &str, user: &str, room: usize) -> Own {
    let backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(4), Duration::from_secs(30));
    let builder = Client::builder(url).user(user).room(&format!("room-{room}")).backoff(backoff).events(64);
    Own::start(builder.answer_within(PATIENCE))
}

/// Reads until all messages of the room are there.
async fn member(url: String, number: usize, ready: mpsc::Sender<()>) -> Seen {
    let mut own = client(&url, &format!("rust-{number}"), number % ROOMS);
    let (mut seen, mut is_in) = (Seen::default(), false);
    while seen.texts.len() < TOTAL {
        let event = own.events.next().await.expect("it never stops");
        if matches!(event, Event::Welcome { .. }) && !is_in {
            is_in = true;
            ready.send(()).await.expect("the test waits");
        }
        if is_in {
            seen.take(event);
        }
    }
    own.client.close().await;
    seen
}

/// Sends the messages of a room.
struct Sender {
    client: Client,
    room: String,
    reading: JoinHandle<Seen>,
}

impl Sender {
    async fn enter(url: &str, room: usize) -> Self {
        let mut own = client(url, &format!("sender-{room}"), room);
        let is_welcome = |event: &Event| matches!(event, Event::Welcome { .. }).then_some(());
        own.until("a welcome", is_welcome).await;
        let Own { client, mut events } = own;
        let reading = tokio::spawn(async move {
            let mut seen = Seen::default();
            while let Some(event) = events.next().await {
                seen.take(event);
            }
            seen
        });
        Self { client, room: format!("room-{room}"), reading }
    }

    async fn say(self, numbers: std::ops::Range<usize>) -> Self {
        for number in numbers {
            let text = format!("message {number}");
            patiently(self.client.say(&self.room, &text)).await.expect("it is said");
        }
        self
    }
}

/// Lets all senders send these messages at the same time.
async fn say_all(senders: Vec<Sender>, numbers: std::ops::Range<usize>) -> Vec<Sender> {
    let speaking: Vec<_> =
        senders.into_iter().map(|sender| tokio::spawn(sender.say(numbers.clone()))).collect();
    let mut senders = Vec::new();
    for sender in speaking {
        senders.push(patiently(sender).await.expect("no panic"));
    }
    senders
}

/// Members with the client of the browser, in a process of Node.
struct BrowserClients {
    _process: Running,
    output: Log,
}

impl BrowserClients {
    /// Starts them, and waits until all are connected.
    fn start(url: &str, count: usize) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/storm/members.mjs");
        let mut command = Command::new("node");
        command.arg(script).arg(url.replace("ws:", "http:"));
        command.args([count, ROOMS, TOTAL].map(|number| number.to_string())).stdout(Stdio::piped());
        let mut process = Running(command.spawn().expect("node runs; tests/run installs it"));
        let output = Log::follow(process.0.stdout.take().expect("a pipe"), &command);
        output.wait_for_start("online");
        Self { _process: process, output }
    }

    /// Waits until every member has all messages, and returns the report.
    fn report(&self) -> Value {
        serde_json::from_str(&self.output.wait_for_start("{")).expect("JSON")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_clients_of_a_killed_node_are_back_elsewhere_with_everything_they_missed() {
    let (in_rust, in_js) = (sized(2_000, 6_000), sized(500, 1_500));
    let engine = Engine::start(Topology::Single);
    let mut settings = engine.settings();
    settings.extend(QUIET.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    let mut nodes = Nodes::start(NODES, settings);
    let (proxy, url) = start_proxy(&nodes);

    let (ready, mut welcomed) = mpsc::channel(in_rust);
    let members: Vec<_> =
        (0..in_rust).map(|number| tokio::spawn(member(url.clone(), number, ready.clone()))).collect();
    let started = {
        let url = url.clone();
        tokio::task::spawn_blocking(move || BrowserClients::start(&url, in_js))
    };
    for _ in 0..in_rust {
        patiently(welcomed.recv()).await.expect("a member");
    }
    let browser_clients = patiently(started).await.expect("no panic");
    let mut senders = Vec::new();
    for room in 0..ROOMS {
        senders.push(Sender::enter(&url, room).await);
    }
    let senders = say_all(senders, 0..BEFORE).await;

    let connections = nodes.node(0).connections();
    let all = in_rust + in_js + ROOMS;
    assert!(connections as usize > all / NODES / 2, "the proxy spreads the clients: {connections} of {all}");
    nodes.kill(0);
    let senders = say_all(senders, BEFORE..TOTAL).await;

    let said: Vec<String> = (0..TOTAL).map(|number| format!("message {number}")).collect();
    let (mut thrown_out, mut recovered) = (0, 0);
    let mut count = |seen: &Seen| {
        assert_eq!(seen.is_thrown_out, seen.has_recovered, "{seen:?}");
        thrown_out += usize::from(seen.is_thrown_out);
        recovered += usize::from(seen.has_recovered);
    };
    for member in members {
        let seen = patiently(member).await.expect("no panic");
        assert_eq!(seen.texts, said);
        count(&seen);
    }
    for Sender { client, reading, .. } in senders {
        client.close().await;
        count(&patiently(reading).await.expect("no panic"));
    }
    let report = tokio::task::spawn_blocking(move || browser_clients.report());
    let report = patiently(report).await.expect("no panic");
    assert_eq!(report["mistakes"], Value::Array(Vec::new()), "{report}");
    assert_eq!((&report["members"], &report["recovered"]), (&in_js.into(), &report["thrownOut"]), "{report}");
    let in_js = report["thrownOut"].as_u64().expect("a number") as usize;
    println!("{thrown_out} clients in Rust and {in_js} in JavaScript were thrown out and recovered");
    assert_eq!(thrown_out + in_js, connections as usize);
    assert!(recovered > 0 && in_js > 0, "{report}");
    drop(proxy);
}
