//! The body of a response: bytes that are known at once, or parts that are sent one after the other.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The time until which the peer has to act; `None` while the server does. A connection stays on one thread, so that a
/// cell is enough.
pub(super) type Deadline = Rc<Cell<Option<Instant>>>;

/// A response of this server.
pub type Response = hyper::Response<Body>;

/// The body of a [`Response`].
#[derive(Debug)]
pub struct Body(Kind);

#[derive(Debug)]
enum Kind {
    Whole(Full<Bytes>),
    Parts { parts: mpsc::Receiver<Bytes>, deadline: Deadline, patience: Duration },
}

impl Body {
    /// Creates a body that ends when the channel is closed and empty. Parts that the peer does not read wait in the
    /// channel and in 16 KiB of hyper's buffer. The connection ends when the peer has read nothing for
    /// [`HttpLimits::stream_timeout`].
    ///
    /// [`HttpLimits::stream_timeout`]: super::HttpLimits::stream_timeout
    #[must_use]
    pub fn parts(parts: mpsc::Receiver<Bytes>) -> Self {
        Self(Kind::Parts { parts, deadline: Deadline::default(), patience: Duration::ZERO })
    }

    /// Returns true for a body in parts.
    pub(super) fn is_parts(&self) -> bool {
        matches!(self.0, Kind::Parts { .. })
    }

    /// Moves the connection's deadline with each part. hyper asks for the next part only when it has space for it, so
    /// that the deadline of a peer that reads nothing does not move.
    pub(super) fn paced_by(&mut self, connection: &Deadline, limit: Duration) {
        if let Kind::Parts { deadline, patience, .. } = &mut self.0 {
            *deadline = Rc::clone(connection);
            *patience = limit;
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self(Kind::Whole(Full::default()))
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Kind::Whole(Full::new(bytes)))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.get_mut().0 {
            Kind::Whole(whole) => Pin::new(whole).poll_frame(cx),
            Kind::Parts { parts, deadline, patience } => {
                // hyper has space for a part: now it is the server that has to act.
                deadline.set(None);
                let part = ready!(parts.poll_recv(cx));
                deadline.set(Some(Instant::now() + *patience));
                Poll::Ready(part.map(|part| Ok(Frame::data(part))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(whole) => whole.is_end_stream(),
            Kind::Parts { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(whole) => whole.size_hint(),
            Kind::Parts { .. } => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests;
