//! HTTP in front of the WebSocket: a request becomes a page, a refusal, or a socket that speaks WebSocket.
//!
//! hyper parses and answers; the 101 is ours ([`upgrade`]). [`serve`] runs one connection and, after a handshake,
//! gives the socket back with all HTTP state gone. Who may come in is the [`App`]'s to say.

mod body;
mod host;
mod io;
mod lingering;
pub mod pages;
mod request;
pub mod respond;
mod service;
pub mod upgrade;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::time::Instant;

use crate::admission::{Check, Refusal};
pub use body::Body;
pub use io::HttpIo;
pub use lingering::{close_unless, unless};
pub use request::{Request, segment_after};
use service::Exchange;

/// A deadline that is noticed so much later passed while we stood still: nobody could be heard meanwhile.
const STOOD_STILL: Duration = Duration::from_millis(250);
/// What the peer then has, once.
const GRACE: Duration = Duration::from_secs(1);

/// Until when a peer whose deadline is over has once more, if we stood still meanwhile.
#[must_use]
pub fn grace(deadline: Instant) -> Option<Instant> {
    (deadline.elapsed() >= STOOD_STILL).then(|| Instant::now() + GRACE)
}

/// A response; what a page is.
pub type Response = hyper::Response<Body>;

/// What one connection may cost before it speaks WebSocket.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From accept, or from the last response on a kept-alive connection, to the whole request head; the peer has to
    /// take that response within it too. The time that [`App::admit`] takes does not count.
    pub handshake_timeout: Duration,
    /// Largest request head in bytes, 8 KiB at least; the most that is buffered per connection. Beyond: 431.
    pub max_head_bytes: usize,
    /// Requests answered on one connection before it is closed, so that pages do not hold a place for ever.
    pub max_requests: u32,
    /// A peer that takes nothing of a response in [parts](Body::parts) for so long is closed. The time that we take
    /// for the next part does not count.
    pub stream_timeout: Duration,
    /// When the peer was accepted, if that was before [`serve`] was called: the first deadline counts from then.
    pub accepted: Option<Instant>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            max_head_bytes: 16 * 1024,
            max_requests: 1000,
            stream_timeout: Duration::from_secs(10),
            accepted: None,
        }
    }
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<E> {
    /// A WebSocket endpoint; handed to [`App::admit`].
    WebSocket(E),
    /// Something for GET and HEAD; [`App::page`] answers.
    Page,
    /// Nothing: 404.
    Unknown,
}

/// Somebody who may come in.
#[derive(Debug)]
pub struct Admission<T> {
    /// What [`Served::Upgraded`] gives back: the identity, the endpoint, the guards of what was reserved.
    pub admitted: T,
    /// The subprotocol to answer with, see [`upgrade::select`]. Must be one of those offered.
    pub subprotocol: Option<&'static str>,
}

/// What stands behind HTTP.
pub trait App {
    /// What [`route`](Self::route) learns of a WebSocket path and [`admit`](Self::admit) goes on with.
    type Endpoint;
    /// What an admitted connection carries along. Undoes itself when dropped: the peer may vanish before its 101.
    type Admitted;

    /// Where a path leads. `path` is as it came, without the query, not percent-decoded.
    fn route(&self, path: &str) -> Route<Self::Endpoint>;

    /// The answer to a GET or HEAD on a [`Route::Page`]; hyper leaves the body out for HEAD. A response in
    /// [parts](Body::parts) is the connection's last.
    ///
    /// # Errors
    /// The refusal to answer with.
    fn page(&self, request: Request<'_>) -> Result<Response, Refusal>;

    /// Decides over a handshake that is correct in itself.
    ///
    /// Nothing here limits the time this takes: bound what you wait for.
    ///
    /// # Cancel safety
    /// Dropped in the middle when the worker stops.
    ///
    /// # Errors
    /// The refusal to answer with.
    fn admit(
        &self,
        endpoint: Self::Endpoint,
        request: Request<'_>,
    ) -> impl Future<Output = Result<Admission<Self::Admitted>, Refusal>>;

    /// Called whenever nothing can be done for now; `is_idle` says that the peer is waited for, be it for its last
    /// bytes. Ready when the connection is to end for the sake of others; the task is to be woken then.
    fn poll_go(&self, _cx: &mut Context<'_>, _is_idle: bool) -> Poll<()> {
        Poll::Pending
    }

    /// Called once for each refusal, those of [`page`](Self::page) and [`admit`](Self::admit) included, for counting.
    fn refused(&self, refusal: &Refusal);
}

/// How a connection's HTTP part ended.
#[derive(Debug)]
pub enum Served<IO, T> {
    /// The 101 is sent.
    Upgraded {
        /// The socket.
        io: IO,
        /// What the peer sent behind its handshake: the start of the first frames.
        leftover: Bytes,
        /// From [`App::admit`].
        admitted: T,
    },
    /// Closed.
    Done,
}

/// Serves one connection until it is upgraded or over.
///
/// The future holds hyper's state (about 1.2 KiB and its buffers) and is meant to be short-lived: spawn a small task
/// for what follows.
///
/// # Cancel safety
/// Dropping it drops the socket, and what was admitted.
pub async fn serve<IO, A>(io: IO, app: &A, limits: &Limits) -> Served<IO, A::Admitted>
where
    IO: Read + Write + Unpin,
    A: App,
{
    let exchange = Exchange::new(app, limits);
    // Boxed because `poll_without_shutdown` wants it `Unpin`.
    let service = service_fn(|request| Box::pin(exchange.handle(request)));
    let mut connection = http1(limits).serve_connection(io, service);
    let mut sleep = pin!(tokio::time::sleep(limits.handshake_timeout));
    let mut has_had_grace = false;
    let end = poll_fn(|cx| {
        if let Poll::Ready(result) = connection.poll_without_shutdown(cx) {
            return Poll::Ready(result.map_or_else(End::from, |()| End::Finished));
        }
        while let Some(deadline) = exchange.deadline() {
            if app.poll_go(cx, true).is_ready() {
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
        app.poll_go(cx, false).map(|()| End::MadeWay)
    })
    .await;

    let http1::Parts { mut io, read_buf, .. } = connection.into_parts();
    let admitted = exchange.take_admitted();
    if let (End::Finished, Some(admitted)) = (end, admitted) {
        // Copied, not kept: the bytes stand in hyper's buffer of 8 KiB.
        return Served::Upgraded { io, leftover: Bytes::copy_from_slice(&read_buf), admitted };
    }
    let refusal = end.refusal(exchange.served(), &read_buf);
    if let Some(refusal) = &refusal {
        app.refused(refusal);
    }
    if !matches!(end, End::Lost | End::MadeWay) {
        // Nothing to those who said nothing, and nothing into a response that is not finished.
        let asked = exchange.served() == 0 && !read_buf.is_empty();
        let last_words =
            refusal.filter(|_| asked && end.is_unanswered()).map(|refusal| respond::raw(&refusal));
        close_unless(&mut io, last_words.as_deref().unwrap_or_default(), |cx| app.poll_go(cx, true)).await;
    }
    Served::Done
}

fn http1(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // The deadline above sees more: a peer that takes no response.
        .header_read_timeout(None)
        .max_buf_size(limits.max_head_bytes)
        // A peer that has said all it wants to say still gets its answer.
        .half_close(true);
    builder
}

/// How hyper's part ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// As HTTP wants it.
    Finished,
    /// hyper could not read the request and said so: 400.
    Malformed,
    /// The preface of HTTP/2: hyper says nothing.
    Http2,
    /// hyper answered 431, or 414.
    TooLarge,
    /// Too slow; nothing was said.
    Deadline,
    /// Others need its place: closed at once, a farewell would take a place as well.
    MadeWay,
    /// The socket failed or ended; there is nobody to talk to.
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
    /// What is to be counted. A kept-alive connection that says nothing more is no refusal; `served` is the number of
    /// requests that were answered, `unread` what came of the next one.
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

    /// True where hyper wrote no response of its own.
    fn is_unanswered(self) -> bool {
        matches!(self, Self::Http2 | Self::Deadline)
    }
}

#[cfg(test)]
mod tests;
