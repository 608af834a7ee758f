//! The library under a thousand random stories in one thread: clients speak, are cut off, stop reading, come back with
//! right and wrong positions, time passes, the server starts afresh, and between any two of these its shards have come
//! as far as chance lets them. What every client sees is judged by the [checker] of the integration tests, and compared
//! with a model that is a counter for each room.
//!
//! In some stories rooms outlive the server in `history.dir`: who comes back after a restart gets what was missed.
//! Their log has a thread of its own, so that one which fails need not fail again.
//!
//! In some stories all messages are long, three of them more than a page: who comes back and does not read is in the
//! middle of what it missed while others go on talking, and what it has not got yet is let go.
//!
//! A story that fails is shortened by proptest, and told.

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

/// Clients: the last speaks the plain dialect, the others `throng.v1`.
const CLIENTS: usize = 5;
const ROOMS: usize = 2;
/// Stories that are told, each with a seed of its own.
const STORIES: u32 = 1000;
/// Of so many stories one has long messages, which take their time.
const LONG_ONE_OF: u8 = 8;
/// Of so many one has rooms that outlive the server.
const DURABLE_ONE_OF: u8 = 4;

/// With what a client comes into a room where it has been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Come {
    Fresh,
    Exact,
    Stale(u64),
    Future,
    OtherLife,
}

/// What may happen. A step that makes no sense where it comes is left out: any part of a story is a story.
#[derive(Debug, Clone)]
enum Step {
    Connect { client: usize, room: usize, come: Come, is_stalled: bool },
    Lag { client: usize, room: usize },
    Disconnect { client: usize },
    Say { client: usize, times: usize, is_keyed: bool, echo: bool },
    Retry { client: usize },
    Join { client: usize, room: usize, come: Come },
    Leave { client: usize },
    Ask { client: usize },
    Stall { client: usize },
    Read { client: usize },
    Turn { shard: usize },
    Settle,
    Wait { ms: u64 },
    Restart,
}

fn come() -> impl Strategy<Value = Come> {
    prop_oneof![
        1 => Just(Come::Fresh),
        5 => Just(Come::Exact),
        2 => (1..12_u64).prop_map(Come::Stale),
        1 => Just(Come::Future),
        1 => Just(Come::OtherLife),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let place = || (0..CLIENTS, 0..ROOMS, come());
    prop_oneof![
        16 => (place(), 0..4_u8).prop_map(|((client, room, come), stalls)| {
            Step::Connect { client, room, come, is_stalled: stalls == 0 }
        }),
        2 => (0..CLIENTS, 0..ROOMS).prop_map(|(client, room)| Step::Lag { client, room }),
        5 => (0..CLIENTS).prop_map(|client| Step::Disconnect { client }),
        12 => (0..CLIENTS, 1..8_usize, any::<bool>(), 0..5_u8).prop_map(|(client, times, is_keyed, quiet)| {
            Step::Say { client, times, is_keyed, echo: quiet > 0 }
        }),
        6 => (0..CLIENTS).prop_map(|client| Step::Retry { client }),
        6 => place().prop_map(|(client, room, come)| Step::Join { client, room, come }),
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
