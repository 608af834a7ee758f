//! The addresses of `listen`: several, names, all addresses of a port, and Unix sockets.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;

use crate::support::raw::{Socket, handshake};
use crate::support::server::{Server, run, signal, throng};
use crate::support::{PATIENCE, Running, eventually};

/// Returns the addresses that the log of a server names, of which there are so many.
#[track_caller]
fn addresses(server: &Server, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    eventually("all addresses in the log", || {
        found = server.log().text().lines().filter_map(named).collect();
        found.len() == count
    });
    found
}

/// Returns the address of a line that says where a server listens.
fn named(line: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    (line["message"] == "listening").then(|| line["address"].as_str().map(str::to_owned))?
}

/// Connects to a Unix socket, sends a request, and returns the answer up to a text that must come.
#[track_caller]
fn ask(path: &Path, request: &str, awaited: &str) -> (String, UnixStream) {
    let mut stream = UnixStream::connect(path).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
    stream.write_all(request.as_bytes()).expect("the server takes bytes");
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains(awaited) {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).expect("the server answers");
        assert!(read > 0, "no {awaited:?}: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&bytes[..read]);
    }
    (String::from_utf8_lossy(&answer).into_owned(), stream)
}

/// Returns whether this machine has IPv6 on loopback.
fn has_ipv6() -> bool {
    std::net::TcpListener::bind("[::1]:0").is_ok()
}

#[test]
fn one_server_listens_at_several_addresses_and_its_rooms_are_the_same() {
    let server = Server::launch(&[], "127.0.0.1:0,127.0.0.2:0,localhost:0", &[]);
    let count = if has_ipv6() { 3..=4 } else { 3..=3 };
    eventually("all addresses", || count.contains(&server.log().text().lines().filter_map(named).count()));
    let at: Vec<SocketAddr> =
        server.log().text().lines().filter_map(named).map(|text| text.parse().expect("an address")).collect();
    assert_eq!(at[1].ip(), IpAddr::from([127, 0, 0, 2]));
    assert!(at.iter().all(|address| address.ip().is_loopback()), "{at:?}");
    let mut sockets: Vec<_> =
        (0..).zip(&at).map(|(n, at)| Socket::open(*at, &format!("/ws/chat/user{n}"))).collect();
    let last = sockets.len() - 1;
    sockets[last].send(crate::support::frame::text(r#"{"message":"to all"}"#));
    for socket in &mut sockets {
        while !socket.read_text().contains("to all") {}
    }
}

#[test]
fn a_port_of_all_addresses_is_reached_over_ipv4_and_ipv6() {
    let server = Server::launch(&[], ":0", &[]);
    let port = server.address().port();
    for ip in ["127.0.0.1", "127.0.0.3", "::1"] {
        let address = SocketAddr::new(ip.parse().expect("an address"), port);
        if address.is_ipv4() || has_ipv6() {
            Socket::open(address, "/ws/chat/ann").read_text();
        }
    }
}

#[test]
fn ipv4_and_ipv6_may_have_one_port_by_two_addresses() {
    if !has_ipv6() {
        println!("skipped: there is no IPv6 on this machine");
        return;
    }
    // The port is free a moment before.
    let port = std::net::TcpListener::bind("[::]:0").and_then(|it| it.local_addr()).expect("a port").port();
    let server = Server::launch(&[], &format!("0.0.0.0:{port},[::]:{port}"), &[]);
    assert_eq!(addresses(&server, 2), [format!("0.0.0.0:{port}"), format!("[::]:{port}")]);
    for ip in ["127.0.0.1", "::1"] {
        Socket::open(SocketAddr::new(ip.parse().expect("an address"), port), "/ws/chat/ann").read_text();
    }
}

/// 1. A server listens at an address and at a Unix socket. 2. Clients of both are in one room. 3. The limits per
///    address count all peers at the Unix socket together, as 127.0.0.1. 4. The file is gone when the server is.
#[test]
fn a_unix_socket_serves_the_same_chat_and_is_removed_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("throng.sock");
    let settings = [("limits.max_connections_per_address", "2"), ("drain.window", "0ms")];
    let mut server = Server::launch(&[], &format!("127.0.0.1:0,unix:{}", path.display()), &settings);
    assert_eq!(addresses(&server, 2)[1], format!("unix:{}", path.display()));
    let mode = std::fs::metadata(&path).expect("the socket").permissions().mode() & 0o7777;
    assert_eq!(mode, 0o660, "nobody but owner and group");

    let (answer, mut ann) = ask(&path, &handshake("/ws/chat/ann", ""), "User ann has joined");
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    let mut bob = Socket::open(server.address(), "/ws/chat/bob");
    ann.write_all(&crate::support::frame::text(r#"{"message":"through a file"}"#)).expect("sent");
    while !bob.read_text().contains("through a file") {}
    let (answer, _) = ask(&path, &handshake("/ws/chat/eve", "X-Forwarded-For: 203.0.113.9\r\n"), "\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    let health = "GET /healthz HTTP/1.1\r\nHost: throng.test\r\n\r\n";
    assert!(ask(&path, health, "\r\n\r\n").0.starts_with("HTTP/1.1 200 "), "a health check is never refused");
    server.terminate();
    assert!(server.wait_exit(PATIENCE).success());
    assert!(!path.exists(), "the file is gone with the server");
}

#[test]
fn a_proxy_at_a_unix_socket_names_the_client_if_it_is_trusted() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("throng.sock");
    let settings = [("limits.max_connections_per_address", "1"), ("admission.trusted_proxies", "127.0.0.1")];
    let _server = Server::launch(&[], &format!("127.0.0.1:0,unix:{}", path.display()), &settings);
    let enter = |client: &str, awaited: &str| {
        ask(&path, &handshake("/ws", &format!("X-Forwarded-For: {client}\r\n")), awaited)
    };
    let _first = enter("203.0.113.1", "HTTP/1.1 101 ");
    let _second = enter("203.0.113.2", "HTTP/1.1 101 ");
    enter("203.0.113.1", "HTTP/1.1 429 ");
}

/// 1. A server with nothing but a Unix socket runs, and another one cannot take the socket from it. 2. It is killed,
///    and leaves the file. 3. Then the other one replaces the file.
#[test]
fn a_dead_servers_socket_is_replaced_and_a_living_ones_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("throng.sock");
    let listen = format!("unix:{}", path.display());
    let settings = [("listen", listen.as_str()), ("socket.unix_mode", "0600"), ("drain.window", "0ms")];
    let start = || {
        let mut command = throng(&[], &settings);
        Running(
            command.arg("serve").stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("throng starts"),
        )
    };
    let is_served = || UnixStream::connect(&path).is_ok();
    let mut first = start();
    eventually("the first server listens", is_served);
    let output = run(&["serve"], &settings);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains(&format!("cannot listen on {listen}")) && said.contains("in use"), "{said}");
    assert!(is_served(), "the first one still listens");

    first.0.kill().expect("killed");
    first.0.wait().expect("ended");
    assert!(path.exists() && !is_served());
    let mut second = start();
    eventually("the second server listens", is_served);
    let mode = std::fs::metadata(&path).expect("the socket").permissions().mode() & 0o7777;
    assert_eq!(mode, 0o600);
    signal(&second.0, "TERM");
    assert!(second.0.wait().expect("ended").success());
    assert!(!path.exists());
}

#[test]
fn wrong_addresses_are_named_with_what_is_allowed() {
    let folder = tempfile::tempdir().expect("a folder");
    let notes = folder.path().join("notes");
    std::fs::write(&notes, "kept").expect("written");
    let file = format!("unix:{}", notes.display());
    // No server of names is asked for a label of more than 63 characters.
    let nameless = format!("{}.invalid:0", "x".repeat(64));
    for (listen, code, expected) in [
        ("8080", 64, "listen = \"8080\" (flag --listen): must be an address and a port, like 127.0.0.1:8080"),
        ("127.0.0.1:0,here", 64, "listen[1] = \"here\" (flag --listen): must be an address and a port"),
        (":1,:1", 64, "listen[1] = \":1\" (flag --listen): is named twice"),
        ("unix:", 64, "must have a path of 1 to 107 bytes behind unix:"),
        (":1,:2,:3,:4,:5,:6,:7,:8,:9", 64, "a list (in the environment with commas) of up to 8"),
        (&nameless, 69, "cannot listen on xxxx"),
        ("192.0.2.1:0", 69, "cannot listen on 192.0.2.1:0"),
        ("unix:/no/such/folder/socket", 69, "cannot listen on unix:/no/such/folder/socket"),
        (&file, 69, "there is a file that is no socket"),
    ] {
        let output = run(&["serve", "--listen", listen], &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(expected), "{listen}: {said}");
    }
    assert_eq!(std::fs::read_to_string(&notes).expect("the file"), "kept");
}
