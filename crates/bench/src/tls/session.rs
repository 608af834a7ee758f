//! The encrypted stream of one connection, between the bytes of its socket and those that the load generator sends and
//! receives.

use std::io::{self, BufRead as _, Write as _};

use rustls::ClientConnection;

use super::explain;

/// The state of a stream after bytes were received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Received {
    /// More may follow.
    More,
    /// The server has announced the end of what it sends.
    End,
}

/// One connection's keys, and the records that are not complete.
///
/// The library keeps at most one record of what was received, and of what is sent at most 64 KiB, until the handshake
/// is over.
#[derive(Debug)]
pub(in super::super) struct Session(ClientConnection);

impl Session {
    pub(super) fn new(connection: ClientConnection) -> Self {
        Self(connection)
    }

    /// Encrypts `plain` and appends the records to `out`. Until the handshake is over, `plain` is kept, and the records
    /// are those of the handshake.
    ///
    /// # Errors
    /// More than 64 KiB would be kept.
    pub(in super::super) fn send(&mut self, plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut rest = plain;
        loop {
            // A part is accepted where the rest does not fit into the library's buffer.
            let accepted = self.0.writer().write(rest)?;
            rest = &rest[accepted..];
            self.take_records(out)?;
            if rest.is_empty() {
                return Ok(());
            }
            if accepted == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::WriteZero,
                    "too long before the handshake is over",
                ));
            }
        }
    }

    /// Decrypts the next bytes of the stream: appends what they contain to `plain`, and records that answer them to
    /// `out`.
    ///
    /// # Errors
    /// The handshake failed, or a record is wrong; returns the reason in words. `plain` has what came before, and `out`
    /// the alert for the server.
    pub(in super::super) fn receive(
        &mut self,
        mut ciphertext: &[u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Received, String> {
        while !ciphertext.is_empty() {
            self.0.read_tls(&mut ciphertext).map_err(|error| error.to_string())?;
            let processed = self.0.process_new_packets();
            self.take_records(out).map_err(|error| error.to_string())?;
            let state = processed.map_err(|error| explain(&error))?;
            let mut reader = self.0.reader();
            // An error means that nothing more is there.
            while let Ok(part @ [_, ..]) = reader.fill_buf() {
                plain.extend_from_slice(part);
                let length = part.len();
                reader.consume(length);
            }
            if state.peer_has_closed() {
                return Ok(Received::End);
            }
        }
        Ok(Received::More)
    }

    /// Announces the end of what is sent, and appends the records to `out`.
    ///
    /// # Errors
    /// Never: records are written to memory.
    pub(in super::super) fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.0.send_close_notify();
        self.take_records(out)
    }

    /// Returns the version and the cipher that were negotiated; `None` before.
    pub(in super::super) fn negotiated(&self) -> Option<String> {
        let (version, suite) = (self.0.protocol_version()?, self.0.negotiated_cipher_suite()?.suite());
        Some(format!("{version:?} {suite:?}"))
    }

    fn take_records(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        while self.0.wants_write() {
            self.0.write_tls(out)?;
        }
        Ok(())
    }
}
