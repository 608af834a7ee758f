//! The scripts on a Redis Cluster, also while a slot is being moved.

use super::*;
use crate::broker::redis::script::forget;
use crate::broker::redis::script::page::{self, PageLimit};
use crate::broker::redis::testing::code_of;

#[test]
fn all_keys_of_a_room_are_in_one_slot() {
    let server = Server::start_cluster();
    let mut room = Room::on(&server);
    let reply = room.publish(NODE, 1, &[keyed("k", "a"), keyed("l", "b")]);
    assert_eq!(room.publish(NODE, 2, &[keyed("k", "c"), plain("d")]).duplicates, [(0, at(reply.epoch, 1))]);
    assert_eq!(room.sync().last, Offset(3));
    let limit = PageLimit { batches: 9, bytes: 9999 };
    let calls = [page::from(&room.keys, Offset(1), limit), page::to(&room.keys, Offset(3), limit)];
    for call in calls {
        let answer = run(&mut room.connection, &call).unwrap();
        assert_eq!(page::reply(&answer).unwrap().len(), 2);
    }
    let call = forget::calls(&room.keys, &[NODE]).next().unwrap();
    assert_eq!(forget::reply(&run(&mut room.connection, &call).unwrap()), Ok(1));
    let meta = room.keys.meta();
    let _: () = room.ask("HSET", &meta, &["r", "another"]);
    assert_eq!(room.publish(NODE, 1, &[plain("e")]).lives.0.as_slice(), [(reply.epoch, Offset(3))]);
    let _: () = room.ask("DEL", &meta, &[]);
    assert_eq!(room.publish(NODE, 1, &[keyed("k", "f")]).last, Offset(1));
}

fn cluster(server: &Server, arguments: &[&str]) -> String {
    redis::cmd("CLUSTER").arg(arguments).query(&mut server.connect()).unwrap()
}

/// Carries out a call as a link does after `-ASK`.
fn run_asking(room: &mut Room, call: &Call) -> Result<(), String> {
    let _: () = redis::cmd("SCRIPT").arg("LOAD").arg(call.script.text).query(&mut room.connection).unwrap();
    let _: () = redis::cmd("ASKING").query(&mut room.connection).unwrap();
    run(&mut room.connection, call).map(|_| ()).map_err(|error| code_of(&error).to_owned())
}

#[test]
fn a_call_waits_while_the_keys_of_its_room_are_on_two_servers() {
    let (from, to) = (Server::start_cluster(), Server::start_cluster_without_slots());
    let (to_port, bus) = (to.port().to_string(), to.cluster_port().to_string());
    cluster(&from, &["MEET", "127.0.0.1", &to_port, &bus]);
    let (from_id, to_id) = (cluster(&from, &["MYID"]), cluster(&to, &["MYID"]));
    from.wait_until("CLUSTER", "NODES", &to_id);
    to.wait_until("CLUSTER", "NODES", &from_id);
    to.wait_until("CLUSTER", "INFO", "cluster_state:ok");

    let mut room = Room::on(&from);
    let presence = room.keys.presence();
    let _: () = room.ask("HSET", &presence, &["node", "1"]);
    room.publish(NODE, 1, &[plain("a")]);
    let slot: u16 = redis::cmd("CLUSTER").arg("KEYSLOT").arg("lobby").query(&mut room.connection).unwrap();
    let slot = slot.to_string();
    cluster(&to, &["SETSLOT", &slot, "IMPORTING", &from_id]);
    cluster(&from, &["SETSLOT", &slot, "MIGRATING", &to_id]);

    // The hash of the keys is not here. It could be there.
    let before = room.state();
    let error = room.try_publish(NODE, 2, &[keyed("k", "b")]).unwrap_err();
    assert_eq!(code_of(&error), "TRYAGAIN", "{error}");
    assert!(room.state() == before);
    assert_eq!(room.publish(NODE, 2, &[plain("b")]).last, Offset(2), "no key, nothing missing");

    // The room's own keys have moved.
    let keys = [room.keys.meta(), room.keys.stream(), room.keys.presence()];
    let mut migrate = redis::cmd("MIGRATE");
    migrate.arg("127.0.0.1").arg(&to_port).arg("").arg(0).arg(10_000).arg("KEYS");
    keys.iter().for_each(|key| _ = migrate.arg(&**key));
    let _: () = migrate.query(&mut room.connection).unwrap();
    let mut there = Room::on(&to);
    let (with_key, without) = (there.call(NODE, 3, &[keyed("k", "c")]), there.call(NODE, 3, &[plain("c")]));
    assert_eq!(run_asking(&mut there, &with_key), Err("TRYAGAIN".to_owned()));
    assert_eq!(run_asking(&mut there, &without), Ok(()));

    cluster(&to, &["SETSLOT", &slot, "NODE", &to_id]);
    assert_eq!(there.stream().iter().map(|(_, batch)| batch.last().0).collect::<Vec<_>>(), [1, 2, 3]);
    let lives = there.sync().lives;
    assert_eq!(lives.0.len(), 1, "another server is a fork");
    assert_eq!(lives.0[0].1, Offset(2), "which lost nothing");
}
