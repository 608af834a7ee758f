//! The start of a node at engines that are away, refuse it, or are reached over TLS or with few rights.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::engines::{Engine, Options, Topology};
use crate::support::eventually;
use crate::support::server::{Server, Settings, run};
use crate::support::speaker::Speaker;

/// Exit code of `sysexits.h`: something cannot be used.
const UNAVAILABLE: i32 = 69;

/// A patience that makes the wait of a start short, and settings of a start that is to fail.
const IMPATIENT: Settings<'static> = &[("listen", "127.0.0.1:0"), ("redis.patience", "100ms")];

/// The certificate of the tests and its key. The certificate is its own authority.
const CERTIFICATE: &str = "TEST-ONLY-localhost.certificate.pem";
const KEY: &str = "TEST-ONLY-localhost.private.pem";

const PASSWORD: &str = "not-to-be-shown";

/// Returns the path of a test-only key or certificate.
fn key(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name).display().to_string()
}

/// Returns the settings for the engine, with others in the place of those of the same key.
fn settings<'a>(engine: &'a [(String, String)], more: Settings<'a>) -> Vec<(&'a str, &'a str)> {
    let own = engine.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    own.filter(|(key, _)| more.iter().all(|(other, _)| other != key)).chain(more.iter().copied()).collect()
}

/// Starts a node that must not start. Returns its log and how long it took.
#[track_caller]
fn refused(engine: &Engine, more: Settings<'_>) -> (String, Duration) {
    let of_engine = engine.settings();
    let all = [IMPATIENT, more].concat();
    let began = Instant::now();
    let Output { status, stderr, .. } = run(&["serve"], &settings(&of_engine, &all));
    let log = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(UNAVAILABLE), "{log}");
    (log, began.elapsed())
}

#[test]
fn a_node_waits_for_an_engine_that_is_away_and_then_says_which_and_why() {
    let mut engine = Engine::start(Topology::Single);
    engine.kill(0);
    let (log, took) = refused(&engine, &[]);
    let address = engine.server(0).address();
    let error = format!("the engine at {address} cannot be used: cannot connect");
    assert!(log.contains(&error), "{log}");
    assert!(took >= Duration::from_millis(1_500), "fifteen times the patience: {took:?}");

    let of_engine = engine.settings();
    let waiting = [("redis.patience", "1s")];
    let waiting = settings(&of_engine, &waiting);
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| Server::start(&waiting));
        engine.restart(0);
        let node = starting.join().expect("it starts as soon as the engine is there");
        assert_eq!(node.get("/readyz").status, 200);
    });
}

#[test]
fn a_node_that_the_engine_refuses_ends_at_once() {
    let acl = format!("user chat on >{PASSWORD} ~throng:* &throng:* +@all -xadd");
    let options = Options { acl: Some(acl), ..Options::default() };
    let engine = Engine::with(Topology::Single, options);
    let address = engine.server(0).address();
    let patient = ("redis.patience", "10s");
    for (more, reason) in [
        (&[("redis.username", "chat"), ("redis.password", "another")][..], "refuses the login (WRONGPASS"),
        (&[("redis.username", "chat"), ("redis.password", PASSWORD)], "refuses XADD (NOPERM"),
        (&[("redis.mode", "cluster")], "set redis.mode to \"single\" or \"sentinel\""),
    ] {
        let (log, _) = refused(&engine, &[more, &[patient]].concat());
        assert!(log.contains("the engine at ") && log.contains(&address.to_string()), "{log}");
        assert!(log.contains(reason), "{reason}: {log}");
    }
}

#[test]
fn unwise_settings_of_the_engine_are_warned_of() {
    let lines = vec!["maxmemory-policy allkeys-lru".to_owned()];
    let engine = Engine::with(Topology::Single, Options { lines, ..Options::default() });
    let of_engine = engine.settings();
    let node = Server::start(&settings(&of_engine, &[]));
    let is_warned = |text: &str| {
        node.log().count(|line| {
            line["level"] == "WARN" && line["message"].as_str().is_some_and(|message| message.contains(text))
        })
    };
    assert_eq!(is_warned("maxmemory-policy is allkeys-lru"), 1, "{}", node.log().text());
    assert_eq!(is_warned("nothing is persisted"), 0);
}

#[test]
fn a_node_waits_until_a_full_engine_has_room() {
    let engine = Engine::with(Topology::Single, Options { maxmemory: Some("1"), ..Options::default() });
    let of_engine = engine.settings();
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| Server::start(&settings(&of_engine, &[])));
        // Only the check of a node that starts calls XADD by itself.
        eventually("the check has been refused", || {
            let calls = engine.server(0).info("commandstats", "cmdstat_xadd");
            calls.is_some_and(|calls| !calls.contains("rejected_calls=0"))
        });
        assert!(!starting.is_finished());
        engine.server(0).expect(&["CONFIG", "SET", "maxmemory", "0"]);
        let node = starting.join().expect("it starts as soon as there is room");
        let is_warning =
            |line: &serde_json::Value| line["level"] == "WARN" && line.to_string().contains("maxmemory");
        assert!(node.log().count(is_warning) >= 1, "{}", node.log().text());
        assert_eq!(node.get("/readyz").status, 200);
    });
}

/// Lets two nodes do everything that a node asks of the engine.
#[track_caller]
fn use_everything(first: &Server, second: &Server) {
    let mut alice = Speaker::enter(first, "alice?room=lobby");
    let from = alice.find("presence_diff");
    assert_eq!(from["room"], "lobby", "{from}");
    let keyed = json!({"type": "message", "room": "lobby", "message": "one", "key": "k1", "echo": false});
    let first_ack = alice.ask(keyed.clone(), "ack");
    let repeated = alice.ask(keyed, "ack");
    assert_eq!((&repeated["offset"], &repeated["duplicate"]), (&first_ack["offset"], &json!(true)));

    let mut bob = Speaker::enter(second, "bob?room=lobby");
    bob.command(json!({"type": "history", "room": "lobby"}));
    let history = bob.find("history");
    assert_eq!(history["messages"][0]["message"], "one", "{history}");
    bob.say_quietly("lobby", "two");
    assert_eq!(alice.find("message")["message"], "two");
    let position = format!("{}:1", first_ack["epoch"].as_str().expect("an epoch"));
    let resumed = Speaker::enter(second, &format!("carol?room=lobby&resume={position}"));
    assert_eq!(resumed.welcome["recovered"], true, "{}", resumed.welcome);
}

#[test]
fn the_documented_user_of_the_engine_may_do_everything_and_no_password_is_logged() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cluster.md");
    let page = fs::read_to_string(page).expect("the page");
    let line = page.lines().find(|line| line.starts_with("user throng on >")).expect("the line to copy");
    for topology in [Topology::Single, Topology::Cluster] {
        let acl = Some(line.replace("an-example-password", PASSWORD));
        let engine = Engine::with(topology, Options { acl, ..Options::default() });
        let of_engine = engine.settings();
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("password");
        fs::write(&file, PASSWORD).expect("written");
        let login = [
            ("redis.username", "throng"),
            ("redis.password_file", file.to_str().expect("UTF-8")),
            ("log.level", "trace"),
        ];
        let nodes = [1, 2].map(|_| Server::start(&settings(&of_engine, &login)));
        use_everything(&nodes[0], &nodes[1]);
        for mut node in nodes {
            assert_eq!(node.metric("throng_engine_errors_total", ""), 0.0, "{}", node.log().tail(20));
            node.terminate();
            assert!(node.wait_exit(Duration::from_secs(20)).success());
            node.log().wait_for_end();
            let log = node.log().text();
            assert!(log.contains("\"level\":\"DEBUG\""), "more than the usual is logged");
            assert!(!log.contains(PASSWORD), "{topology:?}: the password is in the log");
        }
    }
}

#[test]
fn the_engine_is_reached_over_tls() {
    let start = |auth_clients: &str| {
        let lines = vec![format!("tls-auth-clients {auth_clients}")];
        Engine::with(Topology::Single, Options { tls: true, lines, ..Options::default() })
    };
    let (ca, own_key) = (key(CERTIFICATE), key(KEY));
    let engine = start("no");
    let address = format!("localhost:{}", engine.tls_port().expect("a port of TLS"));
    let of_engine = engine.settings();
    let tls = [("redis.addresses", &*address), ("redis.tls", "true"), ("redis.ca_file", &ca)];
    let nodes = [1, 2].map(|_| Server::start(&settings(&of_engine, &tls)));
    use_everything(&nodes[0], &nodes[1]);
    drop(nodes);
    let stranger = key("TEST-ONLY-stranger.certificate.pem");
    let (log, _) = refused(&engine, &[tls[0], tls[1], ("redis.ca_file", &stranger)]);
    assert!(log.contains("certificate"), "{log}");

    let engine = start("yes");
    let address = format!("localhost:{}", engine.tls_port().expect("a port of TLS"));
    let of_engine = engine.settings();
    let tls = [("redis.addresses", &*address), ("redis.tls", "true"), ("redis.ca_file", &ca)];
    let (log, _) = refused(&engine, &tls);
    assert!(log.contains(&format!("the engine at {address} cannot be used")), "{log}");
    let own = [("redis.cert_file", &*ca), ("redis.key_file", &*own_key)];
    let all = [&tls[..], &own].concat();
    let nodes = [1, 2].map(|_| Server::start(&settings(&of_engine, &all)));
    use_everything(&nodes[0], &nodes[1]);
}
