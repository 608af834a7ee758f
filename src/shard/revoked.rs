//! Ends the clients of a shard whose tokens are revoked.

use std::rc::Rc;
use std::sync::Arc;

use tokio::task::yield_now;

use super::Shard;
use super::state::State;
use super::tokens::{SLICE_MARKS, Wanted};
use crate::protocol::close::EndReason;
use crate::registry::revoked::RevokedQueue;

/// Ends the clients of a shard whose tokens are revoked, for as long as the shard lives. Requests that have come
/// meanwhile are carried out together.
pub async fn run(shard: Rc<Shard>) {
    let revoked = Arc::clone(shard.inbox.revoked());
    let _closed = Closing(Arc::clone(&revoked));
    loop {
        let sweeps = revoked.wait().await;
        let wanted = Wanted::of(&sweeps);
        let mut ended = vec![0; sweeps.len()];
        let mut from = 0;
        while shard.end_revoked(from, &wanted, &mut ended) {
            from += SLICE_MARKS;
            yield_now().await;
        }
        for (sweep, ended) in sweeps.into_iter().zip(ended) {
            // The asking side may have stopped waiting.
            let _ = sweep.ended.send(ended);
        }
    }
}

/// Closes the queue when the shard stops, so that nobody waits for it.
struct Closing(Arc<RevokedQueue>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Shard {
    /// Ends the clients of a slice of slots whose tokens are wanted, and counts them for the sweeps. Returns false
    /// behind the last slot.
    fn end_revoked(&self, from: usize, wanted: &Wanted, ended: &mut [usize]) -> bool {
        let mut state = self.state.borrow_mut();
        let State { clients, tokens, .. } = &mut *state;
        let Some(marks) = tokens.slice(from) else { return false };
        for (slot, mark) in (from..).zip(marks) {
            let Some(sweep) = wanted.find(mark) else { continue };
            let Some(mut client) = clients.get_mut(slot).filter(|client| client.end().is_none()) else {
                continue;
            };
            self.egress.end_client(&mut client, EndReason::TokenRevoked);
            ended[sweep] += 1;
        }
        true
    }
}
