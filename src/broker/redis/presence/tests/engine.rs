//! The scripts on a real engine: they do what the simulated one does, and push what they say.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use redis::{Connection, PushKind, Value, cmd};

use super::super::{Operation, Publication};
use super::server::Server;
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::keys::{Keys, RoomKeys};
use crate::broker::redis::script::Reply;
use crate::broker::redis::testing::{self, run};

const LIFE: Duration = Duration::from_secs(60);

fn keys() -> RoomKeys {
    Keys::new("p").room(&"den".parse().unwrap())
}

/// Returns any publication, with numbers and pieces that may not fit to what is stored.
fn publication(random: &mut fastrand::Rng, by: Incarnation) -> Publication {
    let number = random.u64(1..6);
    let pieces = random.usize(0..4);
    let names = |random: &mut fastrand::Rng| Bytes::from(vec![random.u8(..); random.usize(..20)]);
    Publication {
        by,
        number,
        base: random.bool().then(|| random.u64(..number)),
        entry: format!("{number} l {} {pieces}", random.u8(..)).into(),
        pieces,
        count: 0,
        changed: (0..pieces).map(|field| (field, names(random))).collect(),
        payload: names(random),
    }
}

fn operation(random: &mut fastrand::Rng) -> Operation {
    let by = Incarnation(random.u64(..3));
    match random.u8(..10) {
        0 => Operation::Read,
        1 => Operation::RemoveDead(vec![by, Incarnation(1)]),
        2 => Operation::Close { by, number: random.u64(1..6), payload: "p1 closed".into() },
        _ => Operation::Publish(publication(random, by)),
    }
}

fn stored(connection: &mut Connection) -> BTreeMap<Bytes, Bytes> {
    let fields: Vec<(Vec<u8>, Vec<u8>)> =
        cmd("HGETALL").arg(&*keys().presence()).query(connection).expect("the engine answers");
    fields.into_iter().map(|(field, value)| (field.into(), value.into())).collect()
}

/// A subscription of the room's channel.
struct Listener(Connection);

impl Listener {
    fn new(mut connection: Connection) -> Self {
        let subscribe = cmd("SSUBSCRIBE").arg(&*keys().channel()).get_packed_command();
        connection.send_packed_command(&subscribe).expect("the engine is there");
        let answer = connection.recv_response().expect("the engine answers");
        assert!(matches!(answer, Value::Push { kind: PushKind::SSubscribe, .. }), "{answer:?}");
        Self(connection)
    }

    /// Waits for the next push.
    fn next(&mut self) -> Bytes {
        match self.0.recv_response().expect("a push") {
            Value::Push { kind: PushKind::SMessage, mut data } => match data.pop() {
                Some(Value::BulkString(payload)) => payload.into(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_scripts_do_what_the_simulated_engine_does() {
    let engine = testing::Server::start_cluster();
    let (mut connection, mut listener) = (engine.connect(), Listener::new(engine.connect()));
    let (mut server, mut pushed) = (Server::default(), 0);
    let mut random = fastrand::Rng::with_seed(18);
    for round in 0..600 {
        let operation = operation(&mut random);
        let call = operation.call(&keys(), LIFE);
        let (mut reply, payload) = server.run(&call);
        let mut answer = run(&mut connection, &call).expect("the script runs");
        if operation == Operation::Read {
            // A hash has no order.
            for list in [&mut reply, &mut answer] {
                let Reply::Array(flat) = list else { panic!("{list:?}") };
                let mut pairs: Vec<_> = flat.chunks(2).map(<[_]>::to_vec).collect();
                pairs.sort_by_key(|pair| pair[0].bytes().cloned());
                *flat = pairs.concat();
            }
        }
        assert_eq!(answer, reply, "round {round}: {operation:?}");
        assert_eq!(stored(&mut connection), server.fields, "round {round}: {operation:?}");
        if let Some(payload) = payload {
            pushed += 1;
            assert_eq!(listener.next(), payload, "round {round}: {operation:?}");
        }
    }
    let life: i64 = cmd("PTTL").arg(&*keys().presence()).query(&mut connection).expect("the engine answers");
    assert!((1..=60_000).contains(&life), "the hash does not live for ever: {life}");
    assert!(pushed > 100, "hardly anything was pushed");
    let end = Bytes::from("the end");
    let close = Operation::Close { by: Incarnation(9), number: 1, payload: end.clone() };
    run(&mut connection, &close.call(&keys(), LIFE)).expect("the script runs");
    assert_eq!(listener.next(), end, "nothing else was pushed");
}
