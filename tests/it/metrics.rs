//! `/metrics`: the process, the balance of its workers, errors by code, and ends by the side that caused them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::support::eventually;
use crate::support::frame::{close, text};
use crate::support::raw::Socket;
use crate::support::server::Server;
use crate::support::speaker::Speaker;
use crate::support::vocabulary::errors;

/// A close code has a meaning only together with the side that sent it.
#[test]
fn ends_are_counted_by_the_side_that_caused_them() {
    let server = Server::start(&[]);
    // Clients send codes that the server uses for its own ends, and codes that are unknown to it.
    for code in [1000, 1011, 1012, 1013, 3008, 4001, 4502, 1010, 3999, 4321] {
        let mut socket = Socket::open(server.address(), "/ws?raw");
        socket.send(close(code, "mine"));
        assert_eq!(socket.read_close().0, code);
    }
    drop(Socket::open(server.address(), "/ws?raw"));
    // The server ends three connections: a frame without a mask, a malformed message, a missing token.
    Socket::open(server.address(), "/ws?raw").send([0x81, 0x00]);
    Socket::open(server.address(), "/ws/messages").send(text("not JSON"));
    let _refused = Socket::open(server.address(), "/ws/secure");
    let closes = || -> BTreeMap<String, f64> {
        let counted = server.metrics().into_iter().filter_map(|(series, count)| {
            Some((series.strip_prefix("throng_closes_total")?.to_owned(), count))
        });
        counted.filter(|(_, count)| *count > 0.0).collect()
    };
    let expected: BTreeMap<String, f64> = [
        ("1000", "client", 1.0),
        ("1006", "client", 1.0),
        ("1011", "client", 1.0),
        ("1012", "client", 1.0),
        ("1013", "client", 1.0),
        ("3008", "client", 1.0),
        ("4001", "client", 1.0),
        ("4502", "client", 1.0),
        ("other", "client", 3.0),
        ("1002", "server", 1.0),
        ("1007", "server", 1.0),
        ("1008", "server", 1.0),
    ]
    .into_iter()
    .map(|(code, by, count)| (format!("{{code=\"{code}\",by=\"{by}\"}}"), count))
    .collect();
    eventually("all ends are counted", || closes().values().sum::<f64>() >= 14.0);
    assert_eq!(closes(), expected);
}

#[test]
fn errors_are_counted_by_their_code_in_both_dialects() {
    let server = Server::start(&[("chat.max_message_chars", "20"), ("workers", "2")]);
    let mut plain = Socket::open(server.address(), "/ws/chat/alice");
    plain.read_text();
    for (said, code) in [
        ("not JSON", "invalid_json"),
        ("{}", "missing_field"),
        (r#"{"message":"one that is too long by far"}"#, "message_too_long"),
    ] {
        plain.send(text(said));
        let answer = plain.read_text();
        assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{answer}");
    }
    let mut bob = Speaker::alone(&server, "bob?room=kitchen");
    bob.ask_refused(json!({"type": "message", "message": "one that is too long by far"}), "message_too_long");
    bob.ask_refused(json!({"type": "direct", "to": "nobody", "message": "hi"}), "user_not_found");
    bob.ask_refused(json!({"type": "shout"}), "unknown_type");
    bob.ask_refused(json!({"type": "leave", "room": "garden"}), "not_in_room");
    bob.ask_refused(json!({"type": "leave", "room": "attic"}), "not_in_room");
    let counted = |code: &str| server.metric("throng_errors_total", &format!("code=\"{code}\""));
    for (code, count) in [
        ("invalid_json", 1.0),
        ("missing_field", 1.0),
        ("message_too_long", 2.0),
        ("user_not_found", 1.0),
        ("unknown_type", 1.0),
        ("not_in_room", 2.0),
        ("unavailable", 0.0),
    ] {
        assert_eq!(counted(code), count, "{code}");
    }
    assert_eq!(server.metric("throng_errors_total", ""), 8.0);
    // There is a series for each code, and no others.
    let metrics = server.metrics();
    let series = metrics.keys().filter_map(|series| {
        series.strip_prefix("throng_errors_total{code=\"")?.strip_suffix("\"}").map(str::to_owned)
    });
    let codes = errors().iter().map(|error| error.code().to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(series.collect::<BTreeSet<_>>(), codes);
}

#[test]
fn the_metrics_of_the_process_and_its_workers_are_there() {
    let server = Server::start(&[("workers", "3"), ("limits.max_connections", "1234")]);
    let mut alice = Socket::open(server.address(), "/ws/chat/alice");
    let others: Vec<_> =
        ["bob", "carol"].map(|user| Socket::open(server.address(), &format!("/ws/chat/{user}"))).into();
    alice.send(text(r#"{"message":"hi"}"#));
    while !alice.read_text().contains("\"hi\"") {}
    eventually("three are connected", || server.connections() == 3.0);
    let all = server.metrics();
    let number = |series: &str| *all.get(series).unwrap_or_else(|| panic!("no {series}: {all:#?}"));
    let version = format!("throng_build_info{{version=\"{}\",features=\"", env!("CARGO_PKG_VERSION"));
    let build = all.keys().find(|series| series.starts_with(&version)).expect("the series of the build");
    assert!(["bench", "chat", "terminal", "tls"].iter().all(|feature| build.contains(feature)), "{build}");
    assert_eq!((number(build), number("throng_connections_max")), (1.0, 1234.0));
    assert_eq!(number("throng_draining"), 0.0);
    assert!(number("throng_queue_bytes_max") >= 1e6, "a share of the machine's memory");
    assert!(number("process_threads") >= 3.0, "one for each worker");
    for (name, total) in [
        ("throng_shard_connections", "throng_connections"),
        ("throng_shard_deliveries_total", "throng_deliveries_total"),
    ] {
        let shards = all.iter().filter(|(series, _)| series.starts_with(&format!("{name}{{shard=")));
        let counts: Vec<_> = shards.map(|(_, count)| *count).collect();
        assert_eq!(counts.len(), 3, "{name}: {all:#?}");
        // Counters of deliveries still change while the page is written.
        assert!(name.contains("deliveries") || counts.iter().sum::<f64>() == number(total), "{counts:?}");
        assert!(counts.iter().sum::<f64>() > 0.0, "{name}: {counts:?}");
    }
    assert_eq!(number("throng_connections"), 3.0);
    let cpu = number("process_cpu_seconds_total");
    assert!(cpu > 0.0 && cpu <= server.cpu().as_secs_f64() + 0.02, "{cpu}");
    let resident = number("process_resident_memory_bytes");
    assert!((1e6..1e9).contains(&resident) && resident % 1024.0 == 0.0, "{resident}");
    // The sockets of earlier scrapes may be open or closed.
    let open = number("process_open_fds");
    assert!((open - server.fds() as f64).abs() <= 8.0, "{open} of {}", server.fds());
    assert!(number("process_max_fds") > open);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let age = now - number("process_start_time_seconds");
    assert!((-1.0..120.0).contains(&age), "{age}");
    drop(others);
}

/// The format of Prometheus: each metric once, its type and help before its series, names of counters with `_total`.
#[test]
fn the_page_is_in_the_format_of_prometheus() {
    let page = Server::start(&[]).get("/metrics").body;
    assert!(page.ends_with('\n'));
    let mut seen = BTreeSet::new();
    let mut series = BTreeSet::new();
    let (mut name, mut kind) = ("", "");
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let told =
                lines.next().and_then(|line| line.strip_prefix("# TYPE ")).expect("a type behind the help");
            (name, kind) = told.split_once(' ').expect("a name and a type");
            assert!(help.strip_prefix(name).is_some_and(|text| text.len() > 2), "{help}");
            assert!(seen.insert(name), "{name} is there twice");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
            continue;
        }
        let (labelled, value) = line.rsplit_once(' ').expect("a series and its value");
        let base = labelled.split('{').next().unwrap_or(labelled);
        let is_part = kind == "histogram"
            && ["_bucket", "_sum", "_count"].iter().any(|part| base == format!("{name}{part}"));
        assert!(is_part || base == name, "{line} under {name}");
        assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{line}");
        assert!(series.insert(labelled), "{line} is there twice");
    }
}
