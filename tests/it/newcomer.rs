//! The ten lines in Rust with which a newcomer begins, over crashes of the server. Those in Python and JavaScript are
//! tested with their packages.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::examples::{Relay, Target, build};
use crate::support::Running;
use crate::support::server::Server;
use crate::support::speaker::Speaker;

#[test]
fn the_first_program_loses_nothing_when_the_server_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("history.dir", folder.path().to_str().expect("UTF-8"))];
    let mut server = Server::start(&settings);
    let relay = Relay::to(&server);
    let mut command = Command::new(build("newcomer"));
    command.arg(format!("ws://{}", relay.address)).stdout(Stdio::piped());
    let mut program = command.spawn().expect("it starts");
    let mut output = BufReader::new(program.stdout.take().expect("piped")).lines();
    let _program = Running(program);
    let mut expect = |line: &str| assert_eq!(output.next().expect("it runs on").expect("text"), line);
    expect("alice: hi");
    let say = |server: &Server, text: String| {
        let mut bob = Speaker::enter(server, "bob?room=lobby");
        bob.send(&json!({"type": "message", "room": "lobby", "message": text}));
        // Only then it is appended.
        while bob.event()["type"] != "ack" {}
    };
    for round in 0..3 {
        say(&server, format!("before {round}"));
        expect(&format!("bob: before {round}"));
        relay.lead(Target::Nobody);
        drop(server); // SIGKILL
        server = Server::start(&settings);
        say(&server, format!("while you were away {round}"));
        relay.lead(Target::Server(server.address()));
        expect(&format!("bob: while you were away {round}"));
    }
}
