//! The fan-out of a shard: takes in the inbox, gathers the frames of each lane into a batch, and writes the batch to
//! each member, in one write where the socket takes it. A lane is the members of one room on one shard that are sent
//! its events in one form. A sweep is one batch on its way through a lane's members.
//!
//! The work is done in slices, after which other tasks get their turn. A slice is about 1,024 writes or two
//! milliseconds, whichever comes first. A lane's turn lasts as long as its sweep needs, at most the rest of one slice
//! and all of the next, so that a room of 100,000 cannot starve a room of two. Messages that come before a lane's turn,
//! or while its sweep is under way, are batched for the next sweep: the busier the server, the larger the batches.
//! Senders (the clients that sent the messages) get their copies and acks earlier, between the turns of other lanes.

pub(super) mod run_queue;
mod senders;
pub(super) mod slice;
pub(super) mod supplies;
mod typing;
mod write;

use std::rc::Rc;

use super::Shard;

/// Smallest number of expected writes for which the connections look at their sockets once more before a
/// fan-out. Messages come in bursts, such a look costs about a third of a write, and a message that it finds joins the
/// batch and needs no writes of its own.
pub(super) const WRITES_WORTH_A_LOOK: usize = 64;
/// Most looks in a row, even if each finds messages for [`WRITES_WORTH_A_LOOK`] more writes.
pub(super) const LOOKS_IN_A_ROW: usize = 16;
/// Most slices in a row without a turn for other tasks, if each does all its work and more work has come by its end.
/// After a slice that leaves work, other tasks get their turn at once.
const SLICES_IN_A_ROW: usize = 16;

/// Runs a shard's fan-out. Never returns.
pub async fn run(shard: Rc<Shard>) {
    let mut items = Vec::new();
    let (mut slices, mut looks) = (0, 0);
    // The last slice left no work. Work that it left does not wait for another look.
    let mut is_caught_up = true;
    loop {
        if shard.inbox.take(&mut items) {
            shard.accept(&mut items);
            let expected = std::mem::take(&mut shard.state.borrow_mut().queue.expected);
            if is_caught_up && expected >= WRITES_WORTH_A_LOOK && looks < LOOKS_IN_A_ROW {
                looks += 1;
                tokio::task::yield_now().await;
                continue;
            }
        } else if !shard.has_work() {
            shard.inbox.wait().await;
            slices = 0;
            is_caught_up = true;
            let linger = shard.egress.settings.linger;
            if !linger.is_zero() {
                tokio::time::sleep(linger).await;
            }
            continue;
        }
        slices += 1;
        looks = 0;
        is_caught_up = !shard.slice();
        if !is_caught_up || slices >= SLICES_IN_A_ROW {
            slices = 0;
            tokio::task::yield_now().await;
        }
    }
}
