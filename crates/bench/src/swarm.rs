//! All connections of a run and the one poller they share, on one thread.
//!
//! mio rather than the async runtime: a task per connection costs more than counting what it received, and the thing
//! that measures must need less than what it measures.

use std::io;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::connection::Connection;
use super::mark::Stamp;
use super::message::Messages;
use super::plan::Plan;
use super::shared::Shared;

/// Events taken from the poller at once.
const EVENTS: usize = 1024;

/// The connections and what they share.
#[derive(Debug)]
pub(super) struct Swarm<'p> {
    poll: Poll,
    events: Events,
    pub(super) connections: Vec<Connection>,
    messages: Messages,
    pub(super) shared: Shared<'p>,
}

impl<'p> Swarm<'p> {
    /// No connections yet.
    ///
    /// # Errors
    /// The system has no poller for us.
    pub(super) fn new(plan: &'p Plan) -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS),
            connections: Vec::with_capacity(plan.connections),
            messages: Messages::new(plan),
            shared: Shared::new(plan),
        })
    }

    /// Waits at most `wait` for something to happen and handles it.
    ///
    /// # Errors
    /// The poller fails.
    pub(super) fn pump(&mut self, wait: Duration) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &self.events {
            self.connections[event.token().0].on_event(event, &mut self.shared);
        }
        Ok(())
    }

    /// Starts connecting number `number`: a new connection, or an ended one again.
    ///
    /// # Errors
    /// No socket, or no address to connect from.
    pub(super) fn dial(&mut self, number: usize) -> io::Result<()> {
        let target = &self.shared.plan.target;
        let domain = Domain::for_address(target.address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = target.source(number, self.shared.plan.per_address) {
            socket.bind(&source.into())?;
        }
        match socket.connect(&target.address.into()) {
            // It goes on in the background; how it ends shows when the socket becomes writable.
            Err(error) if error.raw_os_error() != Some(EINPROGRESS) => {
                return Err(io::Error::new(error.kind(), format!("cannot connect: {error}")));
            }
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        // Both at once and for good: edge-triggered, a socket that stays writable is reported no more than once.
        self.poll.registry().register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
        let connection = Connection::new(number, stream, &self.shared);
        match self.connections.get_mut(number) {
            Some(ended) => *ended = connection,
            None => self.connections.push(connection),
        }
        Ok(())
    }

    /// Publishes a message of `at_ns` on connection `number`, if it is open.
    pub(super) fn publish(&mut self, number: usize, at_ns: u64) {
        let connection = &mut self.connections[number];
        if connection.is_open() {
            self.shared.tally.sent += 1;
            self.shared.tally.expected += self.shared.reach(self.shared.plan.room(number));
            connection.send(self.messages.frame(Stamp { publisher: number as u16, at_ns }));
        }
    }

    /// Stops reading on the last `count` connections.
    pub(super) fn stall(&mut self, count: usize) {
        let first = self.connections.len() - count;
        for connection in &mut self.connections[first..] {
            connection.stall(&mut self.shared);
        }
    }

    /// Of the stalled connections, how many the server has ended.
    pub(super) fn dropped(&mut self) -> usize {
        let Self { connections, shared, .. } = self;
        connections.iter_mut().map(|connection| usize::from(connection.was_dropped(&mut shared.buffer))).sum()
    }

    /// Begins to end every open connection in good order.
    pub(super) fn leave(&mut self) {
        self.shared.is_ending = true;
        for connection in &mut self.connections {
            connection.leave();
        }
    }

    /// Cuts every connection.
    pub(super) fn cut(&mut self) {
        for connection in &mut self.connections {
            connection.cut(&mut self.shared);
        }
    }
}

/// "Operation now in progress", on Linux.
const EINPROGRESS: i32 = 115;
