//! Parses frames with fastwebsockets, from a buffer that all connections of a worker share.
//!
//! `read_frame` of fastwebsockets is not cancel-safe, and its reader holds 8 KiB. A reader and its pending future
//! therefore live together in a [`FrameParser`], which a connection has only while a frame of its own is under way. At
//! a frame boundary a parser has no state, and goes back to the worker's pool for the next connection that reads.
//!
//! All parsers of a worker read from its one [`Scratch`] buffer: they are polled synchronously, one at a time.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use fastwebsockets::{Frame, OpCode, Payload, Role, WebSocketError, WebSocketRead, after_handshake_split};
use tokio::io::{AsyncRead, ReadBuf};

use super::scanner::compressed_bytes;
use crate::deflate::Inflater;
use crate::shard::sink::Arrived;

/// Most bytes read from a socket at once, and therefore the most that one client is served before others.
pub(super) const SCRATCH_BYTES: usize = 64 * 1024;
/// Most idle parsers that are kept; each holds about [`KEPT_BYTES`].
const MAX_IDLE: usize = 16;
/// A parser whose buffer has grown beyond this size is not kept.
const KEPT_BYTES: usize = 16 * 1024;

/// One frame that was parsed and unmasked.
pub(super) struct Parsed {
    /// True for the last fragment of a message, or the only one.
    pub(super) is_final: bool,
    /// The kind of frame.
    pub(super) opcode: OpCode,
    /// The unmasked payload.
    pub(super) payload: BytesMut,
}

/// The bytes of the last read, and the frame that was parsed last.
pub(super) struct Scratch {
    /// The buffer; `taken`, `open` and `filled` are positions in it.
    bytes: RefCell<Box<[u8]>>,
    /// Position of the next byte for a parser.
    taken: Cell<usize>,
    /// Position after the last byte that the parser may read: the end of the current frame.
    open: Cell<usize>,
    /// Position after the last byte that was read.
    filled: Cell<usize>,
    /// The frame that the parser has finished.
    parsed: RefCell<Option<Parsed>>,
}

impl Scratch {
    /// Fills the buffer with `read`, which gets all of it.
    ///
    /// # Errors
    /// The error of `read`.
    pub(super) fn fill(&self, read: impl FnOnce(&mut [u8]) -> io::Result<Arrived>) -> io::Result<Arrived> {
        debug_assert_eq!(self.taken.get(), self.filled.get(), "the bytes of the last read are used up");
        let arrived = read(&mut self.bytes.borrow_mut())?;
        self.refill(arrived.bytes);
        Ok(arrived)
    }

    /// Fills the buffer with bytes that were read before, and fit.
    pub(super) fn fill_with(&self, bytes: &[u8]) {
        self.bytes.borrow_mut()[..bytes.len()].copy_from_slice(bytes);
        self.refill(bytes.len());
    }

    fn refill(&self, filled: usize) {
        self.taken.set(0);
        self.open.set(0);
        self.filled.set(filled);
    }

    /// Calls `f` with the bytes that no parser has read yet, which it may change.
    pub(super) fn with_rest<R>(&self, f: impl FnOnce(&mut [u8]) -> R) -> R {
        f(&mut self.bytes.borrow_mut()[self.taken.get()..self.filled.get()])
    }

    /// Discards the bytes that no parser has read yet.
    pub(super) fn clear(&self) {
        self.taken.set(self.filled.get());
    }
}

/// The reading side of a [`Scratch`], which is pending like a socket at the end of the current frame.
struct ScratchReader(Rc<Scratch>);

impl AsyncRead for ScratchReader {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Scratch { bytes, taken, open, .. } = &*self.0;
        let from = taken.get();
        let to = open.get().min(from + buf.remaining());
        if from == to {
            // No wake-up is needed: the connection polls again when it has read more.
            return Poll::Pending;
        }
        buf.put_slice(&bytes.borrow()[from..to]);
        taken.set(to);
        Poll::Ready(Ok(()))
    }
}

/// A parser with its pending future, which ends only with an error.
pub(super) struct FrameParser(Pin<Box<dyn Future<Output = WebSocketError>>>);

impl fmt::Debug for FrameParser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameParser")
    }
}

async fn parse(mut reader: WebSocketRead<ScratchReader>, scratch: Rc<Scratch>) -> WebSocketError {
    // Never called, because the parser is configured to send neither pongs nor closes.
    let mut send = |_: Frame<'_>| std::future::ready(Ok::<(), WebSocketError>(()));
    loop {
        let frame = match reader.read_frame(&mut send).await {
            Ok(frame) => frame,
            Err(error) => return error,
        };
        let payload = match frame.payload {
            Payload::Bytes(bytes) => bytes,
            other => BytesMut::from(&other[..]),
        };
        *scratch.parsed.borrow_mut() = Some(Parsed { is_final: frame.fin, opcode: frame.opcode, payload });
        poll_fn(|_| if scratch.parsed.borrow().is_some() { Poll::Pending } else { Poll::Ready(()) }).await;
    }
}

/// A worker's scratch buffer, its idle parsers, and the inflater that they share.
pub(super) struct ParserPool {
    /// The buffer that all sockets are read into.
    pub(super) scratch: Rc<Scratch>,
    /// Decompresses the messages of all connections; made for the first compressed message.
    pub(super) inflater: RefCell<Option<Box<Inflater>>>,
    idle: RefCell<Vec<FrameParser>>,
    max_message_bytes: usize,
}

impl fmt::Debug for ParserPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParserPool").field("idle", &self.idle.borrow().len()).finish_non_exhaustive()
    }
}

impl ParserPool {
    /// Creates a pool without parsers. It takes 64 KiB, up to 256 KiB for idle parsers, and some 120 KiB more once a
    /// client has sent a compressed message.
    #[must_use]
    pub(super) fn new(max_message_bytes: usize) -> Self {
        let scratch = Scratch {
            bytes: RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice()),
            taken: Cell::new(0),
            open: Cell::new(0),
            filled: Cell::new(0),
            parsed: RefCell::new(None),
        };
        Self {
            scratch: Rc::new(scratch),
            inflater: RefCell::default(),
            idle: RefCell::default(),
            max_message_bytes,
        }
    }

    /// Takes an idle parser, or makes a new one.
    pub(super) fn take(&self) -> FrameParser {
        self.idle.borrow_mut().pop().unwrap_or_else(|| {
            let source = ScratchReader(Rc::clone(&self.scratch));
            let (mut reader, _) = after_handshake_split(source, tokio::io::sink(), Role::Server);
            reader.set_auto_close(false);
            reader.set_auto_pong(false);
            // The parser refuses a message of exactly this size, too.
            let most = compressed_bytes(self.max_message_bytes);
            reader.set_max_message_size(most.saturating_add(1));
            FrameParser(Box::pin(parse(reader, Rc::clone(&self.scratch))))
        })
    }

    /// Takes back a parser that is at a frame boundary, after a payload of `len` bytes.
    pub(super) fn give_back(&self, parser: FrameParser, len: usize) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MAX_IDLE && len <= KEPT_BYTES {
            idle.push(parser);
        }
    }

    /// Feeds the next `len` bytes of the scratch buffer to `parser`; returns the frame when it is complete.
    ///
    /// # Errors
    /// The error of the parser, which must not be used any more.
    pub(super) fn run(&self, parser: &mut FrameParser, len: usize) -> Result<Option<Parsed>, WebSocketError> {
        let scratch = &self.scratch;
        scratch.open.set(scratch.taken.get() + len);
        let polled = parser.0.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        match polled {
            Poll::Ready(error) => Err(error),
            Poll::Pending => Ok(scratch.parsed.borrow_mut().take()),
        }
    }
}
