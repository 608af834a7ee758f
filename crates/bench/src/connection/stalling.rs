//! Clients that misbehave on purpose: they stop reading, or vanish.

use std::io::{ErrorKind, Read as _};
use std::time::Duration;

use super::super::counting;
use super::super::shared::Shared;
use super::super::wire::CLOSE;
use super::{Connection, State};

impl Connection {
    /// Stops reading for good; what the kernel buffers for it is made small, so that the server notices.
    pub(in super::super) fn stall(&mut self, shared: &mut Shared<'_>) {
        if let Some(stream) = self.stream.as_ref().filter(|_| self.is_open()) {
            let _ = socket2::SockRef::from(stream).set_recv_buffer_size(4096);
            shared.left(self.room);
            self.state = State::Stalled;
        }
    }

    /// Whether it was stalled and the server has given it up since: reads what is left to see the end.
    pub(in super::super) fn was_dropped(&mut self, buffer: &mut [u8]) -> bool {
        let Some(stream) = self.stream.as_mut().filter(|_| matches!(self.state, State::Stalled)) else {
            return false;
        };
        let mut controls = Vec::new();
        loop {
            match stream.read(buffer) {
                Ok(0) => return true,
                Ok(count) => {
                    let walked = counting::skip(&mut self.walker, &buffer[..count], &mut controls);
                    if walked.is_err() || controls.iter().any(|(opcode, _)| *opcode == CLOSE) {
                        return true;
                    }
                }
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
    }

    /// Vanishes as if its machine had: a reset, no close frame, and no port kept in TIME_WAIT.
    pub(in super::super) fn cut(&mut self, shared: &mut Shared<'_>) {
        if self.is_open() {
            shared.left(self.room);
        }
        if let Some(stream) = self.stream.take() {
            let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        self.state = State::Closed;
    }
}
