//! Clients that are behind are found, whatever the number of those that are not.

use super::*;
use crate::shard::laggards::SLOWEST;

/// Finds all of them, and tells in how many slices.
fn find(shard: &Shard) -> (Laggards, usize) {
    let (mut found, mut slices) = (Laggards::default(), 0);
    while shard.find_laggards(&mut found) {
        slices += 1;
    }
    (found, slices)
}

#[test]
fn the_longest_queues_come_first_and_few_of_them() {
    let shard = shard(Overload::Disconnect);
    let clients: Vec<_> = (0..10_000).map(|_| join(&shard)).collect();
    assert_eq!(find(&shard).1, 0, "nothing is queued: no client is looked at");
    // Twelve get stuck one after the other, far apart, so that each has one message less than the one before.
    for (seq, slot) in (1..).zip((0..12).map(|n| n * 800)) {
        let (registration, wire) = &clients[slot];
        registration.name(format!("user-{slot}").parse().unwrap());
        wire.is_stuck.set(true);
        publish(&shard, seq, "hello");
        run(&shard, || {});
    }
    let (found, slices) = find(&shard);
    assert_eq!((found.behind, found.slowest.len(), slices), (12, SLOWEST, 3));
    for (n, laggard) in found.slowest.iter().enumerate() {
        let user = laggard.user.as_ref().map(ToString::to_string);
        assert_eq!(user, Some(format!("user-{}", n * 800)));
        assert_eq!((laggard.messages, laggard.bytes), (12 - n, 7 * (12 - n)));
        assert_eq!(laggard.id, clients[n * 800].0.id());
    }
    // A client that catches up or goes is behind no more.
    clients[0].1.is_stuck.set(false);
    clients[0].0.flush();
    clients[800].0.end(EndReason::Kicked);
    let (found, _) = find(&shard);
    assert_eq!((found.behind, found.slowest[0].messages), (10, 10));
}
