//! Keeps in mind whether a socket is ready.
//!
//! The poller reports only changes (edge-triggered), so that a report counts until the socket itself says otherwise: a
//! read finds nothing, or less than it had space for; a write finds no space.

use std::io::{self, ErrorKind};

use mio::event::Event;

use crate::shard::Registration;
use crate::shard::sink::Arrived;

/// A socket's readiness, as far as it was reported: by default not at all. The poller reports what a socket is ready
/// for when it is added.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    is_readable: bool,
    is_writable: bool,
    /// The peer has closed its side, which is reported once and holds for good.
    is_closed: bool,
}

impl Readiness {
    /// Adds what the poller reports. An error counts as both, because the next read or write returns it.
    pub(super) fn add(&mut self, event: &Event) {
        self.is_closed |= event.is_read_closed() || event.is_error();
        self.is_readable |= event.is_readable() || self.is_closed;
        self.is_writable |= event.is_writable() || event.is_write_closed() || event.is_error();
    }

    /// True when a read may find something.
    pub(super) fn is_readable(&self) -> bool {
        self.is_readable
    }

    /// True when a write may find space.
    pub(super) fn is_writable(&self) -> bool {
        self.is_writable
    }

    /// Notes that a write has found no space.
    pub(super) fn clear_writable(&mut self) {
        self.is_writable = false;
    }

    /// Reads what has arrived, whether or not it was reported: after a pause of the process, reports may be missing.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when there is nothing; any other error ends the connection.
    pub(super) fn read(&mut self, registration: &Registration, buffer: &mut [u8]) -> io::Result<Arrived> {
        loop {
            let read = registration.read(buffer);
            match &read {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_readable = false,
                // The end of the stream may follow, which is not reported again.
                Ok(Arrived { is_drained: true, is_end: false, .. }) => self.is_readable = self.is_closed,
                Ok(_) | Err(_) => {}
            }
            return read;
        }
    }
}
