//! Limits per client address: each address has its own, also behind trusted proxies.

use std::net::{IpAddr, SocketAddr};

use crate::support::eventually;
use crate::support::http::Response;
use crate::support::raw::{Socket, handshake};
use crate::support::server::Server;

/// Connects to the server from one of the addresses of loopback.
fn from(server: &Server, source: &str) -> Socket {
    let source: IpAddr = source.parse().expect("an address");
    Socket::connect_from(SocketAddr::new(source, 0), server.address())
}

/// Sends a handshake with further headers; returns the answer, and the socket that got it.
#[track_caller]
fn try_handshake(server: &Server, source: &str, headers: &str) -> (Response, Socket) {
    let mut socket = from(server, source);
    socket.send(handshake("/ws", headers));
    (socket.read_response(), socket)
}

#[track_caller]
fn enter(server: &Server, source: &str, headers: &str) -> Socket {
    let (response, socket) = try_handshake(server, source, headers);
    assert_eq!(response.status, 101, "{source} {headers:?}: {response:?}");
    socket
}

/// Asserts that a handshake is refused with 429 and a time to come back.
#[track_caller]
fn refused(server: &Server, source: &str, headers: &str, code: &str) {
    let (response, mut socket) = try_handshake(server, source, headers);
    assert_eq!(response.status, 429, "{source} {headers:?}: {response:?}");
    let retry_after: u32 = response.header("retry-after").expect("Retry-After").parse().expect("seconds");
    assert!((1..=300).contains(&retry_after), "{retry_after}");
    response.expect_error_body();
    assert!(response.body.contains(code), "{response:?}");
    socket.expect_eof();
}

const CONNECTIONS: &str = "connections_per_address";
const HANDSHAKES: &str = "handshakes_per_address";

#[test]
fn an_address_is_refused_above_its_number_of_connections() {
    let server = Server::start(&[("limits.max_connections_per_address", "2")]);
    let first = enter(&server, "127.0.0.1", "");
    let _second = enter(&server, "127.0.0.1", "");
    for _ in 0..3 {
        refused(&server, "127.0.0.1", "", CONNECTIONS);
    }
    // The header of an untrusted peer is ignored.
    refused(&server, "127.0.0.1", "X-Forwarded-For: 203.0.113.9\r\n", CONNECTIONS);
    let _others = [enter(&server, "127.0.0.2", ""), enter(&server, "127.0.0.2", "")];
    refused(&server, "127.0.0.2", "", CONNECTIONS);
    let _third = enter(&server, "127.0.0.3", "");

    drop(first);
    eventually("the permit is free again", || try_handshake(&server, "127.0.0.1", "").0.status == 101);
    assert!(server.metric("throng_refused_total", CONNECTIONS) >= 5.0);
    // Requests for pages are not counted: clients cannot shut monitoring out.
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn a_refused_or_unfinished_handshake_holds_no_connection_permit() {
    let server = Server::start(&[
        ("limits.max_connections_per_address", "1"),
        ("admission.refuse", "http"),
        ("admission.origins", "https://a.com"),
    ]);
    for (path, headers, status) in [
        ("/ws/secure", "", 401),
        ("/ws/chat/ab", "", 403),
        ("/ws", "Origin: https://evil.com\r\n", 403),
        ("/ws/with-timeout?timeout=never", "", 400),
    ] {
        let mut socket = from(&server, "127.0.0.1");
        socket.send(handshake(path, headers));
        assert_eq!(socket.read_response().status, status, "{path}");
    }
    // A connection's permit is free when its last byte is sent: the next connection may come a moment too early.
    for end in ["close", "abort"] {
        eventually("the one permit is free", || {
            let (response, mut socket) = try_handshake(&server, "127.0.0.1", "");
            match end {
                "abort" => socket.abort(),
                _ => socket.send(crate::support::frame::close(1000, "")),
            }
            response.status == 101
        });
    }
    eventually("the one permit is free", || try_handshake(&server, "127.0.0.1", "").0.status == 101);
}

#[test]
fn an_address_is_refused_above_its_rate_of_handshakes() {
    let server = Server::start(&[("limits.handshakes_per_second_per_address", "3")]);
    let mut statuses = Vec::new();
    // More handshakes than the bucket refills in the time that twenty take, however slow the machine.
    let began = std::time::Instant::now();
    for _ in 0..20 {
        statuses.push(try_handshake(&server, "127.0.0.1", "").0.status);
    }
    let earned = 3.0 * began.elapsed().as_secs_f64();
    let entered = statuses.iter().filter(|status| **status == 101).count();
    assert!(statuses.iter().all(|status| matches!(status, 101 | 429)), "{statuses:?}");
    assert_eq!(&statuses[..3], &[101; 3], "three at once");
    assert!(entered as f64 <= 3.0 + earned, "{entered} in {:?}", began.elapsed());
    if earned < 1.0 {
        refused(&server, "127.0.0.1", "", HANDSHAKES);
    }
    let _other = enter(&server, "127.0.0.2", "");
    eventually("a handshake is free again", || try_handshake(&server, "127.0.0.1", "").0.status == 101);
}

#[test]
fn behind_trusted_proxies_the_limits_count_the_clients_address() {
    let server = Server::start(&[
        ("limits.max_connections_per_address", "1"),
        ("admission.trusted_proxies", "127.0.0.1,127.0.0.128/25"),
    ]);
    let mut open = Vec::new();
    for (source, headers, is_new) in [
        ("127.0.0.1", "X-Forwarded-For: 203.0.113.1\r\n", true),
        ("127.0.0.1", "X-Forwarded-For: 203.0.113.1\r\n", false),
        ("127.0.0.200", "X-Forwarded-For: 203.0.113.1:4711\r\n", false),
        ("127.0.0.1", "X-Forwarded-For: 203.0.113.2\r\n", true),
        // Addresses that the client invents stand at the left, in one header or several.
        ("127.0.0.1", "X-Forwarded-For: 9.9.9.9, 203.0.113.2\r\n", false),
        ("127.0.0.1", "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 203.0.113.2\r\n", false),
        ("127.0.0.1", "X-Forwarded-For: 203.0.113.2\r\nX-Forwarded-For: 203.0.113.3\r\n", true),
        ("127.0.0.1", "X-Forwarded-For: 8.8.8.8, 203.0.113.3, 127.0.0.130\r\n", false),
        // One customer of an IPv6 network.
        ("127.0.0.1", "X-Forwarded-For: 2001:db8:1:2::1\r\n", true),
        ("127.0.0.1", "X-Forwarded-For: [2001:db8:1:2:ffff::9]:80\r\n", false),
        ("127.0.0.1", "X-Forwarded-For: 2001:db8:1:3::1\r\n", true),
        // Without a valid address in the header, the proxy's own address counts.
        ("127.0.0.1", "X-Forwarded-For: unknown\r\n", true),
        ("127.0.0.1", "X-Forwarded-For: 203.0.113.77, \u{fffd}\r\n", false),
        ("127.0.0.1", "", false),
        // This peer is not a trusted proxy.
        ("127.0.0.2", "X-Forwarded-For: 203.0.113.99\r\n", true),
        ("127.0.0.2", "X-Forwarded-For: 203.0.113.98\r\n", false),
        ("127.0.0.1", "X-Forwarded-For: 127.0.0.2\r\n", false),
    ] {
        if is_new {
            open.push(enter(&server, source, headers));
        } else {
            refused(&server, source, headers, CONNECTIONS);
        }
    }
}
