//! Decides from the contents of a request whether it is admitted: returns an identity, or a [`Refusal`].
//!
//! There is no I/O and no HTTP library here: header values come in as bytes or text, and `http` turns a [`Refusal`]
//! into a response.

pub mod address;
pub mod limits;
pub mod origin;
pub mod proxy;
pub mod token;

use thiserror::Error;

/// A mistake in the form of a request. The text says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Check {
    /// The bytes are not an HTTP/1 request head.
    #[error("the request head is not valid HTTP/1.1")]
    Syntax,
    /// The connection opens with the HTTP/2 preface.
    #[error("HTTP/2 is not spoken here, use HTTP/1.1")]
    Http2,
    /// The handshake is in HTTP/1.0.
    #[error("a handshake needs HTTP/1.1")]
    HttpVersion,
    /// `Host` is missing, given more than once, or not a host (RFC 9112, section 3.2).
    #[error("exactly one Host header is required, a host or host:port")]
    Host,
    /// `Sec-WebSocket-Key` is missing or wrong (RFC 6455, section 4.2.1).
    #[error("exactly one Sec-WebSocket-Key is required, the base64 of 16 bytes")]
    Key,
    /// The connection does not begin with the header that `admission.proxy_protocol` requires, or does not come from a
    /// trusted proxy. This is counted and never answered.
    #[error("the connection must begin with a PROXY protocol header")]
    Proxy,
    /// The request announces a body.
    #[error("a request body is not allowed here")]
    Body,
    /// `?timeout=` is not a duration, or out of bounds.
    #[error("timeout must be a duration like 5s, from 1s to endpoints.timeout_max")]
    Timeout,
}

/// Why a request is refused in HTTP, before an upgrade. `Display` is the text for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// 400: the request breaks the rules of HTTP or of the handshake.
    #[error("malformed request: {0}")]
    Malformed(Check),
    /// 403: the `Origin` is not in `admission.origins`, or not an origin.
    #[error("the Origin of this page is not on the list of allowed origins")]
    Origin,
    /// 404: no resource has this path.
    #[error("there is nothing at this path")]
    UnknownPath,
    /// 405: another method is allowed.
    #[error("method not allowed, use {allow}")]
    Method {
        /// The allowed methods, as the value of `Allow`.
        allow: &'static str,
    },
    /// 426: a request for a WebSocket path does not ask for an upgrade.
    #[error("this is a WebSocket endpoint: Connection: upgrade and Upgrade: websocket are required")]
    NoUpgrade,
    /// 426: `Sec-WebSocket-Version` is not 13.
    #[error("only Sec-WebSocket-Version 13 is supported")]
    Version,
    /// 429: the address has reached `limits.max_connections_per_address`.
    #[error("too many connections from this address")]
    ConnectionsPerAddress,
    /// 429: the address has reached `limits.handshakes_per_second_per_address`.
    #[error("too many handshakes from this address, try again later")]
    HandshakesPerAddress,
    /// 431: the request head is larger than what is read of one head.
    #[error("the request head is too large")]
    HeadTooLarge,
    /// 408: the request head did not arrive in time.
    #[error("the request did not arrive in time")]
    Timeout,
    /// 503: a limit of the node is reached.
    #[error("the server is at capacity, try again later")]
    AtCapacity,
    /// 503: the permit of a connection that sends no request is needed by others. This is counted and never answered.
    #[error("the connection asked for nothing, and made way for others")]
    MadeWay,
    /// 503: the server is stopping.
    #[error("the server is shutting down, try again later")]
    Draining,
    /// 401 (`admission.refuse = "http"`): the request has no token, or a bad one.
    #[error("a valid token is required")]
    Unauthorized,
    /// 403 (`admission.refuse = "http"`): the text says what is not allowed. It has no quotes and no backslashes.
    #[error("{0}")]
    Forbidden(&'static str),
    /// 401: the page is for the operator. The text says what would be accepted.
    #[error(
        "this is for the operator: send a key of api.keys, or without any the one that the log named at the start, as \
         Authorization: Bearer KEY or as X-API-Key: KEY"
    )]
    ApiKey,
    /// 503: the dashboard has as many viewers as it can have.
    #[error("too many people look at the statistics already, close one of their pages")]
    TooManyViewers,
    /// 503: the engine of the rooms has not answered for long (`engine = "redis"`).
    #[error("the rooms cannot be reached now, try again later")]
    NoEngine,
    /// 409 (`admission.refuse = "http"`): another connection holds the user id, and is alive.
    #[error("the user id is already in use")]
    Conflict,
    /// 400: the address speaks TLS, and the handshake of TLS failed. Only a peer that sends HTTP without TLS gets this
    /// answer; the others get an alert.
    #[error("this address speaks TLS: use https:// or wss://")]
    Tls,
}

impl Refusal {
    /// Every label that [`reason`](Self::reason) can return. [`index`](Self::index) is the index in this array, so that
    /// counters can be an array, too.
    pub const REASONS: [&'static str; 20] = [
        "malformed",
        "origin",
        "unknown_path",
        "method",
        "no_upgrade",
        "version",
        "connections_per_address",
        "handshakes_per_address",
        "head_too_large",
        "timeout",
        "at_capacity",
        "draining",
        "unauthorized",
        "forbidden",
        "conflict",
        "api_key",
        "too_many_viewers",
        "made_way",
        "no_engine",
        "tls",
    ];

    /// Returns the index of this refusal in [`REASONS`](Self::REASONS).
    #[must_use]
    pub const fn index(&self) -> usize {
        match self {
            Self::Malformed(_) => 0,
            Self::Origin => 1,
            Self::UnknownPath => 2,
            Self::Method { .. } => 3,
            Self::NoUpgrade => 4,
            Self::Version => 5,
            Self::ConnectionsPerAddress => 6,
            Self::HandshakesPerAddress => 7,
            Self::HeadTooLarge => 8,
            Self::Timeout => 9,
            Self::AtCapacity => 10,
            Self::Draining => 11,
            Self::Unauthorized => 12,
            Self::Forbidden(_) => 13,
            Self::Conflict => 14,
            Self::ApiKey => 15,
            Self::TooManyViewers => 16,
            Self::MadeWay => 17,
            Self::NoEngine => 18,
            Self::Tls => 19,
        }
    }

    /// Returns the label in metrics (`throng_refused_total{reason}`) and logs.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        Self::REASONS[self.index()]
    }

    /// Returns the `code` of the JSON body: the same word as the label, so that a code that a client reports can be
    /// found in the metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.reason()
    }

    /// Returns the HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::Tls => 400,
            Self::Unauthorized | Self::ApiKey => 401,
            Self::Origin | Self::Forbidden(_) => 403,
            Self::UnknownPath => 404,
            Self::Method { .. } => 405,
            Self::Timeout => 408,
            Self::Conflict => 409,
            Self::NoUpgrade | Self::Version => 426,
            Self::ConnectionsPerAddress | Self::HandshakesPerAddress => 429,
            Self::HeadTooLarge => 431,
            Self::AtCapacity | Self::Draining | Self::NoEngine => 503,
            Self::TooManyViewers | Self::MadeWay => 503,
        }
    }

    /// Returns the seconds to wait before the next attempt, chosen at random so that clients that were refused together
    /// do not come back together; `None` where another attempt would change nothing.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            Self::HandshakesPerAddress | Self::Draining | Self::NoEngine => Some(fastrand::u32(1..=5)),
            Self::ConnectionsPerAddress | Self::AtCapacity => Some(fastrand::u32(5..=20)),
            Self::TooManyViewers | Self::MadeWay => Some(fastrand::u32(5..=20)),
            Self::Malformed(_) | Self::Origin | Self::UnknownPath | Self::Method { .. } => None,
            Self::NoUpgrade | Self::Version | Self::HeadTooLarge | Self::Timeout => None,
            Self::Unauthorized | Self::Forbidden(_) | Self::ApiKey | Self::Conflict => None,
            Self::Tls => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One of each variant, in the order of [`Refusal::REASONS`].
    pub(crate) const ALL: [Refusal; Refusal::REASONS.len()] = [
        Refusal::Malformed(Check::Host),
        Refusal::Origin,
        Refusal::UnknownPath,
        Refusal::Method { allow: "GET, HEAD" },
        Refusal::NoUpgrade,
        Refusal::Version,
        Refusal::ConnectionsPerAddress,
        Refusal::HandshakesPerAddress,
        Refusal::HeadTooLarge,
        Refusal::Timeout,
        Refusal::AtCapacity,
        Refusal::Draining,
        Refusal::Unauthorized,
        Refusal::Forbidden("Invalid user ID"),
        Refusal::Conflict,
        Refusal::ApiKey,
        Refusal::TooManyViewers,
        Refusal::MadeWay,
        Refusal::NoEngine,
        Refusal::Tls,
    ];

    #[test]
    fn every_refusal_has_a_label_of_its_own() {
        for (index, refusal) in ALL.iter().enumerate() {
            assert_eq!(refusal.index(), index, "{refusal:?}");
        }
        for (index, reason) in Refusal::REASONS.iter().enumerate() {
            assert!(!Refusal::REASONS[..index].contains(reason), "{reason} twice");
            assert!(reason.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{reason}");
        }
    }

    #[test]
    fn only_overload_says_when_to_come_back() {
        for refusal in ALL {
            let overload = matches!(refusal.status(), 429 | 503);
            assert_eq!(refusal.retry_after().is_some(), overload, "{refusal:?}");
        }
        let waits: std::collections::BTreeSet<_> =
            (0..200).filter_map(|_| Refusal::AtCapacity.retry_after()).collect();
        assert!(waits.len() > 3 && waits.iter().all(|wait| (5..=20).contains(wait)), "{waits:?}");
    }
}
