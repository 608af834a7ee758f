//! What matters, in process: `cargo bench` in about a minute and a half.
//!
//! * `cargo bench fanout`: those whose name contains `fanout`; figures of the last run are compared with.
//! * `cargo bench -- --save-baseline before`, then after a change `cargo bench -- --baseline before`. On a machine
//!   that is shared do both twice, in turn: runs vary by 20 %.
//! * `cargo test --benches`: everything once, to see that it still runs.
//!
//! All figures are times: of one call, or, where the group's name says so, of one member and batch. The clock stops
//! when the queues are drained, so that work is charged to the run that caused it.

mod churn;
mod codec;
mod end_to_end;
mod fanout;
mod handshake;
mod outbox;
mod publish;
mod scaling;
mod support;

/// As in the binary: whose allocator is measured is part of the figure.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut criterion = support::criterion();
    outbox::all(&mut criterion);
    codec::all(&mut criterion);
    handshake::all(&mut criterion);
    publish::all(&mut criterion);
    churn::all(&mut criterion);
    scaling::all(&mut criterion);
    end_to_end::all(&mut criterion);
    // Last: a million members leave the allocator with a heap that no other bench should start from.
    fanout::all(&mut criterion);
    criterion.final_summary();
}
