//! The event loop: all connections of a run and the poller they share, on one thread.
//!
//! It uses mio instead of an async runtime, because a task per connection costs more than counting its deliveries, and
//! the load generator must need less CPU time than the server.

use std::io;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::connection::Connection;
use super::heartbeats::Heartbeats;
use super::mark::Stamp;
use super::message::Messages;
use super::plan::Plan;
use super::shared::Shared;
use super::wire::TEXT;

/// Most events taken from the poller at once.
const EVENTS: usize = 1024;

/// The connections, their poller and the state they share.
#[derive(Debug)]
pub(super) struct EventLoop<'p> {
    poll: Poll,
    events: Events,
    pub(super) connections: Vec<Connection>,
    messages: Messages,
    heartbeats: Option<Heartbeats>,
    pub(super) shared: Shared<'p>,
}

impl<'p> EventLoop<'p> {
    /// Returns an event loop without connections.
    ///
    /// # Errors
    /// The system cannot create a poller.
    pub(super) fn new(plan: &'p Plan) -> io::Result<Self> {
        let shared = Shared::new(plan);
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS),
            connections: Vec::with_capacity(plan.connections),
            messages: Messages::new(plan),
            heartbeats: Heartbeats::of(plan, shared.clock.now_ns()),
            shared,
        })
    }

    /// Waits at most `wait` for events and handles them.
    ///
    /// # Errors
    /// The poller fails.
    pub(super) fn turn(&mut self, wait: Duration) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &self.events {
            self.connections[event.token().0].on_event(event, &mut self.shared);
        }
        self.send_heartbeats();
        Ok(())
    }

    /// Sends the heartbeats that are due, if the protocol demands that clients send some.
    fn send_heartbeats(&mut self) {
        let Some(heartbeats) = &mut self.heartbeats else { return };
        for number in heartbeats.due(self.shared.clock.now_ns()) {
            if let Some(connection) =
                self.connections.get_mut(number).filter(|connection| connection.is_open())
            {
                connection.send_frame(TEXT, heartbeats.text.as_bytes());
            }
        }
    }

    /// Starts to connect number `number`, which is a new connection or one that has ended.
    ///
    /// # Errors
    /// The system has no socket, or no local address or port to connect from.
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
            // Connecting goes on in the background; the socket becomes writable when it has succeeded or failed.
            Err(error) if error.raw_os_error() != Some(EINPROGRESS) => {
                return Err(io::Error::new(error.kind(), format!("cannot connect: {error}")));
            }
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        // Registered once for both events: with edge-triggered polling, a socket that stays writable is reported once.
        self.poll.registry().register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
        let connection = Connection::new(number, stream, &self.shared);
        match self.connections.get_mut(number) {
            Some(ended) => *ended = connection,
            None => self.connections.push(connection),
        }
        Ok(())
    }

    /// Publishes a message with the time `at_ns` on connection `number`, if it is open.
    pub(super) fn publish(&mut self, number: usize, at_ns: u64) {
        let connection = &mut self.connections[number];
        if connection.is_open() {
            self.shared.counters.sent += 1;
            self.shared.counters.expected += self.shared.receiver_count(self.shared.plan.room(number));
            let stamp = Stamp { publisher: number as u16, at_ns };
            connection.send(self.messages.frame(stamp, self.shared.plan));
        }
    }

    /// Makes the last `count` connections stop reading.
    pub(super) fn stall(&mut self, count: usize) {
        let first = self.connections.len() - count;
        for connection in &mut self.connections[first..] {
            connection.stall(&mut self.shared);
        }
    }

    /// Returns how many of the stalled connections the server has ended.
    pub(super) fn count_dropped(&mut self) -> usize {
        let Self { connections, shared, .. } = self;
        connections.iter_mut().map(|connection| usize::from(connection.was_dropped(shared))).sum()
    }

    /// Begins the closing handshake on every open connection.
    pub(super) fn close_all(&mut self) {
        self.shared.is_ending = true;
        for connection in &mut self.connections {
            connection.close();
        }
    }

    /// Resets every connection.
    pub(super) fn reset_all(&mut self) {
        for connection in &mut self.connections {
            connection.reset(&mut self.shared);
        }
    }
}

/// The error number of "operation now in progress" on Linux.
const EINPROGRESS: i32 = 115;
