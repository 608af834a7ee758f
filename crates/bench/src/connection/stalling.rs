//! Clients that misbehave on purpose: they stop reading, or reset their connection.

use std::io::{ErrorKind, Read as _};
use std::time::Duration;

use super::super::counting;
use super::super::inflate::Forms;
use super::super::shared::Shared;
use super::super::tls::Received;
use super::super::wire::{CLOSE, Malformed};
use super::{Connection, State};

impl Connection {
    /// Stops reading for the rest of the run, and shrinks the kernel's receive buffer so that the server notices soon.
    pub(in super::super) fn stall(&mut self, shared: &mut Shared<'_>) {
        if let Some(stream) = self.stream.as_ref().filter(|_| self.is_open()) {
            let _ = socket2::SockRef::from(stream).set_recv_buffer_size(4096);
            shared.remove_reader(self.room);
            self.state = State::Stalled;
        }
    }

    /// Returns whether the connection was stalled and the server has ended it since: reads the remaining bytes to find
    /// the end of the stream or a close frame.
    pub(in super::super) fn was_dropped(&mut self, shared: &mut Shared<'_>) -> bool {
        let mut buffer = std::mem::take(&mut shared.buffer);
        let mut was_dropped = false;
        while let Some(stream) = self.stream.as_mut().filter(|_| matches!(self.state, State::Stalled)) {
            was_dropped = match stream.read(&mut buffer) {
                Ok(0) => true,
                Ok(count) if self.ends_in(&buffer[..count], &mut shared.forms) => true,
                Ok(_) => continue,
                Err(error) => error.kind() != ErrorKind::WouldBlock,
            };
            break;
        }
        shared.buffer = buffer;
        was_dropped
    }

    /// Returns whether the bytes that were read have a close frame, or end the stream in another way.
    fn ends_in(&mut self, data: &[u8], forms: &mut Forms) -> bool {
        let (mut decrypted, mut plain, mut others) = (Vec::new(), Vec::new(), Vec::new());
        let (data, is_over) = match &mut self.session {
            None => (data, false),
            Some(session) => {
                let received = session.receive(data, &mut decrypted, &mut self.unsent);
                (decrypted.as_slice(), received != Ok(Received::More))
            }
        };
        let data = match &mut self.expander {
            None => data,
            Some(expander) => match expander.expand(data, forms, &mut plain) {
                Ok(()) => &plain,
                Err(Malformed) => return true,
            },
        };
        let decoded = counting::skip(&mut self.decoder, &mut self.texts, data, &mut others);
        is_over || decoded.is_err() || others.iter().any(|(opcode, _)| *opcode == CLOSE)
    }

    /// Resets the connection as a crash of the client's machine would: without a close frame, and without a port that
    /// stays in TIME_WAIT.
    pub(in super::super) fn reset(&mut self, shared: &mut Shared<'_>) {
        if self.is_open() {
            shared.remove_reader(self.room);
        }
        if let Some(stream) = self.stream.take() {
            let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        self.session = None;
        self.state = State::Closed;
    }
}
