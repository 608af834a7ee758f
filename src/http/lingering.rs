//! Closes connections so that the last response arrives. A socket that is closed with unread bytes in it sends a reset,
//! and the reset may overtake the response (RFC 9112, section 9.6).

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBuf, Write};
use tokio::time::timeout;

/// Longest wait for the peer to read the response and to close its side.
const LINGER: Duration = Duration::from_secs(1);

/// Most bytes that are read and discarded meanwhile.
const MAX_DRAINED_BYTES: usize = 64 * 1024;

/// Closes a connection so that `last_words` and all that was written before arrive: writes them, shuts the writing
/// side down, and reads for at most a second and 64 KiB. Errors are ignored, because the peer cannot be reached then.
/// Returns early when `poll_revoked` is ready.
pub async fn linger<IO: Read + Write + Unpin>(
    io: &mut IO,
    last_words: &[u8],
    poll_revoked: impl FnMut(&mut Context<'_>) -> Poll<()>,
) {
    let close = async {
        let _ = timeout(LINGER, async {
            write_all(io, last_words).await?;
            poll_fn(|cx| Pin::new(&mut *io).poll_shutdown(cx)).await?;
            drain(io).await
        })
        .await;
    };
    unless_revoked(close, poll_revoked).await;
}

/// Polls `future` until it is done; returns `None` when `poll_revoked` is ready before.
pub async fn unless_revoked<F: Future>(
    future: F,
    mut poll_revoked: impl FnMut(&mut Context<'_>) -> Poll<()>,
) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => poll_revoked(cx).map(|()| None),
    })
    .await
}

async fn write_all<IO: Write + Unpin>(io: &mut IO, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = poll_fn(|cx| Pin::new(&mut *io).poll_write(cx, bytes)).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
    }
    poll_fn(|cx| Pin::new(&mut *io).poll_flush(cx)).await
}

async fn drain<IO: Read + Unpin>(io: &mut IO) -> io::Result<()> {
    let mut drained = 0;
    while drained < MAX_DRAINED_BYTES {
        let read = poll_fn(|cx| {
            // The buffer is on the stack of the poll, so that the future stays small.
            let mut scratch = [0; 2048];
            let mut buffer = ReadBuf::new(&mut scratch);
            let polled = Pin::new(&mut *io).poll_read(cx, buffer.unfilled());
            polled.map_ok(|()| buffer.filled().len())
        })
        .await?;
        if read == 0 {
            break;
        }
        drained += read;
    }
    Ok(())
}
