//! Measures the resident memory of a shard's clients, in one room, with sockets that cost nothing: as many as a process
//! may have descriptors for, and eight times as many. Tables that grow by doubling are equally full with both.
//!
//! It is the part of a connection's memory that depends on how many there are. `tests/memory.rs` measures all of it,
//! with real sockets.

use std::fs;

use crate::support::crowd::{Hall, Layout};
use crate::support::{is_asked_for, is_check};

/// Numbers of clients: an eighth of the second one fits into one process.
const CLIENTS: [usize; 2] = [12_500, 100_000];

pub(crate) fn all() {
    if !is_asked_for("footprint") {
        return;
    }
    for clients in CLIENTS.map(|clients| if is_check() { clients / 10 } else { clients }) {
        let before = resident();
        let hall = Hall::new(clients, Layout::Swept);
        let each = resident().saturating_sub(before) / clients;
        println!("footprint: {each} resident bytes for each of {clients} clients of a shard");
        drop(hall);
    }
}

/// Returns the resident memory of this process, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line for it");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}
