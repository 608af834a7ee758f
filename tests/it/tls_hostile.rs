//! Peers that abuse the handshake of TLS: thousands that do not finish it, and some that ask for another one later.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::support::raw::Socket;
use crate::support::tls_server::Both;
use crate::support::{Running, eventually};

/// Descriptors that a server may open after its start for itself.
const SPARE: usize = 16;

/// Returns the first record of a client's handshake.
fn hello(both: &Both) -> Vec<u8> {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(Arc::clone(&both.client), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("memory");
    bytes
}

/// Returns one of the addresses of the attackers.
fn attacker(number: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66 + number)), 0)
}

#[test]
fn many_half_handshakes_do_not_keep_others_out() {
    let both = Both::start(&[("limits.max_handshakes", "32"), ("limits.handshake_timeout", "10m")]);
    let mut held: Vec<Socket> = Vec::new();
    for round in 0..4 {
        held.extend((0..32).map(|_| Socket::connect_from(attacker(0), both.address)));
        for socket in &mut held {
            let _ = socket.try_send(&b"\x16\x03\x01\x02\x00\x01"[..]);
        }
        assert_eq!(both.connect().get("/healthz").unwrap().status, 200, "round {round}");
    }
    assert!(both.server.metric("throng_refused_total", "\"made_way\"") >= 1.0);
}

/// Ten attackers with a thousand sockets each. Each socket sends a handshake but for its last byte.
#[test]
fn ten_thousand_slow_handshakes_are_bounded_and_let_others_in() {
    let both = Both::start(&[("limits.handshake_timeout", "10m")]);
    let (fds, rss) = (both.server.fds(), both.server.settled_rss());
    let hello = hello(&both);
    let (first, last) = hello.split_at(hello.len() - 1);
    let mut held: Vec<Socket> = Vec::new();
    for number in 0..10 {
        for _ in 0..1_000 {
            let mut socket = Socket::connect_from(attacker(number), both.address);
            // An older socket may have had to go, but never the newest one.
            assert!(socket.try_send(first));
            held.push(socket);
        }
        assert_eq!(both.connect().get("/healthz").unwrap().status, 200, "attacker {number}");
        // 1,024 handshakes, 32 reserved ones, and sockets that are just being closed.
        assert!(both.server.fds() < fds + 2_000, "{} descriptors", both.server.fds());
    }
    let more = both.server.settled_rss().saturating_sub(rss);
    assert!(more < 32 << 20, "{more} bytes more");
    // The handshakes that are left can still be finished. Some of the newest had to make way, too.
    let is_answered = |mut socket: Socket| {
        let mut answer = [0; 1];
        socket.try_send(last) && socket.into_stream().read_exact(&mut answer).is_ok() && answer == [0x16]
    };
    let newest = held.split_off(held.len() - 200);
    assert!(newest.into_iter().any(is_answered), "none gets the server's part of the handshake");
    drop(held);
    eventually("all are closed", || both.server.fds() < fds + SPARE);
}

/// `openssl s_client`, which asks for a new handshake with the line `R`, and changes its keys with the line `K`.
struct Openssl {
    _process: Running,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Openssl {
    fn connect(both: &Both, version: &str) -> Self {
        let ca = both.authority.file();
        let script = "exec openssl s_client -connect \"$1\" -servername localhost -CAfile \"$2\" \"$3\" 2>&1";
        let mut process = Command::new("bash")
            .args(["-c", script, "bash", &both.address.to_string()])
            .arg(ca)
            .arg(version)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("openssl");
        let input = process.stdin.take().expect("piped");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let mut openssl = Self { _process: Running(process), input, output };
        openssl.skip_to("Verify return code: 0");
        openssl
    }

    fn send(&mut self, words: &str) {
        self.input.write_all(words.as_bytes()).expect("it runs");
    }

    /// Reads up to a line with these words.
    #[track_caller]
    fn skip_to(&mut self, words: &str) {
        let mut all = String::new();
        while !all.lines().last().is_some_and(|line| line.contains(words)) {
            assert_ne!(self.output.read_line(&mut all).expect("text"), 0, "no {words} in {all}");
        }
    }
}

/// A second handshake inside of the first one could be glued to what another client has sent.
#[test]
fn a_second_handshake_is_refused() {
    let both = Both::start(&[]);
    let fds = both.server.fds();
    for _ in 0..SPARE {
        let mut client = Openssl::connect(&both, "-tls1_2");
        client.send("R\n");
        client.skip_to("no renegotiation");
    }
    eventually("their sockets are closed", || both.server.fds() < fds + SPARE);
    assert_eq!(both.connect().get("/healthz").unwrap().status, 200);
}

#[test]
fn a_client_may_change_its_keys() {
    let both = Both::start(&[]);
    let mut client = Openssl::connect(&both, "-tls1_3");
    for _ in 0..3 {
        client.send("K\n");
        client.skip_to("KEYUPDATE");
    }
    client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    client.skip_to("HTTP/1.1 200 OK");
}
