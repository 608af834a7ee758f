//! How a connection ended, as the socket tells it to the core.

use std::time::Duration;

use super::event::Ended;

/// How a connection, or the attempt to make one, ended.
#[derive(Debug)]
pub(super) struct ConnectionEnd {
    /// The close code and the reason.
    pub(super) ended: Ended,
    /// The `Retry-After` of an HTTP answer.
    pub(super) retry_after: Option<Duration>,
    /// True when another attempt would fail in the same way.
    pub(super) is_final: bool,
}

impl ConnectionEnd {
    /// Creates an end without a close frame, which is worth another attempt.
    pub(super) fn with_reason(reason: impl Into<String>) -> Self {
        Self { ended: Ended { code: None, reason: reason.into() }, retry_after: None, is_final: false }
    }

    /// Creates an end by a close frame. Whether it is final is decided by its code, in the core.
    pub(super) fn with_code(code: u16, reason: String) -> Self {
        Self { ended: Ended { code: Some(code), reason }, retry_after: None, is_final: false }
    }
}
