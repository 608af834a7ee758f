//! The destination of a client's bytes: its socket, or a stand-in for tests and benches.

use std::fmt;
use std::io::{self, IoSlice, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use rustix::net::{self, RecvFlags, SendFlags};

/// A stand-in for a socket: takes bytes without blocking, or says [`io::ErrorKind::WouldBlock`].
pub trait Simulated {
    /// Takes some of the bytes. Returns how many, or 0 when the stand-in for the socket is gone.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing can be taken now; any other error ends the connection.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
}

/// The destination of a client's bytes, and the source of those that it sends.
pub enum Sink {
    /// A non-blocking socket, which is closed when this is dropped.
    Socket(TcpStream),
    /// A simulated socket.
    Simulated(Rc<dyn Simulated>),
}

impl Sink {
    /// Makes one non-blocking write.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing can be taken now; any other error ends the connection.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            // The system call is made without the C library. In a process with several threads the library's `send` is
            // a cancellation point, which costs as much again as entering the kernel.
            Self::Socket(socket) => Ok(net::send(socket, bytes, SendFlags::NOSIGNAL)?),
            Self::Simulated(simulated) => simulated.write(bytes),
        }
    }

    /// Makes one non-blocking write of several buffers. A simulated socket is handed one buffer after the other, until
    /// it takes one only in part. Returns the number of bytes taken.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing can be taken now; any other error ends the connection.
    pub fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => (&*socket).write_vectored(slices),
            Self::Simulated(simulated) => {
                let mut taken = 0;
                for slice in slices {
                    match simulated.write(slice) {
                        Ok(n) if n == slice.len() => taken += n,
                        Ok(n) => return Ok(taken + n),
                        Err(_) if taken > 0 => return Ok(taken),
                        Err(error) => return Err(error),
                    }
                }
                Ok(taken)
            }
        }
    }

    /// Reads the bytes that have arrived; returns 0 at the end of the stream. A simulated socket never has any.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there are none now; any other error ends the connection.
    #[inline]
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self::Socket(socket) = self else { return Err(io::ErrorKind::WouldBlock.into()) };
        // Without the C library, as with `send`.
        let (_, read) = net::recv(socket, buffer, RecvFlags::empty())?;
        Ok(read)
    }

    /// Shuts the writing side down.
    ///
    /// # Errors
    /// The error of the socket. A peer that has gone already is not an error.
    pub fn shutdown(&self) -> io::Result<()> {
        let Self::Socket(socket) = self else { return Ok(()) };
        match socket.shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            other => other,
        }
    }

    /// Makes closing the socket a reset, which discards the bytes that wait in the kernel.
    pub fn reset_on_close(&self) {
        let Self::Socket(socket) = self else { return };
        if let Err(error) = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "cannot set SO_LINGER");
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socket(_) => "Sink::Socket",
            Self::Simulated(_) => "Sink::Simulated",
        })
    }
}
