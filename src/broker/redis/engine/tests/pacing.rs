//! More rooms than a link takes calls at once.

use std::time::Instant;

use super::*;
use crate::broker::redis::testing::Server;

/// Breaks the connections of subscribers, and returns how long it takes until every room was compared with the server.
fn measure(node: &TestNode, server: &Server, rooms: usize) -> Duration {
    let mut connection = server.connect();
    let _: () = redis::cmd("CONFIG").arg("RESETSTAT").query(&mut connection).unwrap();
    let _: u64 = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").query(&mut connection).unwrap();
    let since = Instant::now();
    eventually("every room is compared", || {
        let stats: String = redis::cmd("INFO").arg("commandstats").query(&mut connection).unwrap();
        let calls = stats.split_once("cmdstat_evalsha:calls=").and_then(|(_, rest)| rest.split_once(','));
        calls.is_some_and(|(calls, _)| calls.parse::<usize>().unwrap() >= rooms)
            && node.cluster.metrics().calls_in_flight.get() == 0
    });
    since.elapsed()
}

// With `THRONG_LONG` there are as many rooms as a large node has.
#[test]
fn more_rooms_than_a_link_takes_calls_are_opened_and_compared_at_once() {
    let server = Server::start(&[]);
    let address = format!("127.0.0.1:{}", server.port());
    let is_long = std::env::var_os("THRONG_LONG").is_some();
    let node = TestNode::start(RedisMode::Single, std::slice::from_ref(&address));
    let rooms = names(if is_long { 50_000 } else { 5_000 });
    rooms.chunks(5_000).for_each(|some| node.open(some));
    let took = measure(&node, &server, rooms.len());
    eprintln!("{} rooms are compared within {took:?}", rooms.len());
    drop(node);

    let mut pair = Pair::start(RedisMode::Single, &[address], 1_500);
    pair.say_everywhere();
    pair.check();
    measure(&pair.nodes[0], &server, 2 * pair.rooms.len());
    pair.say_everywhere();
    pair.check();
    assert_eq!(pair.renamed(), 0);
}
