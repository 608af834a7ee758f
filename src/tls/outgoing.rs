//! Ciphertext on its way out: the scratch memory in which it is made, and the tail that a socket did not take.

use std::io::{self, IoSlice};

/// Most plaintext in bytes that is encrypted before it is sent: as much as one record may have (RFC 8446, section 5.1).
pub(super) const RECORD_BYTES: usize = 16 * 1024;

/// Memory in which records are made before they are sent. Connections that are served one after the other share one:
/// it holds nothing between two calls. It grows to 48 KiB.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Small buffers that are sent together.
    plain: Vec<u8>,
    pub(super) cipher: Vec<u8>,
}

/// A position in a list of buffers.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    slice: usize,
    offset: usize,
}

impl Scratch {
    /// Returns the plaintext of the next records, and the buffer for their ciphertext: a part of the next buffer that
    /// is not empty, or several small buffers copied into one. Nothing is left when the plaintext is empty.
    pub(super) fn next_record<'a>(
        &'a mut self,
        slices: &'a [IoSlice<'_>],
        at: &mut Cursor,
    ) -> (&'a [u8], &'a mut Vec<u8>) {
        while slices.get(at.slice).is_some_and(|slice| slice.len() == at.offset) {
            *at = Cursor { slice: at.slice + 1, offset: 0 };
        }
        let Some(first) = slices.get(at.slice) else { return (&[], &mut self.cipher) };
        let first = &first[at.offset..];
        if first.len() >= RECORD_BYTES || at.slice + 1 == slices.len() {
            let part = &first[..first.len().min(RECORD_BYTES)];
            at.offset += part.len();
            return (part, &mut self.cipher);
        }
        self.plain.clear();
        while let Some(slice) = slices.get(at.slice)
            && self.plain.len() < RECORD_BYTES
        {
            let rest = &slice[at.offset..];
            let part = &rest[..rest.len().min(RECORD_BYTES - self.plain.len())];
            self.plain.extend_from_slice(part);
            match part.len() == rest.len() {
                true => *at = Cursor { slice: at.slice + 1, offset: 0 },
                false => at.offset += part.len(),
            }
        }
        (&self.plain, &mut self.cipher)
    }
}

/// Ciphertext that has to leave before anything else. It has no memory while it is empty.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) bytes: Vec<u8>,
    sent: usize,
}

impl Tail {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Sends as much as `send` takes. Returns true when nothing is left.
    ///
    /// # Errors
    /// The error of `send`, except [`io::ErrorKind::WouldBlock`].
    pub(super) fn flush(&mut self, send: &mut impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<bool> {
        while self.len() > 0 {
            match send_some(&self.bytes[self.sent..], send)? {
                0 => return Ok(false),
                sent => self.sent += sent,
            }
        }
        *self = Self::default();
        Ok(true)
    }

    /// Adds bytes behind those that wait.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.sent));
        self.bytes.reserve_exact(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }
}

/// Makes one write. Returns how many bytes were taken, 0 when none can be taken now.
///
/// # Errors
/// The error of `send`; also when it takes nothing although it could, as a socket does that is gone.
pub(super) fn send_some(
    bytes: &[u8],
    send: &mut impl FnMut(&[u8]) -> io::Result<usize>,
) -> io::Result<usize> {
    match send(bytes) {
        Ok(0) if !bytes.is_empty() => Err(io::ErrorKind::WriteZero.into()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}
