//! Calls that the server or the script refuses: nothing may be done by then.

use super::*;
use crate::broker::redis::script::{forget, page};
use crate::broker::redis::testing::code_of;

/// Runs a call that must fail, and checks that it has changed nothing.
fn refused(room: &mut Room, number: u64, messages: &[Message]) -> String {
    let before = room.state();
    let error = room.try_publish(NODE, number, messages).unwrap_err();
    assert!(room.state() == before, "{error}");
    format!("{} {}", code_of(&error), error.detail().unwrap_or_default())
}

fn set(room: &mut Room, option: &str, value: &str) {
    let _: () = redis::cmd("CONFIG").arg("SET").arg(option).arg(value).query(&mut room.connection).unwrap();
}

#[test]
fn a_full_server_does_nothing_and_still_answers_a_repeated_call() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]);
    let mut room = Room::on(&server);
    let meta = room.keys.meta();
    let first = room.publish(NODE, 1, &[keyed("k", "a")]);
    let full = |room: &mut Room, messages: &[Message]| {
        set(room, "maxmemory", "1mb");
        let said = refused(room, 2, messages);
        assert!(said.starts_with("OOM "), "{said}");
    };

    full(&mut room, &[keyed("l", "b"), plain("c")]);
    full(&mut room, &[keyed("k", "all are duplicates")]);
    assert_eq!(room.publish(NODE, 1, &[keyed("k", "a")]), first, "a repeated call writes nothing");
    assert_eq!(room.sync().last, Offset(1), "neither does sync");
    let _: () = room.ask("HDEL", &meta, &["r"]);
    full(&mut room, &[plain("a fork")]);
    full(&mut room, &[keyed("k", "a fork without a batch")]);
    let _: () = room.ask("DEL", &meta, &[]);
    full(&mut room, &[keyed("k", "a new life")]);
    let before = room.state();
    let call = sync::call(&room.keys, Epoch::random(), TTL_MS);
    assert_eq!(code_of(&run(&mut room.connection, &call).unwrap_err()), "OOM");
    assert!(room.state() == before);

    set(&mut room, "maxmemory", "0");
    assert_eq!(room.publish(NODE, 2, &[keyed("k", "d")]).last, Offset(1));
}

#[test]
fn a_server_that_fills_up_loses_no_call_that_it_carried_out() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]);
    let mut room = Room::on(&server);
    room.keep = 1_000_000;
    room.publish(NODE, 1, &[plain("a")]);
    let used: String = redis::cmd("INFO").arg("memory").query(&mut room.connection).unwrap();
    let used: u64 =
        used.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().parse().unwrap();
    set(&mut room, "maxmemory", &(used + 500_000).to_string());
    let text = "x".repeat(10_000);
    let mut last = 1;
    let error = loop {
        match room.try_publish(NODE, last + 1, &[keyed(&last.to_string(), &text)]) {
            Ok(reply) => assert_eq!(reply.last, Offset(last + 1)),
            Err(error) => break error,
        }
        last += 1;
        assert!(last < 1000, "the server never fills up");
    };
    assert_eq!(code_of(&error), "OOM");
    assert_eq!(room.sync().last, Offset(last));
    assert_eq!(room.stream().last().unwrap().1.last(), Offset(last));
}

#[test]
fn a_server_without_enough_replicas_does_nothing_and_still_answers_a_repeated_call() {
    let server = Server::start(&[]);
    let mut room = Room::on(&server);
    let first = room.publish(NODE, 1, &[plain("a")]);
    set(&mut room, "min-replicas-to-write", "1");
    let said = refused(&mut room, 2, &[keyed("k", "b")]);
    assert!(said.starts_with("NOREPLICAS "), "{said}");
    assert_eq!(room.publish(NODE, 1, &[plain("a")]), first);
}

#[test]
fn keys_of_a_wrong_type_are_an_error_before_the_first_write() {
    let server = Server::start(&[]);
    let mut room = Room::on(&server);
    room.publish(NODE, 1, &[keyed("k", "a")]);
    let (meta, stream) = (room.keys.meta(), room.keys.stream());
    let hash = room.key_hashes().remove(0);
    for key in [&meta[..], &stream, hash.as_bytes()] {
        let dump: Vec<u8> = room.ask("DUMP", key, &[]);
        let _: () = room.ask("SET", key, &["text"]);
        let said = refused(&mut room, 2, &[keyed("l", "b")]);
        assert!(said.starts_with("WRONGTYPE "), "{said}");
        let mut restore = redis::cmd("RESTORE");
        let _: () = restore.arg(key).arg(0).arg(dump).arg("REPLACE").query(&mut room.connection).unwrap();
    }
    let _: () = room.ask("HDEL", &meta, &["s"]);
    assert!(refused(&mut room, 2, &[plain("b")]).starts_with("BADROOM test:{lobby}:m has an epoch"));
    let _: () = room.ask("HSET", &meta, &["s", "1", &format!("n:{NODE}"), "nonsense"]);
    assert!(refused(&mut room, 2, &[plain("b")]).starts_with("BADROOM n:00000000000000a1 of test:{lobby}:m"));
}

#[test]
fn malformed_calls_are_refused() {
    let server = Server::start(&[]);
    let mut room = Room::on(&server);
    room.publish(NODE, 1, &vec![plain("a"); 64]);
    let long = "x".repeat(5 * 1024 * 1024);
    for messages in [vec![], vec![plain("a"); 65], vec![plain(&long), plain(&long)]] {
        let said = refused(&mut room, 2, &messages);
        assert!(said.starts_with("BADCALL "), "{said}");
    }
    assert_eq!(room.publish(NODE, 2, &[plain(&long)]).last, Offset(65));
}

#[test]
fn a_server_that_hides_its_replication_id_is_refused_with_the_reason() {
    let hidden = Server::start(&["--rename-command", "INFO", "", "--rename-command", "ECHO", "INFO"]);
    let forbidden = Server::start(&["--user", "default", "on", "nopass", "~*", "&*", "+@all", "-info"]);
    for server in [hidden, forbidden] {
        let mut room = Room::on(&server);
        let said = refused(&mut room, 1, &[plain("a")]);
        assert!(said.starts_with("NOREPLID INFO replication shows no master_replid"), "{said}");
        let call = sync::call(&room.keys, Epoch::random(), TTL_MS);
        assert_eq!(code_of(&run(&mut room.connection, &call).unwrap_err()), "NOREPLID");
        assert!(room.state().is_empty());
    }
}

#[test]
fn these_commands_and_a_prefix_are_all_that_the_scripts_need() {
    let commands = "+evalsha +eval +info +time +hmget +hset +hdel +xadd +xrange +xrevrange +exists +pttl +pexpire +del \
        +spublish +hello";
    let user: Vec<&str> = ["--user", "chat", "on", "nopass", "~test:*", "&test:*"]
        .into_iter()
        .chain(commands.split(' '))
        .collect();
    let server = Server::start(&user);
    let mut room = Room::on(&server);
    let mut of_user = Room { connection: server.connect_as("chat"), ..Room::on(&server) };
    of_user.publish(NODE, 1, &[keyed("k", "a"), plain("b")]);
    let meta = room.keys.meta();
    let _: () = room.ask("HSET", &meta, &["r", "another"]);
    assert_eq!(of_user.publish(NODE, 2, &[keyed("k", "c"), plain("d")]).duplicates.len(), 1);
    let _: () = room.ask("DEL", &meta, &[]);
    assert_eq!(of_user.sync().last, Offset(0));
    let keys = of_user.keys.clone();
    let limit = page::PageLimit { batches: 1, bytes: 1 };
    let calls = [page::from(&keys, Offset(1), limit), page::to(&keys, Offset(1), limit)];
    for call in calls.into_iter().chain(forget::calls(&keys, &[NODE])) {
        run(&mut of_user.connection, &call).unwrap();
    }

    let foreign = sync::call(&Keys::new("other").room(&"lobby".parse().unwrap()), Epoch::random(), TTL_MS);
    let error = run(&mut of_user.connection, &foreign).unwrap_err();
    assert_eq!(code_of(&error), "NOPERM");
}
