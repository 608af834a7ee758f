//! `throng demo`: people of a script who talk, greet and answer.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::Stdio;

use crate::support::Running;
use crate::support::frame::text;
use crate::support::http::get;
use crate::support::raw::{Socket, handshake};
use crate::support::server::throng;

/// 1. The command says where to look. 2. A guest finds people who talk. 3. The guest is answered,
///    in public and in private.
#[test]
fn a_guest_of_a_demo_finds_people_who_talk_and_answer() {
    let mut command = throng(&[], &[]);
    command.args(["demo", "--listen", "127.0.0.1:0", "--workers", "1", "--pace", "100ms"]);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("throng starts");
    let mut output = BufReader::new(process.stdout.take().expect("piped"));
    let _running = Running(process);
    let mut said = String::new();
    while !said.contains("demo: ") {
        said.clear();
        assert_ne!(output.read_line(&mut said).expect("text"), 0, "no address is said");
    }
    let address = said.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
    let address: SocketAddr = address.parse().expect("an address");
    std::thread::spawn(move || output.read_to_end(&mut Vec::new()));

    let mut guest = Socket::connect(address);
    guest.send(handshake("/ws/chat/guest?room=lobby", "Sec-WebSocket-Protocol: throng.v1\r\n"));
    guest.expect_upgrade();
    let expect = |guest: &mut Socket, words: &[&str]| loop {
        let text = guest.read_text();
        if words.iter().all(|word| text.contains(word)) {
            break;
        }
    };
    // The script begins again and again, so that its first line comes however late the guest is.
    expect(&mut guest, &["\"demo-esi\"", "Good morning!"]);
    expect(&mut guest, &["\"demo-bjoern\""]);
    guest.send(text(r#"{"type":"message","message":"hello"}"#));
    // A guest who speaks right after the greeting gets no answer, like one in a crowd.
    let mut sent = 0;
    loop {
        let text_of = guest.read_text();
        if text_of.contains("\"demo-ada\"") && text_of.contains("guest: ") {
            break;
        }
        sent += 1;
        if sent % 20 == 0 {
            guest.send(text(r#"{"type":"message","message":"hello?"}"#));
        }
    }
    assert!(get(address, "/rooms").body.contains(r#""room":"lobby""#), "a newcomer finds no room");
    guest.send(text(r#"{"type":"direct","to":"demo-chiyo","message":"psst"}"#));
    expect(&mut guest, &["\"demo-chiyo\"", "I am a script, though."]);
}
