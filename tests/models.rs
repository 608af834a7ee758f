//! Models of the code that crosses threads, run by a scheduler that tries the interleavings.
//!
//! This crate compiles the server's own sources, `registry`, `shard`, `broker` and `node`. Here `parking_lot` and
//! `tokio` are names for [`shim`], which is made of shuttle's locks, so the sources need no change. The modules below
//! them come from the library. Operations on the atomics of `std` are no steps to the scheduler.
//!
//! The usual test harness is not used, because it would run the unit tests of the sources, which need the real locks. A
//! model that fails panics with a schedule, which `shuttle::replay` can follow again.

extern crate self as parking_lot;
extern crate self as tokio;
// Code that no model runs, such as the links to an engine, is compiled with the real one.
extern crate tokio as real_tokio;

#[path = "../src/broker/mod.rs"]
#[allow(
    clippy::large_futures,
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "a part of the library, for itself"
)]
mod broker;
#[path = "../src/node/mod.rs"]
#[allow(dead_code, unused_imports, unreachable_pub, reason = "a part of the library, for itself")]
mod node;
#[path = "../src/registry/mod.rs"]
#[allow(dead_code, unused_imports, unreachable_pub, reason = "a part of the library, for itself")]
mod registry;
#[path = "../src/shard/mod.rs"]
#[allow(dead_code, unused_imports, unreachable_pub, reason = "a part of the library, for itself")]
mod shard;
#[path = "models/shim.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, reason = "as wide as the crates that it replaces")]
mod shim;
#[path = "../src/striped.rs"]
#[allow(dead_code, unused_imports, unreachable_pub, reason = "a part of the library, for itself")]
mod striped;

#[path = "models/directory.rs"]
mod model_of_directory;
#[path = "models/inbox.rs"]
mod model_of_inbox;
#[path = "models/rooms.rs"]
mod model_of_rooms;

use std::time::Instant;

pub use real_tokio::{io, net, runtime, select, spawn, test};
pub use shim::{Mutex, MutexGuard};
pub use throng::testing::{
    chat, clock, deflate, faults, few, framed, hooks, live, locked, metrics, outbound, prefetch, protocol,
    rate_limit, revocation, shrink, webhooks,
};
pub use throng::{config, names};

/// `tokio::sync`.
pub mod sync {
    pub use super::real_tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
    pub use super::shim::oneshot;
}

/// `tokio::task`.
pub mod task {
    pub use super::real_tokio::task::{
        AbortHandle, JoinHandle, JoinSet, LocalSet, spawn_blocking, spawn_local,
    };
    pub use shuttle::future::yield_now;
}

/// `tokio::time`.
pub mod time {
    pub use super::real_tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
    pub use super::shim::time::*;
}

/// Every model with its name.
const MODELS: &[(&str, fn())] = &[
    ("inbox: no wake is lost, in any order of pushes", model_of_inbox::no_wake_is_lost),
    ("inbox: a wake that is lost would be noticed", model_of_inbox::a_lost_wake_is_noticed),
    ("directory: a user is held once, and forgotten at last", model_of_directory::a_user_is_held_once),
    (
        "rooms: a client that joins while others publish misses nothing",
        model_of_rooms::a_client_that_joins_misses_nothing,
    ),
    (
        "rooms: a client that enters while the last one leaves is in a room",
        model_of_rooms::a_room_that_ends_has_no_members,
    ),
];

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part));
    let mut passed = 0;
    for (name, model) in MODELS.iter().filter(|(name, _)| is_wanted(name)) {
        let began = Instant::now();
        model();
        println!("model {name} ... ok, {:.1} s", began.elapsed().as_secs_f64());
        passed += 1;
    }
    // The line of the usual harness, for scripts that count tests.
    println!("\ntest result: ok. {passed} passed; 0 failed; 0 ignored");
}
