//! A non-blocking socket and its registration with the worker's reactor, from accept to the end.

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

use crate::registry::sink::Sink;

/// Most bytes of a request head that are read at once: a handshake is far shorter.
const HEAD_BYTES: usize = 4 * 1024;

/// See the module's documentation. The shard writes to the same socket through its [`Sink`].
#[derive(Debug)]
pub struct Socket(AsyncFd<Rc<TcpStream>>);

impl Socket {
    /// Registers a non-blocking socket with the current runtime.
    ///
    /// # Errors
    /// When the reactor takes no more.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        register(Rc::new(stream)).map(Self)
    }

    /// The way for others on this thread to write.
    #[must_use]
    pub fn sink(&self) -> Sink {
        Sink::Socket(Rc::clone(self.0.get_ref()))
    }

    /// Reads what is there; 0 at the end of the stream.
    ///
    /// # Errors
    /// As the socket's.
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let read = self.read_now(buffer);
            match read {
                Poll::Pending => guard.clear_ready(),
                // Less than asked for means that the kernel has no more. Readiness left set would make the next wait
                // return at once for nothing.
                Poll::Ready(Ok(bytes)) if bytes > 0 && bytes < buffer.len() => {
                    guard.clear_ready();
                    return read;
                }
                Poll::Ready(_) => return read,
            }
        }
    }

    /// As [`Socket::poll_read`], but asks the kernel, whatever the reactor knows: after a pause there may be more to
    /// tell than it tells at once. Pending where nothing is there; nobody is woken by that.
    ///
    /// # Errors
    /// As the socket's.
    #[inline]
    pub fn read_now(&self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            // Without the C library, as the sink writes.
            match net::recv(&**self.0.get_ref(), &mut *buffer, RecvFlags::empty()) {
                Ok((_, read)) => return Poll::Ready(Ok(read)),
                Err(Errno::WOULDBLOCK) => return Poll::Pending,
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Runs `write` once the socket takes bytes, again whenever it did not take all of them.
    ///
    /// # Errors
    /// As the reactor's.
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

    /// Writes from one buffer.
    ///
    /// # Errors
    /// As the socket's.
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

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// As the socket's; a peer that is gone already is none.
    pub fn shutdown(&self) -> io::Result<()> {
        match self.0.get_ref().shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            other => other,
        }
    }

    /// Makes closing the socket a reset: nothing that waits in the kernel is sent any more.
    pub fn reset_on_close(&self) {
        let socket = socket2::SockRef::from(&**self.0.get_ref());
        if let Err(error) = socket.set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "cannot set SO_LINGER");
        }
    }
}

/// Reads for HTTP, before the connection is upgraded.
impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let most = buf.remaining().min(HEAD_BYTES);
        // The buffer is uninitialised memory, which safe code cannot read into.
        let read = ready!(Socket::poll_read(&self, cx, buf.initialize_unfilled_to(most)))?;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

/// Writes for HTTP, before the connection is upgraded.
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

/// Registers something with the current runtime's reactor.
///
/// # Errors
/// When the reactor takes no more.
#[expect(
    deprecated,
    reason = "its successor is an unsafe function; the standard library's sockets, which are all that \
    is registered here, keep their descriptor open for as long as they live, which is what it asks for"
)]
pub fn register<T: OwnedSocket>(socket: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::new(socket)
}

/// A type that [`register`] accepts: it owns one descriptor, which never changes.
pub trait OwnedSocket: AsRawFd {}

impl OwnedSocket for Rc<TcpStream> {}
impl OwnedSocket for TcpListener {}

/// How far a write came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteProgress {
    /// As far as it should.
    Done,
    /// The socket takes no more now.
    Blocked,
}
