//! The socket of a connection with TLS on it.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::rc::Rc;

use crate::shard::sink::{self, Arrived, ByteStream};
use crate::tls::{Received, Scratch, Tls};

/// Most bytes of ciphertext that are read at once: a record of the largest size, and a part of the next one.
const READ_BYTES: usize = 32 * 1024;

/// Memory for ciphertext, which the connections of a worker share. It holds nothing between two calls.
#[derive(Debug)]
pub(super) struct Buffers {
    received: Box<[u8]>,
    scratch: Scratch,
}

impl Default for Buffers {
    fn default() -> Self {
        Self { received: vec![0; READ_BYTES].into_boxed_slice(), scratch: Scratch::default() }
    }
}

/// A socket with TLS on it.
#[derive(Debug)]
pub(super) struct EncryptedSocket {
    tls: RefCell<Tls>,
    buffers: Rc<RefCell<Buffers>>,
    socket: TcpStream,
}

impl EncryptedSocket {
    /// Goes on with a connection whose handshake is over.
    pub(super) fn new(socket: TcpStream, tls: Tls, buffers: Rc<RefCell<Buffers>>) -> Self {
        Self { tls: RefCell::new(tls), buffers, socket }
    }
}

impl ByteStream for EncryptedSocket {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let scratch = &mut self.buffers.borrow_mut().scratch;
        self.tls.borrow_mut().write(slices, scratch, |record| sink::send(&self.socket, record))
    }

    fn has_tail(&self) -> bool {
        self.tls.borrow().wants_write()
    }

    fn flush_tail(&self) -> io::Result<bool> {
        self.tls.borrow_mut().flush(|bytes| sink::send(&self.socket, bytes))
    }

    /// Reads ciphertext once, and decrypts what is whole of it. Messages of TLS itself are answered at once if the
    /// socket takes the answer, and otherwise before the next write.
    fn read(&self, buffer: &mut [u8]) -> io::Result<Arrived> {
        let mut tls = self.tls.borrow_mut();
        let end = Arrived { bytes: 0, is_drained: true, is_end: true };
        if tls.is_closed_by_peer() {
            return Ok(end);
        }
        let received = &mut self.buffers.borrow_mut().received;
        // All that comes out is shorter than this and what is held.
        let most = buffer.len().saturating_sub(tls.held_bytes()).min(received.len());
        let read = sink::receive(&self.socket, &mut received[..most])?;
        if read == 0 {
            return Ok(end);
        }
        let mut bytes = 0;
        let result = tls.receive(&mut received[..read], |plaintext| {
            buffer[bytes..bytes + plaintext.len()].copy_from_slice(plaintext);
            bytes += plaintext.len();
        });
        // After an error the alert that says why.
        let flushed = tls.flush(|bytes| sink::send(&self.socket, bytes));
        let is_closed = result? == Received::Closed;
        flushed?;
        // The end of what the peer sends is told by the next read, behind the bytes before it.
        Ok(Arrived { bytes, is_drained: read < most && !is_closed, is_end: false })
    }

    fn shutdown(&self) -> io::Result<()> {
        let mut tls = self.tls.borrow_mut();
        tls.close();
        // The peer sees the end of the stream even where the socket does not take the announcement.
        let _is_sent = tls.flush(|bytes| sink::send(&self.socket, bytes))?;
        sink::shut_down(&self.socket)
    }

    fn reset_on_close(&self) {
        sink::reset_on_close(&self.socket);
    }
}
