//! Closing so that the last response arrives: a socket closed with unread bytes in it sends a reset, and the reset
//! may overtake the response (RFC 9112 section 9.6).

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBuf, Write};
use tokio::time::timeout;

/// Longest wait for the peer to read and close.
const LINGER: Duration = Duration::from_secs(1);

/// Most bytes that are read and thrown away.
const MAX_DRAINED_BYTES: usize = 64 * 1024;

/// Writes `last_words`, ends our side and reads on, at most a second and 64 KiB. Whatever goes wrong: the peer has
/// had its chance.
async fn close<IO: Read + Write + Unpin>(io: &mut IO, last_words: &[u8]) {
    let _ = timeout(LINGER, async {
        write_all(io, last_words).await?;
        poll_fn(|cx| Pin::new(&mut *io).poll_shutdown(cx)).await?;
        drain(io).await
    })
    .await;
}

/// As `close`, but only until `must_go` is ready: others need the place.
pub async fn close_unless<IO: Read + Write + Unpin>(
    io: &mut IO,
    last_words: &[u8],
    must_go: impl FnMut(&mut Context<'_>) -> Poll<()>,
) {
    unless(close(io, last_words), must_go).await;
}

/// Goes on with `future` until it is done, or until `must_go` is ready: `None` then.
pub async fn unless<F: Future>(
    future: F,
    mut must_go: impl FnMut(&mut Context<'_>) -> Poll<()>,
) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => must_go(cx).map(|()| None),
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
            // On the stack of the poll, not in the future.
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
