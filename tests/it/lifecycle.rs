//! SIGTERM and SIGINT: the close codes that clients get, when they get them, and how long the drain takes.

use std::time::{Duration, Instant};

use crate::support::eventually;
use crate::support::frame::text;
use crate::support::raw::{Socket, handshake};
use crate::support::server::Server;
use crate::support::speaker::{Speaker, expect_advice};

/// Longest time after its window in which a draining server must end, on a slow machine.
const GRACE: Duration = Duration::from_secs(8);

#[test]
fn a_draining_server_refuses_newcomers_and_closes_everybody() {
    let window = Duration::from_secs(3);
    let mut server = Server::start(&[("drain.window", "3s")]);
    let mut sockets: Vec<_> =
        (0..30).map(|n| Socket::open(server.address(), &format!("/ws/chat/user-{n}"))).collect();
    assert_eq!(server.get("/readyz").status, 200);

    let started = Instant::now();
    server.terminate();
    eventually("not ready any more", || server.get("/readyz").status == 503);
    let mut late = Socket::connect(server.address());
    late.send(handshake("/ws", ""));
    let response = late.read_response();
    assert_eq!(response.status, 503, "{response:?}");
    assert!(response.header("retry-after").is_some(), "{response:?}");
    response.expect_error_body();

    let closed: Vec<Duration> = std::thread::scope(|scope| {
        let readers: Vec<_> = sockets
            .iter_mut()
            .map(|socket| {
                scope.spawn(move || {
                    assert_eq!(socket.skip_to_close().0, 1012);
                    let closed = started.elapsed();
                    socket.expect_eof();
                    closed
                })
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().expect("closed in good order")).collect()
    });
    let status = server.wait_exit(window + GRACE);
    assert!(status.success(), "{status}");
    assert!(started.elapsed() < window + GRACE, "{:?}", started.elapsed());
    let (first, last) = (closed.iter().min().expect("30"), closed.iter().max().expect("30"));
    // Thirty random times do not fall within a tenth of the window by chance.
    assert!(*last - *first > window / 10, "all at once: {first:?} to {last:?}");
    assert!(closed.windows(2).any(|pair| pair[1] < pair[0]), "closed in the order of connecting: {closed:?}");
}

#[test]
fn a_draining_server_still_serves_its_clients() {
    let server = Server::start(&[("drain.window", "60s")]);
    let mut sockets: Vec<_> = (0..20).map(|_| Socket::open(server.address(), "/ws?raw")).collect();
    server.terminate();
    eventually("not ready any more", || server.get("/readyz").status == 503);
    let served = sockets.iter_mut().filter_map(|socket| {
        socket.try_send(text("still here?"));
        socket.try_frame(Duration::from_secs(5)).ok()
    });
    let served = served.filter(|frame| frame.payload == b"still here?").count();
    assert!(served > 0, "nobody is served within a minute's window");
}

#[test]
fn an_empty_server_does_not_wait_for_its_window() {
    let mut server = Server::start(&[("drain.window", "60s")]);
    server.terminate();
    let status = server.wait_exit(GRACE);
    assert!(status.success(), "{status}");
}

#[test]
fn a_client_that_does_not_answer_its_close_does_not_hold_the_server_up() {
    let mut server = Server::start(&[("drain.window", "1s")]);
    let _deaf: Vec<_> = (0..5).map(|_| Socket::open(server.address(), "/ws")).collect();
    let _silent = Socket::connect(server.address());
    server.terminate();
    let status = server.wait_exit(Duration::from_secs(1) + GRACE);
    assert!(status.success(), "{status}");
}

#[test]
fn the_signal_decides_the_close_code_of_a_drain() {
    for (signal, code, reason) in [("TERM", 1012, "Server restarting"), ("INT", 1001, "Going away")] {
        let mut server = Server::start(&[("drain.window", "1s")]);
        let mut plain = Socket::open(server.address(), "/ws?raw");
        let mut alice = Speaker::alone(&server, "alice");
        server.signal(signal);
        assert_eq!(plain.skip_to_close(), (code, reason.to_owned()));
        let (advice, told) = alice.skip_to_end().expect("no reset");
        assert_eq!(told, code);
        expect_advice(&advice, code, reason);
        let status = server.wait_exit(GRACE);
        assert!(status.success(), "SIG{signal}: {status}");
    }
}

#[test]
fn a_second_signal_of_either_kind_ends_it_at_once() {
    for (first, second, status) in [("TERM", "TERM", 143), ("TERM", "INT", 130), ("INT", "TERM", 143)] {
        let mut server = Server::start(&[("drain.window", "120s")]);
        let _sockets: Vec<_> = (0..20).map(|_| Socket::open(server.address(), "/ws")).collect();
        server.signal(first);
        eventually("the first signal is understood", || server.get("/readyz").status == 503);
        server.signal(second);
        assert_eq!(server.wait_exit(GRACE).code(), Some(status), "SIG{first}, SIG{second}");
    }
}

/// Regression: 1. A service manager sends SIGHUP to reload settings, or an operator sends SIGUSR1. 2. The server died
/// at once, without a close frame or a line in the log.
#[test]
fn signals_that_do_not_stop_the_server_are_logged_and_end_nothing() {
    let mut server = Server::start(&[("drain.window", "1s")]);
    let mut socket = Socket::open(server.address(), "/ws?raw");
    for (signal, line) in [("HUP", "the settings were read again"), ("USR1", "SIGUSR1"), ("USR2", "SIGUSR2")]
    {
        server.signal(signal);
        let is_said =
            |logged: &serde_json::Value| logged["message"].as_str().is_some_and(|m| m.contains(line));
        server.log().wait_for(line, is_said);
        socket.send(text(signal));
        assert_eq!(socket.read_text(), signal);
        assert_eq!(server.get("/readyz").status, 200, "SIG{signal}");
    }
    server.terminate();
    assert_eq!(socket.skip_to_close().0, 1012);
    server.signal("HUP");
    let status = server.wait_exit(GRACE);
    assert!(status.success(), "{status}");
}

/// Regression: 1. Nobody reads standard error any more, because the terminal is closed or the pipe's reader has ended.
/// 2. The next line panicked in the thread that logged it: a worker, the acceptor, or the listener for signals.
#[test]
fn a_log_that_nobody_reads_ends_nothing() {
    let script = "exec \"$@\" 2> >(sed '/listening/q' >&2)";
    let settings = [("drain.window", "120s"), ("log.level", "debug")];
    let mut server = Server::launch(&["bash", "-c", script, "bash"], "127.0.0.1:0", &settings);
    server.log().wait_for_end();
    for _ in 0..3 {
        server.signal("HUP");
        // Each end is logged.
        drop(Socket::open(server.address(), "/ws?raw"));
    }
    let mut socket = Socket::open(server.address(), "/ws?raw");
    socket.send(text("still there"));
    assert_eq!(socket.read_text(), "still there");
    let _others: Vec<_> = (0..20).map(|_| Socket::open(server.address(), "/ws")).collect();
    server.terminate();
    eventually("it drains", || server.get("/readyz").status == 503);
    // The thread that takes this signal has logged the others.
    server.terminate();
    assert_eq!(server.wait_exit(GRACE).code(), Some(143));
}
