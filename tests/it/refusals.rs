//! Refusals in HTTP, on raw bytes: the status, the body, and a clean end.

use std::time::Duration;

use crate::support::eventually;
use crate::support::raw::{KEY, Socket, handshake};
use crate::support::server::Server;

/// The state of the connection after a refusal.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// The server closes it, because the next request of such a peer cannot be trusted.
    Closed,
    /// The server may keep it open, and closes when the client does.
    MayStay,
}

/// The source of a refusal's body.
#[derive(Clone, Copy, PartialEq)]
enum Body {
    /// The server's own JSON.
    Ours,
    /// Any, because hyper's own answer may have no body.
    Any,
}

#[derive(Clone)]
struct Case {
    name: &'static str,
    request: String,
    statuses: &'static [u16],
    body: Body,
    then: Then,
}

/// Builds a valid handshake for `/ws` with one line replaced.
fn replacing(line: &str, with: &str) -> String {
    let right = handshake("/ws", "");
    let wrong = right.replacen(line, with, 1);
    assert_ne!(right, wrong, "{line:?} is not in a handshake");
    wrong
}

fn key(value: &str) -> String {
    replacing(KEY, value)
}

fn ours(name: &'static str, request: String, statuses: &'static [u16]) -> Case {
    Case { name, request, statuses, body: Body::Ours, then: Then::Closed }
}

fn plain(name: &'static str, line: &str, statuses: &'static [u16]) -> Case {
    let request = format!("{line} HTTP/1.1\r\nHost: throng.test\r\n\r\n");
    Case { name, request, statuses, body: Body::Ours, then: Then::MayStay }
}

fn parser(name: &'static str, request: String, statuses: &'static [u16]) -> Case {
    Case { name, request, statuses, body: Body::Any, then: Then::Closed }
}

fn malformed_handshakes() -> Vec<Case> {
    let host = "Host: throng.test\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    vec![
        ours("no Host", replacing(host, ""), &[400]),
        ours("no key", replacing(&format!("Sec-WebSocket-Key: {KEY}\r\n"), ""), &[400]),
        ours("key of 3 bytes", key("YWJj"), &[400]),
        ours("key of 15 bytes", key("YWJjZGVmZ2hpamtsbW5v"), &[400]),
        ours("key of 17 bytes", key("YWJjZGVmZ2hpamtsbW5vcHE="), &[400]),
        ours("key without padding", key("dGhlIHNhbXBsZSBub25jZQ"), &[400]),
        ours("key not base64", key("!!!!IHNhbXBsZSBub25jZQ=="), &[400]),
        ours("empty key", key(""), &[400]),
        ours("two keys", handshake("/ws", &format!("Sec-WebSocket-Key: {KEY}\r\n")), &[400]),
        ours("a body", handshake("/ws", "Content-Length: 5\r\n") + "hello", &[400]),
        ours("a chunked body", handshake("/ws", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n", &[400]),
        ours("version 8", replacing(version, "Sec-WebSocket-Version: 8\r\n"), &[426]),
        ours("version 14", replacing(version, "Sec-WebSocket-Version: 14\r\n"), &[426]),
        ours("no version", replacing(version, ""), &[400, 426]),
        ours("upgrade to something else", replacing("Upgrade: websocket", "Upgrade: h2c"), &[426]),
        ours(
            "no Connection: upgrade",
            replacing("Connection: Upgrade", "Connection: keep-alive"),
            &[400, 426],
        ),
        ours("HTTP/1.0", replacing("HTTP/1.1", "HTTP/1.0"), &[400, 426, 505]),
        ours("POST", replacing("GET", "POST"), &[405]),
    ]
}

fn plain_requests() -> Vec<Case> {
    vec![
        plain("unknown path", "GET /nowhere", &[404]),
        Case { then: Then::MayStay, ..ours("upgrade on an unknown path", handshake("/nowhere", ""), &[404]) },
        Case { then: Then::MayStay, ..ours("upgrade below /ws", handshake("/ws/nowhere", ""), &[404]) },
        plain("dots in a path", "GET /../etc/passwd", &[404]),
        plain("no upgrade asked", "GET /ws", &[426]),
        plain("no upgrade asked in a chat", "GET /ws/chat/alice", &[426]),
        plain("POST to a page", "POST /", &[405]),
        plain("DELETE of a page", "DELETE /healthz", &[405]),
    ]
}

fn not_http() -> Vec<Case> {
    let big = format!("X-Big: {}\r\n", "x".repeat(20 * 1024));
    let many: String = (0..300).map(|n| format!("X-{n}: y\r\n")).collect();
    let request = |line: &str| format!("{line}\r\nHost: throng.test\r\n\r\n");
    vec![
        parser("a header too large", handshake("/ws", &big), &[431]),
        parser("too many headers", handshake("/ws", &many), &[431]),
        parser("a target too long", handshake(&format!("/ws?{}", "a".repeat(20 * 1024)), ""), &[414, 431]),
        parser("TLS to a port without", "\x16\x03\x01\x02\x01\x01\x02\r\n\r\n".to_owned(), &[400]),
        parser("no version in the request line", request("GET /"), &[400]),
        parser("a header without a colon", "GET / HTTP/1.1\r\nHost throng.test\r\n\r\n".to_owned(), &[400]),
    ]
}

#[track_caller]
fn check(server: &Server, cases: Vec<Case>) {
    for Case { name, request, statuses, body, then } in cases {
        println!("refused: {name}");
        let mut socket = Socket::connect(server.address());
        socket.send(request);
        let response = socket.read_response();
        assert!(statuses.contains(&response.status), "{name}: {response:?}");
        if body == Body::Ours {
            response.expect_error_body();
        }
        if response.status == 426 {
            assert_eq!(response.header("sec-websocket-version"), Some("13"), "{name}: {response:?}");
        }
        if then == Then::MayStay {
            socket.finish();
        }
        socket.expect_eof();
    }
    assert_eq!(server.get("/healthz").status, 200, "alive after all of that");
}

#[test]
fn a_malformed_handshake_is_refused_and_closed() {
    check(&Server::start(&[]), malformed_handshakes());
}

/// Regression: a handshake with `Host: a b` got 101, although RFC 9110 (section 7.2) demands 400.
#[test]
fn an_invalid_host_header_is_refused_on_every_path() {
    let server = Server::start(&[]);
    let ask = |line: &str, host: &[u8], rest: &str| {
        let mut socket = Socket::connect(server.address());
        socket.send([line.as_bytes(), b"\r\nHost: ", host, b"\r\n", rest.as_bytes(), b"\r\n"].concat());
        socket.read_response()
    };
    let right = handshake("/ws", "");
    let upgrade = right.split_once("Host: throng.test\r\n").expect("a Host").1.trim_end();
    let upgrade = &format!("{upgrade}\r\n");
    let bad: [&[u8]; 11] = [
        b"a b",
        b"a/b",
        b"a@b",
        b"a,b",
        b"[::1",
        b"x:99999",
        b"x:80:80",
        b"\xff\xfe",
        b"caf\xc3\xa9",
        b"a\"b",
        b"[x]",
    ];
    for host in bad {
        for (line, rest) in [
            ("GET /ws HTTP/1.1", upgrade.as_str()),
            ("GET /ws/chat/alice HTTP/1.1", upgrade),
            ("GET /ws HTTP/1.1", ""),
            ("GET / HTTP/1.1", ""),
            ("GET /healthz HTTP/1.0", ""),
            ("GET /nowhere HTTP/1.1", ""),
            ("POST / HTTP/1.1", ""),
        ] {
            let response = ask(line, host, rest);
            assert_eq!(response.status, 400, "{line} {:?}: {response:?}", String::from_utf8_lossy(host));
            response.expect_error_body();
        }
    }
    for host in ["throng.test", "127.0.0.1:8080", "[::1]:8080", "x:", "a_b.example", ""] {
        assert_eq!(ask("GET /ws HTTP/1.1", host.as_bytes(), upgrade).status, 101, "{host:?}");
        assert_eq!(ask("GET /healthz HTTP/1.1", host.as_bytes(), "").status, 200, "{host:?}");
    }
    // The target may name the server as well (RFC 9112, section 3.2.2), but not a user.
    assert_eq!(ask("GET http://x:80/ws HTTP/1.1", b"x", upgrade).status, 101);
    for target in ["http://me@x/ws", "http://x:99999/ws"] {
        assert_eq!(ask(&format!("GET {target} HTTP/1.1"), b"x", upgrade).status, 400, "{target}");
    }
    let mut twice = Socket::connect(server.address());
    twice.send("GET /healthz HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n");
    assert_eq!(twice.read_response().status, 400);
    for (line, status) in [("GET /nowhere HTTP/1.1", 400), ("GET /healthz HTTP/1.0", 200)] {
        let mut without = Socket::connect(server.address());
        without.send(format!("{line}\r\n\r\n"));
        assert_eq!(without.read_response().status, status, "{line}");
    }
}

#[test]
fn a_request_that_is_no_upgrade_is_refused() {
    check(&Server::start(&[]), plain_requests());
}

#[test]
fn requests_that_are_not_http_get_an_answer_and_a_clean_end() {
    check(&Server::start(&[]), not_http());
}

/// A request that comes whole may be answered in another way than one that comes in pieces, and gets the same answer.
#[test]
fn a_request_in_pieces_gets_the_same_answer() {
    let server = Server::start(&[]);
    let good = [
        "/ws",
        "/ws?raw",
        "/ws/messages",
        "/ws/with-timeout?timeout=1ms",
        "/ws/chat/a%20b?room=x",
        "/ws/secure",
    ]
    .map(|path| handshake(path, "Sec-WebSocket-Protocol: throng.v1, bearer, x.y.z\r\n"));
    let bad = [malformed_handshakes(), plain_requests()].concat().into_iter().map(|case| case.request);
    for request in good.into_iter().chain(bad) {
        let mut whole = Socket::connect(server.address());
        whole.send(&request);
        let whole = whole.read_response();
        for _ in 0..3 {
            let cut = fastrand::usize(1..request.len());
            let mut pieces = Socket::connect(server.address());
            pieces.send(&request[..cut]);
            // Without the pause the pieces would mostly come together. They may, for all that is asserted.
            std::thread::sleep(Duration::from_millis(3));
            pieces.send(&request[cut..]);
            let response = pieces.read_response();
            assert_eq!((response.status, &response.body), (whole.status, &whole.body), "{cut} of {request}");
            for name in ["upgrade", "connection", "sec-websocket-accept", "sec-websocket-protocol", "allow"] {
                assert_eq!(response.header(name), whole.header(name), "{name}: {cut} of {request}");
            }
        }
    }
}

#[test]
fn only_listed_origins_may_upgrade() {
    let server = Server::start(&[("admission.origins", "https://a.com,http://b.com:8080")]);
    for (origins, allowed) in [
        (&["https://a.com"][..], true),
        (&["http://b.com:8080"], true),
        (&["null"], false),
        (&["https://evil.com"], false),
        (&["https://a.com.evil.com"], false),
        (&["https://evil-a.com"], false),
        (&["https://sub.a.com"], false),
        (&["http://a.com"], false),
        (&["https://a.com:8443"], false),
        (&["http://b.com"], false),
        (&["a.com"], false),
        (&["https://a.com, https://evil.com"], false),
        (&["https://a.com/"], false),
        (&["https://a.com", "https://evil.com"], false),
        (&["https://evil.com", "https://a.com"], false),
        (&["https://a.com", "https://a.com"], false),
    ] {
        let headers: String = origins.iter().map(|origin| format!("Origin: {origin}\r\n")).collect();
        let mut socket = Socket::connect(server.address());
        socket.send(handshake("/ws", &headers));
        if allowed {
            socket.expect_upgrade();
            continue;
        }
        let response = socket.read_response();
        assert_eq!(response.status, 403, "{origins:?}: {response:?}");
        response.expect_error_body();
        socket.expect_eof();
    }
}

#[test]
fn any_origin_may_upgrade_by_default() {
    let server = Server::start(&[]);
    let mut socket = Socket::connect(server.address());
    socket.send(handshake("/ws", "Origin: https://anywhere.example\r\n"));
    socket.expect_upgrade();
}

#[test]
fn a_refusal_at_capacity_says_when_to_come_back() {
    let server = Server::start(&[("limits.max_connections", "2")]);
    let first = Socket::open(server.address(), "/ws");
    let _second = Socket::open(server.address(), "/ws");

    for _ in 0..3 {
        let mut third = Socket::connect(server.address());
        third.send(handshake("/ws", ""));
        let response = third.read_response();
        assert_eq!(response.status, 503, "{response:?}");
        let retry_after: u32 = response.header("retry-after").expect("Retry-After").parse().expect("seconds");
        assert!((1..=300).contains(&retry_after), "{retry_after}");
        response.expect_error_body();
        third.expect_eof();
    }

    drop(first);
    eventually("the permit is free again", || {
        let mut socket = Socket::connect(server.address());
        socket.send(handshake("/ws", ""));
        socket.read_response().status == 101
    });
    assert!(server.metric("throng_refused_total", "") >= 3.0, "refusals are counted");
}
