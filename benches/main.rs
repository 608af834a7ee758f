//! What matters, in process: `cargo bench` in about a minute and a half.
//!
//! * `cargo bench fanout`: those whose name contains `fanout`; figures of the last run are compared with.
//! * `cargo bench -- --save-baseline before`, then after a change `cargo bench -- --baseline before`. On a machine
//!   that is shared do both twice, in turn: runs vary by 20 %.
//! * `cargo test --benches`: everything once, to see that it still runs.
//!
//! All figures are times: of one call, or, where the group's name says so, of one member and batch. The clock stops
//! when the queues are drained, so that work is charged to the run that caused it. It is the CPU time of the one
//! thread that works, except where several do: `scaling`, `acks` and `end to end` show time on the wall, for a quiet
//! machine.

mod acks;
mod churn;
mod codec;
mod end_to_end;
mod fanout;
mod handshake;
mod load;
mod outbox;
mod publish;
mod scaling;
mod support;

/// As in the binary: whose allocator is measured is part of the figure.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
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
    end_to_end::all(&mut several);
    // Last: a million members leave the allocator with a heap that no other bench should start from.
    fanout::all(&mut alone);
    alone.final_summary();
}
