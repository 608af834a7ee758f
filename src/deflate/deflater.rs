//! Compresses messages.

use std::fmt;

use flate2::{Compress, Compression, FlushCompress};

use super::FLUSH_END;

/// The level of compression. Level 1 has fixed codes only and makes chat messages a fifth longer; levels above 3 take
/// longer for the same bytes until a message has some kilobytes.
const LEVEL: u32 = 3;

/// Largest capacity of the buffer for compressed bytes that is kept for the next message.
const KEPT_BYTES: usize = 64 * 1024;

/// Compresses messages one after another, each by itself. It takes about 300 KiB.
pub struct Deflater {
    stream: Compress,
    compressed: Vec<u8>,
}

impl Default for Deflater {
    fn default() -> Self {
        Self { stream: Compress::new(Compression::new(LEVEL), false), compressed: Vec::new() }
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deflater")
    }
}

impl Deflater {
    /// Returns the compressed form of a message as the payload of its frame (RFC 7692, section 7.2.1). `None` when the
    /// form would be longer than `max_bytes`, so that it is not worth its work.
    pub fn deflate(&mut self, message: &[u8], max_bytes: usize) -> Option<&[u8]> {
        self.stream.reset();
        self.compressed.clear();
        self.compressed.shrink_to(KEPT_BYTES);
        // One byte more, because the flush is known to be complete only when there is space left behind it.
        self.compressed.reserve(max_bytes + FLUSH_END.len() + 1);
        self.stream.compress_vec(message, &mut self.compressed, FlushCompress::Sync).ok()?;
        let is_whole = self.stream.total_in() == message.len() as u64
            && self.compressed.len() < self.compressed.capacity();
        let payload = self.compressed.strip_suffix(&FLUSH_END).filter(|_| is_whole)?;
        (payload.len() <= max_bytes).then_some(payload)
    }
}
