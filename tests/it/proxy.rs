//! The PROXY protocol, version 2, on raw bytes: the client's address that it gives, and the end of a connection without
//! a valid header.

use std::time::{Duration, Instant};

use crate::support::PATIENCE;
use crate::support::frame::text;
use crate::support::raw::{Ended, Socket, handshake};
use crate::support::server::{Server, Settings};
use crate::support::token::{PAIRS, seconds_from_now};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("a length of 16 bits").to_be_bytes();
    [SIGNATURE, &[command, family][..], &length, rest].concat()
}

/// Builds the header of a connection from this address.
pub(crate) fn from_v4(address: [u8; 4]) -> Vec<u8> {
    header(PROXY, TCP4, &[&address[..], &[127, 0, 0, 1, 0x30, 0x39, 0, 80]].concat())
}

fn from_v6(address: &str) -> Vec<u8> {
    let address: std::net::Ipv6Addr = address.parse().expect("an address");
    header(PROXY, TCP6, &[&address.octets()[..], &[0; 20]].concat())
}

fn server(settings: Settings<'_>) -> Server {
    let base = [("admission.proxy_protocol", "true"), ("limits.max_connections_per_address", "1")];
    Server::start(&[&base[..], settings].concat())
}

/// Sends a header and a handshake; asserts that it is let in if `is_new`, and refused with 429 otherwise.
#[track_caller]
fn enter_or_be_refused(server: &Server, header: &[u8], headers: &str, is_new: bool) -> Socket {
    let mut socket = Socket::connect(server.address());
    socket.send([header, handshake("/ws", headers).as_bytes()].concat());
    let response = socket.read_response();
    assert_eq!(response.status, if is_new { 101 } else { 429 }, "{header:x?}: {response:?}");
    socket
}

/// Asserts that a connection which sends `bytes` is closed, without an answer and without a reset.
#[track_caller]
fn expect_closed(server: &Server, bytes: &[u8]) {
    let mut socket = Socket::connect(server.address());
    socket.send(bytes);
    socket.expect_eof();
}

#[test]
fn the_proxy_header_gives_the_clients_address() {
    let server = server(&[]);
    let extensions = [&[203, 0, 113, 3, 127, 0, 0, 1, 0, 1, 0, 2][..], &[0x04, 0, 3, 1, 2, 3], &[0; 900]];
    let _open: Vec<Socket> = [
        (from_v4([203, 0, 113, 1]), true),
        (from_v4([203, 0, 113, 1]), false),
        (from_v4([203, 0, 113, 2]), true),
        (from_v6("::ffff:203.0.113.2"), false),
        (from_v6("2001:db8::1"), true),
        (from_v6("2001:db8::2"), false),
        (from_v6("2001:db8:0:1::1"), true),
        (header(PROXY, TCP4, &extensions.concat()), true),
        // Without an address in the header, the peer's own counts.
        (header(LOCAL, 0, &[]), true),
        (header(LOCAL, TCP4, &[203, 0, 113, 9, 0, 0, 0, 0, 0, 0, 0, 0]), false),
        (header(PROXY, 0, &[7; 40]), false),
        (header(PROXY, 0x31, &[b'x'; 216]), false),
        (from_v4([127, 0, 0, 1]), false),
    ]
    .into_iter()
    .map(|(header, is_new)| enter_or_be_refused(&server, &header, "X-Forwarded-For: 9.9.9.9\r\n", is_new))
    .collect();
}

#[test]
fn bytes_behind_the_proxy_header_are_untouched_at_every_cut() {
    let server = server(&[("limits.max_connections_per_address", "0")]);
    let request = handshake("/ws", "");
    let all = [from_v4([203, 0, 113, 1]), request.into_bytes(), text("hi")].concat();
    for cut in [1, 12, 15, 16, 17, 27, 28, 29, 60, all.len() - 3] {
        let mut socket = Socket::connect(server.address());
        let (front, back) = all.split_at(cut);
        socket.drip(front);
        socket.send(back);
        socket.expect_upgrade();
        assert_eq!(socket.read_text(), "Message processed: hi", "cut at {cut}");
    }
    // The header comes once for each connection, not for each request.
    let mut socket = Socket::connect(server.address());
    let page = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    socket.send([&header(LOCAL, 0, &[])[..], page.as_bytes()].concat());
    assert_eq!(socket.read_response().status, 200);
    socket.send(page);
    assert_eq!(socket.read_response().status, 200);
}

#[test]
fn a_connection_without_a_valid_proxy_header_is_closed() {
    let server = server(&[("log.level", "debug")]);
    let request = handshake("/ws", "");
    let good = from_v4([203, 0, 113, 1]);
    let mut damaged = good.clone();
    damaged[11] = b'x';
    let cases: [&[u8]; 9] = [
        request.as_bytes(),
        b"GET",
        b"PROXY TCP4 203.0.113.1 127.0.0.1 12345 80\r\n",
        &damaged,
        &header(0x11, TCP4, &good[16..]),
        &header(0x22, TCP4, &good[16..]),
        &header(PROXY, 0x13, &good[16..]),
        &header(PROXY, TCP4, &good[16..27]),
        &header(LOCAL, 0, &vec![0; 65_535]),
    ];
    for case in cases {
        expect_closed(&server, case);
    }
    let page = |server: &Server| {
        let mut socket = Socket::connect(server.address());
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        socket.send([&header(LOCAL, 0, &[])[..], request.as_bytes()].concat());
        socket.read_response().body
    };
    let counted = format!("throng_refused_total{{reason=\"malformed\"}} {}", cases.len());
    assert!(page(&server).contains(&counted), "{}", page(&server));
    // A connection that sends nothing is not counted, and valid ones are still served.
    drop(Socket::connect(server.address()));
    Socket::connect(server.address()).finish();
    let _open = enter_or_be_refused(&server, &good, "", true);
    assert!(page(&server).contains(&counted), "{}", page(&server));
}

#[test]
fn only_headers_of_trusted_proxies_are_read() {
    let stranger = server(&[("admission.trusted_proxies", "10.0.0.0/8")]);
    expect_closed(&stranger, &[&from_v4([203, 0, 113, 1])[..], handshake("/ws", "").as_bytes()].concat());

    // One proxy passes bytes on, and the one before it speaks HTTP.
    let server = server(&[("admission.trusted_proxies", "127.0.0.1,10.0.0.0/8")]);
    let forwarded = |client: &str| format!("X-Forwarded-For: {client}\r\n");
    let _open = [
        enter_or_be_refused(&server, &from_v4([10, 1, 1, 1]), &forwarded("203.0.113.1"), true),
        enter_or_be_refused(&server, &from_v4([10, 2, 2, 2]), &forwarded("203.0.113.1"), false),
        enter_or_be_refused(&server, &from_v4([10, 1, 1, 1]), &forwarded("203.0.113.2"), true),
        enter_or_be_refused(&server, &from_v4([203, 0, 113, 3]), &forwarded("203.0.113.4"), true),
        enter_or_be_refused(&server, &from_v4([203, 0, 113, 3]), &forwarded("203.0.113.5"), false),
    ];
}

#[test]
fn header_and_request_share_one_deadline() {
    let timeout = Duration::from_millis(600);
    let server = server(&[("limits.handshake_timeout", "600ms")]);
    let good = from_v4([203, 0, 113, 1]);
    for begin in [&[][..], &good[..5], &good[..16], &good[..20], &good] {
        let began = Instant::now();
        let mut socket = Socket::connect(server.address());
        socket.send(begin);
        assert_eq!(socket.drain(PATIENCE), Ended::Eof, "{} bytes", begin.len());
        assert!(began.elapsed() >= timeout - Duration::from_millis(10), "{:?}", began.elapsed());
    }
    // A byte now and then does not extend the deadline, which counts from the beginning for header and request.
    let began = Instant::now();
    let mut socket = Socket::connect(server.address());
    let slowly = [&good[..], b"GET / HTTP/1.1\r\n", &[b'a'; 4096]].concat();
    let taken = slowly.iter().take_while(|byte| {
        let ended = socket.drain(Duration::from_millis(20)) == Ended::Silent;
        ended && socket.try_send([**byte])
    });
    let taken = taken.count();
    assert!(taken < slowly.len(), "all was taken");
    let limit = timeout + Duration::from_secs(10);
    assert!(began.elapsed() < limit, "{taken} bytes in {:?}", began.elapsed());
}

#[test]
fn neither_tokens_nor_addresses_are_ever_logged() {
    let pair = &PAIRS[2];
    let server = Server::start(&[
        ("log.level", "trace"),
        ("admission.proxy_protocol", "true"),
        ("admission.trusted_proxies", "127.0.0.1"),
        ("auth.algorithm", pair.name),
        ("auth.public_key", pair.public),
        ("auth.required", "true"),
        ("limits.max_connections_per_address", "4"),
        ("limits.handshakes_per_second_per_address", "1000"),
    ]);
    let good = pair.sign(&serde_json::json!({"sub": "alice", "exp": seconds_from_now(600)}));
    let signature = good.rsplit('.').next().expect("a signature").to_owned();
    let canary = [b"canary-extension".as_slice(), &[0; 20]].concat();
    let from = header(PROXY, TCP4, &[&[203, 0, 113, 42, 127, 0, 0, 1, 0, 1, 0, 2][..], &canary].concat());
    let forwarded = "X-Forwarded-For: canary-forwarded, 198.51.100.43\r\n";
    let mut open = Vec::new();
    for token in [good.as_str(), "canary-token", "canary.token.signature"] {
        for (path, headers) in [
            ("/ws/secure".to_owned(), format!("{forwarded}Authorization: Bearer {token}\r\n")),
            ("/ws/secure".to_owned(), format!("Sec-WebSocket-Protocol: throng.v1, bearer, {token}\r\n")),
            (format!("/ws/chat/alice?token={token}&session=canary-session"), forwarded.to_owned()),
        ] {
            let mut socket = Socket::connect(server.address());
            socket.send([&from[..], handshake(&path, &headers).as_bytes()].concat());
            assert!(matches!(socket.read_response().status, 101 | 429));
            open.push(socket);
        }
    }
    // Bytes that are neither HTTP nor PROXY, and a header that is too long.
    let strange = header(PROXY, 0x77, b"canary-extension");
    for bytes in [&b"canary-garbage\r\n\r\n"[..], &strange, &[&from[..], b"canary-garbage\r\n\r\n"].concat()]
    {
        let mut socket = Socket::connect(server.address());
        socket.send(bytes);
        socket.drain(PATIENCE);
    }
    drop(open);
    let done = |line: &serde_json::Value| line["message"] == "connection ended" && line["endpoint"] == "chat";
    server.log().wait_for("the end of a connection", done);
    let log = server.log().text();
    let canaries = ["canary", "203.0.113.42", "198.51.100.43", &signature, &good];
    for canary in canaries {
        let line = log.lines().find(|line| line.contains(canary));
        assert_eq!(line, None, "{canary:?} is in the log");
    }
}
