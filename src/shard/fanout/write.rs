//! Writes to clients: at once where nothing waits for them, later in the slice where several rooms may have something.

use super::slice::Slice;
use crate::shard::outbox::Outbox;

impl Slice<'_> {
    /// Writes to a client for which nothing waits. Returns false when something does. `push` queues what the socket
    /// does not take whole.
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
        if matches!(result, Ok(written) if written == bytes.len()) {
            hot.bytes_sent += bytes.len() as u64;
            self.counts.delivered(bytes.len(), messages);
        } else if let Some(client) = self.clients.get_mut(slot) {
            self.egress.queue_rest(client, result, &mut self.counts, push);
        }
        self.count_write();
        true
    }

    /// Writes to the clients that have something new, until the slice is over.
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
