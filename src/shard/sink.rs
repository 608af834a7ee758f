//! The destination of a client's bytes: its socket, TLS on one, or a stand-in for tests and benches.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use rustix::net::{self, RecvFlags, SendFlags};

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Number of bytes that were read. There may be none although some have arrived, as of a record of TLS that is not
    /// whole.
    pub bytes: usize,
    /// True when nothing more has arrived.
    pub is_drained: bool,
    /// True at the end of the stream.
    pub is_end: bool,
}

/// A stream of bytes other than a plain socket: TLS on one, or a stand-in for a socket. It never blocks.
pub trait ByteStream {
    /// Takes some of the bytes. Returns how many, or 0 when the other side is gone.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when nothing can be taken now; any other error ends the connection.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Takes some of the bytes of several buffers, by default one buffer after the other, until one is taken only in
    /// part. Returns the number of bytes taken.
    ///
    /// # Errors
    /// As for [`ByteStream::write`].
    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut taken = 0;
        for slice in slices {
            match self.write(slice) {
                Ok(n) if n == slice.len() => taken += n,
                Ok(n) => return Ok(taken + n),
                Err(_) if taken > 0 => return Ok(taken),
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    /// Returns true while bytes that were taken wait for the other side. By default none ever do.
    fn has_tail(&self) -> bool {
        false
    }

    /// Sends bytes that were taken and wait. Returns true when none are left.
    ///
    /// # Errors
    /// The connection has to end.
    fn flush_tail(&self) -> io::Result<bool> {
        Ok(true)
    }

    /// Reads bytes that have arrived. By default none ever do.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when there are none now; any other error ends the connection.
    fn read(&self, _: &mut [u8]) -> io::Result<Arrived> {
        Err(ErrorKind::WouldBlock.into())
    }

    /// Ends the writing side.
    ///
    /// # Errors
    /// The other side cannot be told.
    fn shutdown(&self) -> io::Result<()> {
        Ok(())
    }

    /// Makes closing a reset, which discards the bytes that wait in the kernel.
    fn reset_on_close(&self) {}
}

/// The destination of a client's bytes, and the source of those that it sends.
pub enum Sink {
    /// A non-blocking socket, which is closed when this is dropped.
    Socket(TcpStream),
    /// Another stream of bytes.
    Stream(Rc<dyn ByteStream>),
}

impl Sink {
    /// Makes one non-blocking write.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when nothing can be taken now; any other error ends the connection.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => send(socket, bytes),
            Self::Stream(stream) => stream.write(bytes),
        }
    }

    /// Makes one non-blocking write of several buffers. Returns the number of bytes taken.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when nothing can be taken now; any other error ends the connection.
    pub fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => (&*socket).write_vectored(slices),
            Self::Stream(stream) => stream.write_vectored(slices),
        }
    }

    /// Returns true while bytes that were taken wait for the socket: at most 17 KiB of records of TLS.
    #[inline]
    pub fn has_tail(&self) -> bool {
        match self {
            Self::Socket(_) => false,
            Self::Stream(stream) => stream.has_tail(),
        }
    }

    /// Sends bytes that were taken and wait for the socket. Returns true when none are left.
    ///
    /// # Errors
    /// The connection has to end.
    pub fn flush_tail(&self) -> io::Result<bool> {
        match self {
            Self::Socket(_) => Ok(true),
            Self::Stream(stream) => stream.flush_tail(),
        }
    }

    /// Reads bytes that have arrived.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when there are none now; any other error ends the connection.
    #[inline]
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Arrived> {
        match self {
            Self::Socket(socket) => {
                let bytes = receive(socket, buffer)?;
                Ok(Arrived { bytes, is_drained: bytes < buffer.len(), is_end: bytes == 0 })
            }
            Self::Stream(stream) => stream.read(buffer),
        }
    }

    /// Ends the writing side.
    ///
    /// # Errors
    /// The error of the socket. A peer that has gone already is not an error.
    pub fn shutdown(&self) -> io::Result<()> {
        match self {
            Self::Socket(socket) => shut_down(socket),
            Self::Stream(stream) => stream.shutdown(),
        }
    }

    /// Makes closing the socket a reset, which discards the bytes that wait in the kernel.
    pub fn reset_on_close(&self) {
        match self {
            Self::Socket(socket) => reset_on_close(socket),
            Self::Stream(stream) => stream.reset_on_close(),
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socket(_) => "Sink::Socket",
            Self::Stream(_) => "Sink::Stream",
        })
    }
}

/// Sends bytes without blocking. The system call is made without the C library: in a process with several threads the
/// library's `send` is a cancellation point, which costs as much again as entering the kernel.
///
/// # Errors
/// The error of the socket.
#[inline]
pub fn send(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(net::send(socket, bytes, SendFlags::NOSIGNAL)?)
}

/// Receives bytes without blocking, as [`send`] sends them. Returns 0 at the end of the stream.
///
/// # Errors
/// The error of the socket.
#[inline]
pub fn receive(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let (_, read) = net::recv(socket, buffer, RecvFlags::empty())?;
    Ok(read)
}

/// Shuts the writing side of a socket down.
///
/// # Errors
/// The error of the socket. A peer that has gone already is not an error.
pub fn shut_down(socket: &TcpStream) -> io::Result<()> {
    match socket.shutdown(Shutdown::Write) {
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
        other => other,
    }
}

/// Makes closing a socket a reset, which discards the bytes that wait in the kernel.
pub fn reset_on_close(socket: &TcpStream) {
    if let Err(error) = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO)) {
        tracing::debug!(%error, "cannot set SO_LINGER");
    }
}
