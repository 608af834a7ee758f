//! A simulation: the library runs a thousand random stories in one thread. Clients publish, are cut off, stop reading
//! and come back with right and wrong positions, time passes, and the server restarts. Between any two steps each shard
//! has worked for a random number of turns. The [checker] of the integration tests judges the events of every client,
//! and a model that counts the messages of each room predicts them.
//!
//! In some stories rooms survive restarts in `history.dir`, and clients that come back get the missed messages. The log
//! has a thread of its own, so a story that fails may pass when it is repeated.
//!
//! In some stories all messages are long, three of them more than a page. A client that comes back and does not read is
//! then in the middle of its missed messages while others publish, and messages that it has not got yet are evicted.
//!
//! proptest shortens a story that fails, and prints it.

use std::cell::RefCell;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

#[path = "it/support/checker/mod.rs"]
#[expect(dead_code, reason = "shared with the integration tests, which need more of it")]
mod checker;
#[path = "it/support/frame.rs"]
#[expect(dead_code, reason = "shared with the integration tests, which need more of it")]
mod frame;
#[path = "simulation/story.rs"]
mod story;
#[path = "simulation/system.rs"]
mod system;

use checker::Counts;
use story::{Plot, Story};
use system::SHARDS;
use throng::config::QueuePolicy;

/// Number of clients: the last speaks the plain dialect, the others `throng.v1`.
const CLIENTS: usize = 5;
const ROOMS: usize = 2;
/// Number of stories, each with a seed of its own.
const STORIES: u32 = 1000;
/// One of this many stories has long messages, which take longer.
const LONG_ONE_OF: u8 = 8;
/// One of this many stories has rooms that survive restarts.
const DURABLE_ONE_OF: u8 = 4;

/// The position with which a client comes back to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResumeFrom {
    Fresh,
    Exact,
    Stale(u64),
    Future,
    OtherEpoch,
}

/// A step of a story. A step that is not possible where it stands is skipped, so that any part of a story is a story.
#[derive(Debug, Clone)]
enum Step {
    Connect { client: usize, room: usize, from: ResumeFrom, is_stalled: bool },
    Lag { client: usize, room: usize },
    Disconnect { client: usize },
    Say { client: usize, times: usize, is_keyed: bool, echo: bool },
    Retry { client: usize },
    Join { client: usize, room: usize, from: ResumeFrom },
    Leave { client: usize },
    Ask { client: usize },
    Stall { client: usize },
    Read { client: usize },
    Turn { shard: usize },
    Settle,
    Wait { ms: u64 },
    Restart,
}

fn resume_from() -> impl Strategy<Value = ResumeFrom> {
    prop_oneof![
        1 => Just(ResumeFrom::Fresh),
        5 => Just(ResumeFrom::Exact),
        2 => (1..12_u64).prop_map(ResumeFrom::Stale),
        1 => Just(ResumeFrom::Future),
        1 => Just(ResumeFrom::OtherEpoch),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let target = || (0..CLIENTS, 0..ROOMS, resume_from());
    prop_oneof![
        16 => (target(), 0..4_u8).prop_map(|((client, room, from), stalls)| {
            Step::Connect { client, room, from, is_stalled: stalls == 0 }
        }),
        2 => (0..CLIENTS, 0..ROOMS).prop_map(|(client, room)| Step::Lag { client, room }),
        5 => (0..CLIENTS).prop_map(|client| Step::Disconnect { client }),
        12 => (0..CLIENTS, 1..8_usize, any::<bool>(), 0..5_u8).prop_map(|(client, times, is_keyed, quiet)| {
            Step::Say { client, times, is_keyed, echo: quiet > 0 }
        }),
        6 => (0..CLIENTS).prop_map(|client| Step::Retry { client }),
        6 => target().prop_map(|(client, room, from)| Step::Join { client, room, from }),
        4 => (0..CLIENTS).prop_map(|client| Step::Leave { client }),
        1 => (0..CLIENTS).prop_map(|client| Step::Ask { client }),
        4 => (0..CLIENTS).prop_map(|client| Step::Stall { client }),
        4 => (0..CLIENTS).prop_map(|client| Step::Read { client }),
        12 => (0..SHARDS).prop_map(|shard| Step::Turn { shard }),
        4 => Just(Step::Settle),
        2 => (1..2_000_u64).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Restart),
    ]
}

#[test]
fn every_client_sees_one_order_under_random_faults() {
    let config =
        Config { cases: STORIES, failure_persistence: None, max_shrink_iters: 4096, ..Config::default() };
    let all = RefCell::new((Counts::default(), Plot::default()));
    let policy = prop_oneof![
        Just(QueuePolicy::Disconnect),
        Just(QueuePolicy::DropOldest),
        Just(QueuePolicy::DropNewest),
    ];
    let stories = (policy, 0..LONG_ONE_OF, 0..DURABLE_ONE_OF, vec(step(), 1..120));
    let told = TestRunner::new(config).run(&stories, |(policy, length, durable, steps)| {
        let mut story = Story::begin(policy, length == 0, durable == 0);
        steps.iter().for_each(|step| story.take(step));
        let (counts, plot) = story.finish();
        let (all, whole) = &mut *all.borrow_mut();
        all.add(counts);
        whole.overtaken += plot.overtaken;
        whole.outlived += plot.outlived;
        Ok(())
    });
    told.unwrap_or_else(|error| panic!("{error}"));
    let (all, whole) = all.into_inner();
    println!("{all:?}, {whole:?}");
    let Counts { recovered, not_recovered, duplicates, gaps, .. } = all;
    let happened = [recovered, not_recovered, duplicates, gaps, whole.overtaken, whole.outlived];
    assert!(happened.into_iter().all(|count| count > 20), "too little happens: {all:?}, {whole:?}");
}
