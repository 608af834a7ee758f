//! The engines of the rig: every topology starts, and every fault does what its name says.

use std::time::Duration;

use super::contents::Key;
use super::{Engine, Options, PREFIX, Topology};
use crate::support::eventually;
use crate::support::resp::Reply;

fn text(text: &str) -> Reply {
    Reply::Text(text.to_owned())
}

#[test]
fn a_single_server_keeps_loses_and_recalls_its_data() {
    let mut engine = Engine::start(Topology::Single);
    assert_eq!(engine.masters(), [0]);
    engine.server(0).expect(&["SET", "a", "1"]);
    let snapshot = engine.snapshot(0);
    engine.server(0).expect(&["SET", "a", "2"]);
    engine.kill(0);
    assert!(engine.server(0).call(&["PING"]).is_err());
    engine.restart(0);
    assert_eq!(engine.server(0).expect(&["GET", "a"]), text("2"), "the append-only file");
    let before = engine.server(0).info("replication", "master_replid");
    engine.restart_from(0, &snapshot);
    assert_eq!(engine.server(0).expect(&["GET", "a"]), text("1"), "the snapshot");
    assert_ne!(engine.server(0).info("replication", "master_replid"), before);
    // It appends again after a start from a snapshot.
    engine.server(0).expect(&["SET", "a", "3"]);
    engine.kill(0);
    engine.restart(0);
    assert_eq!(engine.server(0).expect(&["GET", "a"]), text("3"));
    engine.restart_empty(0);
    assert_eq!(engine.server(0).expect(&["GET", "a"]), Reply::Nil);
}

#[test]
fn a_single_server_can_be_stopped_slowed_and_limited() {
    let engine = Engine::with(
        Topology::Single,
        Options { appendonly: false, maxmemory: Some("3mb"), ..Options::default() },
    );
    let server = engine.server(0);
    let fill =
        |n: usize| server.call(&["SET", &format!("big-{n}"), &"x".repeat(64 << 10)]).expect("an answer");
    let full = (0..100).map(fill).find(|reply| *reply != text("OK")).expect("it is full at some time");
    assert!(matches!(&full, Reply::Error(error) if error.starts_with("OOM")), "{full:?}");
    server.expect(&["FLUSHALL"]);
    assert_eq!(fill(0), text("OK"));

    let asleep = engine.sleep(0, Duration::from_millis(300));
    let began = std::time::Instant::now();
    eventually("it sleeps and wakes", || {
        server.call(&["PING"]).is_ok() && began.elapsed().as_millis() >= 250
    });
    drop(asleep);

    let script = server.expect(&["SCRIPT", "LOAD", "return 1"]).text().to_owned();
    assert_eq!(server.expect(&["EVALSHA", &script, "0"]), Reply::Int(1));
    engine.flush_scripts();
    let gone = server.call(&["EVALSHA", &script, "0"]).expect("an answer");
    assert!(matches!(&gone, Reply::Error(error) if error.starts_with("NOSCRIPT")), "{gone:?}");

    engine.narrow_subscribers(true);
    let limit = server.expect(&["CONFIG", "GET", "client-output-buffer-limit"]).texts().join(" ");
    assert!(limit.contains("pubsub 65536 65536 0"), "{limit}");

    engine.pause(0);
    let waiting = engine.server(0).send(&["SET", "b", "1"]);
    engine.resume(0);
    eventually("the waiting command is carried out", || server.expect(&["GET", "b"]) == text("1"));
    drop(waiting);
}

#[test]
fn keys_and_channels_are_listed_and_subscribers_are_cut() {
    let engine = Engine::start(Topology::Single);
    let server = engine.server(0);
    let meta = format!("{PREFIX}:{{lobby}}:m");
    server.expect(&["HSET", &meta, "e", "1", "s", "2"]);
    server.expect(&["SET", "plain", "x", "EX", "100"]);
    let key = |name: &str, expires, fields| Key { name: name.to_owned(), expires, fields };
    assert_eq!(engine.keys(), [key("plain", true, None), key(&meta, false, Some(2))]);
    assert!(engine.delete_meta("lobby") && !engine.delete_meta("lobby"));

    let subscriber = server.send(&["SSUBSCRIBE", "room"]);
    eventually("the channel is subscribed", || engine.channels().contains("room"));
    assert_eq!(engine.kill_subscribers(), 1);
    eventually("no channel is left", || engine.channels().is_empty());
    drop(subscriber);

    // A subscriber that does not read is cut by the narrow limit of its buffer.
    let channel = format!("{PREFIX}:{{lobby}}");
    let subscriber = server.send(&["SSUBSCRIBE", &channel]);
    eventually("the channel of the room is subscribed", || engine.channels().contains(&channel));
    engine.narrow_subscribers(true);
    engine.flood("lobby", 32 << 10, 500);
    eventually("the slow subscriber is cut", || engine.channels().is_empty());
    drop(subscriber);
}

#[test]
fn tls_and_access_rights_hold() {
    let rights = "user throng on >secret ~throng:* &throng:* +ping +hello";
    let options = Options { tls: true, acl: Some(rights.to_owned()), ..Options::default() };
    let engine = Engine::with(Topology::Single, options);
    let port = engine.tls_port().expect("a port of TLS").to_string();
    let certificate = super::test_key("TEST-ONLY-localhost.certificate.pem");
    let certificate = certificate.to_str().expect("a path in UTF-8");
    let common = ["-h", "127.0.0.1", "-p", &port, "--tls", "--cacert", certificate, "--no-auth-warning"];
    let asked = [&common[..], &["--user", "throng", "--pass", "secret", "PING"]].concat();
    assert_eq!(engine.redis_cli(&asked).trim(), "PONG");
    let asked = [&common[..], &["--user", "throng", "--pass", "secret", "GET", "other"]].concat();
    assert!(engine.redis_cli(&asked).contains("NOPERM"));
}

#[test]
fn a_replica_without_sentinels_takes_the_masters_place_with_old_data() {
    let mut engine = Engine::with(Topology::Single, Options { replicas: true, ..Options::default() });
    loses_what_the_replica_did_not_get(&mut engine);
}

#[test]
fn sentinels_promote_a_replica_that_was_cut_off() {
    let mut engine = Engine::start(Topology::Sentinel);
    assert_eq!(engine.elected(), Some(0));
    let settings = engine.settings();
    let of = |name: &str| settings.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!((of("redis.mode"), of("redis.master_name")), (Some("sentinel"), Some(super::MASTER_NAME)));
    assert_eq!(of("redis.addresses").map(|list| list.split(',').count()), Some(3));
    loses_what_the_replica_did_not_get(&mut engine);
    assert_eq!(engine.masters(), [1]);
    assert_eq!(engine.replica_of(1), Some(0), "the old master follows");
    engine.fail_over(1, 0);
    eventually("all agree on the first server", || engine.is_whole() && engine.elected() == Some(0));
}

fn loses_what_the_replica_did_not_get(engine: &mut Engine) {
    let (master, replica) = (0, 1);
    assert_eq!((engine.masters(), engine.replica_of(master)), (vec![master], Some(replica)));
    engine.server(master).expect(&["SET", "a", "replicated"]);
    eventually("the replica has it", || engine.server(replica).expect(&["GET", "a"]) == text("replicated"));
    engine.cut_off(replica);
    engine.server(master).expect(&["SET", "a", "lost"]);
    assert_eq!(engine.server(replica).expect(&["GET", "a"]), text("replicated"));
    engine.promote_cut_off(master, replica);
    let now = engine.masters()[0];
    assert_eq!(engine.server(now).expect(&["GET", "a"]), text("replicated"));
}

#[test]
fn a_cluster_fails_over_by_force_and_on_demand() {
    let mut engine = Engine::start(Topology::Cluster);
    let masters = engine.masters();
    assert_eq!((masters.len(), engine.len()), (3, 6));
    assert_eq!(masters.iter().map(|index| engine.slots(*index)).sum::<usize>(), 16_384);
    let (master, replica) = (masters[0], engine.replica_of(masters[0]).expect("a replica"));
    engine.fail_over(master, replica);
    assert!(engine.masters().contains(&replica) && !engine.masters().contains(&master));
    // Back by force: the old master was cut off, and takes over.
    engine.cut_off(master);
    engine.promote_cut_off(replica, master);
    assert!(engine.masters().contains(&master) && !engine.masters().contains(&replica));
    eventually("the cluster is whole", || engine.is_whole());
}

#[test]
fn slots_of_a_cluster_move_with_their_keys() {
    let engine = Engine::with(Topology::Cluster, Options { appendonly: false, ..Options::default() });
    assert_eq!(engine.len(), 3);
    let key = format!("{PREFIX}:{{lobby}}:m");
    let owner = |engine: &Engine| {
        (0..3).find(|index| engine.server(*index).call(&["EXISTS", &key]).is_ok_and(|r| r == Reply::Int(1)))
    };
    let holds = (0..3).find(|index| {
        let reply = engine.server(*index).call(&["HSET", &key, "e", "1"]);
        matches!(reply, Ok(Reply::Int(1)))
    });
    let from = holds.expect("a master of the slot");
    let (to, all) = ((from + 1) % 3, engine.slots(from));
    // All but one, which is not that of the key: a master without slots becomes a replica.
    engine.move_slots(from, to, all - 1);
    assert_eq!((engine.slots(from), owner(&engine)), (1, Some(to)));
    assert!(engine.delete_meta("lobby"));
}
