//! Bounds of the HTTP part of a connection.

use std::time::Duration;

use tokio::time::Instant;

/// The limits of one connection before it speaks WebSocket.
#[derive(Debug, Clone)]
pub struct HttpLimits {
    /// Time from accept, or from the last response on a kept-alive connection, until the whole request head has come;
    /// the peer has to read that response within the same time. The time that [`App::admit`](super::App::admit) takes
    /// does not count.
    pub handshake_timeout: Duration,
    /// Largest request head in bytes, at least 8 KiB; also the most that is buffered for a connection. A larger head is
    /// answered with 431.
    pub max_head_bytes: usize,
    /// Requests answered on one connection before it is closed, so that pages do not hold a permit for ever.
    pub max_requests: u32,
    /// Longest time in which a peer may read nothing of a response in [parts](super::Body::parts) before it is closed.
    /// The time until the next part is there does not count.
    pub stream_timeout: Duration,
    /// Time of accept, if that was before `serve` is called: the first deadline counts from it.
    pub accepted: Option<Instant>,
}

impl Default for HttpLimits {
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
