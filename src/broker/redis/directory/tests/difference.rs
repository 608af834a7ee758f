//! The engine in memory answers random calls as a real server does. So what the model proves holds for the scripts.

use std::collections::BTreeMap;

use super::imitation::Imitation;
use super::server::Server;
use super::{live, owner, user};
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::directory::claim::{self, Claim, ClaimReply, Policy};
use crate::broker::redis::directory::release::{self, Missing};
use crate::broker::redis::directory::{SessionHash, Spent, find};
use crate::broker::redis::keys::Keys;
use crate::broker::redis::nodes::beat::{self, Beat, BeatReply, Timing};
use crate::broker::redis::nodes::table::TableId;
use crate::broker::redis::nodes::{Details, LiveNodes};
use crate::broker::redis::script::{Call, Reply};

const CALLS: usize = 3_000;

/// Makes a random call on the entry of a user.
fn directory_call(random: &mut fastrand::Rng) -> Call {
    let keys = Keys::new("throng");
    let anna = user("anna");
    let mut some_owner = || owner(random.u64(1..=3), random.usize(1..=3));
    let [own, other] = [some_owner(), some_owner()];
    // Either the list of live nodes is older than every entry, so that it proves nobody dead, or younger.
    let listed: Vec<u64> = (1..=3).filter(|_| random.u8(0..4) > 0).collect();
    let as_of_ms = if random.bool() { 0 } else { 1 << 50 };
    let live = LiveNodes { as_of_ms, ..live(&listed) };
    let mut secret = || {
        let digit = random.u8(0..3);
        (digit > 0).then(|| SessionHash::new(&digit.to_string().repeat(32).parse().unwrap()))
    };
    let (session, shown) = (secret(), secret());
    match random.u8(0..10) {
        0..=5 => {
            let dead = random.bool().then_some(other);
            let policies = [Policy::Allow, Policy::Replace, Policy::Reject { dead }];
            let policy = policies[random.usize(0..3)].clone();
            claim::call(&keys, &Claim { user: &anna, owner: &own, session, shown, policy }, &live)
        }
        6..=8 => {
            let missing = Missing { thousandths: random.u64(0..3), full_in_ms: random.u64(0..2) * 3_600_000 };
            release::call(&keys, &anna, &own, missing)
        }
        _ => find::call(&keys, &anna, &live),
    }
}

/// Returns the answer without what differs between two clocks, the age of a bucket, and without the order of the
/// replaced connections, which means nothing.
fn timeless(call: &Call, answer: &Reply) -> String {
    match call.script.name {
        "claim" => {
            let mut reply = claim::reply(answer).unwrap();
            if let ClaimReply::Claimed { spent, replaced } = &mut reply {
                *spent = Spent { age_ms: 0, ..*spent };
                replaced.sort_by_key(|owner| (owner.incarnation, owner.connection.slot()));
            }
            format!("{reply:?}")
        }
        "find" => format!("{:?}", find::reply(answer).unwrap()),
        _ => format!("{answer:?}"),
    }
}

/// Waits until the server's clock shows another millisecond than any call before, and returns it.
fn next_ms(server: &mut Server) -> u64 {
    let before = server.now_ms();
    loop {
        let now = server.now_ms();
        if now > before {
            return now;
        }
    }
}

#[test]
fn the_directory_in_memory_is_that_of_a_server() {
    let mut random = fastrand::Rng::with_seed(18);
    let mut server = Server::start();
    let mut imitation = Imitation::default();
    let mut seen = BTreeMap::<String, usize>::new();
    for number in 0..CALLS {
        imitation.now_ms = next_ms(&mut server);
        let call = directory_call(&mut random);
        let real = timeless(&call, &server.call(&call).unwrap());
        let expected = timeless(&call, &imitation.call(&call));
        assert_eq!(real, expected, "call {number}: {call:?}");
        let real: Vec<String> = server.hash("throng:u:{anna}").into_iter().map(|(field, _)| field).collect();
        assert_eq!(real, imitation.fields(), "call {number}: {call:?}");
        let kind = format!("{} {}", call.script.name, expected.split([' ', '(']).next().unwrap_or_default());
        *seen.entry(kind).or_default() += 1;
    }
    for kind in ["claim Claimed", "claim Held", "claim Replaced", "release Int", "find [Owner"] {
        assert!(seen.get(kind).is_some_and(|count| *count > 20), "{kind} is rare: {seen:?}");
    }
}

#[test]
fn the_table_of_nodes_in_memory_is_that_of_a_server() {
    let mut random = fastrand::Rng::with_seed(81);
    let mut server = Server::start();
    let mut imitation = Imitation::default();
    let keys = Keys::new("throng");
    let mut seen = [0; 4];
    for number in 0..CALLS {
        imitation.now_ms = server.now_ms();
        let name = format!("n{}", random.u8(1..=3)).parse().unwrap();
        let incarnation = Incarnation(random.u64(1..=5));
        if random.u8(0..4) == 0 {
            let call = beat::remove(&keys, &name, incarnation, random.bool());
            assert_eq!(server.call(&call).unwrap(), imitation.call(&call), "call {number}: {call:?}");
            continue;
        }
        let seen_table = random.bool().then(|| TableId(random.u64(1..=2)));
        let beat = Beat { name, incarnation, seen: seen_table, new_table: TableId(random.u64(1..=2)) };
        // Either every node is silent, or none.
        let lease_ms = if random.u8(0..3) == 0 { 0 } else { 1 << 40 };
        let call = beat::call(&keys, &beat, &Details::default(), Timing { lease_ms, gap_ms: 1 << 40 });
        let [real, expected] = [server.call(&call).unwrap(), imitation.call(&call)].map(|answer| {
            match beat::reply(&answer).unwrap() {
                BeatReply::Beaten(table) => {
                    seen[0] += 1;
                    let mut nodes: Vec<_> = table
                        .nodes
                        .into_iter()
                        .map(|node| (node.name, node.incarnation, node.is_live))
                        .collect();
                    nodes.sort();
                    format!("{} {nodes:?}", table.id)
                }
                BeatReply::Held { .. } => {
                    seen[1] += 1;
                    "held".into()
                }
                BeatReply::Dead => {
                    seen[2] += 1;
                    "dead".into()
                }
                BeatReply::Full => "full".into(),
            }
        });
        assert_eq!(real, expected, "call {number}: {call:?}");
        if random.u8(0..100) == 0 {
            server.admin(&["FLUSHALL"]);
            imitation.lose_all();
        }
    }
    assert!(seen[..3].iter().all(|count| *count > 100), "{seen:?}");
}
