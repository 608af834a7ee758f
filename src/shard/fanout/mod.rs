//! The fan-out of a shard: takes the inbox, batches per lane, queues the batch for each member and writes to each of
//! them once.
//!
//! A slice is about 1,024 writes or two milliseconds, whichever comes first. A lane's turn is what it needs, at most
//! the rest of one slice and all of the next, so that a room of 100,000 cannot starve a room of two. Messages that
//! come before a lane's turn, or while its sweep is under way, are batched for the next sweep: the busier the server,
//! the larger the batches. Senders are served between two turns, while no queue holds what their lane has gathered.

pub(super) mod run_queue;
mod senders;
pub(super) mod slice;
mod typing;
mod write;

use std::rc::Rc;

use super::Shard;

/// Smallest number of writes for which the sockets are read once more before a fan-out. Messages come in bursts, a look
/// costs about a third of a write, and a message that it finds needs no write of its own.
pub(super) const WRITES_WORTH_A_LOOK: usize = 64;
/// Most looks in a row, each of which has found so many.
pub(super) const LOOKS_IN_A_ROW: usize = 16;
/// Slices after which other tasks get their turn although nothing is left, if more has come each time.
const SLICES_IN_A_ROW: usize = 16;

/// Runs a shard's fan-out for as long as the worker lives.
pub async fn run(shard: Rc<Shard>) {
    let mut items = Vec::new();
    let (mut slices, mut looks) = (0, 0);
    // Work that a slice has left does not wait for another look.
    let mut is_rested = true;
    loop {
        if shard.inbox.take(&mut items) {
            shard.accept(&mut items);
            let expected = std::mem::take(&mut shard.state.borrow_mut().queue.expected);
            if is_rested && expected >= WRITES_WORTH_A_LOOK && looks < LOOKS_IN_A_ROW {
                looks += 1;
                tokio::task::yield_now().await;
                continue;
            }
        } else if !shard.has_work() {
            shard.inbox.wait().await;
            slices = 0;
            is_rested = true;
            let linger = shard.egress.settings.linger;
            if !linger.is_zero() {
                tokio::time::sleep(linger).await;
            }
            continue;
        }
        slices += 1;
        looks = 0;
        is_rested = !shard.slice();
        if !is_rested || slices >= SLICES_IN_A_ROW {
            slices = 0;
            tokio::task::yield_now().await;
        }
    }
}
