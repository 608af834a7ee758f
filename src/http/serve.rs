//! Drives the HTTP part of a connection, with its deadlines, until the connection is upgraded or closed.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::time::Instant;

use super::app::App;
use super::limits::HttpLimits;
use super::lingering::linger;
use super::respond;
use super::service::Exchange;
use crate::admission::{Check, Refusal};

/// When a missed deadline is noticed later than this, the process stood still meanwhile and could not read.
const STOOD_STILL: Duration = Duration::from_millis(250);
/// Extra time for the peer after the process stood still, once for each connection.
const GRACE: Duration = Duration::from_secs(1);

/// Returns a new deadline for a peer that has missed `deadline` while the process stood still; `None` when the process
/// did not.
#[must_use]
pub fn grace(deadline: Instant) -> Option<Instant> {
    (deadline.elapsed() >= STOOD_STILL).then(|| Instant::now() + GRACE)
}

/// How the HTTP part of a connection ended.
#[derive(Debug)]
pub enum Served<IO, T> {
    /// The 101 is sent; or a request for events was admitted, which is not answered yet.
    Upgraded {
        /// The socket.
        io: IO,
        /// Bytes that the peer sent after its handshake: the start of the first frames.
        leftover: Bytes,
        /// The value that [`App::admit`] returned.
        connection: T,
    },
    /// The connection is closed.
    Closed,
}

/// Serves one connection until it is upgraded or closed.
///
/// The future holds hyper's state (about 1.2 KiB and its buffers) and is meant to be short-lived: run an upgraded
/// connection in a small task of its own.
///
/// # Cancel safety
/// Dropping the future drops the socket and the admitted connection.
pub async fn serve<IO, A>(io: IO, app: &A, limits: &HttpLimits) -> Served<IO, A::Connection>
where
    IO: Read + Write + Unpin,
    A: App,
{
    let exchange = Exchange::new(app, limits);
    // Boxed because `poll_without_shutdown` needs a future that is `Unpin`.
    let service = service_fn(|request| Box::pin(exchange.handle(request)));
    let mut http = http1(limits).serve_connection(io, service);
    let mut sleep = pin!(tokio::time::sleep(limits.handshake_timeout));
    let mut has_had_grace = false;
    let end = poll_fn(|cx| {
        if let Poll::Ready(result) = http.poll_without_shutdown(cx) {
            return Poll::Ready(result.map_or_else(End::from, |()| End::Finished));
        }
        if exchange.has_left() {
            return Poll::Ready(End::Finished);
        }
        while let Some(deadline) = exchange.deadline() {
            if app.poll_revoked(cx, true).is_ready() {
                return Poll::Ready(End::MadeWay);
            }
            if sleep.deadline() != deadline {
                sleep.as_mut().reset(deadline);
            }
            ready!(sleep.as_mut().poll(cx));
            match grace(deadline).filter(|_| !std::mem::replace(&mut has_had_grace, true)) {
                Some(until) => exchange.postpone(until),
                None => return Poll::Ready(End::Deadline),
            }
        }
        app.poll_revoked(cx, false).map(|()| End::MadeWay)
    })
    .await;

    let http1::Parts { mut io, read_buf, .. } = http.into_parts();
    let connection = exchange.take_admitted();
    if let (End::Finished, Some(connection)) = (end, connection) {
        // Copied, because the bytes are in hyper's buffer of 8 KiB, which they would keep alive.
        return Served::Upgraded { io, leftover: Bytes::copy_from_slice(&read_buf), connection };
    }
    let refusal = end.refusal(exchange.served(), &read_buf);
    if let Some(refusal) = &refusal {
        app.refused(refusal);
    }
    if !matches!(end, End::Lost | End::MadeWay) {
        // A peer that has sent nothing gets no answer, and an unfinished response gets nothing added to it.
        let asked = exchange.served() == 0 && !read_buf.is_empty();
        let last_words =
            refusal.filter(|_| asked && end.is_unanswered()).map(|refusal| respond::raw(&refusal));
        linger(&mut io, last_words.as_deref().unwrap_or_default(), |cx| app.poll_revoked(cx, true)).await;
    }
    Served::Closed
}

fn http1(limits: &HttpLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // The deadline of `serve` covers more: also a peer that does not read its response.
        .header_read_timeout(None)
        .max_buf_size(limits.max_head_bytes)
        // A peer that has shut its writing side down still gets its answer.
        .half_close(true);
    builder
}

/// How hyper's work on a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Regularly, or with an upgrade.
    Finished,
    /// hyper could not parse the request, and answered 400.
    Malformed,
    /// The peer sent the preface of HTTP/2; hyper does not answer it.
    Http2,
    /// The head was too large; hyper answered 431 or 414.
    TooLarge,
    /// The peer was too slow; hyper has answered nothing.
    Deadline,
    /// The connection has to make way for others, and is closed at once: a farewell would need a permit, too.
    MadeWay,
    /// The socket failed or was closed, so that no answer can arrive.
    Lost,
}

impl From<hyper::Error> for End {
    fn from(error: hyper::Error) -> Self {
        match error {
            error if error.is_parse_too_large() => Self::TooLarge,
            error if error.is_parse_version_h2() => Self::Http2,
            error if error.is_parse() => Self::Malformed,
            error if error.is_timeout() => Self::Deadline,
            _ => Self::Lost,
        }
    }
}

impl End {
    /// Returns the refusal to count. A kept-alive connection that sends no further request is none. `served` is the
    /// number of requests that were answered, `unread` the bytes that came of the next one.
    fn refusal(self, served: u32, unread: &[u8]) -> Option<Refusal> {
        match self {
            Self::Malformed => Some(Refusal::Malformed(Check::Syntax)),
            Self::Http2 => Some(Refusal::Malformed(Check::Http2)),
            Self::TooLarge => Some(Refusal::HeadTooLarge),
            Self::Deadline => (served == 0 || !unread.is_empty()).then_some(Refusal::Timeout),
            Self::MadeWay => Some(Refusal::MadeWay),
            Self::Finished | Self::Lost => None,
        }
    }

    /// Returns true when hyper has written no response of its own.
    fn is_unanswered(self) -> bool {
        matches!(self, Self::Http2 | Self::Deadline)
    }
}
