//! Server-sent events over nodes: a reader gets what is said on another node, comes back to any of them, and is counted
//! where it is.

use serde_json::{Value, json};

use crate::engines::{Engine, Topology};
use crate::nodes::Nodes;
use crate::support::eventually;
use crate::support::raw::Socket;
use crate::support::speaker::Speaker;

/// A reader of the lobby.
struct Reader {
    socket: Socket,
    welcome: Value,
}

/// Returns the value of a field of an event.
#[track_caller]
fn field<'e>(event: &'e str, name: &str) -> &'e str {
    let value = event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    value.unwrap_or_else(|| panic!("no {name} in {event:?}"))
}

#[track_caller]
fn data(event: &str) -> Value {
    serde_json::from_str(field(event, "data")).unwrap_or_else(|error| panic!("{error}: {event}"))
}

impl Reader {
    /// Begins to read at a node; `headers` are further lines, each with its CRLF.
    #[track_caller]
    fn open(nodes: &Nodes, node: usize, headers: &str) -> Self {
        let mut socket = Socket::connect(nodes.addresses()[node]);
        socket.send(format!("GET /sse/lobby HTTP/1.1\r\nHost: throng.test\r\n{headers}\r\n"));
        let head = socket.read_head();
        assert_eq!(head.status, 200, "{head:?}");
        let event = socket.read_event();
        assert_eq!(field(&event, "event"), "welcome");
        Self { socket, welcome: data(&event) }
    }

    /// Reads messages, which must be these and have consecutive offsets; returns the id of the last one.
    #[track_caller]
    fn expect(&mut self, texts: &[&str], first: u64) -> String {
        let mut last = String::new();
        for (offset, text) in (first..).zip(texts) {
            let event = self.socket.read_event();
            let message = data(&event);
            assert_eq!((&message["message"], &message["offset"]), (&json!(text), &json!(offset)), "{event}");
            last = field(&event, "id").to_owned();
            let epoch = self.welcome["epoch"].as_str().expect("an epoch");
            assert_eq!(last, format!("{epoch}:{offset}"));
        }
        last
    }
}

fn readers(nodes: &Nodes) -> [f64; 2] {
    [0, 1].map(|node| nodes.node(node).metric("throng_sse_connections", ""))
}

/// 1. A reader on one node gets what is said on the other one, and nobody in the room is told of it.
/// 2. It goes away, misses messages of both nodes, and comes back to the other node with the id that it has from the
///    first: it gets what it missed, once and in order, and then what is said on both.
/// 3. The node that it reads at is killed, and it comes back to the first one in the same way.
#[test]
fn a_reader_gets_what_is_said_on_any_node_and_comes_back_to_any() {
    let engine = Engine::start(Topology::Single);
    let mut settings = engine.settings();
    settings.push(("heartbeat.interval".into(), "1h".into()));
    let mut nodes = Nodes::start(2, settings);
    let mut reader = Reader::open(&nodes, 0, "");
    assert_eq!(reader.welcome["recovered"], false);
    assert_eq!(readers(&nodes), [1.0, 0.0]);
    let mut near = Speaker::alone(nodes.node(0), "near");
    let mut far = Speaker::enter(nodes.node(1), "far");
    near.find("presence_diff");
    far.find("presence_diff");
    let list = far.ask(json!({"type": "presence", "room": "lobby"}), "presence");
    assert_eq!((&list["users"], &list["members"]), (&json!(["far", "near"]), &json!(2)));
    far.command(json!({"type": "message", "message": "from afar", "data": {"a": [1]}}));
    let event = reader.socket.read_event();
    assert_eq!((&data(&event)["message"], &data(&event)["data"]), (&json!("from afar"), &json!({"a": [1]})));
    far.find("ack");
    near.say_next("from here");
    let id = reader.expect(&["from here"], 2);

    drop(reader);
    eventually("the reader is gone", || readers(&nodes) == [0.0, 0.0]);
    far.say_next("missed from afar");
    near.say_next("missed from here");
    let mut reader = Reader::open(&nodes, 1, &format!("Last-Event-ID: {id}\r\n"));
    assert_eq!((&reader.welcome["recovered"], &reader.welcome["offset"]), (&json!(true), &json!(2)));
    near.say_next("live from here");
    far.say_next("live from afar");
    let texts = ["missed from afar", "missed from here", "live from here", "live from afar"];
    let id = reader.expect(&texts, 3);
    assert_eq!(readers(&nodes), [0.0, 1.0]);

    nodes.kill(1);
    near.say_next("after the crash");
    let mut reader = Reader::open(&nodes, 0, &format!("Last-Event-ID: {id}\r\n"));
    assert_eq!(reader.welcome["recovered"], true);
    reader.expect(&["after the crash"], 7);
}

impl Speaker {
    /// Says something, and waits until the room has it.
    #[track_caller]
    fn say_next(&mut self, text: &str) {
        self.command(json!({"type": "message", "message": text, "echo": false}));
        self.find("ack");
    }
}
