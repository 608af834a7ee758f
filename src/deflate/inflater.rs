//! Decompresses messages, up to a limit.

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};

use super::FLUSH_END;

/// Follows the payload of a message: what the sender has left out, and an empty final block. The stream ends with the
/// last of these bytes exactly if the payload is whole; otherwise they are taken for the rest of an unfinished block.
const TAIL: [u8; 6] = {
    let [a, b, c, d] = FLUSH_END;
    [a, b, c, d, 0x03, 0x00]
};

/// Smallest space for decompressed bytes, and the space that is kept for the next message.
const KEPT_BYTES: usize = 64 * 1024;

/// The reason for which a message cannot be decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InflateError {
    /// The message is longer than allowed.
    TooLong,
    /// The payload is no deflate stream, or ends in the middle of one.
    Corrupt,
}

/// Decompresses messages one after another, each by itself and with a window of up to 32 KiB. It takes about 50 KiB,
/// and up to 64 KiB for the bytes of the last message.
pub struct Inflater {
    stream: Decompress,
    message: Vec<u8>,
}

impl Default for Inflater {
    fn default() -> Self {
        Self { stream: Decompress::new(false), message: Vec::new() }
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inflater")
    }
}

impl Inflater {
    /// Returns the message whose compressed form is `payload`, all its fragments together (RFC 7692, section 7.2.2).
    /// Nothing is decompressed beyond `max_bytes`. Memory: about as much as the message, at most `max_bytes`.
    ///
    /// An empty payload is an empty message, although a correct sender writes one byte for it.
    ///
    /// # Errors
    /// The message is longer than `max_bytes`, or the payload is not one whole deflate stream.
    pub fn inflate(&mut self, payload: &[u8], max_bytes: usize) -> Result<&[u8], InflateError> {
        self.stream.reset(false);
        self.message.clear();
        self.message.shrink_to(KEPT_BYTES);
        if !payload.is_empty() && !self.feed(payload, max_bytes)? {
            self.finish()?;
        }
        Ok(&self.message)
    }

    /// Decompresses the payload. Returns true when it ends with a final block, which needs no tail.
    fn feed(&mut self, payload: &[u8], max_bytes: usize) -> Result<bool, InflateError> {
        let mut rest = payload;
        loop {
            self.make_space(max_bytes);
            let (taken, written) = (self.stream.total_in(), self.message.len());
            let status = self.stream.decompress_vec(rest, &mut self.message, FlushDecompress::None);
            let status = status.map_err(|_| InflateError::Corrupt)?;
            let taken = (self.stream.total_in() - taken) as usize;
            rest = &rest[taken..];
            if self.message.len() > max_bytes {
                return Err(InflateError::TooLong);
            }
            let is_full = self.message.len() == self.message.capacity();
            match status {
                Status::StreamEnd if rest.is_empty() => return Ok(true),
                // A sender may end blocks as if each was the last one (RFC 7692, section 7.2.3.4).
                Status::StreamEnd => self.stream.reset(false),
                _ if rest.is_empty() && !is_full => return Ok(false),
                _ if taken == 0 && written == self.message.len() && !is_full => {
                    return Err(InflateError::Corrupt);
                }
                _ => {}
            }
        }
    }

    /// Feeds the tail, which must end the stream and add nothing to the message.
    fn finish(&mut self) -> Result<(), InflateError> {
        let (taken, written) = (self.stream.total_in(), self.message.len());
        let status = self.stream.decompress_vec(&TAIL, &mut self.message, FlushDecompress::None);
        let is_whole = matches!(status, Ok(Status::StreamEnd))
            && self.stream.total_in() - taken == TAIL.len() as u64
            && self.message.len() == written;
        if is_whole { Ok(()) } else { Err(InflateError::Corrupt) }
    }

    /// Makes space for more of the message: twice as much as it has, but at most one byte more than it may have.
    fn make_space(&mut self, max_bytes: usize) {
        let len = self.message.len();
        if len == self.message.capacity() {
            let space = len.max(KEPT_BYTES).min(max_bytes.saturating_add(1).saturating_sub(len)).max(1);
            self.message.reserve_exact(space);
        }
    }

    /// Returns the bytes of memory for the decompressed message.
    #[cfg(test)]
    pub(super) fn space(&self) -> usize {
        self.message.capacity()
    }
}
