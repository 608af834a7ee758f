//! A [`Socket`] as hyper wants to read and write it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};

use crate::connection::socket::Socket;

/// Most bytes of a request head read at once: a handshake is far shorter.
const READ_BYTES: usize = 4 * 1024;

/// See the module's documentation.
#[derive(Debug)]
pub struct HttpIo(pub Socket);

impl Read for HttpIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // hyper's buffer is uninitialised memory, which safe code cannot read into.
        let mut bytes = [0; READ_BYTES];
        let most = buf.remaining().min(READ_BYTES);
        let read = ready!(self.0.poll_read(cx, &mut bytes[..most]))?;
        buf.put_slice(&bytes[..read]);
        Poll::Ready(Ok(()))
    }
}

impl Write for HttpIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.shutdown())
    }
}
