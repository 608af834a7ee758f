//! Writing to clients: at once where nothing waits for them, later in the slice where several rooms have something.

use std::io::{self, ErrorKind};

use super::Slice;
use crate::protocol::close::EndReason;
use crate::registry::clients::{ClientMut, Clients};
use crate::registry::outbox::{Flush, Outbox, Tally};
use crate::registry::shard::{Shard, State};

impl Shard {
    /// Writes to a client if nothing waits for it, or else returns false. What its socket does not take whole is queued
    /// by `push`.
    #[inline]
    pub(super) fn write_direct(
        &self,
        clients: &mut Clients,
        slot: usize,
        bytes: &[u8],
        messages: u32,
        slice: &mut Slice,
        push: impl FnOnce(&mut Outbox, u64),
    ) -> bool {
        let Some(hot) = clients.direct(slot) else { return false };
        let result = hot.sink.write(bytes);
        if matches!(result, Ok(written) if written == bytes.len()) {
            hot.bytes_sent += bytes.len() as u64;
            slice.tally.delivered(bytes.len(), messages);
        } else if let Some(client) = clients.get_mut(slot) {
            self.hold(client, result, &mut slice.tally, push);
        }
        slice.count_write();
        true
    }

    /// Has what the socket of a client, for whom nothing waited, did not take whole queued by `push`.
    fn hold(
        &self,
        mut client: ClientMut<'_>,
        result: io::Result<usize>,
        tally: &mut Tally,
        push: impl FnOnce(&mut Outbox, u64),
    ) {
        tally.writes += 1;
        let written = match result {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
            Ok(0) | Err(_) => return self.end_client(&mut client, EndReason::PeerVanished),
            Ok(written) => written,
        };
        self.queue(&mut client, |client, now_ms| {
            debug_assert!(client.outbox.is_empty(), "what waits goes first");
            push(&mut client.outbox, now_ms);
            client.outbox.advance(written, tally);
        });
        tally.bytes += written as u64;
        client.hot.bytes_sent += written as u64;
        client.is_blocked = true;
        client.progress_ms = self.now_ms();
        client.wake();
    }

    /// Writes what is queued for a client whose socket takes it; its task is to see to what is left.
    pub(super) fn relieve(&self, client: &mut ClientMut<'_>) {
        if !client.is_blocked && self.flush(client) == Flush::Blocked {
            client.wake();
        }
    }

    /// Writes to the clients that have something new, until the slice is over.
    pub(super) fn write_dirty(&self, state: &mut State, slice: &mut Slice) {
        let State { clients, work, .. } = state;
        while let Some(slot) = work.dirty.pop_front() {
            let Some(mut client) = clients.get_mut(slot as usize) else { continue };
            client.is_dirty = false;
            if client.is_blocked {
                continue;
            }
            self.relieve(&mut client);
            slice.count_write();
            if slice.is_over() {
                break;
            }
        }
        work.recycle(&self.metrics);
    }
}
