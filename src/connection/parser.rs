//! The frame parser, and where it gets its bytes from.
//!
//! fastwebsockets' `read_frame` is not cancel-safe and its reader holds 8 KiB. So a reader and its pending future
//! live together in a [`FrameParser`], which a connection has only while a frame of its own is under way; at a frame
//! boundary a parser remembers nothing and goes back to the worker's pool for whoever reads next.
//!
//! All parsers of a worker read from its one [`Scratch`] buffer: polling them is synchronous, one at a time.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use fastwebsockets::{Frame, OpCode, Payload, Role, WebSocketError, WebSocketRead, after_handshake_split};
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes read from a socket at once, and so the most that one client is served before others.
pub(super) const SCRATCH_BYTES: usize = 64 * 1024;
/// ParserPool kept for reuse; each holds about [`KEPT_BYTES`].
const POOL: usize = 16;
/// A parser whose buffer has grown beyond this is not kept.
const KEPT_BYTES: usize = 16 * 1024;

/// One frame as the parser returns it, unmasked.
pub(super) struct Parsed {
    /// The last fragment, or the only one.
    pub(super) is_final: bool,
    /// What it is.
    pub(super) opcode: OpCode,
    /// The payload.
    pub(super) payload: BytesMut,
}

/// The bytes that were read last, and the frame that was parsed last.
pub(super) struct Scratch {
    /// The buffer; `filled` and `open` are positions in it.
    bytes: RefCell<Box<[u8]>>,
    /// Next byte for a parser.
    taken: Cell<usize>,
    /// Behind the last byte that a parser may have: the end of the current frame.
    open: Cell<usize>,
    /// Behind the last byte.
    filled: Cell<usize>,
    parsed: RefCell<Option<Parsed>>,
}

impl Scratch {
    /// Fills the buffer by `read`, which is handed all of it.
    pub(super) fn fill(
        &self,
        read: impl FnOnce(&mut [u8]) -> Poll<std::io::Result<usize>>,
    ) -> Poll<std::io::Result<usize>> {
        debug_assert_eq!(self.taken.get(), self.filled.get(), "what was read before is used up");
        let polled = read(&mut self.bytes.borrow_mut());
        if let Poll::Ready(Ok(filled)) = polled {
            self.taken.set(0);
            self.open.set(0);
            self.filled.set(filled);
        }
        polled
    }

    /// Runs `f` on what no parser has had yet.
    pub(super) fn with_rest<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        f(&self.bytes.borrow()[self.taken.get()..self.filled.get()])
    }

    /// Forgets the rest.
    pub(super) fn clear(&self) {
        self.taken.set(self.filled.get());
    }
}

/// The parser's side of a [`Scratch`]: pending where a socket would be.
struct Feed(Rc<Scratch>);

impl AsyncRead for Feed {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let Scratch { bytes, taken, open, .. } = &*self.0;
        let from = taken.get();
        let to = open.get().min(from + buf.remaining());
        if from == to {
            // Nobody is woken: the connection polls again when it has read more.
            return Poll::Pending;
        }
        buf.put_slice(&bytes.borrow()[from..to]);
        taken.set(to);
        Poll::Ready(Ok(()))
    }
}

/// A parser with its pending future; ends only with an error.
pub(super) struct FrameParser(Pin<Box<dyn Future<Output = WebSocketError>>>);

impl fmt::Debug for FrameParser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrameParser")
    }
}

async fn parse(mut reader: WebSocketRead<Feed>, scratch: Rc<Scratch>) -> WebSocketError {
    // Never called: neither pongs nor closes are sent for us.
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

/// A worker's scratch buffer and its parsers.
pub(super) struct ParserPool {
    /// The buffer that sockets are read into.
    pub(super) scratch: Rc<Scratch>,
    idle: RefCell<Vec<FrameParser>>,
    max_message_bytes: usize,
}

impl fmt::Debug for ParserPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParserPool").field("idle", &self.idle.borrow().len()).finish_non_exhaustive()
    }
}

impl ParserPool {
    /// No parser yet. Memory: 64 KiB, and up to 256 KiB of idle parsers.
    #[must_use]
    pub(super) fn new(max_message_bytes: usize) -> Self {
        let scratch = Scratch {
            bytes: RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice()),
            taken: Cell::new(0),
            open: Cell::new(0),
            filled: Cell::new(0),
            parsed: RefCell::new(None),
        };
        Self { scratch: Rc::new(scratch), idle: RefCell::default(), max_message_bytes }
    }

    /// An idle parser, or a new one.
    pub(super) fn take(&self) -> FrameParser {
        self.idle.borrow_mut().pop().unwrap_or_else(|| {
            let feed = Feed(Rc::clone(&self.scratch));
            let (mut reader, _) = after_handshake_split(feed, tokio::io::sink(), Role::Server);
            reader.set_auto_close(false);
            reader.set_auto_pong(false);
            // It refuses what is equal, too.
            reader.set_max_message_size(self.max_message_bytes.saturating_add(1));
            FrameParser(Box::pin(parse(reader, Rc::clone(&self.scratch))))
        })
    }

    /// Takes back a parser that stands at a frame boundary behind a payload of `len` bytes.
    pub(super) fn give_back(&self, parser: FrameParser, len: usize) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < POOL && len <= KEPT_BYTES {
            idle.push(parser);
        }
    }

    /// Lets `parser` have the next `len` bytes of the scratch buffer; the frame, if it is complete now.
    ///
    /// # Errors
    /// What the parser found; the parser is of no more use.
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
