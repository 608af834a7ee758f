//! Handshake permits, which connections hold until they are upgraded: a silent holder gives its permit up when others
//! come, and health checks are always answered.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::proxy::from_v4;
use crate::support::PATIENCE;
use crate::support::frame::{Frame, PING, PONG};
use crate::support::http::Response;
use crate::support::raw::{Ended, Socket, handshake};
use crate::support::server::Server;

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
/// The last byte of the attacker's address; other clients have other addresses.
const ATTACKER: u8 = 1;

/// Connects to the server from one of the addresses of loopback.
fn from(server: &Server, last: u8) -> Socket {
    Socket::connect_from(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)), server.address())
}

#[track_caller]
fn ask(server: &Server, last: u8, request: &str) -> Response {
    let mut socket = from(server, last);
    socket.send(request);
    socket.read_response()
}

/// Asserts that health checks of all addresses are answered.
#[track_caller]
fn expect_health(server: &Server) {
    for (last, path) in [(2, "/healthz"), (3, "/readyz"), (ATTACKER, "/healthz"), (ATTACKER, "/readyz")] {
        let response = ask(server, last, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(response.status, 200, "{path} from 127.0.0.{last}: {response:?}");
    }
}

/// Regression: 1. One address opens as many sockets as there are handshake permits, and says nothing, or asks for
/// `/healthz` now and then. 2. All others were answered 503, health checks too.
#[test]
fn one_address_cannot_hold_all_handshake_permits() {
    type Habit = fn(&mut Socket);
    let habits: [(&str, Habit); 3] = [
        ("silent", |_| {}),
        ("half a request", |socket| {
            let _ = socket.try_send("GET /ws HTTP/1.1\r\nHost: x\r\n");
        }),
        ("health now and then", |socket| {
            // Sockets that came too late are refused.
            if socket.try_send(HEALTH) {
                let _ = socket.drain(Duration::from_millis(20));
            }
        }),
    ];
    for (name, habit) in habits {
        let server = Server::start(&[("limits.max_handshakes", "64"), ("limits.handshake_timeout", "10m")]);
        let mut held: Vec<_> = (0..64).map(|_| from(&server, ATTACKER)).collect();
        held.iter_mut().for_each(habit);
        for last in 2..40 {
            let socket = from(&server, last).upgraded("/ws");
            drop(socket);
            if last % 10 == 0 {
                expect_health(&server);
                // The attacker goes on.
                held.extend((0..8).map(|_| from(&server, ATTACKER)));
                held.iter_mut().for_each(habit);
            }
        }
        assert!(server.metric("throng_refused_total", "\"made_way\"") >= 1.0, "{name}");
    }
}

/// Regression: 1. An address may have five connections, or make five handshakes a second. 2. It opens more sockets than
/// that, and says nothing. 3. The limits counted them only with their first request, and until then they held
/// handshake permits.
#[test]
fn limits_per_address_count_silent_connections() {
    for key in ["limits.max_connections_per_address", "limits.handshakes_per_second_per_address"] {
        let server = Server::start(&[(key, "5"), ("limits.handshake_timeout", "10m")]);
        let began = Instant::now();
        let mut sockets: Vec<_> = (0..60).map(|_| from(&server, ATTACKER)).collect();
        let allowed = match key {
            "limits.max_connections_per_address" => 5,
            _ => 6 + 5 * began.elapsed().as_secs() as usize,
        };
        // Some are refused at once, others after a moment in which they could have sent a health check.
        let (mut at_once, mut later) = (0, 0);
        sockets.iter_mut().for_each(|socket| match socket.drain(Duration::from_millis(20)) {
            Ended::Silent => later += 1,
            _ => at_once += 1,
        });
        assert!(at_once >= 40 - allowed, "{key}: {at_once} at once");
        let held = |socket: &mut Socket| socket.drain(Duration::from_secs(3)) == Ended::Silent;
        // In parallel, because each socket that stays open takes the whole time.
        let held: usize = std::thread::scope(|scope| {
            let waiting: Vec<_> = sockets.iter_mut().map(|socket| scope.spawn(|| held(socket))).collect();
            waiting.into_iter().map(|held| usize::from(held.join().expect("no panic"))).sum()
        });
        assert!((1..=allowed).contains(&held), "{key}: {held} of {later} stay");
        assert!(server.metric("throng_refused_total", "per_address") >= 40.0, "{key}");
        let _others = [2, 3].map(|last| from(&server, last).upgraded("/ws"));
        expect_health(&server);
    }
}

/// A browser that loads a page over several connections that stay open can still enter the chat.
#[test]
fn requests_for_pages_count_against_no_limit() {
    for key in ["limits.max_connections_per_address", "limits.handshakes_per_second_per_address"] {
        let server = Server::start(&[(key, "1")]);
        let mut kept = Vec::new();
        for path in ["/", "/app.js", "/client.js", "/style.css", "/page.js", "/messages.js"] {
            let mut socket = from(&server, 2);
            socket.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
            assert_eq!(socket.read_response().status, 200, "{key}: {path}");
            kept.push(socket);
        }
        let chatting = from(&server, 2).upgraded("/ws/chat/alice");
        assert_eq!(ask(&server, 2, &handshake("/ws", "")).status, 429, "{key}");
        // All at once, as browsers do it: the permit of the chat does not count.
        let mut sockets: Vec<_> = (0..6).map(|_| from(&server, 2)).collect();
        sockets.iter_mut().for_each(|socket| socket.send("GET /app.js HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(sockets.iter_mut().all(|socket| socket.read_response().status == 200), "{key}");
        drop(chatting);
    }
}

/// All permits are held by connections that are being served: they keep them, others are refused, and health checks are
/// answered.
#[test]
fn reserved_handshake_permits_answer_health_checks_alone() {
    // A claim is served while the server waits for the incumbent's answer: up to two seconds.
    const SERVED: Duration = Duration::from_millis(1_500);
    for attempt in 0.. {
        let server = Server::start(&[("limits.max_handshakes", "1")]);
        let mut holder = Socket::open(server.address(), "/ws/chat/alice");
        let began = Instant::now();
        let mut claimant = from(&server, 4);
        claimant.send(handshake("/ws/chat/alice", ""));
        while holder.read_frame().opcode != PING {}
        let health = ask(&server, 2, HEALTH).status;
        let page = ask(&server, 2, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let upgrade = ask(&server, 3, &handshake("/ws", ""));
        if began.elapsed() > SERVED {
            assert!(attempt < 20, "the machine is too slow for this test");
            continue;
        }
        assert_eq!([health, page.status, upgrade.status], [200, 503, 503]);
        page.expect_error_body();
        upgrade.expect_error_body();
        assert!(upgrade.header("retry-after").is_some(), "{upgrade:?}");
        claimant.expect_upgrade();
        return;
    }
}

/// Regression: 1. One address asks for an unknown path, reads the answer, and does not close. 2. The server waits up to
/// a second for the close of each socket, which held its permit meanwhile. 3. A thousand of them in a second shut all
/// others out.
#[test]
fn a_connection_that_is_being_closed_gives_up_its_permit() {
    const PERMITS: usize = 32;
    for settings in
        [&[][..], &[("admission.proxy_protocol", "true"), ("admission.trusted_proxies", "127.0.0.9")]]
    {
        let server = Server::start(&[settings, &[("limits.max_handshakes", "32")]].concat());
        let is_proxied = !settings.is_empty();
        for round in 0..3 {
            let mut refused: Vec<_> = (0..PERMITS).map(|_| from(&server, ATTACKER)).collect();
            refused.iter_mut().for_each(|socket| socket.send("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"));
            if is_proxied {
                let mut ended = refused.iter_mut().map(|socket| socket.drain(PATIENCE));
                assert!(ended.all(|ended| ended != Ended::Silent), "round {round}");
            } else {
                refused.iter_mut().for_each(|socket| assert_eq!(socket.read_response().status, 404));
            }
            let mut honest = from(&server, if is_proxied { 9 } else { 2 });
            if is_proxied {
                honest.send(from_v4([203, 0, 113, 7]));
            }
            drop(honest.upgraded("/ws"));
        }
    }
}

/// Regression: 1. One address has some connections that answer no ping, and claims their names. 2. Each of these
/// handshakes was served for two seconds, and did not give up its permit. 3. With half as many names as permits all
/// others were shut out.
#[test]
fn a_claim_that_waits_for_an_incumbent_gives_up_its_permit() {
    let server = Server::start(&[("limits.max_handshakes", "32")]);
    let mut holders: Vec<_> =
        (0..16).map(|n| from(&server, ATTACKER).upgraded(&format!("/ws/chat/mine-{n}"))).collect();
    for last in 2..5 {
        let claims: Vec<_> = (0..32)
            .map(|n| {
                let mut socket = from(&server, ATTACKER);
                socket.send(handshake(&format!("/ws/chat/mine-{}", n / 2), ""));
                socket
            })
            .collect();
        for holder in &mut holders {
            while holder.try_frame(PATIENCE).is_ok_and(|frame| frame.opcode != PING) {}
        }
        drop(from(&server, last).upgraded("/ws"));
        drop(claims);
        // The holders answer, so that they keep their names.
        holders.iter_mut().for_each(|holder| {
            let _ = holder.try_send(Frame::new(PONG, "").bytes());
        });
        // An answer counts for a second, and the next round needs new pings: only time helps.
        std::thread::sleep(Duration::from_millis(1_200));
    }
}

/// Connects as a proxy that passes on a connection from this address.
fn passed_on(server: &Server, last: u8) -> Socket {
    let mut socket = Socket::connect(server.address());
    socket.send(from_v4([203, 0, 113, last]));
    socket
}

#[test]
fn behind_a_proxy_limits_count_the_clients_address_once_it_is_known() {
    let server = Server::start(&[
        ("admission.proxy_protocol", "true"),
        ("limits.max_handshakes", "16"),
        ("limits.handshake_timeout", "10m"),
    ]);
    let _silent: Vec<_> = (0..15).map(|_| passed_on(&server, ATTACKER)).collect();
    // It sends its request only after the others.
    let mut honest = passed_on(&server, 7);
    for last in 10..20 {
        let _open = passed_on(&server, last).upgraded("/ws");
    }
    honest.send(HEALTH);
    assert_eq!(honest.read_response().status, 200);

    let server = Server::start(&[
        ("admission.proxy_protocol", "true"),
        ("limits.max_connections_per_address", "2"),
        ("limits.handshake_timeout", "10m"),
    ]);
    let mut sockets: Vec<_> = (0..10).map(|_| passed_on(&server, ATTACKER)).collect();
    let mut ended = 0;
    let deadline = Instant::now() + PATIENCE;
    while ended < 8 && Instant::now() < deadline {
        sockets.retain_mut(|socket| socket.drain(Duration::from_millis(20)) == Ended::Silent);
        ended = 10 - sockets.len();
    }
    assert_eq!(ended, 8, "two may wait");
    let _open = passed_on(&server, 2).upgraded("/ws");
}
