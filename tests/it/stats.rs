//! The dashboard's feed: the key it needs, the fields of its events, and that viewers cost other clients nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::eventually;
use crate::support::feed::{LOCAL, STREAM, Viewer, ask, names, shown};
use crate::support::frame::text;
use crate::support::http::Response;
use crate::support::raw::Socket;
use crate::support::server::{Server, Settings};

const KEY: &str = "a-key-of-the-tests-1";
/// Most viewers at once.
const VIEWERS: usize = 32;

#[test]
fn the_first_event_comes_at_once_and_has_every_field() {
    let server = Server::start(&[("workers", "3"), ("node", "here")]);
    let mut socket = ask(&server, &shown(&server.key()));
    let head = socket.read_head();
    let header = |name| head.header(name).unwrap_or_default();
    assert_eq!((head.status, header("content-type")), (200, "text/event-stream"));
    assert_eq!((header("cache-control"), header("x-accel-buffering")), ("no-store, no-transform", "no"));
    assert_eq!((head.header("content-length"), head.header("content-encoding")), (None, None));
    let mut viewer = Viewer::begin(socket);
    let snapshot = viewer.snapshot();
    let expected = "node version started_ms uptime_ms viewers connections max_connections rooms accepted messages \
        deliveries bytes_sent writes queue_bytes slow_consumers_dropped messages_dropped rate_limited recovered \
        not_recovered fanout_le_us fanout closes refused resident_bytes cpu_us shards slowest";
    assert_eq!(names(&snapshot), expected.split_whitespace().collect());
    assert_eq!(
        (&snapshot["node"], &snapshot["version"]),
        (&"here".into(), &env!("CARGO_PKG_VERSION").into())
    );
    let shards = snapshot["shards"].as_array().expect("a list");
    assert_eq!(shards.len(), 3);
    for shard in shards {
        assert_eq!(
            names(shard),
            "connections deliveries queue_bytes inbox_bytes behind".split(' ').collect()
        );
    }
    let length = |name: &str| snapshot[name].as_array().expect("a list").len();
    assert_eq!(length("fanout"), length("fanout_le_us") + 1);
    assert!(snapshot["resident_bytes"].as_u64() > Some(1 << 20) && snapshot["cpu_us"].as_u64() > Some(0));
    // The feed's names have the values of the metrics' labels.
    let metrics = server.metrics();
    let labels = |metric: &str, rest: &str| -> BTreeSet<String> {
        let labels = metrics.keys().filter_map(|series| series.strip_prefix(metric)?.strip_suffix(rest));
        labels.map(str::to_owned).collect()
    };
    let owned = |object| names(object).into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(owned(&snapshot["refused"]), labels("throng_refused_total{reason=\"", "\"}"));
    assert_eq!(owned(&snapshot["closes"]), BTreeSet::from(["client", "server"].map(str::to_owned)));
    for by in ["client", "server"] {
        let rest = format!("\",by=\"{by}\"}}");
        assert_eq!(owned(&snapshot["closes"][by]), labels("throng_closes_total{code=\"", &rest));
    }
    let next = viewer.snapshot();
    assert_eq!(next["started_ms"], snapshot["started_ms"]);
    assert!(next["uptime_ms"].as_u64() > snapshot["uptime_ms"].as_u64());
}

/// 1. Nobody looks while alice comes and speaks. 2. The first viewer is sent a sample for each second since the start,
///    and the numbers grow from one to the next until the first snapshot.
#[test]
fn the_last_seconds_are_kept_although_nobody_looks() {
    let server = Server::start(&[]);
    let mut alice = Socket::open(server.address(), "/ws/chat/alice");
    alice.send(text(r#"{"message":"hi"}"#));
    while !alice.read_text().contains("\"hi\"") {}
    let list = |past: &Value, name: &str| -> Vec<u64> {
        let list = past[name].as_array().unwrap_or_else(|| panic!("no list: {name}")).iter();
        list.map(|value| value.as_u64().expect("a number")).collect()
    };
    let began = Instant::now();
    let mut viewer = Viewer::open(&server);
    while list(&viewer.past, "messages").iter().filter(|count| **count == 1).count() < 3 {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", viewer.past);
        std::thread::sleep(Duration::from_millis(100));
        viewer = Viewer::open(&server);
    }
    let snapshot = viewer.snapshot();
    assert_eq!(
        (&viewer.past["node"], &viewer.past["started_ms"], &viewer.past["fanout_le_us"]),
        (&snapshot["node"], &snapshot["started_ms"], &snapshot["fanout_le_us"])
    );
    let uptimes = list(&viewer.past, "uptime_ms");
    // Two samples have a second between them, or more on a machine that is busy.
    assert!(uptimes.windows(2).all(|two| two[1] >= two[0] + 900), "{uptimes:?}");
    assert!(*uptimes.last().expect("some") <= began.elapsed().as_millis() as u64 + 60_000, "{uptimes:?}");
    let once = ["node", "started_ms", "fanout_le_us", "fanout"];
    for name in names(&viewer.past).into_iter().filter(|name| !once.contains(name)) {
        let values = list(&viewer.past, name);
        assert_eq!(values.len(), uptimes.len(), "{name}");
        let is_gauge = matches!(name, "connections" | "rooms" | "queue_bytes" | "resident_bytes");
        assert!(is_gauge || values.is_sorted(), "{name}: {values:?}");
    }
    assert_eq!(list(&viewer.past, "connections").last(), Some(&1));
    let fanouts = viewer.past["fanout"].as_array().expect("lists");
    let buckets = snapshot["fanout"].as_array().expect("a list").len();
    assert_eq!(fanouts.len(), uptimes.len());
    assert!(fanouts.iter().all(|counts| counts.as_array().is_some_and(|counts| counts.len() == buckets)));
}

#[test]
fn all_viewers_get_the_same_events() {
    let server = Server::start(&[]);
    let mut first = Viewer::open(&server);
    let (shown, _) = first.event().expect("an event");
    let mut second = Viewer::open(&server);
    let of =
        |viewer: &mut Viewer| (0..4).map(|_| viewer.event().expect("an event")).collect::<BTreeMap<_, _>>();
    let (later, events) = (of(&mut first), of(&mut second));
    let newcomers = *events.keys().next().expect("four");
    assert!(newcomers >= shown, "an old event for a newcomer: {newcomers} after {shown}");
    let both =
        events.iter().filter(|(id, data)| later.get(id).inspect(|known| assert_eq!(known, data)).is_some());
    assert!(both.count() >= 2, "{:?} {:?}", later.keys(), events.keys());
}

/// No header opens the feed: neither those of a stranger behind a proxy that passes everything on, nor those that pages
/// of other origins make a browser send. A key opens it whatever the other headers are.
#[test]
fn the_dashboard_needs_a_key_from_every_address() {
    let own = Server::start(&[("log.level", "trace")]);
    let configured =
        Server::start(&[("api.keys", &format!("another-key-of-16,{KEY}")), ("log.level", "trace")]);
    let (own_key, address) = (own.key(), own.address());
    for (server, key) in [(&own, &*own_key), (&configured, KEY)] {
        for head in [
            format!("GET {STREAM} HTTP/1.1\r\nHost: localhost\r\n"),
            format!("GET {STREAM} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"),
            format!("GET {STREAM} HTTP/1.1\r\nHost: {address}\r\nSec-Fetch-Site: same-origin\r\n"),
            // nginx with nothing but `proxy_pass http://127.0.0.1:8080`.
            format!("GET {STREAM} HTTP/1.0\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n"),
            format!("GET http://throng.test{STREAM} HTTP/1.1\r\nHost: localhost\r\n"),
            format!("GET {STREAM} HTTP/1.1\r\nHost: localhost\r\nCF-Connecting-IP: 192.0.2.1\r\n"),
            format!("GET {STREAM} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 127.0.0.1\r\n"),
            format!("GET {STREAM} HTTP/1.1\r\nHost: localhost\r\nOrigin: http://throng.test\r\n"),
            format!("GET {STREAM}?key={key} HTTP/1.1\r\nHost: localhost\r\n"),
        ] {
            let status = |headers: &str| {
                let mut socket = Socket::connect(server.address());
                socket.send(format!("{head}{headers}\r\n"));
                socket.read_head().status
            };
            for bad in ["", "X-API-Key:\r\n", &format!("X-API-Key: {key}0\r\n"), "Cookie: key\r\n"] {
                assert_eq!(status(bad), 401, "{head}{bad}");
            }
            assert_eq!(status(&format!("Authorization: Basic {key}\r\n")), 401, "{head}");
            assert_eq!(status(&format!("Authorization: Bearer {key}\r\n")), 200, "{head}");
            assert_eq!(status(&format!("X-API-Key: {key}\r\n")), 200, "{head}");
        }
        let refused: Response = ask(server, LOCAL).read_response();
        refused.expect_error_body();
        assert!(refused.body.contains("api.keys") && refused.body.contains("X-API-Key"), "{}", refused.body);
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        assert!(server.metric("throng_refused_total", "api_key") >= 45.0);
    }
    assert_eq!(ask(&configured, &shown("another-key-of-16")).read_head().status, 200);
    assert_eq!(ask(&configured, &shown(&own_key)).read_head().status, 401);
}

/// A key that the server makes is logged once, behind the address. A configured key is never logged.
#[test]
fn the_log_names_the_dashboard_and_no_key_but_its_own() {
    let own = Server::launch(&[], "0.0.0.0:0", &[("log.level", "trace")]);
    let configured = Server::start(&[("api.keys", KEY), ("log.level", "trace")]);
    let line = |server: &Server| {
        let is_it =
            |line: &Value| line["message"].as_str().is_some_and(|text| text.starts_with("dashboard: "));
        let line = server.log().wait_for("the address of the dashboard", is_it);
        assert_eq!(line["level"], "INFO", "{line}");
        line["message"].as_str().unwrap_or_default().to_owned()
    };
    let port = own.address().port();
    assert_eq!(line(&own), format!("dashboard: http://127.0.0.1:{port}/dashboard#key={}", own.key()));
    assert_eq!(line(&configured), format!("dashboard: http://{}/dashboard", configured.address()));
    for (server, key) in [(&own, own.key()), (&configured, KEY.to_owned())] {
        assert_eq!(ask(server, &shown(&key)).read_head().status, 200);
        assert_eq!(ask(server, &shown("a-key-that-is-wrong")).read_head().status, 401);
        let expected = usize::from(key != KEY);
        assert_eq!(server.log().text().matches(&key).count(), expected, "{}", server.log().text());
    }
    let again = Server::start(&[]);
    assert_ne!(again.key(), own.key(), "each start makes another");
}

#[test]
fn keys_may_stand_in_a_file() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), format!("first-key-of-the-file\n{KEY}\n")).expect("written");
    let server = Server::start(&[("api.keys_file", file.path().to_str().expect("a path in UTF-8"))]);
    for (key, expected) in [(KEY, 200), ("first-key-of-the-file", 200), ("third-key-of-the-file", 401)] {
        assert_eq!(ask(&server, &shown(key)).read_head().status, expected, "{key}");
    }
}

#[test]
fn head_is_get_without_events() {
    let server = Server::start(&[]);
    let mut socket = Socket::connect(server.address());
    socket.send(format!("HEAD {STREAM} HTTP/1.1\r\n{}\r\n", shown(&server.key())));
    let head = socket.read_head();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    socket.expect_eof();
}

/// 1. There are more viewers than handshake permits.
/// 2. They hold no permits, and the chat goes on.
/// 3. One viewer too many is refused, and is let in when another has gone.
#[test]
fn viewers_are_limited_and_use_no_connection_permits() {
    let server = Server::start(&[("limits.max_handshakes", "2"), ("limits.max_connections", "2")]);
    let mut viewers: Vec<_> = (0..VIEWERS).map(|_| Viewer::open(&server)).collect();
    assert_eq!(server.connections(), 0.0);
    let _chatting = ["alice", "bob"].map(|user| Socket::open(server.address(), &format!("/ws/chat/{user}")));
    let refused = ask(&server, &shown(&server.key())).read_response();
    assert_eq!(refused.status, 503, "{refused:?}");
    refused.expect_error_body();
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(server.get("/healthz").status, 200);
    viewers.pop();
    eventually("a viewer is let in again", || ask(&server, &shown(&server.key())).read_head().status == 200);
    viewers[0].wait_for("the last one is forgotten as well", |now| now["viewers"] == VIEWERS - 1);
}

#[test]
fn a_drain_ends_the_feed_at_once() {
    let server = Server::start(&[("drain.window", "120s")]);
    let _chatting: Vec<_> = (0..20).map(|_| Socket::open(server.address(), "/ws?raw")).collect();
    let mut viewer = Viewer::open(&server);
    viewer.event().expect("an event");
    let started = Instant::now();
    server.terminate();
    while viewer.event().is_some() {}
    viewer.socket.expect_eof();
    assert!(started.elapsed() < Duration::from_secs(60), "with the window: {:?}", started.elapsed());
    let late = ask(&server, &shown(&server.key())).read_response();
    assert_eq!(late.status, 503, "{late:?}");
}

#[test]
fn a_viewer_does_not_delay_the_end_of_the_server() {
    let mut server = Server::start(&[("drain.window", "120s")]);
    let mut viewer = Viewer::open(&server);
    viewer.event().expect("an event");
    server.terminate();
    let status = server.wait_exit(Duration::from_secs(20));
    assert!(status.success(), "{status}");
}

#[test]
fn published_messages_show_in_the_feed() {
    let server = Server::start(&[]);
    let mut viewer = Viewer::open(&server);
    let before = viewer.snapshot();
    assert_eq!((&before["connections"], &before["rooms"]), (&0.into(), &0.into()));
    let mut sockets =
        ["alice", "bob"].map(|user| Socket::open(server.address(), &format!("/ws/chat/{user}")));
    for _ in 0..3 {
        sockets[0].send(text(r#"{"message":"hi"}"#));
    }
    let sum = |list: &Value, name: Option<&str>| {
        let items = list.as_array().expect("a list").iter();
        items.map(|item| name.map_or(item, |name| &item[name]).as_u64().expect("a number")).sum::<u64>()
    };
    // Three messages to two members, and three presence notices.
    let deliveries = 3 * 2 + 3;
    let now = viewer.wait_for("three messages to two", |now| {
        now["messages"] == 3
            && now["deliveries"] == deliveries
            && sum(&now["shards"], Some("deliveries")) == 9
    });
    assert_eq!((&now["connections"], &now["rooms"], &now["accepted"]), (&2.into(), &1.into(), &2.into()));
    assert_eq!(sum(&now["shards"], Some("connections")), 2);
    assert!(now["writes"].as_u64() > Some(0) && now["bytes_sent"].as_u64() > Some(0), "{now}");
    viewer.wait_for("their fan-out was timed", |now| sum(&now["fanout"], None) > 0);
    drop(sockets);
    viewer.wait_for("both have gone", |now| {
        let closes = now["closes"]["client"].as_object().expect("an object").values();
        let closed = closes.filter_map(Value::as_u64).sum::<u64>();
        now["connections"] == 0 && sum(&now["shards"], Some("connections")) == 0 && closed == 2
    });
}

#[test]
fn a_client_that_does_not_read_is_listed_among_the_slowest() {
    let settings: Settings<'_> = &[
        ("queue.max_bytes", "16MiB"),
        ("queue.max_messages", "100000"),
        ("queue.max_age", "5m"),
        ("socket.send_buffer", "16KiB"),
        ("chat.max_message_chars", "8000"),
        ("workers", "2"),
    ];
    let server = Server::start(settings);
    let mut viewer = Viewer::open(&server);
    let mut speaker = Socket::open(server.address(), "/ws/chat/speaker");
    let stalled = Socket::connect_narrow(server.address()).upgraded("/ws/chat/stalled");
    assert_eq!(viewer.snapshot()["slowest"], Value::Array(Vec::new()));
    let message = text(format!(r#"{{"message":"{}"}}"#, "x".repeat(8000)));
    // More messages than the kernel buffers; their sender reads all of them.
    for n in 0..100 {
        speaker.send(&message);
        while !speaker.read_text().contains(&format!("\"offset\":{},", n + 1)) {}
    }
    // Snapshots taken during the messages may show the sender, too, or a queue between two counts.
    let is_settled = |now: &Value| {
        let slowest = now["slowest"].as_array().expect("a list");
        let [only] = &slowest[..] else { return false };
        let shard = only["shard"].as_u64().and_then(|shard| usize::try_from(shard).ok()).expect("a shard");
        let shard = &now["shards"][shard];
        let is_all = shard["behind"] == 1 && shard["queue_bytes"] == only["bytes"];
        is_all && only["user"] == "stalled" && only["messages"].as_u64() > Some(1)
    };
    let now = viewer.wait_for("one is behind, with all that is queued", is_settled);
    let slow = &now["slowest"][0];
    assert_eq!(names(slow), "connection user shard bytes messages age_ms".split(' ').collect());
    let number = |name: &str| slow[name].as_u64().unwrap_or_else(|| panic!("no {name}: {now}"));
    assert!(number("bytes") > 8000 * (number("messages") - 1), "{now}");
    viewer
        .wait_for("it grows older", |later| later["slowest"][0]["age_ms"].as_u64() > Some(number("age_ms")));
    // The public metrics name no user.
    assert!(!server.get("/metrics").body.contains("stalled"));
    drop(stalled);
    viewer.wait_for("it has gone", |now| now["slowest"].as_array().is_some_and(Vec::is_empty));
}
