//! Writes to clients: at once to a member of one room for which nothing waits, and later in the slice to the others,
//! such as members of several rooms, which may get something of each.

use super::slice::Slice;
use crate::shard::outbox::Outbox;

impl Slice<'_> {
    /// Writes `bytes`, which hold `messages` frames, to the client of a slot. Returns false, and writes nothing, unless
    /// the client is in exactly one room, nothing waits for it, and its socket takes bytes. If the socket does not take
    /// all, `push` must put the whole into the client's queue, from which the written part is then removed.
    #[inline]
    pub(super) fn write_direct(
        &mut self,
        slot: usize,
        bytes: &[u8],
        messages: u32,
        push: impl FnOnce(&mut Outbox, u64),
    ) -> bool {
        let Some(hot) = self.clients.direct(slot) else { return false };
        let result = hot.sink.write(bytes);
        if matches!(result, Ok(written) if written == bytes.len()) && !hot.sink.has_tail() {
            hot.bytes_sent += bytes.len() as u64;
            self.counts.delivered(bytes.len(), messages);
        } else if let Some(client) = self.clients.get_mut(slot) {
            self.egress.queue_rest(client, result, &mut self.counts, push);
        }
        self.count_write();
        true
    }

    /// Writes the queues of the clients in the line of those to be written to, until the slice is over. Takes back
    /// batches that no queue holds any more.
    pub(super) fn write_dirty(&mut self) {
        while let Some(slot) = self.queue.dirty.pop_front() {
            let Some(mut client) = self.clients.get_mut(slot as usize) else { continue };
            client.is_dirty = false;
            if client.is_blocked {
                continue;
            }
            self.egress.flush_now(&mut client);
            drop(client);
            self.count_write();
            if self.is_over() {
                break;
            }
        }
        self.queue.recycle(&self.egress.metrics);
    }
}
