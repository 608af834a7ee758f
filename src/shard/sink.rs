//! The destination of a client's bytes: its socket, or a stand-in for tests and benches.

use std::fmt;
use std::io::{self, IoSlice, Write};
use std::net::TcpStream;
use std::rc::Rc;

use rustix::net::{self, SendFlags};

use crate::prefetch::prefetch;

/// A stand-in for a socket: takes bytes without blocking, or says [`io::ErrorKind::WouldBlock`].
pub trait Simulated {
    /// Takes some of the bytes. Returns how many, or 0 when the stand-in for the socket is gone.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing can be taken now; any other error ends the connection.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
}

/// The destination of a client's bytes.
#[derive(Clone)]
pub enum Sink {
    /// A non-blocking socket, shared with the connection's task, which waits for its readiness.
    Socket(Rc<TcpStream>),
    /// A simulated socket.
    Simulated(Rc<dyn Simulated>),
}

impl Sink {
    /// True for a socket of the system.
    pub(super) fn is_socket(&self) -> bool {
        matches!(self, Self::Socket(_))
    }

    /// Prefetches the memory that a write reads first: the handle of the socket.
    pub(super) fn prefetch(&self) {
        if let Self::Socket(socket) = self {
            prefetch(&**socket);
        }
    }

    /// Makes one non-blocking write.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing can be taken now; any other error ends the connection.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            // The system call is made without the C library. In a process with several threads the library's `send` is
            // a cancellation point, which costs as much again as entering the kernel.
            Self::Socket(socket) => Ok(net::send(&**socket, bytes, SendFlags::NOSIGNAL)?),
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
            Self::Socket(socket) => (&**socket).write_vectored(slices),
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
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socket(_) => "Sink::Socket",
            Self::Simulated(_) => "Sink::Simulated",
        })
    }
}
