//! Appending, publishing and repeated calls, and how long a room is kept.

use redis::{PushKind, Value};

use super::*;
use crate::broker::redis::script::forget;
use crate::broker::redis::testing::code_of;

/// A connection that hears the room's channel.
struct Listener(Connection);

impl Listener {
    fn on(server: &Server, room: &Room) -> Self {
        let mut connection = server.connect();
        let subscribe = redis::cmd("SSUBSCRIBE").arg(&*room.keys.channel()).get_packed_command();
        connection.send_packed_command(&subscribe).unwrap();
        let answer = connection.recv_response().unwrap();
        assert!(matches!(answer, Value::Push { kind: PushKind::SSubscribe, .. }), "{answer:?}");
        Self(connection)
    }

    fn next(&mut self) -> Bytes {
        match self.0.recv_response().unwrap() {
            Value::Push { kind: PushKind::SMessage, data } => match &data[1] {
                Value::BulkString(payload) => Bytes::copy_from_slice(payload),
                other => panic!("{other:?} is no payload"),
            },
            other => panic!("{other:?} is no message"),
        }
    }
}

#[test]
fn messages_get_consecutive_offsets_and_are_stored_as_one_entry_per_call() {
    let server = Server::start(&[]);
    let mut room = Room::on(&server);
    let first = room.publish(NODE, 1, &[plain("a"), plain("b")]);
    assert_eq!((first.first, first.last), (Offset(1), Offset(2)));
    assert!(first.duplicates.is_empty() && first.lives.0.is_empty());
    let second = room.publish(OTHER_NODE, 7, &[plain("c")]);
    assert_eq!((second.epoch, second.first, second.last), (first.epoch, Offset(3), Offset(3)));

    let stream = room.stream();
    assert_eq!(stream.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["2-0", "3-0"]);
    assert_eq!((texts(&stream[0].1), texts(&stream[1].1)), (vec!["a", "b"], vec!["c"]));
    assert_eq!(stream[1].1.call, CallId { by: OTHER_NODE, number: 7 });
    assert_eq!((stream[1].1.epoch, stream[1].1.first), (first.epoch, Offset(3)));
    assert_eq!(stream[0].1.messages[0].user, user());
    assert_eq!(stream[0].1.messages[0].at_unix_ms, 1_700_000_000_000);
    assert_eq!(room.sync(), SyncReply { epoch: first.epoch, last: Offset(3), lives: first.lives });
}

#[test]
fn only_what_is_appended_is_pushed_and_each_of_it_once() {
    let server = Server::start(&[]);
    let mut room = Room::on(&server);
    let mut listener = Listener::on(&server, &room);
    let call = [keyed("k", "a"), plain("b")];
    room.publish(NODE, 1, &call);
    room.publish(NODE, 1, &call);
    room.publish(NODE, 2, &[keyed("k", "again")]);
    assert_eq!(
        room.try_publish(NODE, 1, &call).map_err(|error| code_of(&error).to_owned()),
        Err("OLDCALL".into())
    );
    room.publish(OTHER_NODE, 1, &[plain("c")]);

    let pushed = [listener.next(), listener.next()].map(|payload| Batch::parse(&payload).unwrap());
    let stored: Vec<Batch> = room.stream().into_iter().map(|(_, batch)| batch).collect();
    assert_eq!(stored, pushed);
    assert_eq!((texts(&pushed[0]), texts(&pushed[1])), (vec!["a", "b"], vec!["c"]));
}

#[test]
fn a_repeated_call_returns_what_it_returned_and_changes_nothing() {
    let server = Server::start(&[]);
    let mut room = Room::on(&server);
    room.publish(OTHER_NODE, 1, &[keyed("k", "a"), plain("b")]);
    let call = [plain("c"), keyed("k", "d"), plain("e")];
    let first = room.publish(NODE, 5, &call);
    assert_eq!((first.first, first.last), (Offset(3), Offset(4)));
    assert_eq!(first.duplicates, [(1, at(first.epoch, 1))]);
    room.publish(OTHER_NODE, 2, &[plain("f")]);

    let before = room.state();
    assert_eq!(room.publish(NODE, 5, &call), first);
    let older = room.try_publish(NODE, 4, &call).unwrap_err();
    assert_eq!(code_of(&older), "OLDCALL");
    assert!(older.to_string().contains("call 4 is older than call 5"), "{older}");
    assert!(room.state() == before);
}

#[test]
fn a_call_of_duplicates_alone_appends_no_entry() {
    let server = Server::start(&[]);
    let mut room = Room::on(&server);
    let first = room.publish(NODE, 1, &[keyed("k", "a")]);
    let second = room.publish(NODE, 2, &[keyed("k", "b"), keyed("k", "c")]);
    assert_eq!((second.first, second.last), (Offset(2), Offset(1)));
    assert_eq!(second.duplicates, [(0, at(first.epoch, 1)), (1, at(first.epoch, 1))]);
    assert_eq!(room.stream().len(), 1);
    assert_eq!(room.publish(NODE, 2, &[keyed("k", "b"), keyed("k", "c")]), second);
}

#[test]
fn a_room_that_forgets_a_node_no_longer_recognises_its_calls() {
    let server = Server::start(&[]);
    let mut room = Room::on(&server);
    room.publish(NODE, 3, &[plain("a")]);
    room.publish(OTHER_NODE, 3, &[plain("b")]);
    let calls: Vec<_> = forget::calls(&room.keys, &[NODE, Incarnation(1)]).collect();
    assert_eq!(calls.len(), 1);
    assert_eq!(forget::reply(&run(&mut room.connection, &calls[0]).unwrap()), Ok(1));
    assert_eq!(room.publish(OTHER_NODE, 3, &[plain("b")]).last, Offset(2), "the other node is still known");
    assert_eq!(room.publish(NODE, 1, &[plain("c")]).last, Offset(3));

    let many: Vec<Incarnation> = (1000..3501).map(Incarnation).collect();
    let removed: Vec<u64> = forget::calls(&room.keys, &many)
        .map(|call| forget::reply(&run(&mut room.connection, &call).unwrap()).unwrap())
        .collect();
    assert_eq!(removed, [0, 0, 0]);
    assert_eq!(forget::calls(&room.keys, &[]).count(), 0);
}

#[test]
fn the_stream_keeps_the_newest_messages_and_little_more() {
    let server = Server::start(&[]);
    let mut room = Room::on(&server);
    room.keep = 20;
    for number in 1..=1000 {
        room.publish(NODE, number, &[plain("some text"), plain("and more")]);
    }
    let stream = room.stream();
    let offsets: Vec<u64> = stream.iter().map(|(_, batch)| batch.last().0).collect();
    let first = stream[0].1.first.0;
    assert!((1800..=1981).contains(&first), "{first}");
    assert_eq!(offsets, (first + 1..=2000).step_by(2).collect::<Vec<_>>());

    room.keep = 0;
    for number in 1001..=1200 {
        let last = room.publish(NODE, number, &[plain("x")]).last;
        assert_eq!(room.stream().last().unwrap().1.last(), last, "the newest batch is always kept");
    }
}

#[test]
fn a_publish_refreshes_the_time_to_live_when_a_third_of_it_is_over_and_sync_does_always() {
    let server = Server::start(&[]);
    let mut room = Room::on(&server);
    let keys = [room.keys.meta(), room.keys.stream(), room.keys.presence()];
    let left = |room: &mut Room| keys.clone().map(|key| room.ask::<i64>("PTTL", &key, &[]));
    let is_full = |left: [i64; 3]| left.iter().all(|left| (3_590_000..=3_600_000).contains(left));

    let _: () = room.ask("HSET", &keys[2], &["node", "1"]);
    room.publish(NODE, 1, &[plain("a")]);
    assert!(is_full(left(&mut room)), "a new room");
    for (ttl, is_refreshed) in [("2500000", false), ("2300000", true)] {
        keys.iter().for_each(|key| room.ask("PEXPIRE", key, &[ttl]));
        let number = if is_refreshed { 3 } else { 2 };
        room.publish(NODE, number, &[plain("b")]);
        assert_eq!(is_full(left(&mut room)), is_refreshed, "{ttl}");
    }
    keys.iter().for_each(|key| room.ask("PERSIST", key, &[]));
    room.publish(NODE, 4, &[plain("c")]);
    assert!(is_full(left(&mut room)), "keys that lived forever");
    keys.iter().for_each(|key| room.ask("PEXPIRE", key, &["3400000"]));
    room.sync();
    assert!(is_full(left(&mut room)), "sync");
}

#[test]
fn the_first_message_of_an_opened_room_gives_its_stream_a_time_to_live() {
    let server = Server::start(&[]);
    let mut room = Room::on(&server);
    room.sync();
    room.publish(NODE, 1, &[plain("a")]);
    let stream = room.keys.stream();
    assert!(room.ask::<i64>("PTTL", &stream, &[]) > 3_590_000);
}
