//! `throng doctor` at real servers: it names every obstacle and every unwise setting, and says what to change.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use serde_json::Value;

use crate::engines::{Engine, MASTER_NAME, Options, Topology};
use crate::support::server::run;

/// Exit code of `sysexits.h`: something cannot be used.
const UNAVAILABLE: i32 = 69;

/// A server that answers as its operator wishes, apart from its speed: the machine may be busy.
const SLOW: &str = "the server answers a ping after";

/// The findings about the engine.
struct Findings {
    code: Option<i32>,
    rows: Vec<[String; 3]>,
}

/// Runs `throng doctor --json` with the settings for an engine and further ones.
#[track_caller]
fn doctor(engine: &Engine, more: &[(&str, &str)]) -> Findings {
    examine(engine.settings(), more)
}

#[track_caller]
fn examine(settings: Vec<(String, String)>, more: &[(&str, &str)]) -> Findings {
    let own = settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let all: Vec<(&str, &str)> =
        [("listen", "127.0.0.1:0")].into_iter().chain(own).chain(more.iter().copied()).collect();
    let output = run(&["doctor", "--json"], &all);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let rows = report["findings"].as_array().expect("a list");
    let row =
        |row: &Value| ["level", "text", "advice"].map(|name| row[name].as_str().unwrap_or("").to_owned());
    let rows = rows.iter().filter(|found| found["subject"] == "engine").map(row).collect();
    Findings { code: output.status.code(), rows }
}

impl Findings {
    /// Asserts that there is exactly one finding with this text, and returns it.
    #[track_caller]
    fn one(&self, level: &str, text: &str) -> &[String; 3] {
        let found: Vec<_> = self.rows.iter().filter(|row| row[0] == level && row[1].contains(text)).collect();
        assert_eq!(found.len(), 1, "{level} {text:?}: {:#?}", self.rows);
        found[0]
    }

    /// Asserts that nothing is to be changed.
    #[track_caller]
    fn all_is_well(&self, servers: usize) {
        let is_well = |row: &&[String; 3]| row[0] != "ok" && !row[1].contains(SLOW);
        assert_eq!(self.rows.iter().find(is_well), None);
        let found = self.rows.iter().filter(|row| row[1].contains("all scripts may run"));
        assert_eq!((found.count(), self.code), (servers, Some(0)), "{:#?}", self.rows);
    }

    /// Asserts that this finding, an error, is all that is said.
    #[track_caller]
    fn is_only(&self, text: &str) {
        self.one("error", text);
        assert_eq!((self.rows.len(), self.code), (1, Some(UNAVAILABLE)), "{:#?}", self.rows);
    }
}

#[test]
fn a_good_server_of_each_topology_passes_and_keeps_nothing() {
    for (topology, masters) in [(Topology::Single, 1), (Topology::Sentinel, 1), (Topology::Cluster, 3)] {
        let lines = ["min-replicas-to-write 1", "min-replicas-max-lag 10"].map(str::to_owned).into();
        let lines = if topology == Topology::Sentinel { lines } else { Vec::new() };
        let engine = Engine::with(topology, Options { lines, ..Options::default() });
        doctor(&engine, &[]).all_is_well(masters);
        assert_eq!(engine.keys(), [], "{topology:?}");
        assert!(engine.channels().is_empty(), "{topology:?}");
    }
}

#[test]
fn unwise_settings_of_a_server_are_warned_of() {
    let lines = ["maxmemory-policy allkeys-lru", "client-output-buffer-limit pubsub 32mb 8mb 60"];
    let lines = lines.map(str::to_owned).into();
    let options = Options { appendonly: false, replicas: true, lines, ..Options::default() };
    let engine = Engine::with(Topology::Single, options);
    let found = doctor(&engine, &[]);
    for (text, advice) in [
        ("maxmemory-policy is allkeys-lru", "set maxmemory-policy noeviction"),
        ("client-output-buffer-limit of pubsub is 8388608", "pubsub 256mb 256mb"),
        ("nothing is persisted", "set appendonly yes"),
        ("min-replicas-to-write is 0", "set min-replicas-to-write 1"),
    ] {
        let [_, shown, advised] = found.one("warning", text);
        assert!(advised.contains(advice), "{advised}");
        let address = engine.server(0).address().to_string();
        assert!(shown.starts_with(&address), "the server's address: {shown}");
    }
    assert_eq!(found.code, Some(0), "warnings only");
}

#[test]
fn a_user_without_a_needed_right_gets_it_named() {
    let acl = "user chat on >secret ~throng:* &throng:* +@all -xadd -config -hset".to_owned();
    let engine = Engine::with(Topology::Single, Options { acl: Some(acl), ..Options::default() });
    let login = [("redis.username", "chat"), ("redis.password", "secret")];
    let found = doctor(&engine, &login);
    for command in ["HSET", "XADD"] {
        let [_, _, advice] = found.one("error", &format!("refuses {command} (NOPERM"));
        assert!(advice.contains("access control list"), "{advice}");
    }
    found.one("warning", "CONFIG GET is refused");
    assert_eq!(found.code, Some(UNAVAILABLE));

    let server = engine.server(0);
    server.expect(&["ACL", "SETUSER", "chat", "+xadd", "+hset", "+config|get"]);
    doctor(&engine, &login).all_is_well(1);
    server.expect(&["ACL", "SETUSER", "chat", "resetchannels", "&other:*"]);
    doctor(&engine, &login).is_only("refuses SSUBSCRIBE (NOPERM");
    server.expect(&["ACL", "SETUSER", "chat", "&throng:*", "resetkeys", "~other:*"]);
    doctor(&engine, &login).one("error", "refuses HSET (NOPERM");
}

#[test]
fn a_refused_login_and_another_mode_are_named() {
    let acl = "user chat on >secret ~throng:* &throng:* +@all".to_owned();
    let engine = Engine::with(Topology::Single, Options { acl: Some(acl), ..Options::default() });
    let wrong = [("redis.username", "chat"), ("redis.password", "a-wrong-password")];
    let found = doctor(&engine, &wrong);
    found.is_only("refuses the login (WRONGPASS");
    assert!(!found.rows[0][1].contains("a-wrong-password"), "{:?}", found.rows);
    doctor(&engine, &[("redis.mode", "cluster")]).is_only("not part of a Redis Cluster: set redis.mode");

    let sentinel = [("redis.mode", "sentinel"), ("redis.master_name", MASTER_NAME)];
    doctor(&engine, &sentinel).one("error", "refuses SENTINEL");
    let cluster = Engine::start(Topology::Cluster);
    let first = cluster.server(0).address().to_string();
    let single = [("redis.mode", "single"), ("redis.addresses", &first)];
    doctor(&cluster, &single).is_only("part of a Redis Cluster: set redis.mode to \"cluster\"");
}

#[test]
fn servers_that_are_away_are_errors_unless_others_of_their_kind_answer() {
    let mut engine = Engine::start(Topology::Single);
    engine.kill(0);
    let address = engine.server(0).address().to_string();
    doctor(&engine, &[]).is_only(&format!("{address}: cannot connect"));

    let cluster = Engine::with(Topology::Cluster, Options::default());
    let both = format!("{address},{}", cluster.server(1).address());
    let found = doctor(&cluster, &[("redis.addresses", &both)]);
    found.one("warning", &format!("{address}: cannot connect"));
    assert_eq!(found.rows.iter().filter(|row| row[1].contains("all scripts may run")).count(), 3);
    assert_eq!(found.code, Some(0), "{:#?}", found.rows);
    doctor(&cluster, &[("redis.addresses", &address)]).is_only(&format!("{address}: cannot connect"));
}

#[test]
fn a_full_server_is_an_error() {
    let options = Options { maxmemory: Some("1"), ..Options::default() };
    let engine = Engine::with(Topology::Single, options);
    let found = doctor(&engine, &[]);
    let [_, _, advice] = found.one("error", "refuses HSET (OOM");
    assert!(advice.contains("maxmemory"), "{advice}");
    assert_eq!(found.code, Some(UNAVAILABLE), "{:#?}", found.rows);
}

#[test]
fn servers_that_are_too_old_or_hide_their_replication_id_are_errors() {
    for (info, text) in [
        (
            "redis_version:6.2.14\r\nrun_id:a\r\nrole:master\r\nmaster_replid:b\r\n",
            "version 6.2.14 is too old",
        ),
        ("redis_version:7.2.4\r\nrun_id:a\r\nrole:master\r\n", "INFO replication shows no master_replid"),
        ("redis_version:7.2.4\r\nrun_id:a\r\nrole:slave\r\nmaster_replid:b\r\n", "the server is a replica"),
    ] {
        let address = imitation(info).to_string();
        let settings = [("engine", "redis"), ("redis.addresses", &*address)];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        examine(settings, &[]).is_only(text);
    }
}

/// Starts a server that answers HELLO, and INFO with this text, and everything else with OK.
fn imitation(info: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || imitate(&stream, info));
        }
    });
    address
}

fn imitate(mut stream: &TcpStream, info: &str) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    loop {
        let count: usize = lines.next()?.ok()?.strip_prefix('*')?.parse().ok()?;
        let words: Vec<String> = (0..count).map_while(|_| lines.nth(1)?.ok()).collect();
        let answer = match words.first()?.as_str() {
            "HELLO" => "%1\r\n+server\r\n+redis\r\n".to_owned(),
            "INFO" => format!("${}\r\n{info}\r\n", info.len()),
            _ => "+OK\r\n".to_owned(),
        };
        stream.write_all(answer.as_bytes()).ok()?;
    }
}

#[test]
fn sentinels_are_asked_one_by_one() {
    let engine = Engine::start(Topology::Sentinel);
    let found = doctor(&engine, &[("redis.master_name", "another")]);
    let unknown = found.rows.iter().filter(|row| row[0] == "error" && row[1].contains("\"another\""));
    assert_eq!((unknown.count(), found.code), (3, Some(UNAVAILABLE)), "{:#?}", found.rows);
    let addresses =
        engine.settings().into_iter().find(|(key, _)| key == "redis.addresses").expect("addresses").1;
    let one_away = format!("127.0.0.1:1,{addresses}");
    let found = doctor(&engine, &[("redis.addresses", &one_away)]);
    found.one("warning", "127.0.0.1:1: cannot connect");
    found.one("warning", "min-replicas-to-write is 0");
    let master = engine.server(engine.elected().expect("a master")).address().to_string();
    found.one("ok", &format!("{master} is "));
}
