//! The connections of a worker, and the queue of those that get a turn.
//!
//! One task serves them all. A turn is bounded, so that no client makes others wait for long, and a panic in it ends
//! its own connection alone.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::active::REST_MS;
use super::encrypted::{Buffers, EncryptedSocket};
use super::poller::Poller;
use super::turn::Turn;
use super::{Connection, ConnectionInfo, WorkerContext};
use crate::endpoint::Endpoint;
use crate::names::ConnectionId;
use crate::protocol::close::EndReason;
use crate::shard::Registration;
use crate::shard::sink::Sink;
use crate::shrink::ShrinkWhenSparse;
use crate::tls::Tls;

/// Most turns in a row, after which the other tasks of the worker have theirs: as many as there are reports at once.
const TURNS_IN_A_ROW: usize = 1024;

/// The connections of a worker. Each has an `A` beside it, which is dropped after it.
pub struct Connections<A> {
    /// The state that they share.
    pub context: Rc<WorkerContext>,
    table: RefCell<Table<A>>,
}

impl<A> fmt::Debug for Connections<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

/// A connection with what is dropped after it.
struct Entry<A> {
    connection: Connection,
    _beside: A,
}

struct Table<A> {
    /// By the slots of the shard.
    entries: Vec<Option<Entry<A>>>,
    poller: Poller,
    /// The slots of connections that get a turn, in the order of their turns.
    queue: VecDeque<u32>,
    /// The connections that hold memory which they need only while something is under way, each with the time at which
    /// that may be over, in the shard's milliseconds. The times ascend, because all wait equally long.
    active: VecDeque<(ConnectionId, u64)>,
    /// Memory for ciphertext, once there was a connection with TLS.
    buffers: Option<Rc<RefCell<Buffers>>>,
}

impl<A> Connections<A> {
    /// Makes an empty table for the worker of the current runtime.
    ///
    /// # Errors
    /// The system refuses another descriptor.
    pub fn new(context: Rc<WorkerContext>) -> io::Result<Rc<Self>> {
        let table = Table {
            entries: Vec::new(),
            poller: Poller::new()?,
            queue: VecDeque::new(),
            active: VecDeque::new(),
            buffers: None,
        };
        Ok(Rc::new(Self { context, table: RefCell::new(table) }))
    }

    /// Adds a connection, which gets its first turn soon. `head` is the answer to its handshake, which goes out with
    /// its first events; it is empty when the answer is sent. `leftover` holds the bytes that followed the handshake.
    /// With TLS the socket takes and gives ciphertext.
    ///
    /// # Errors
    /// The system cannot watch the socket, which is closed then.
    pub fn add(
        &self,
        (socket, tls): (TcpStream, Option<Box<Tls>>),
        registration: Registration,
        (endpoint, info): (Endpoint, ConnectionInfo),
        (head, leftover): (&[u8], Bytes),
        beside: A,
    ) -> io::Result<()> {
        let id = registration.id();
        let connection = Connection::new(&self.context, registration, endpoint, info, leftover);
        let mut table = self.table.borrow_mut();
        let watched = table.poller.add(id, &socket);
        let slot = id.slot();
        if slot >= table.entries.len() {
            table.entries.resize_with(slot + 1, || None);
        }
        table.entries[slot] = Some(Entry { connection, _beside: beside });
        if let Err(error) = watched {
            table.remove(slot, &self.context);
            return Err(error);
        }
        let sink = match tls {
            None => Sink::Socket(socket),
            Some(tls) => {
                let buffers = Rc::clone(table.buffers.get_or_insert_default());
                Sink::Stream(Rc::new(EncryptedSocket::new(socket, *tls, buffers)))
            }
        };
        if let Some(Some(Entry { connection, .. })) = table.entries.get(slot) {
            // Its first turn comes after the fan-out that its entry into a room has caused: what the room is told of it
            // stands before the answers to its commands, and leaves in one write with its first event.
            if !head.is_empty() {
                connection.registration.answer(head);
            }
            connection.registration.attach(sink);
        }
        Ok(())
    }

    /// Gives the connections their turns. Returns only with an error.
    ///
    /// # Errors
    /// The system's error, after which no socket is reported ready any more.
    pub async fn serve(&self) -> io::Error {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Frees the memory of connections that were active and are quiet now. Call it often.
    pub fn rest(&self) {
        let now_ms = self.context.shard.now_ms();
        let Table { entries, active, .. } = &mut *self.table.borrow_mut();
        while let Some((id, _)) = active.pop_front_if(|(_, at_ms)| *at_ms <= now_ms) {
            let Some(Some(Entry { connection, .. })) = entries.get_mut(id.slot()) else { continue };
            // Another connection may have the slot by now.
            if connection.registration.id() != id {
                continue;
            }
            connection.is_watched = !connection.rest(&self.context, now_ms);
            if connection.is_watched {
                active.push_back((id, now_ms + REST_MS));
            }
        }
        active.shrink_when_sparse();
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.context.shard.serve(cx.waker());
        let mut table = self.table.borrow_mut();
        // As long as turns are waiting the task is woken again, and then takes the next reports.
        while table.queue.len() < TURNS_IN_A_ROW {
            match table.poll_events(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(error),
                Poll::Pending => break,
            }
        }
        table.take_woken(&self.context);
        for _ in 0..table.queue.len().min(TURNS_IN_A_ROW) {
            let Some(slot) = table.queue.pop_front() else { break };
            table.guard(slot as usize, &self.context, Connection::turn);
        }
        if !table.queue.is_empty() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<A> Table<A> {
    /// Takes reports of the poller, and queues the connections that they are for.
    fn poll_events(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { entries, poller, queue, .. } = self;
        poller.poll_events(cx, |slot, generation, event| {
            let Some(Some(Entry { connection, .. })) = entries.get_mut(slot as usize) else { return };
            if connection.registration.id().generation() != generation {
                return;
            }
            if connection.report(event) && !std::mem::replace(&mut connection.is_queued, true) {
                queue.push_back(slot);
            }
        })
    }

    /// Queues the connections that the shard has woken.
    fn take_woken(&mut self, context: &WorkerContext) {
        let Self { entries, queue, .. } = self;
        context.shard.take_woken(|slot| {
            if let Some(Some(Entry { connection, .. })) = entries.get_mut(slot as usize)
                && !std::mem::replace(&mut connection.is_queued, true)
            {
                queue.push_back(slot);
            }
        });
    }

    /// Gives a connection a turn, if there is one in the slot. It ends with a panic.
    fn guard(
        &mut self,
        slot: usize,
        context: &WorkerContext,
        turn: impl FnOnce(&mut Connection, &WorkerContext) -> Turn,
    ) {
        let Some(Some(Entry { connection, .. })) = self.entries.get_mut(slot) else { return };
        connection.is_queued = false;
        let turn = catch_unwind(AssertUnwindSafe(|| turn(connection, context)));
        if !connection.is_watched && connection.is_active() {
            connection.is_watched = true;
            let id = connection.registration.id();
            self.active.push_back((id, context.shard.now_ms() + REST_MS));
        }
        match turn {
            Ok(Turn::Waits) => {}
            Ok(Turn::Again) => {
                connection.is_queued = true;
                self.queue.push_back(slot as u32);
            }
            Ok(Turn::Over) => self.remove(slot, context),
            Err(_) => {
                let registration = &connection.registration;
                tracing::error!(id = %registration.id(), "a connection panicked, it ends with 1011");
                let ended = catch_unwind(AssertUnwindSafe(|| registration.end(EndReason::Internal)));
                if ended.is_err() {
                    tracing::error!(slot, "the close of a connection panicked");
                }
                self.remove(slot, context);
            }
        }
    }

    /// Removes a connection and closes its socket.
    fn remove(&mut self, slot: usize, context: &WorkerContext) {
        let Some(mut entry) = self.entries.get_mut(slot).and_then(Option::take) else { return };
        let removed = catch_unwind(AssertUnwindSafe(|| {
            entry.connection.leave(context);
            drop(entry);
        }));
        context.shard.metrics().connections.sub(1);
        let end = context.shard.slots_end();
        if end < self.entries.len() {
            self.entries.truncate(end);
            if self.entries.len() <= self.entries.capacity() / 2 {
                self.entries.shrink_to_fit();
            }
        }
        if removed.is_err() {
            tracing::error!(slot, "the end of a connection panicked");
        }
    }
}

impl<A> Drop for Connections<A> {
    fn drop(&mut self) {
        let table = self.table.get_mut();
        (0..table.entries.len()).for_each(|slot| table.remove(slot, &self.context));
    }
}
