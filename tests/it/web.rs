//! The files that browsers load, and the JavaScript client among them, whose tests run in Node against the real server.

use std::process::{Command, Output};

use crate::support::binary;
use crate::support::http::Response;
use crate::support::raw::Socket;
use crate::support::server::Server;

/// Every file: path, type, and its first characters.
const FILES: &[(&str, &str, &str)] = &[
    ("/", "text/html; charset=utf-8", "<!doctype html>"),
    ("/app.js", "text/javascript; charset=utf-8", "/**"),
    ("/state.js", "text/javascript; charset=utf-8", "/**"),
    ("/text.js", "text/javascript; charset=utf-8", "/**"),
    ("/messages.js", "text/javascript; charset=utf-8", "/**"),
    ("/log.js", "text/javascript; charset=utf-8", "/**"),
    ("/lists.js", "text/javascript; charset=utf-8", "/**"),
    ("/history.js", "text/javascript; charset=utf-8", "/**"),
    ("/events.js", "text/javascript; charset=utf-8", "/**"),
    ("/send.js", "text/javascript; charset=utf-8", "/**"),
    ("/rooms.js", "text/javascript; charset=utf-8", "/**"),
    ("/route.js", "text/javascript; charset=utf-8", "/**"),
    ("/session.js", "text/javascript; charset=utf-8", "/**"),
    ("/entry.js", "text/javascript; charset=utf-8", "/**"),
    ("/tabs.js", "text/javascript; charset=utf-8", "/**"),
    ("/field.js", "text/javascript; charset=utf-8", "/**"),
    ("/composer.js", "text/javascript; charset=utf-8", "/**"),
    ("/complete.js", "text/javascript; charset=utf-8", "/**"),
    ("/commands.js", "text/javascript; charset=utf-8", "/**"),
    ("/emoji.js", "text/javascript; charset=utf-8", "/**"),
    ("/listbox.js", "text/javascript; charset=utf-8", "/**"),
    ("/switcher.js", "text/javascript; charset=utf-8", "/**"),
    ("/browse.js", "text/javascript; charset=utf-8", "/**"),
    ("/handover.js", "text/javascript; charset=utf-8", "/**"),
    ("/settings.js", "text/javascript; charset=utf-8", "/**"),
    ("/alerts.js", "text/javascript; charset=utf-8", "/**"),
    ("/countdown.js", "text/javascript; charset=utf-8", "/**"),
    ("/page.js", "text/javascript; charset=utf-8", "/**"),
    ("/dom.js", "text/javascript; charset=utf-8", "/**"),
    ("/client.js", "text/javascript; charset=utf-8", "/**"),
    ("/style.css", "text/css; charset=utf-8", "/*"),
    ("/manifest.webmanifest", "application/manifest+json", "{"),
    ("/dashboard", "text/html; charset=utf-8", "<!doctype html>"),
    ("/dashboard.js", "text/javascript; charset=utf-8", "/**"),
    ("/dashboard.css", "text/css; charset=utf-8", "/*"),
    ("/stats.js", "text/javascript; charset=utf-8", "/**"),
    ("/control.js", "text/javascript; charset=utf-8", "/**"),
    ("/feed.js", "text/javascript; charset=utf-8", "/**"),
    ("/figures.js", "text/javascript; charset=utf-8", "/**"),
    ("/tables.js", "text/javascript; charset=utf-8", "/**"),
    ("/states.js", "text/javascript; charset=utf-8", "/**"),
    ("/export.js", "text/javascript; charset=utf-8", "/**"),
    ("/nodes.js", "text/javascript; charset=utf-8", "/**"),
    ("/plot.js", "text/javascript; charset=utf-8", "/**"),
    ("/icon.svg", "image/svg+xml", "<svg"),
    ("/icon-unread.svg", "image/svg+xml", "<svg"),
];

#[track_caller]
fn request(server: &Server, line: &str) -> Response {
    let mut socket = Socket::connect(server.address());
    socket.send(format!("{line} HTTP/1.1\r\nHost: throng.test\r\nConnection: close\r\n\r\n"));
    socket.read_response()
}

#[test]
fn every_file_is_served_with_its_type() {
    let server = Server::start(&[]);
    for (path, kind, start) in FILES {
        let file = server.get(path);
        assert_eq!((file.status, file.header("content-type")), (200, Some(*kind)), "{path}");
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert!(file.body.starts_with(start), "{path}: {}", file.body);
        // A page and its scripts must be of one version: browsers ask before they use a cached file.
        let caching = file.header("cache-control");
        assert!(matches!(caching, Some("no-cache" | "no-store")), "{path}: {caching:?}");
        // Only the client may be loaded by pages of other origins.
        let origins = file.header("access-control-allow-origin");
        assert_eq!(origins, (*path == "/client.js").then_some("*"), "{path}");
        let length = file.body.len().to_string();
        assert_eq!(file.header("content-length"), Some(&*length), "{path}");
    }
    for path in ["/dashboard/", "/dashboard.html", "/app.js/", "/web/app.js", "/index.html", "/client.mjs"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    assert_eq!(server.get("/client.js?v=1").status, 200);
    assert_eq!(request(&server, "POST /client.js").status, 405);
}

#[test]
fn the_page_may_load_nothing_but_its_own() {
    let server = Server::start(&[]);
    for page in ["/", "/dashboard"].map(|path| server.get(path)) {
        let policy = page.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        for allowed in
            ["script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"]
        {
            assert!(policy.contains(allowed), "no {allowed}: {policy}");
        }
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    }
}

#[test]
fn head_is_get_without_the_body() {
    let server = Server::start(&[]);
    for (path, kind, _) in FILES {
        // `get` cannot be used: it would wait for the body.
        let mut socket = Socket::connect(server.address());
        socket.send(format!("HEAD {path} HTTP/1.1\r\nHost: throng.test\r\nConnection: close\r\n\r\n"));
        let head = socket.read_head();
        assert_eq!((head.status, head.header("content-type")), (200, Some(*kind)), "{path}");
        let length = server.get(path).body.len().to_string();
        assert_eq!(head.header("content-length"), Some(&*length), "{path}");
        socket.expect_eof();
    }
}

/// Runs `node`; prints that it is missing and returns `None` where there is none.
fn node(arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new("node");
    command.args(arguments).env("THRONG_BINARY", binary()).env_remove("NODE_OPTIONS");
    match command.output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: there is no node on this machine; tests/run installs it");
            None
        }
        Err(error) => panic!("node does not run: {error}"),
    }
}

#[test]
fn the_client_keeps_its_promises_in_node() {
    // Node 20 has a WebSocket only with this flag.
    const FLAG: &str = "--experimental-websocket";
    let asks = format!("console.log(process.allowedNodeEnvironmentFlags.has('{FLAG}'))");
    let Some(answer) = node(&["-e", &asks]) else { return };
    let mut arguments = vec!["--test", "--test-reporter=tap"];
    if answer.stdout.starts_with(b"true") {
        arguments.insert(0, FLAG);
    }
    let suites = ["backoff", "cases", "client", "mistakes", "nodes", "server", "states", "stats"];
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/web");
    let files = suites.map(|suite| format!("{folder}/{suite}.test.mjs"));
    arguments.extend(files.iter().map(String::as_str));
    let Some(output) = node(&arguments) else { return };
    let report = String::from_utf8_lossy(&output.stdout);
    let count = |what: &str| {
        let prefix = format!("# {what} ");
        report.lines().find_map(|line| line.strip_prefix(&prefix)).and_then(|n| n.parse::<usize>().ok())
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && count("fail") == Some(0), "{report}\n{errors}");
    assert!(count("pass").is_some_and(|passed| passed >= 30), "some did not run: {report}\n{errors}");
}
