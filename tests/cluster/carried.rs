//! Data and names of messages over nodes.

use serde_json::json;

use crate::engines::{Engine, Topology};
use crate::nodes::Nodes;
use crate::support::frame::text;
use crate::support::raw::Socket;
use crate::support::speaker::Speaker;

/// JSON that a parser would write in another way.
const DATA: &str = r#"{ "name" : [1.50, "\u00fc\n,\"name\":\""] }"#;

#[test]
fn data_and_names_go_over_nodes_into_the_history_and_private_messages() {
    let engine = Engine::start(Topology::Single);
    let mut settings = engine.settings();
    settings.push(("heartbeat.interval".into(), "1h".into()));
    let nodes = Nodes::start(2, settings);
    let mut alice = Speaker::alone(nodes.node(0), "alice?room=a&name=Ann+%22A%22");
    let mut plain = Socket::open(nodes.node(1).address(), "/ws/chat/plain?room=a");
    let end = format!(",\"name\":\"Ann \\\"A\\\"\",\"data\":{DATA}}}");
    for (data, end) in
        [(format!(",\"data\":{DATA}"), end.clone()), (String::new(), ",\"name\":\"Ann \\\"A\\\"\"}".into())]
    {
        alice.socket.send(text(format!(r#"{{"type":"message","id":"1","message":"say \"hi\""{data}}}"#)));
        for socket in [&mut plain, &mut alice.socket] {
            let event = socket.skip_to_text("{\"type\":\"message\"");
            assert!(
                event.contains("\"message\":\"say \\\"hi\\\"\",\"room\"") && event.ends_with(&end),
                "{event}"
            );
        }
    }
    plain.send(text(format!("{{\"message\":\"\",\"data\":{DATA}}}")));
    let event = alice.socket.skip_to_text("{\"type\":\"message\"");
    assert!(event.ends_with(&format!(",\"data\":{DATA}}}")) && !event.contains("\"name\":\"Ann"), "{event}");
    alice.socket.send(text(format!(r#"{{"type":"direct","to":"plain","message":"psst","data":{DATA}}}"#)));
    let event = plain.skip_to_text("{\"type\":\"direct\"");
    assert!(event.ends_with(&end), "{event}");
    // A node that nobody of the room was on reads it from the engine.
    let mut bob = Speaker::enter(nodes.node(1), "bob?room=b");
    let resume = json!({"epoch": alice.welcome["epoch"], "offset": 0});
    bob.command(json!({"type": "join", "room": "a", "resume": resume}));
    let event = bob.socket.skip_to_text("{\"type\":\"message\"");
    assert!(event.ends_with(&end), "{event}");
    bob.command(json!({"type": "history", "room": "a"}));
    assert!(bob.socket.skip_to_text("{\"type\":\"history\"").contains(&end));
}
