//! The search finds the clients that are behind, however many others there are.

use super::*;
use crate::shard::laggards::SLOWEST;

/// Searches the whole shard. Returns the laggards, and the number of slices after which more slots were left.
fn find(shard: &Shard) -> (Laggards, usize) {
    let (mut found, mut slices) = (Laggards::default(), 0);
    while shard.find_laggards(&mut found) {
        slices += 1;
    }
    (found, slices)
}

#[test]
fn the_longest_queues_are_listed_first_and_only_a_few() {
    let shard = shard(Overload::Disconnect);
    let clients: Vec<_> = (0..10_000).map(|_| join(&shard)).collect();
    assert_eq!(find(&shard).1, 0, "nothing is queued: no client is looked at");
    // Clients in distant slots stop reading one after the other, so each has one message less in its queue than the one
    // before.
    const LAGGARDS: usize = SLOWEST + 2;
    const APART: usize = 10_000 / LAGGARDS;
    for (seq, slot) in (1..).zip((0..LAGGARDS).map(|n| n * APART)) {
        let (registration, wire) = &clients[slot];
        registration.name(format!("user-{slot}").parse().unwrap());
        wire.is_stuck.set(true);
        publish(&shard, seq, "hello");
        run(&shard, || {});
    }
    let (found, slices) = find(&shard);
    assert_eq!((found.behind, found.slowest.len(), slices), (LAGGARDS, SLOWEST, 3));
    for (n, laggard) in found.slowest.iter().enumerate() {
        let user = laggard.user.as_ref().map(ToString::to_string);
        assert_eq!(user, Some(format!("user-{}", n * APART)));
        assert_eq!((laggard.messages, laggard.bytes), (LAGGARDS - n, 7 * (LAGGARDS - n)));
        assert_eq!(laggard.id, clients[n * APART].0.id());
    }
    // A client that has caught up, or is ending, is no laggard.
    clients[0].1.is_stuck.set(false);
    clients[0].0.flush();
    clients[APART].0.end(EndReason::Kicked);
    let (found, _) = find(&shard);
    assert_eq!((found.behind, found.slowest[0].messages), (SLOWEST, SLOWEST));
}
