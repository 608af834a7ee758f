//! A non-blocking socket and its registration with the reactor (the part of tokio that reports when sockets are ready),
//! from accept to close.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{self, RecvFlags};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::shard::sink::Sink;

/// Most bytes that are read at once while the connection speaks HTTP. The head of a handshake is far shorter.
const HEAD_BYTES: usize = 4 * 1024;

/// A non-blocking socket that is registered with the reactor. The worker's shard, which sends frames to the
/// clients, writes to the same socket through its [`Sink`].
#[derive(Debug)]
pub struct Socket(AsyncFd<Rc<TcpStream>>);

impl Socket {
    /// Registers a non-blocking socket with the current runtime.
    ///
    /// # Errors
    /// The reactor cannot register the socket.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        register(Rc::new(stream)).map(Self)
    }

    /// Returns another handle to the socket, for writing. It stays on this thread.
    #[must_use]
    pub fn sink(&self) -> Sink {
        Sink::Socket(Rc::clone(self.0.get_ref()))
    }

    /// Reads the bytes that have arrived, or waits until there are some. Returns 0 at the end of the stream.
    ///
    /// # Errors
    /// The error of the socket.
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let read = self.read_now(buffer);
            match read {
                Poll::Pending => guard.clear_ready(),
                // A short read means that the kernel has no more bytes. If the readiness stayed set, the next call
                // would make a system call in vain.
                Poll::Ready(Ok(bytes)) if bytes > 0 && bytes < buffer.len() => {
                    guard.clear_ready();
                    return read;
                }
                Poll::Ready(_) => return read,
            }
        }
    }

    /// Reads the bytes that the kernel has, even if the reactor has not reported the socket as ready: after a pause of
    /// the process, reports may be missing. Returns `Pending` when there are none, and registers no wake-up.
    ///
    /// # Errors
    /// The error of the socket.
    #[inline]
    pub fn read_now(&self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            // Without the C library: in a process of several threads its `recv` is a cancellation point, which makes it
            // slower.
            match net::recv(&**self.0.get_ref(), &mut *buffer, RecvFlags::empty()) {
                Ok((_, read)) => return Poll::Ready(Ok(read)),
                Err(Errno::WOULDBLOCK) => return Poll::Pending,
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Calls `write` each time that the socket is ready to take bytes, until it returns [`WriteProgress::Done`].
    ///
    /// # Errors
    /// The error of the reactor.
    pub fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut() -> WriteProgress,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            match write() {
                WriteProgress::Done => return Poll::Ready(Ok(())),
                WriteProgress::Blocked => guard.clear_ready(),
            }
        }
    }

    /// Writes bytes from one buffer; returns how many the socket took.
    ///
    /// # Errors
    /// The error of the socket.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let sink = self.sink();
        let mut result = Ok(0);
        ready!(self.poll_write_with(cx, || match sink.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => WriteProgress::Blocked,
            other => {
                result = other;
                WriteProgress::Done
            }
        }))?;
        Poll::Ready(result)
    }

    /// Shuts the writing side down.
    ///
    /// # Errors
    /// The error of the socket. A peer that has gone already is not an error.
    pub fn shutdown(&self) -> io::Result<()> {
        match self.0.get_ref().shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            other => other,
        }
    }

    /// Makes closing the socket a reset, which discards the bytes that wait in the kernel.
    pub fn reset_on_close(&self) {
        let socket = socket2::SockRef::from(&**self.0.get_ref());
        if let Err(error) = socket.set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "cannot set SO_LINGER");
        }
    }
}

/// For the HTTP server, which reads requests until the connection is upgraded.
impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let most = buf.remaining().min(HEAD_BYTES);
        // Safe code cannot read into the uninitialised memory of the buffer, so the part to be read is zeroed first.
        let read = ready!(Socket::poll_read(&self, cx, buf.initialize_unfilled_to(most)))?;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

/// For the HTTP server, which writes responses until the connection is upgraded.
impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Socket::poll_write(&self, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shutdown())
    }
}

/// Registers a socket with the current runtime's reactor.
///
/// # Errors
/// The reactor cannot register the socket.
#[expect(
    deprecated,
    reason = "its successor is an unsafe function, which requires that the descriptor stays open for as long as the \
    value lives; the sockets of the standard library, the only ones registered here, guarantee that"
)]
pub fn register<T: OwnedSocket>(socket: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::new(socket)
}

/// A type that [`register`] accepts: it owns one descriptor, which never changes.
pub trait OwnedSocket: AsRawFd {}

impl OwnedSocket for Rc<TcpStream> {}
impl OwnedSocket for TcpListener {}

/// The result of a call of the function that [`Socket::poll_write_with`] is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteProgress {
    /// Everything was written, or writing failed: do not call the function again.
    Done,
    /// The socket takes no more bytes now: call the function again when it does.
    Blocked,
}
