//! Benches of the hot paths in one process: `cargo bench` takes about a minute and a half.
//!
//! * `cargo bench fanout` runs the benches whose names contain `fanout` and compares them with their last run.
//! * `cargo bench -- --save-baseline before` and, after a change, `cargo bench -- --baseline before` measure a change.
//!   On a shared machine, do both twice in turn: runs vary by 20 %.
//! * `cargo test --benches` runs each bench once, to check that it works.
//!
//! All figures but those of `footprint` are times: of one call, or of one member and batch if the group's name says so.
//! The clock stops when the queues are drained, so that work is charged to the run that caused it. Most benches measure
//! the CPU time of their one thread. `scaling`, `acks` and `end to end` use several threads and measure wall-clock
//! time, which needs an idle machine. `cluster` starts a `redis-server`, which must be installed.

mod acks;
mod churn;
mod cluster;
mod codec;
mod end_to_end;
mod fanout;
mod footprint;
mod handshake;
mod load;
mod outbox;
mod publish;
mod scaling;
mod server_api;
mod support;

/// The allocator of the binary, since it influences the figures.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    // First, on an empty heap.
    footprint::all();
    let mut alone = support::criterion().with_measurement(support::clock::CpuTime);
    outbox::all(&mut alone);
    codec::all(&mut alone);
    handshake::all(&mut alone);
    load::all(&mut alone);
    publish::all(&mut alone);
    churn::all(&mut alone);
    let mut several = support::criterion();
    scaling::all();
    acks::all();
    cluster::all();
    server_api::all();
    end_to_end::all(&mut several);
    // Last, because a million members leave a heap behind that would influence the other benches.
    fanout::all(&mut alone);
    alone.final_summary();
}
