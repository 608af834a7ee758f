//! Waits for the sockets of all connections of a worker at once.
//!
//! The sockets are registered here once, with a poller of their own that is nested in the runtime's: an idle connection
//! has no state in the runtime.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Token};
use tokio::io::unix::AsyncFd;

use super::socket::{OwnedSocket, register};
use crate::names::ConnectionId;

/// Most reports that are taken at once.
const MAX_EVENTS: usize = 1024;

impl OwnedSocket for mio::Poll {}

/// The poller of a worker.
#[derive(Debug)]
pub(super) struct Poller {
    poll: AsyncFd<mio::Poll>,
    events: Events,
}

impl Poller {
    /// Makes a poller, nested in the current runtime's.
    ///
    /// # Errors
    /// The system refuses another descriptor.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { poll: register(mio::Poll::new()?)?, events: Events::with_capacity(MAX_EVENTS) })
    }

    /// Registers a connection's socket until it is closed. Only changes are reported from then on.
    ///
    /// # Errors
    /// The system has no memory for it, or watches as many as it is allowed to.
    pub(super) fn add(&self, id: ConnectionId, socket: &TcpStream) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.get_ref().registry().register(&mut SourceFd(&socket.as_raw_fd()), token(id), both)
    }

    /// Calls `report` with each report that has come, up to 1,024, and the slot and generation that it is for. Pending
    /// when there is none, and the task is woken when there is.
    ///
    /// # Errors
    /// The system's error, after which nothing will be reported.
    pub(super) fn poll_events(
        &mut self,
        cx: &mut Context<'_>,
        mut report: impl FnMut(u32, u32, &Event),
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.poll.poll_read_ready_mut(cx))?;
            match guard.get_inner_mut().poll(&mut self.events, Some(Duration::ZERO)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            let count = self.events.iter().count();
            if count < MAX_EVENTS {
                guard.clear_ready();
            }
            if count == 0 {
                continue;
            }
            for event in &self.events {
                let Token(token) = event.token();
                report(token as u32, (token >> 32) as u32, event);
            }
            return Poll::Ready(Ok(()));
        }
    }
}

/// Names a connection to the poller: its slot, and the generation that tells it from others that have had the slot.
fn token(id: ConnectionId) -> Token {
    Token(id.slot() | (id.generation() as usize) << 32)
}
