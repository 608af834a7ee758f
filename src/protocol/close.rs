//! Why a connection ends, and the close code and reason that say so (RFC 6455 section 7.4, and the table in
//! `docs/protocol.md`). The one mapping from a reason to the wire.

use std::borrow::Cow;
use std::ops::RangeInclusive;

/// Longest reason a close frame can carry: 125 bytes of payload less two of code (RFC 6455 section 5.5.1).
pub const MAX_REASON_BYTES: usize = 123;

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    /// The peer sent a close frame with this code (1005 when it had none); it gets the code back.
    PeerClosed(u16),
    /// The peer's socket ended, or failed, without a close frame. Nothing can be sent.
    PeerVanished,
    /// Silent for longer than `/ws/with-timeout` allows.
    Inactivity,
    /// The server goes away, and nothing is known to replace it.
    GoingAway,
    /// A rule of RFC 6455 was broken; says which.
    Protocol(&'static str),
    /// A binary message where text is spoken.
    BinaryRefused,
    /// A text message, or a close reason, that is not UTF-8.
    InvalidUtf8,
    /// `/ws/messages` refused the message; says why.
    ValidationFailed(Cow<'static, str>),
    /// The token is missing or bad.
    AuthenticationFailed,
    /// The user id in the path breaks the rule.
    InvalidUserId,
    /// The room's name breaks the rule.
    InvalidRoom,
    /// Another connection that is alive holds the user id.
    UserIdInUse,
    /// A message over `limits.max_message_bytes`.
    MessageTooBig,
    /// A message in more than `limits.max_fragments` fragments.
    TooManyFragments,
    /// A bug on our side, contained to this connection.
    Internal,
    /// Overload: a limit of the node is reached.
    Overloaded,
    /// The server restarts.
    Restarting,
    /// The token has expired, before the connection or during it; nothing else is wrong with it.
    TokenExpired,
    /// The token's time has not begun; nothing else is wrong with it.
    TokenNotYetValid,
    /// The token does not allow the room.
    RoomForbidden,
    /// No pong or heartbeat in time.
    HeartbeatTimeout,
    /// A fragmented message was not finished within `limits.message_timeout`.
    MessageTimeout,
    /// The client does not read as fast as its rooms speak; says which bound was reached.
    SlowConsumer(&'static str),
    /// The client went on although it was told more than `rate_limit.strikes` times that it is too fast.
    RateLimited,
    /// A room of the connection began a new epoch: its position means nothing any more. For brokers of several nodes:
    /// on one node no room does while it has members, for nobody is told a position that the log does not have.
    PositionLost,
    /// A newer connection took over.
    Replaced,
    /// An operator ended the connection.
    Kicked,
    /// More malformed input than `limits.malformed_per_minute`.
    RepeatedlyMalformed,
}

/// Who was closed alone comes back when it likes; the range only parts it from others with the same trouble.
const ALONE_MS: RangeInclusive<u64> = 0..=1_000;
/// All clients of a node at once: as `Retry-After` of a handshake while it drains.
const RESTART_MS: RangeInclusive<u64> = 1_000..=5_000;
/// The node, or the client, needs a rest: as `Retry-After` at capacity.
const BACK_OFF_MS: RangeInclusive<u64> = 5_000..=20_000;

/// What a client should do after a close that the server started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// Whether to come back at all.
    pub reconnect: bool,
    /// How long to wait before that, in milliseconds.
    pub after_ms: RangeInclusive<u64>,
}

impl Advice {
    const STOP: Self = Self { reconnect: false, after_ms: 0..=0 };

    const fn reconnect(after_ms: RangeInclusive<u64>) -> Self {
        Self { reconnect: true, after_ms }
    }
}

impl EndReason {
    /// The code for logs and metrics, also where no frame is sent (1006 then: the peer vanished).
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::PeerClosed(code) => *code,
            Self::PeerVanished => 1006,
            Self::Inactivity => 1000,
            Self::GoingAway => 1001,
            Self::Protocol(_) => 1002,
            Self::BinaryRefused => 1003,
            Self::InvalidUtf8 | Self::ValidationFailed(_) => 1007,
            Self::AuthenticationFailed | Self::InvalidUserId | Self::InvalidRoom | Self::UserIdInUse => 1008,
            Self::MessageTooBig | Self::TooManyFragments => 1009,
            Self::Internal => 1011,
            Self::Restarting => 1012,
            Self::Overloaded => 1013,
            Self::TokenExpired | Self::TokenNotYetValid => 3000,
            Self::RoomForbidden => 3003,
            Self::HeartbeatTimeout | Self::MessageTimeout => 3008,
            Self::SlowConsumer(_) => 4001,
            Self::RateLimited => 4002,
            Self::PositionLost => 4003,
            Self::Replaced | Self::Kicked => 4501,
            Self::RepeatedlyMalformed => 4502,
        }
    }

    /// The reason in the close frame and in logs: at most [`MAX_REASON_BYTES`].
    #[must_use]
    pub fn text(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::PeerClosed(_) => "closed by the client",
            Self::PeerVanished => "connection lost",
            Self::Inactivity => "Inactivity timeout",
            Self::GoingAway => "Going away",
            Self::ValidationFailed(why) => return why.clone(),
            Self::Protocol(rule) => rule,
            Self::BinaryRefused => "Binary messages are not supported here",
            Self::InvalidUtf8 => "Invalid UTF-8",
            Self::AuthenticationFailed => "Authentication failed",
            Self::InvalidUserId => "Invalid user ID",
            Self::InvalidRoom => "Invalid room",
            Self::UserIdInUse => "User ID already in use",
            Self::MessageTooBig => "Message too big",
            Self::TooManyFragments => "Too many fragments",
            Self::Internal => "Internal error",
            Self::Overloaded => "Server overloaded",
            Self::Restarting => "Server restarting",
            Self::TokenExpired => "Token expired",
            Self::TokenNotYetValid => "Token not yet valid",
            Self::RoomForbidden => "Room not allowed",
            Self::HeartbeatTimeout => "Heartbeat timeout",
            Self::MessageTimeout => "Message not finished in time",
            Self::SlowConsumer(bound) => return Cow::Owned(format!("Slow consumer: {bound}")),
            Self::RateLimited => "Rate limit ignored",
            Self::PositionLost => "Position lost",
            Self::Replaced => "Replaced by a newer connection",
            Self::Kicked => "Kicked",
            Self::RepeatedlyMalformed => "Repeated malformed input",
        })
    }

    /// True for the ends that the server starts, and tells of with a `disconnect` event and a close frame. The others
    /// are the peer's.
    #[must_use]
    pub const fn is_started_here(&self) -> bool {
        !matches!(self, Self::PeerClosed(_) | Self::PeerVanished)
    }

    /// What the client should do next. Whoever sends it picks a time out of the range at random, or those who were
    /// closed together come back together. For ends that the peer started there is nobody to advise: stop.
    #[must_use]
    pub const fn advice(&self) -> Advice {
        match self {
            Self::GoingAway | Self::Restarting => Advice::reconnect(RESTART_MS),
            Self::Internal | Self::Overloaded | Self::RateLimited => Advice::reconnect(BACK_OFF_MS),
            Self::MessageTooBig | Self::TooManyFragments => Advice::reconnect(ALONE_MS),
            Self::TokenExpired | Self::TokenNotYetValid => Advice::reconnect(ALONE_MS),
            Self::HeartbeatTimeout | Self::MessageTimeout => Advice::reconnect(ALONE_MS),
            Self::SlowConsumer(_) | Self::PositionLost => Advice::reconnect(ALONE_MS),
            Self::PeerClosed(_) | Self::PeerVanished | Self::Inactivity => Advice::STOP,
            Self::Protocol(_) | Self::BinaryRefused => Advice::STOP,
            Self::InvalidUtf8 | Self::ValidationFailed(_) => Advice::STOP,
            Self::AuthenticationFailed | Self::InvalidUserId | Self::InvalidRoom => Advice::STOP,
            Self::UserIdInUse | Self::RoomForbidden => Advice::STOP,
            Self::Replaced | Self::Kicked | Self::RepeatedlyMalformed => Advice::STOP,
        }
    }

    /// True for ends that are our fault: logged at `warn` rather than `debug`.
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        matches!(self, Self::Internal)
    }
}

/// True for the codes a close frame may carry (RFC 6455 section 7.4.1 and the IANA registry): 1000–1003,
/// 1007–1014 and 3000–4999. 1004, 1005, 1006 and 1015 never appear on the wire.
#[must_use]
pub const fn is_allowed_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_fit_a_close_frame() {
        let long = EndReason::SlowConsumer("more than queue.max_messages messages queued");
        assert!(long.text().len() <= MAX_REASON_BYTES);
    }

    #[test]
    fn codes_that_must_not_be_on_the_wire_are_refused() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
            assert!(!is_allowed_code(code), "{code}");
        }
        for code in [1000, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999] {
            assert!(is_allowed_code(code), "{code}");
        }
    }
}
