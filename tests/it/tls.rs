//! TLS in the server: pages and the API over it, certificates by name, their renewal while it runs, and peers that do
//! not speak TLS or do not finish its handshake.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rustls::ClientConfig;
use serde_json::Value;

use crate::support::http;
use crate::support::raw::{Ended, Socket, handshake};
use crate::support::server::{Server, Settings, run};
use crate::support::tls::{Authority, Files, Secure, text};
use crate::support::tls_server::{Both, listening};
use crate::support::{eventually, pause};

const KEY: &str = "a-key-of-the-tests-1";

#[test]
fn two_flags_make_the_server_speak_tls() {
    let authority = Authority::new("An Authority");
    let files = authority.issue("server", &["localhost"]);
    let script = format!("exec \"$@\" --tls-cert {} --tls-key {}", files.cert.display(), files.key.display());
    let server = Server::launch(&["bash", "-c", &script, "bash"], "127.0.0.1:0", &[]);
    let client = authority.client(None);
    for (path, words) in [("/healthz", "ok"), ("/", "<!doctype html>"), ("/app.js", "import")] {
        let page = Secure::connect(server.address(), &client).unwrap().get(path).unwrap();
        assert_eq!(page.status, 200, "{path}");
        assert!(page.body.contains(words), "{path}: {}", page.body.len());
    }
    let metrics = Secure::connect(server.address(), &client).unwrap().get("/metrics").unwrap();
    // 2120-01-01
    let expiry = "throng_tls_certificate_expiry_seconds{certificate=\"0\",name=\"localhost\"} 4733510400";
    assert!(metrics.body.lines().any(|line| line == expiry), "{}", metrics.body);
    let dashboard =
        |line: &Value| line["message"].as_str().is_some_and(|text| text.starts_with("dashboard: https://"));
    server.log().wait_for("an address with https", dashboard);
    // Several requests on one connection, the head of the second in pieces.
    let mut one = Secure::connect(server.address(), &client).unwrap();
    one.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea").unwrap();
    one.send("lthz HTTP/1.1\r\nHost: localhost\r\n").unwrap();
    let both = one.ask("Connection: close\r\n\r\n").unwrap();
    assert_eq!(both.body.matches("200 OK").count(), 1, "the second response follows the first: {both:?}");
}

/// Answers that the socket does not take at once wait in records that were encrypted already.
#[test]
fn a_client_that_reads_late_gets_everything() {
    let both = Both::start(&[]);
    let mut one = both.connect();
    let (page, count) = (both.connect().get("/app.js").unwrap().body, 100);
    for n in 1..=count {
        let last = if n == count { "Connection: close\r\n" } else { "" };
        one.send(&format!("GET /app.js HTTP/1.1\r\nHost: localhost\r\n{last}\r\n")).unwrap();
    }
    pause();
    let all = String::from_utf8(one.read_all().unwrap()).unwrap();
    assert_eq!(all.matches(&page).count(), count, "{} bytes", all.len());
}

#[test]
fn the_header_of_a_proxy_comes_before_tls() {
    let both =
        Both::start(&[("admission.proxy_protocol", "true"), ("admission.trusted_proxies", "127.0.0.1")]);
    let mut stream = TcpStream::connect(both.address).unwrap();
    // Version 2, PROXY, TCP over IPv4, 12 bytes: 192.0.2.1 port 1 to 192.0.2.2 port 2.
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\0\x01\0\x02";
    stream.write_all(header).unwrap();
    let page = Secure::over(stream, &both.client, "localhost").unwrap().get("/healthz").unwrap();
    assert_eq!(page.status, 200);
    assert!(Secure::connect(both.address, &both.client).is_err(), "without the header");
}

#[test]
fn a_request_without_tls_is_told_so() {
    let both = Both::start(&[]);
    let response = http::get(both.address, "/healthz");
    assert_eq!(response.status, 400);
    response.expect_error_body();
    assert!(response.body.contains("\"tls\"") && response.body.contains("https://"), "{response:?}");
    let mut socket = Socket::connect(both.address);
    socket.send(handshake("/ws/chat/ann", ""));
    assert_eq!(socket.read_response().status, 400);
    assert_eq!(socket.drain(Duration::from_secs(5)), Ended::Eof);
    assert_eq!(both.server.metric("throng_refused_total", "\"tls\""), 2.0);
    assert_eq!(both.server.get("/healthz").status, 200, "the other address speaks none");
}

#[test]
fn peers_that_break_the_handshake_are_closed_and_counted() {
    let both = Both::start(&[("limits.handshake_timeout", "1s")]);
    // No TLS and no HTTP; a record that is too long.
    for bytes in [&b"\x00\x01\x02\x03\x04\x05"[..], b"\x16\x03\x01\xff\xff\x00"] {
        let mut socket = Socket::connect(both.address);
        socket.send(bytes);
        assert_eq!(socket.drain(Duration::from_secs(10)), Ended::Eof);
    }
    // A client that trusts another authority sends an alert.
    let stranger = Authority::new("A Stranger").client(None);
    assert!(Secure::connect(both.address, &stranger).is_err());
    eventually("they are counted", || both.server.metric("throng_refused_total", "\"tls\"") == 3.0);
    // One that says nothing, and one that says half of it.
    let mut silent = [Socket::connect(both.address), Socket::connect(both.address)];
    silent[1].send(b"\x16\x03\x01\x02\x00\x01\x00");
    for socket in &mut silent {
        assert_eq!(socket.drain(Duration::from_secs(10)), Ended::Eof);
    }
    eventually("both are counted", || both.server.metric("throng_refused_total", "\"timeout\"") == 2.0);
    assert_eq!(both.connect().get("/healthz").unwrap().status, 200);
}

#[test]
fn each_name_has_its_certificate() {
    let authority = Authority::new("An Authority");
    let first = authority.issue("first", &["localhost"]);
    let second = authority.issue("second", &["chat.example", "*.chat.example"]);
    let list = format!("[{{ cert_file = {:?}, key_file = {:?} }}]", second.cert, second.key);
    let settings = [&first.settings()[..], &[("tls.certificates", list.as_str())]].concat();
    let server = Server::start(&settings);
    let client = authority.client(None);
    let asked =
        |name: &str| Secure::named(server.address(), &client, name).map(|secure| secure.certificate());
    let (one, other) = (asked("localhost").unwrap(), asked("chat.example").unwrap());
    assert_ne!(one, other);
    assert_eq!(asked("eu.chat.example").unwrap(), other);
    assert!(asked("elsewhere.example").is_err(), "it gets the first one, which has another name");
    let metrics = Secure::connect(server.address(), &client).unwrap().get("/metrics").unwrap().body;
    assert_eq!(metrics.matches("throng_tls_certificate_expiry_seconds{").count(), 2, "{metrics}");
}

#[test]
fn a_certificate_is_renewed_under_load_and_nobody_notices() {
    let both = Both::start(&[]);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut served = 0;
                    while !is_over.load(Relaxed) {
                        assert_eq!(both.connect().get("/healthz").unwrap().status, 200);
                        served += 1;
                    }
                    served
                })
            })
            .collect();
        for _ in 0..5 {
            let before = both.connect().certificate();
            both.authority.issue("server", &["localhost"]);
            both.server.signal("HUP");
            eventually("the new certificate is used", || both.connect().certificate() != before);
        }
        // Without a signal: the files are looked at.
        let before = both.connect().certificate();
        both.authority.issue("server", &["localhost"]);
        eventually("the changed file is noticed", || both.connect().certificate() != before);
        is_over.store(true, Relaxed);
        assert!(load.into_iter().all(|load| load.join().expect("no panic") > 0));
    });
}

#[test]
fn a_bad_file_keeps_the_certificate_in_force() {
    let both = Both::start(&[]);
    let before = both.connect().certificate();
    let good = [&both.files.cert, &both.files.key].map(|path| std::fs::read(path).unwrap());
    let other = both.authority.issue("other", &["localhost"]);
    let expired = both.authority.issue_until("expired", &["localhost"], 2021);
    type Damage<'d> = &'d dyn Fn();
    let copy = |from: &Path, to: &Path| {
        std::fs::copy(from, to).unwrap();
    };
    let cases: [(&str, Damage<'_>); 4] = [
        ("is not the key of the first certificate", &|| copy(&other.key, &both.files.key)),
        ("does not hold now", &|| {
            copy(&expired.key, &both.files.key);
            copy(&expired.cert, &both.files.cert);
        }),
        ("must contain a certificate in PEM", &|| std::fs::write(&both.files.cert, "").unwrap()),
        ("cannot be read", &|| std::fs::remove_file(&both.files.cert).unwrap()),
    ];
    for (words, damage) in cases {
        let said = both.said(words);
        damage();
        both.server.signal("HUP");
        eventually(words, || both.said(words) > said);
        assert_eq!(both.connect().certificate(), before, "{words}");
        std::fs::write(&both.files.cert, &good[0]).unwrap();
        std::fs::write(&both.files.key, &good[1]).unwrap();
        both.server.signal("HUP");
        pause();
    }
    // Files that change without a signal are refused in the same way.
    let said = both.said("the certificates in force stay");
    std::fs::write(&both.files.key, "no key").unwrap();
    eventually("it is said", || both.said("the certificates in force stay") > said);
    assert_eq!(both.connect().certificate(), before);
}

#[test]
fn a_server_does_not_start_with_files_that_do_not_fit() {
    let authority = Authority::new("An Authority");
    let (one, other) = (authority.issue("one", &["localhost"]), authority.issue("other", &["localhost"]));
    let mixed = Files { cert: one.cert.clone(), key: other.key };
    let absent = Files { cert: one.cert.with_extension("none"), key: one.key.clone() };
    for (files, code, words) in [(&mixed, 69, "is not the key"), (&absent, 64, "cannot be read")] {
        let output = run(&["serve", "--listen", "127.0.0.1:0"], &files.settings());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(words), "{said}");
    }
    let ca = authority.file();
    for (settings, words) in [
        (vec![one.settings()[0]], "need each other"),
        (vec![one.settings()[1]], "need each other"),
        (vec![("tls.listen", "127.0.0.1:0")], "tls.listen needs a certificate"),
        ([&one.settings()[..], &[("tls.client_ca_file", text(&ca))]].concat(), "it needs that address"),
    ] {
        let output = run(&["check-config"], &settings);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(64) && said.contains(words), "{words}: {said}");
    }
}

/// The API behind an address of its own, which speaks TLS with those alone that have a certificate.
#[test]
fn callers_of_the_api_need_a_certificate_and_a_key() {
    let callers = Authority::new("Callers");
    let ca = callers.file();
    let both =
        Both::start(&[("tls.client_ca_file", text(&ca)), ("api.listen", "127.0.0.1:0"), ("api.keys", KEY)]);
    let address = listening(&both.server, "listening for operators and backends");
    let backend = callers.issue("backend", &["backend"]);
    let known = both.authority.client(Some(&backend));
    let call = |config: &Arc<ClientConfig>, key: &str| {
        let body = r#"{"room":"lobby","message":"hi"}"#;
        let length = body.len();
        Secure::connect(address, config)?.ask(&format!(
            "POST /api/publish HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-API-Key: {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    };
    let answer = call(&known, KEY).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    // The session is resumed.
    assert_eq!(call(&known, KEY).unwrap().status, 200);
    assert_eq!(call(&known, "a-wrong-key-of-16").unwrap().status, 401);
    let ca_of_server = both.authority.file();
    let url = format!("https://localhost:{}", address.port());
    let command = ["api", "info", "--url", &url, "--ca", text(&ca_of_server)];
    let shown = ["--cert", text(&backend.cert), "--cert-key", text(&backend.key)];
    let environment = [("api_key", KEY)];
    assert_eq!(run(&[&command[..], &shown].concat(), &environment).status.code(), Some(0));
    assert_ne!(run(&command, &environment).status.code(), Some(0), "without a certificate");
    let stranger = both.authority.client(Some(&both.authority.issue("stranger", &["backend"])));
    assert!(call(&both.client, KEY).is_err() && call(&stranger, KEY).is_err());
    assert_eq!(http::get(address, "/healthz").status, 400);
    // The clients of the chat need none.
    assert_eq!(both.connect().get("/healthz").unwrap().status, 200);
    // Authorities are renewed like certificates.
    let others = Authority::new("Other Callers");
    std::fs::copy(others.file(), &ca).unwrap();
    both.server.signal("HUP");
    let new = both.authority.client(Some(&others.issue("backend", &["backend"])));
    eventually("the new authority is trusted", || call(&new, KEY).is_ok_and(|answer| answer.status == 200));
    assert!(call(&known, KEY).is_err(), "the former one is trusted no longer, not even in a resumed session");
}

/// Returns the findings of `throng doctor` about TLS, as level and text.
#[track_caller]
fn examined(settings: Settings<'_>) -> Vec<(String, String)> {
    let output = run(&["doctor", "--json"], &[&[("listen", "127.0.0.1:0")], settings].concat());
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rows = report["findings"].as_array().expect("a list");
    let of_tls = rows.iter().filter(|row| row["subject"] == "tls");
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    of_tls.map(|row| (text(row, "level"), text(row, "text"))).collect()
}

#[test]
fn the_doctor_looks_at_certificates() {
    let authority = Authority::new("An Authority");
    let good = authority.issue("good", &["chat.example", "127.0.0.1"]);
    let found = examined(&good.settings());
    let expected =
        [("ok", "chat.example, 127.0.0.1"), ("ok", "days more"), ("warning", "signed by CN=An Authority")];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((level, text), (expected, words)) in found.iter().zip(expected) {
        assert!(level == expected && text.contains(words), "{words}: {found:?}");
    }
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let whole = [read(&good.cert), read(&authority.file())].concat();
    std::fs::write(&good.cert, whole).unwrap();
    assert!(examined(&good.settings())[2].1.contains("leads to CN=An Authority"));

    let expired = authority.issue_until("expired", &["chat.example"], 2021);
    assert!(examined(&expired.settings())[1].1.contains("has expired"));
    let nameless = authority.issue("nameless", &[]);
    assert_eq!(examined(&nameless.settings())[0].0, "error");
    let mixed = Files { cert: good.cert.clone(), key: nameless.key };
    let found = examined(&mixed.settings());
    assert!(found.len() == 1 && found[0].1.contains("is not the key"), "{found:?}");
    assert!(examined(&[]).is_empty(), "without a certificate there is nothing to say");
}
