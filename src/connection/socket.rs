//! A non-blocking socket and its registration with the reactor (the part of tokio that reports when sockets are ready),
//! until the handshake is answered. A handshake that comes in one piece needs none.

use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::shard::sink;

/// Most bytes that are read at once while the connection speaks HTTP. The head of a handshake is far shorter.
const HEAD_BYTES: usize = 4 * 1024;

/// A non-blocking socket that is registered with the reactor.
#[derive(Debug)]
pub struct Socket(AsyncFd<TcpStream>);

impl Socket {
    /// Registers a non-blocking socket with the current runtime.
    ///
    /// # Errors
    /// The reactor cannot register the socket.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        register(stream).map(Self)
    }

    /// Waits until the reactor has reported that the socket takes bytes, which it does of a new one in a moment.
    ///
    /// # Errors
    /// The reactor has ended.
    pub async fn writable(&self) -> io::Result<()> {
        self.0.writable().await.map(drop)
    }

    /// Takes the socket out of the reactor.
    #[must_use]
    pub fn into_stream(self) -> TcpStream {
        self.0.into_inner()
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

    fn read_now(&self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match sink::receive(self.0.get_ref(), buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return Poll::Ready(other),
            }
        }
    }

    /// Writes bytes from one buffer, or waits until the socket takes some; returns how many it took.
    ///
    /// # Errors
    /// The error of the socket.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |socket| sink::send(socket, bytes))
    }

    /// Calls `write` with the socket when that is ready to take bytes, again while it says that it would block.
    ///
    /// # Errors
    /// The error of `write`.
    pub fn poll_write_with<R>(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            match write(self.0.get_ref()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => guard.clear_ready(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return Poll::Ready(other),
            }
        }
    }

    /// Sends bytes if the socket takes them now; returns how many it took.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`], or the error of the socket.
    pub fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        sink::send(self.0.get_ref(), bytes)
    }

    /// Shuts the writing side down.
    ///
    /// # Errors
    /// The error of the socket. A peer that has gone already is not an error.
    pub fn shutdown(&self) -> io::Result<()> {
        sink::shut_down(self.0.get_ref())
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

impl OwnedSocket for TcpStream {}
impl OwnedSocket for TcpListener {}
