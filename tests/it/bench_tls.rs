//! The load generator over `wss://`: every scenario, compression, ciphertext in pieces, and handshakes that fail.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use serde_json::Value;

use crate::bench::{SHORT, bench, bench_ok, check_traffic, number};
use crate::support::server::run;
use crate::support::tls::{Authority, Files, text};
use crate::support::tls_server::Both;

/// Returns an authority and a certificate of `localhost`. The files are removed with the authority.
fn localhost() -> (Authority, Files) {
    let authority = Authority::new("An Authority");
    let files = authority.issue("server", &["localhost"]);
    (authority, files)
}

/// Returns the options of a run whose server has this certificate, with what the clients trust.
fn options(files: &Files, trust: &[&str]) -> Vec<String> {
    let set =
        files.settings().into_iter().flat_map(|(key, value)| ["--set".into(), format!("{key}={value}")]);
    set.chain(trust.iter().map(|word| (*word).to_owned())).collect()
}

/// Runs a scenario over TLS, which must succeed; returns the result.
#[track_caller]
fn secure_ok(arguments: &[&str], more: &[&str]) -> Value {
    let (authority, files) = localhost();
    let ca = authority.file();
    let options = options(&files, &["--ca", text(&ca)]);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let report = bench_ok(&[arguments, more, &options].concat());
    assert!(report["target"].as_str().is_some_and(|url| url.starts_with("wss://localhost:")), "{report:#}");
    assert_eq!(report["tls"], "TLSv1_3 TLS13_AES_128_GCM_SHA256", "{report:#}");
    report
}

#[test]
fn scenarios_with_traffic_are_the_same_over_tls() {
    let fanout = secure_ok(&["fanout", "-c", "40", "--publishers", "3", "--in-flight", "2"], SHORT);
    check_traffic(&fanout, 40.0);
    check_traffic(&secure_ok(&["rooms", "-c", "30", "--rooms", "6"], SHORT), 5.0);
    // Shorter than a record, and longer than one.
    for size in ["35", "20000"] {
        check_traffic(&secure_ok(&["echo", "-c", "5", "--size", size], SHORT), 1.0);
    }
    let plain = bench_ok(&[&["fanout", "-c", "9"], SHORT].concat());
    assert_eq!(plain["tls"], Value::Null, "it was not encrypted");
}

#[test]
fn scenarios_without_traffic_are_the_same_over_tls() {
    let connect = secure_ok(&["connect", "-c", "50", "--settle", "0.2"], &[]);
    assert_eq!(number(&connect, "/handshakes/open_at_end"), 50.0);
    let idle = secure_ok(&["idle", "-c", "50", "--hold", "0.5", "--settle", "0.2"], &[]);
    assert_eq!(number(&idle, "/whole_run/delivered"), 50.0, "each received one message: {idle:#}");
    let storm = secure_ok(&["storm", "-c", "50", "--rounds", "2", "--settle", "0.2"], &[]);
    assert_eq!(number(&storm, "/handshakes/opened"), 150.0, "{storm:#}");
}

#[test]
fn slow_clients_are_dropped_over_tls_too() {
    let bounds = ["--set", "queue.max_bytes=128KiB", "--set", "socket.send_buffer=16KiB"];
    let long = ["--set", "chat.max_message_chars=4000", "--size", "3500"];
    let times = ["--seconds", "3", "--warm-up", "0.2", "--settle", "0.2", "--workers", "1"];
    let scenario = ["slow", "-c", "20", "--stall", "10", "--in-flight", "8"];
    let report = secure_ok(&scenario, &[&bounds[..], &long, &times].concat());
    assert_eq!(
        (&report["stalled"]["count"], &report["stalled"]["dropped"]),
        (&2.into(), &2.into()),
        "{report:#}"
    );
}

#[test]
fn compressed_deliveries_come_over_tls() {
    let scenario = ["fanout", "-c", "30", "--size", "300", "--compression"];
    let on = secure_ok(&scenario, SHORT);
    check_traffic(&on, 30.0);
    assert_eq!(on["compressed_connections"], 30, "{on:#}");
    let off = secure_ok(&scenario, &[SHORT, &["--set", "compression.enabled=false"]].concat());
    let ratio = number(&on, "/wire_bytes_each") / number(&off, "/wire_bytes_each");
    assert!((0.3..0.7).contains(&ratio), "the bytes are those inside of TLS: {ratio}");
}

/// 1. A proxy passes on the bytes of the server in pieces of one to seven bytes, each in a segment of its own.
/// 2. Records and the handshake come in parts, and the deliveries are all counted.
#[test]
fn ciphertext_may_come_in_pieces() {
    let both = Both::start(&[("rate_limit.enabled", "false")]);
    let (proxy, ca) = (crumbling(both.address), both.authority.file());
    let url = format!("wss://localhost:{}/ws/chat/u{{i}}?room={{r}}", proxy.port());
    let target = ["--url", &url, "--ca", text(&ca)];
    let load = ["fanout", "-c", "4", "--rate", "50", "--seconds", "1", "--warm-up", "0.1", "--settle", "0.2"];
    let report = bench_ok(&[&load[..], &target].concat());
    assert_eq!(number(&report, "/whole_run/delivered"), 4.0 * 55.0, "{report:#}");
}

/// Starts a proxy to `server` that passes on its bytes a few at a time; returns the address of the proxy.
fn crumbling(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(server).expect("the server accepts");
            client.set_nodelay(true).expect("a socket");
            let (to_server, to_client) =
                (server.try_clone().expect("a clone"), client.try_clone().expect("a clone"));
            std::thread::spawn(move || pass(client, to_server, usize::MAX));
            std::thread::spawn(move || pass(server, to_client, 7));
        }
    });
    address
}

/// Passes bytes on until one side ends, in pieces of up to `longest`.
fn pass(mut from: TcpStream, mut to: TcpStream, longest: usize) {
    let mut buffer = [0; 4096];
    let mut length = 0;
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            length = (length % longest + 1).min(rest.len());
            let (piece, others) = rest.split_at(if longest == usize::MAX { rest.len() } else { length });
            if to.write_all(piece).is_err() {
                return;
            }
            rest = others;
        }
    }
    // It may be shut down already, from the other side.
    let _ = to.shutdown(Shutdown::Write);
}

/// Asserts that no handshake succeeded, that the exit code says so, and that the reason has these words.
#[track_caller]
fn expect_failed_handshakes(arguments: &[&str], words: &str) {
    let all = [&["connect", "-c", "3", "--settle", "0"], arguments].concat();
    let (code, report) = bench(&all);
    assert_eq!((code, &report["handshakes"]["failed"]), (1, &3.into()), "{report:#}");
    assert!(report["complaints"][0].as_str().is_some_and(|what| what.contains(words)), "{words}: {report:#}");
    let output = run(&[&["bench"], &all[..]].concat(), &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("3 handshakes failed") && said.contains(words), "{words}: {said}");
}

#[test]
fn a_failed_handshake_has_its_reason() {
    let both = Both::start(&[("rate_limit.enabled", "false")]);
    let (ca, stranger, address) = (both.authority.file(), Authority::new("A Stranger"), both.address);
    let wrong_ca = stranger.file();
    let url = |scheme: &str, host: &str, port: u16| format!("{scheme}://{host}:{port}/ws/chat/u{{i}}");
    let good = url("wss", "localhost", address.port());
    let untrusted = "the server's certificate is not trusted: --ca FILE";
    expect_failed_handshakes(&["--url", &good, "--ca", text(&wrong_ca)], untrusted);
    expect_failed_handshakes(&["--url", &good], untrusted);
    let by_address = url("wss", "127.0.0.1", address.port());
    expect_failed_handshakes(&["--url", &by_address, "--ca", text(&ca)], "is for another name");
    let without_tls = url("wss", "localhost", both.server.address().port());
    expect_failed_handshakes(&["--url", &without_tls, "--ca", text(&ca)], "does not speak TLS");
    expect_failed_handshakes(&["--url", &url("ws", "127.0.0.1", address.port())], "400");
    // The server refuses the request inside of TLS.
    let nowhere = format!("wss://localhost:{}/nowhere", address.port());
    expect_failed_handshakes(&["--url", &nowhere, "--ca", text(&ca)], "404");
    for trust in [&["--ca", text(&ca)][..], &["--insecure"]] {
        bench_ok(&[&["connect", "-c", "3", "--settle", "0", "--url", &good], trust].concat());
    }
    bench_ok(&["connect", "-c", "3", "--settle", "0", "--url", &by_address, "--insecure"]);
}

/// A peer that ends the connection or says nothing of TLS, instead of a handshake.
#[test]
fn a_peer_that_ends_the_handshake_is_reported() {
    let (authority, _files) = localhost();
    let ca = authority.file();
    for (answer, words) in [
        (&b""[..], "the server closed the connection"),
        // A fatal alert: handshake failure.
        (b"\x15\x03\x03\x00\x02\x02\x28", "HandshakeFailure"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                // The client's first words are read, or the end would be a reset.
                let read = stream.read(&mut [0; 4096]).and_then(|_| stream.write_all(answer));
                read.expect("a client that listens");
            }
        });
        let url = format!("wss://localhost:{port}/");
        expect_failed_handshakes(&["--url", &url, "--ca", text(&ca)], words);
    }
}

#[test]
fn certificates_that_are_not_needed_or_not_there_are_wrong_usage() {
    let (authority, _files) = localhost();
    let ca = authority.file();
    let absent = ca.with_extension("none");
    let secure = "wss://localhost:9/";
    for (options, words) in [
        (&["--url", "ws://localhost:9/", "--ca", text(&ca)][..], "for wss:// alone"),
        (&["--url", "ws://localhost:9/", "--insecure"], "for wss:// alone"),
        (&["--insecure"], "for wss:// alone"),
        (&["--url", secure, "--ca", text(&absent)], "cannot be read"),
        (&["--url", secure, "--ca", text(&ca), "--insecure"], "cannot be used with"),
        (&["--url", "https://localhost:9/"], "must begin with ws:// or wss://"),
    ] {
        let output = run(&[&["bench", "connect"], options].concat(), &[]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(64) && said.contains(words), "{words}: {said}");
    }
}
