//! Measures the resident memory of a shard's clients, in one room, with sockets that cost nothing: as many as a process
//! may have descriptors for, and eight times as many. Tables that grow by doubling are equally full with both.
//!
//! It is the part of a connection's memory that depends on how many there are. `tests/memory.rs` measures all of it,
//! with real sockets.

use std::fs;

use crate::support::crowd::{Hall, Layout};
use crate::support::{is_asked_for, is_check};

/// Clients of the shard whose memory is not counted: that of the shard itself, and of the allocator.
const FIRST: usize = 1_000;
/// Numbers of clients.
const CLIENTS: [usize; 2] = [12_500, 100_000];

pub(crate) fn all() {
    if !is_asked_for("footprint") {
        return;
    }
    // Each shard takes the memory of the smaller one before it, and more.
    let mut before = (FIRST, resident_with(FIRST));
    for clients in CLIENTS.map(|clients| if is_check() { clients / 10 } else { clients }) {
        let after = (clients, resident_with(clients));
        let each = after.1.saturating_sub(before.1) / (after.0 - before.0);
        println!(
            "footprint: {each} resident bytes for each client of a shard, from {} to {clients}",
            before.0
        );
        before = after;
    }
}

/// Returns the resident memory of this process, in bytes, while a shard has this many clients.
fn resident_with(clients: usize) -> usize {
    let hall = Hall::new(clients, Layout::Swept);
    let resident = resident();
    drop(hall);
    resident
}

fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line for it");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}
