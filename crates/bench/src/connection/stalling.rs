//! Clients that misbehave on purpose: they stop reading, or reset their connection.

use std::io::{ErrorKind, Read as _};
use std::time::Duration;

use super::super::counting;
use super::super::inflate::Forms;
use super::super::shared::Shared;
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
    pub(in super::super) fn was_dropped(&mut self, buffer: &mut [u8], forms: &mut Forms) -> bool {
        let Some(stream) = self.stream.as_mut().filter(|_| matches!(self.state, State::Stalled)) else {
            return false;
        };
        let mut others = Vec::new();
        loop {
            match stream.read(buffer) {
                Ok(0) => return true,
                Ok(count) => {
                    let mut plain = Vec::new();
                    let data = match &mut self.expander {
                        None => &buffer[..count],
                        Some(expander) => match expander.expand(&buffer[..count], forms, &mut plain) {
                            Ok(()) => &plain,
                            Err(Malformed) => return true,
                        },
                    };
                    let decoded = counting::skip(&mut self.decoder, data, &mut others);
                    if decoded.is_err() || others.iter().any(|(opcode, _)| *opcode == CLOSE) {
                        return true;
                    }
                }
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
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
        self.state = State::Closed;
    }
}
