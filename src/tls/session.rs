//! The server's side of one TLS connection (RFC 8446 and RFC 5246) without I/O: ciphertext in, plaintext out, and the
//! reverse.
//!
//! It is built on rustls' unbuffered API, because the buffered one keeps several KiB for each connection that is idle.
//! Between two calls a [`Tls`] holds the keys and, only where there are such bytes, a record that has arrived in part
//! and ciphertext that the socket did not take.
//!
//! The caller reads ciphertext and hands it to [`Tls::receive`]. After each call of it, and whenever the socket is
//! writable, it sends what [`Tls::wants_write`] announces with [`Tls::flush`]: parts of the handshake, answers to the
//! peer's messages, alerts. Plaintext leaves through [`Tls::write`].

use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;

use rustls::ServerConfig;

use super::error::TlsError;
use super::outgoing::{Cursor, RECORD_BYTES, Scratch, Tail, send_some};
use super::records::Records;

/// Most ciphertext in bytes that is held because it is incomplete: the largest record (RFC 5246, section 6.2.3).
const MAX_HELD: usize = 5 + 16 * 1024 + 2048;
/// The same during the handshake, whose messages span records: room for a client's chain of certificates.
const MAX_HELD_IN_HANDSHAKE: usize = 2 * MAX_HELD;
/// Most ciphertext in bytes that may wait for a peer that does not read: 17 KiB of records, and some alerts.
const MAX_TAIL: usize = 32 * 1024;
/// The same during the handshake: the server's chain of certificates.
const MAX_TAIL_IN_HANDSHAKE: usize = 64 * 1024;

/// Most plaintext of a record that is written, in bytes. Processors with fast short copies have the C library copy more
/// than 2,112 bytes by an instruction that is slow where the two sides are aligned differently, as behind a record's
/// header they are, and each record is copied twice. With TLS 1.2 a connection ends after 2^24 records, which are 33 GB
/// then.
const SHORT_RECORD_BYTES: usize = 2_000;

/// The state of the peer's side after [`Tls::receive`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// More may come.
    Open,
    /// The peer has announced the end of what it sends; whatever follows is ignored.
    Closed,
}

/// The server's side of one TLS connection.
pub struct Tls {
    records: Records,
    /// Ciphertext that was received and could not be processed: a record, or a message of several records, of which a
    /// part is missing. It has no memory while it is empty.
    held: Vec<u8>,
    tail: Tail,
    is_closed_by_peer: bool,
    has_closed: bool,
    has_failed: bool,
}

impl Tls {
    /// Begins a connection, which expects the client's first message.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        Ok(Self {
            records: Records::new(config)?,
            held: Vec::new(),
            tail: Tail::default(),
            is_closed_by_peer: false,
            has_closed: false,
            has_failed: false,
        })
    }

    /// Returns true until the handshake is over. Only then plaintext can be written.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.records.is_handshaking()
    }

    /// Returns true once the peer has announced the end of what it sends.
    #[must_use]
    pub fn is_closed_by_peer(&self) -> bool {
        self.is_closed_by_peer
    }

    /// Processes ciphertext that has arrived, in place, and hands the plaintext of each record to `plaintext`. All of
    /// it together is shorter than `ciphertext` and the held bytes ([`Tls::held_bytes`]) before the call. Messages of
    /// TLS itself are answered; the answers wait for [`Tls::flush`].
    ///
    /// # Errors
    /// The connection has to end: flush, then close the socket. Every later call fails, too.
    pub fn receive(
        &mut self,
        ciphertext: &mut [u8],
        mut plaintext: impl FnMut(&[u8]),
    ) -> Result<Received, TlsError> {
        if self.has_failed {
            return Err(TlsError::Ended);
        }
        if self.is_closed_by_peer {
            return Ok(Received::Closed);
        }
        let result = self.process(ciphertext, &mut plaintext);
        if result.is_err() {
            self.has_failed = true;
            self.held = Vec::new();
        }
        result
    }

    /// Returns the number of bytes of ciphertext that are held, which is at most one record after the handshake.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.len()
    }

    /// Takes note that the peer has ended the stream of bytes.
    ///
    /// # Errors
    /// [`TlsError::Truncated`]: the peer has not announced it.
    pub fn receive_end(&self) -> Result<(), TlsError> {
        if self.is_closed_by_peer { Ok(()) } else { Err(TlsError::Truncated) }
    }

    /// Returns true while ciphertext waits for the socket: call [`Tls::flush`] when that is writable.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        self.tail.len() > 0
    }

    /// Sends ciphertext that waits. Returns true when nothing is left.
    ///
    /// # Errors
    /// The error of `send`, except [`io::ErrorKind::WouldBlock`].
    pub fn flush(&mut self, mut send: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<bool> {
        self.tail.flush(&mut send)
    }

    /// Encrypts plaintext and sends it, up to 16 KiB with each call of `send`, for as long as that takes all of it.
    /// Returns how much plaintext was taken. The end of its last records may wait as the tail (see
    /// [`Tls::wants_write`]), which leaves before anything else and is shorter than 17 KiB.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing was taken because the tail is not sent yet; any other error ends the
    /// connection.
    pub fn write(
        &mut self,
        slices: &[IoSlice<'_>],
        scratch: &mut Scratch,
        mut send: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if !self.flush(&mut send)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (mut taken, mut at) = (0, Cursor::default());
        loop {
            let (plaintext, ciphertext) = scratch.next_record(slices, &mut at);
            if plaintext.is_empty() {
                return Ok(taken);
            }
            ciphertext.clear();
            for part in plaintext.chunks(SHORT_RECORD_BYTES) {
                self.encrypt(part, ciphertext)?;
            }
            taken += plaintext.len();
            let sent = send_some(ciphertext, &mut send)?;
            if sent < ciphertext.len() {
                self.tail.push(&ciphertext[sent..]);
                return Ok(taken);
            }
        }
    }

    /// Encrypts at most 16 KiB of plaintext as one record behind the bytes of `ciphertext`, together with messages of
    /// TLS that have to leave before it. Call [`Tls::flush`] until nothing is left before you send it.
    ///
    /// # Errors
    /// The connection cannot be written to: the handshake is not over, the end was announced, or it has failed.
    pub fn encrypt(&mut self, plaintext: &[u8], ciphertext: &mut Vec<u8>) -> Result<(), TlsError> {
        debug_assert!(plaintext.len() <= RECORD_BYTES, "one record");
        if self.has_closed || self.has_failed {
            return Err(TlsError::Ended);
        }
        self.records.encrypt(&mut self.held, plaintext, ciphertext)
    }

    /// Announces that nothing more is sent (RFC 8446, section 6.1). The announcement waits for [`Tls::flush`]; then
    /// the writing side of the socket can be shut down. Does nothing when it was announced, and when the handshake is
    /// not over.
    pub fn close(&mut self) {
        if self.has_closed || self.has_failed || self.is_handshaking() {
            return;
        }
        let mut alert = Vec::new();
        // An error means that the peer cannot be told. It sees the end of the stream.
        if self.records.close(&mut self.held, &mut alert).is_ok() {
            self.tail.push(&alert);
        }
        self.has_closed = true;
    }

    /// Processes what is held and `ciphertext`, and holds the rest.
    fn process(
        &mut self,
        ciphertext: &mut [u8],
        plaintext: &mut dyn FnMut(&[u8]),
    ) -> Result<Received, TlsError> {
        // Mostly nothing is held, and no byte of ciphertext is copied.
        let advanced = if self.held.is_empty() {
            let advanced = self.records.advance(ciphertext, &mut self.tail.bytes, plaintext)?;
            self.held = ciphertext[advanced.used..].to_vec();
            advanced
        } else {
            let mut all = std::mem::take(&mut self.held);
            all.extend_from_slice(ciphertext);
            let advanced = self.records.advance(&mut all, &mut self.tail.bytes, plaintext)?;
            all.drain(..advanced.used);
            all.shrink_to_fit();
            self.held = all;
            advanced
        };
        if advanced.is_closed {
            self.is_closed_by_peer = true;
            self.held = Vec::new();
            return Ok(Received::Closed);
        }
        let (max_held, max_tail) = match self.is_handshaking() {
            true => (MAX_HELD_IN_HANDSHAKE, MAX_TAIL_IN_HANDSHAKE),
            false => (MAX_HELD, MAX_TAIL),
        };
        if self.held.len() > max_held {
            return Err(TlsError::TooLong);
        }
        if self.tail.len() > max_tail {
            return Err(TlsError::Unread);
        }
        Ok(Received::Open)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("is_handshaking", &self.is_handshaking())
            .field("held", &self.held.len())
            .field("tail", &self.tail.len())
            .finish_non_exhaustive()
    }
}
