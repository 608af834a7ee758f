//! The bytes of a connection while it speaks HTTP: those of its socket, or the plaintext of TLS on it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::tls_handshake::poll_flush;
use crate::connection::socket::Socket;
use crate::shard::sink;
use crate::tls::{Received, Scratch, Tls};

/// Most bytes of ciphertext that are read at once.
const READ_BYTES: usize = 4 * 1024;

/// A socket, and TLS on it where its address speaks that. An upgraded connection takes it apart.
#[derive(Debug)]
pub(super) struct Stream {
    socket: Socket,
    /// Bytes that came before, and come first.
    received: Bytes,
    encrypted: Option<Box<Encrypted>>,
}

/// TLS on a socket, with the buffers that HTTP needs and an upgraded connection does not.
#[derive(Debug)]
struct Encrypted {
    tls: Box<Tls>,
    /// Plaintext that was not read yet, at most that of one read of the socket and one record.
    plain: Vec<u8>,
    scratch: Scratch,
}

impl Stream {
    /// Returns the bytes of the socket itself, or the plaintext of TLS on it, of which `received` have come already.
    pub(super) fn new(socket: Socket, tls: Option<Box<Tls>>, received: Bytes) -> Self {
        let encrypted = |tls| Box::new(Encrypted { tls, plain: Vec::new(), scratch: Scratch::default() });
        Self { socket, received, encrypted: tls.map(encrypted) }
    }

    /// Takes the stream apart: the socket, TLS on it, and the bytes that nobody has read.
    pub(super) fn into_parts(self) -> (Socket, Option<Box<Tls>>, Bytes) {
        match self.encrypted.map(|encrypted| *encrypted) {
            None => (self.socket, None, self.received),
            Some(Encrypted { tls, plain, .. }) => {
                (self.socket, Some(tls), [self.received, plain.into()].concat().into())
            }
        }
    }
}

impl Encrypted {
    fn poll_read(
        &mut self,
        socket: &Socket,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.plain.is_empty() && !self.tls.is_closed_by_peer() {
            let mut buffer = [0; READ_BYTES];
            let read = ready!(socket.poll_read(cx, &mut buffer))?;
            if read == 0 {
                return Poll::Ready(self.tls.receive_end().map_err(io::Error::from));
            }
            let plain = &mut self.plain;
            let received = self.tls.receive(&mut buffer[..read], |part| plain.extend_from_slice(part));
            // The socket may take the answers of TLS later, when something is written or flushed.
            let _is_sent = self.tls.flush(|bytes| socket.send_now(bytes))?;
            if received? == Received::Closed {
                break;
            }
        }
        let read = self.plain.len().min(buf.remaining());
        buf.put_slice(&self.plain[..read]);
        match read == self.plain.len() {
            true => self.plain = Vec::new(),
            false => drop(self.plain.drain(..read)),
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, socket: &Socket, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { tls, scratch, .. } = self;
        socket.poll_write_with(cx, |socket| {
            tls.write(&[IoSlice::new(bytes)], scratch, |record| sink::send(socket, record))
        })
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { socket, received, encrypted } = self.get_mut();
        if !received.is_empty() {
            buf.put_slice(&received.split_to(received.len().min(buf.remaining())));
            return Poll::Ready(Ok(()));
        }
        match encrypted {
            None => AsyncRead::poll_read(Pin::new(socket), cx, buf),
            Some(encrypted) => encrypted.poll_read(socket, cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { socket, encrypted, .. } = self.get_mut();
        match encrypted {
            None => socket.poll_write(cx, bytes),
            Some(encrypted) => encrypted.poll_write(socket, cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, encrypted, .. } = self.get_mut();
        match encrypted {
            None => Poll::Ready(Ok(())),
            Some(encrypted) => poll_flush(socket, &mut encrypted.tls, cx),
        }
    }

    /// Announces the end in TLS, and shuts the writing side of the socket down.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, encrypted, .. } = self.get_mut();
        if let Some(encrypted) = encrypted {
            encrypted.tls.close();
            ready!(poll_flush(socket, &mut encrypted.tls, cx))?;
        }
        Poll::Ready(socket.shutdown())
    }
}
