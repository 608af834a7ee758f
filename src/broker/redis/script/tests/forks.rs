//! Rooms whose server is another one than before, and rooms whose keys are gone.

use super::*;

/// Makes a server a replica of another and waits until it has everything.
fn replicate(from: &Server, to: &Server) {
    let mut connection = to.connect();
    let port = from.port().to_string();
    let _: () = redis::cmd("REPLICAOF").arg("127.0.0.1").arg(port).query(&mut connection).unwrap();
    to.wait_until("INFO", "replication", "master_link_status:up");
}

fn wait_for_replica(room: &mut Room) {
    let replicas: i64 = redis::cmd("WAIT").arg(1).arg(10_000).query(&mut room.connection).unwrap();
    assert_eq!(replicas, 1);
}

fn promote(server: &Server) {
    let _: () = redis::cmd("REPLICAOF").arg("NO").arg("ONE").query(&mut server.connect()).unwrap();
}

#[test]
fn a_restart_with_a_lost_tail_forks_at_what_survived() {
    let mut server = Server::start(&[]);
    let mut room = Room::on(&server);
    let kept = room.publish(NODE, 1, &[plain("a"), keyed("k", "b")]);
    let _: () = redis::cmd("SAVE").query(&mut room.connection).unwrap();
    let lost = room.publish(NODE, 2, &[keyed("lost", "c")]);
    assert_eq!(lost.last, Offset(3));
    server.restart();

    let mut room = Room::on(&server);
    assert_eq!(room.publish(NODE, 1, &[plain("a"), keyed("k", "b")]), kept, "the first call survived");
    let synced = room.sync();
    assert_ne!(synced.epoch, kept.epoch);
    assert_eq!((synced.last, synced.lives.0.as_slice()), (Offset(2), &[(kept.epoch, Offset(2))][..]));
    assert!(synced.lives.has(at(kept.epoch, 2)) && !synced.lives.has(at(kept.epoch, 3)));
    assert!(!synced.lives.has(at(synced.epoch, 1)), "the present epoch is no earlier one");

    let again = room.publish(NODE, 2, &[keyed("lost", "c"), keyed("k", "d")]);
    assert_eq!((again.epoch, again.first, again.last), (synced.epoch, Offset(3), Offset(3)));
    assert_eq!(again.duplicates, [(1, at(kept.epoch, 2))], "keys survive with their messages");
    assert_eq!((again.lives, room.sync()), (synced.lives.clone(), SyncReply { last: Offset(3), ..synced }));
    let epochs: Vec<Epoch> = room.stream().iter().map(|(_, batch)| batch.epoch).collect();
    assert_eq!(epochs, [kept.epoch, again.epoch]);
}

#[test]
fn a_publish_forks_by_itself() {
    let mut server = Server::start(&[]);
    let mut room = Room::on(&server);
    let kept = room.publish(NODE, 1, &[keyed("k", "a")]);
    let _: () = redis::cmd("SAVE").query(&mut room.connection).unwrap();
    server.restart();
    let mut room = Room::on(&server);
    let reply = room.publish(OTHER_NODE, 1, &[keyed("k", "b")]);
    assert_eq!(
        (reply.first, reply.last),
        (Offset(2), Offset(1)),
        "a duplicate appends nothing, and forks all the same"
    );
    assert_eq!(reply.lives.0.as_slice(), [(kept.epoch, Offset(1))]);
    let next = room.publish(OTHER_NODE, 2, &[plain("c")]);
    assert_eq!((next.epoch, next.last, &next.lives), (reply.epoch, Offset(2), &reply.lives));
    let repeated = room.publish(NODE, 1, &[keyed("k", "a")]);
    assert_eq!((repeated.epoch, repeated.last, repeated.lives), (kept.epoch, Offset(1), next.lives));
}

#[test]
fn a_promoted_replica_forks_and_so_does_a_server_that_was_demoted_meanwhile() {
    let (old, new) = (Server::start(&[]), Server::start(&[]));
    let mut on_old = Room::on(&old);
    let alone = on_old.publish(NODE, 1, &[plain("a")]);
    replicate(&old, &new);
    let first = on_old.publish(NODE, 2, &[plain("b")]);
    assert_ne!(first.epoch, alone.epoch, "the first replica gives a server a new replication id");
    assert_eq!(first.lives.0.as_slice(), [(alone.epoch, Offset(1))], "which loses nothing");
    wait_for_replica(&mut on_old);
    assert_eq!(Room::on(&new).try_publish(NODE, 3, &[plain("x")]).unwrap_err().code(), Some("READONLY"));
    promote(&new);
    let lost = on_old.publish(NODE, 3, &[plain("lost")]);
    assert_eq!((lost.epoch, lost.last), (first.epoch, Offset(3)));

    let mut on_new = Room::on(&new);
    let forked = on_new.publish(OTHER_NODE, 1, &[plain("c")]);
    assert_ne!(forked.epoch, first.epoch);
    assert_eq!((forked.first, forked.last), (Offset(3), Offset(3)));
    assert_eq!(forked.lives.0.as_slice(), [(first.epoch, Offset(2)), (alone.epoch, Offset(1))]);
    assert_eq!(texts(&on_new.stream()[2].1), ["c"]);

    // The old server follows the new one and is promoted again: the process never ended.
    replicate(&new, &old);
    promote(&old);
    let back = Room::on(&old).sync();
    assert_eq!(back.lives.0.as_slice()[..2], [(forked.epoch, Offset(3)), (first.epoch, Offset(2))]);
    assert!(![first.epoch, forked.epoch].contains(&back.epoch));
}

#[test]
fn a_room_whose_hash_is_gone_begins_anew_without_its_stream_and_keys() {
    let server = Server::start(&[]);
    for by_sync in [false, true] {
        let mut room = Room::on(&server);
        let before = room.publish(NODE, 1, &[keyed("k", "a"), keyed("old", "b")]);
        let (meta, presence) = (room.keys.meta(), room.keys.presence());
        let _: () = room.ask("HSET", &presence, &["node", "1"]);
        let _: () = room.ask("DEL", &meta, &[]);
        if by_sync {
            let synced = room.sync();
            assert_eq!((synced.last, synced.lives.0.len()), (Offset(0), 0));
            assert!(room.stream().is_empty() && room.key_hashes().is_empty());
        }
        let after = room.publish(NODE, 1, &[keyed("k", "c")]);
        assert_ne!(after.epoch, before.epoch);
        assert_eq!((after.first, after.last), (Offset(1), Offset(1)));
        assert!(after.duplicates.is_empty() && after.lives.0.is_empty());
        assert_eq!(room.stream().len(), 1, "of the earlier life nothing is left");
        assert_eq!(room.publish(NODE, 2, &[keyed("old", "d")]).last, Offset(2), "nor of its keys");
        assert_eq!(room.ask::<i64>("EXISTS", &presence, &[]), 1, "presence is the nodes' own");
        let _: () = redis::cmd("FLUSHALL").query(&mut room.connection).unwrap();
    }
}

#[test]
fn a_room_remembers_eight_earlier_epochs() {
    let server = Server::start(&[]);
    let mut room = Room::on(&server);
    let meta = room.keys.meta();
    let mut epochs = Vec::new();
    for number in 1..=10 {
        epochs.push((room.publish(NODE, number, &[plain("a")]).epoch, Offset(number)));
        let _: () = room.ask("HSET", &meta, &["r", "another"]);
    }
    let lives = room.sync().lives;
    epochs.reverse();
    assert_eq!(lives.0.as_slice(), &epochs[..8]);
    assert_eq!(room.sync().lives, lives, "one change of the server is one fork");
}

#[test]
fn the_same_seed_gives_another_epoch_each_time() {
    let server = Server::start(&[]);
    let mut room = Room::on(&server);
    let (meta, seed) = (room.keys.meta(), Epoch::random());
    let mut epochs = std::collections::HashSet::new();
    for _ in 0..20 {
        let call = sync::call(&room.keys, seed, TTL_MS);
        epochs.insert(sync::reply(&run(&mut room.connection, &call).unwrap()).unwrap().epoch);
        let _: () = room.ask("DEL", &meta, &[]);
    }
    assert_eq!(epochs.len(), 20);
}
