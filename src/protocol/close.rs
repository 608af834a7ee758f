//! Reasons for which a connection ends, and the only mapping from a reason to close code, text and advice on the wire
//! (RFC 6455 section 7.4).

use std::borrow::Cow;
use std::ops::RangeInclusive;

/// Most bytes of text in a close frame: 125 bytes of payload less two of code (RFC 6455 section 5.5.1).
pub const MAX_REASON_BYTES: usize = 123;

/// The reason for which a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    /// The peer sent a close frame with this code (1005 when it had none), and gets the code back.
    PeerClosed(u16),
    /// The peer's socket ended or failed without a close frame. Nothing can be sent any more.
    PeerVanished,
    /// The client was silent for longer than `/ws/with-timeout` allows.
    Inactivity,
    /// The server stops, and is not known to be restarted.
    GoingAway,
    /// The peer broke this rule of RFC 6455.
    Protocol(&'static str),
    /// The client sent a binary message to an endpoint that accepts text alone.
    BinaryRefused,
    /// A text message or a close reason is not UTF-8.
    InvalidUtf8,
    /// A compressed message is no whole deflate stream (RFC 7692, section 7.2.2).
    InvalidDeflate,
    /// `/ws/messages` refused the message for this reason.
    ValidationFailed(Cow<'static, str>),
    /// The token is missing or invalid.
    AuthenticationFailed,
    /// The user id in the path is not 1 to 64 of the allowed characters.
    InvalidUserId,
    /// The room's name is not 1 to 64 of the allowed characters.
    InvalidRoom,
    /// The hook `connect` refused the newcomer, with a text of its own or without one.
    NotAllowed(Cow<'static, str>),
    /// The name to be shown to people is too long, blank, or holds characters that are not allowed.
    InvalidName,
    /// Another live connection holds the user id.
    UserIdInUse,
    /// A message is longer than `limits.max_message_bytes`.
    MessageTooBig,
    /// A message has more than `limits.max_fragments` fragments.
    TooManyFragments,
    /// A bug of the server, contained to this connection.
    Internal,
    /// The server is overloaded: a limit of the node is reached.
    Overloaded,
    /// The server stops and is expected to be restarted.
    Restarting,
    /// The token, otherwise valid, has expired, before the connection or during it.
    TokenExpired,
    /// The token, otherwise valid, is not valid yet.
    TokenNotYetValid,
    /// The token does not permit the room.
    RoomForbidden,
    /// The token was revoked, before the connection or during it.
    TokenRevoked,
    /// No pong or heartbeat arrived in time.
    HeartbeatTimeout,
    /// A fragmented message was not completed within `limits.message_timeout`.
    MessageTimeout,
    /// The client reads more slowly than messages are queued for it, and has reached this bound.
    SlowConsumer(Overflow),
    /// The client kept sending after more than `rate_limit.strikes` refusals for its rate.
    RateLimited,
    /// A room of the connection began a new epoch, so that the client's position is meaningless. Only a broker of
    /// several nodes can need this: on one node no room with members begins a new epoch, because clients are never told
    /// a position that the log does not contain.
    PositionLost,
    /// A newer connection took over the user id.
    Replaced,
    /// An operator ended the connection.
    Kicked,
    /// An operator ended the connection, with a code and a text of the operator's own. Made by
    /// [`EndReason::by_operator`].
    EndedBy(Box<(u16, Box<str>)>),
    /// The client sent more malformed commands than `limits.malformed_per_minute`.
    RepeatedlyMalformed,
}

/// The bound that a client exceeds which reads too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// Too many messages.
    Messages,
    /// Too many bytes.
    Bytes,
    /// The oldest entry is too old.
    Age,
    /// The queues of all clients of the node together have too many bytes.
    Node,
    /// The client reads what it missed more slowly than the room goes on.
    Resume,
}

impl Overflow {
    /// Returns the reason for the close frame of a client that is disconnected for it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Messages => "too many messages queued",
            Self::Bytes => "too many bytes queued",
            Self::Age => "queued messages too old",
            Self::Node => "queue budget of the node exceeded",
            Self::Resume => "resume slower than the room",
        }
    }
}

/// The first of the application's close codes after which a client does not come back by itself.
const FIRST_FINAL_CODE: u16 = 4500;

/// Delay before a reconnect of a client that was closed alone. It may come back at once; the range spreads clients that
/// are closed for the same reason.
const ALONE_MS: RangeInclusive<u64> = 0..=1_000;
/// Delay before a reconnect after all clients of a node were closed: the same as `Retry-After` of a draining node.
const RESTART_MS: RangeInclusive<u64> = 1_000..=5_000;
/// Delay before a reconnect that must relieve the node, or slow the client down: the same as `Retry-After` at capacity.
const BACK_OFF_MS: RangeInclusive<u64> = 5_000..=20_000;

/// Advice for a client on what to do after a close that the server started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// Whether to reconnect at all.
    pub reconnect: bool,
    /// Milliseconds to wait before the reconnect.
    pub after_ms: RangeInclusive<u64>,
}

impl Advice {
    const STOP: Self = Self { reconnect: false, after_ms: 0..=0 };

    const fn reconnect(after_ms: RangeInclusive<u64>) -> Self {
        Self { reconnect: true, after_ms }
    }
}

impl EndReason {
    /// Returns the reason of an operator who has named a close code and a text.
    ///
    /// # Panics
    /// In debug builds, when the code is not one of 4000 to 4999, or the text is longer than [`MAX_REASON_BYTES`].
    #[must_use]
    pub fn by_operator(code: u16, text: &str) -> Self {
        debug_assert!((4000..=4999).contains(&code) && text.len() <= MAX_REASON_BYTES, "{code} {text}");
        Self::EndedBy(Box::new((code, text.into())))
    }

    /// Returns the reason for a newcomer whom the hook `connect` refuses, with the text of its answer as far as a close
    /// frame has space for it.
    #[must_use]
    pub fn not_allowed(text: Option<String>) -> Self {
        let mut text = text.filter(|text| !text.is_empty()).unwrap_or_else(|| "Not allowed".to_owned());
        text.truncate(text.floor_char_boundary(MAX_REASON_BYTES));
        Self::NotAllowed(text.into())
    }

    /// Returns the close code for frame, logs and metrics; 1006 where no frame can be sent, because the peer vanished.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::PeerClosed(code) => *code,
            Self::PeerVanished => 1006,
            Self::Inactivity => 1000,
            Self::GoingAway => 1001,
            Self::Protocol(_) => 1002,
            Self::BinaryRefused => 1003,
            Self::InvalidUtf8 | Self::InvalidDeflate | Self::ValidationFailed(_) => 1007,
            Self::AuthenticationFailed | Self::InvalidUserId | Self::InvalidRoom => 1008,
            Self::InvalidName | Self::UserIdInUse => 1008,
            Self::NotAllowed(_) => 1008,
            Self::MessageTooBig | Self::TooManyFragments => 1009,
            Self::Internal => 1011,
            Self::Restarting => 1012,
            Self::Overloaded => 1013,
            Self::TokenExpired | Self::TokenNotYetValid => 3000,
            Self::RoomForbidden | Self::TokenRevoked => 3003,
            Self::HeartbeatTimeout | Self::MessageTimeout => 3008,
            Self::SlowConsumer(_) => 4001,
            Self::RateLimited => 4002,
            Self::PositionLost => 4003,
            Self::Replaced | Self::Kicked => 4501,
            Self::EndedBy(end) => end.0,
            Self::RepeatedlyMalformed => 4502,
        }
    }

    /// Returns the text for the close frame and for logs, at most [`MAX_REASON_BYTES`].
    #[must_use]
    pub fn text(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::PeerClosed(_) => "closed by the client",
            Self::PeerVanished => "connection lost",
            Self::Inactivity => "Inactivity timeout",
            Self::GoingAway => "Going away",
            Self::ValidationFailed(why) => return why.clone(),
            Self::NotAllowed(why) => return why.clone(),
            Self::Protocol(rule) => rule,
            Self::BinaryRefused => "Binary messages are not supported here",
            Self::InvalidUtf8 => "Invalid UTF-8",
            Self::InvalidDeflate => "Invalid compressed data",
            Self::AuthenticationFailed => "Authentication failed",
            Self::InvalidUserId => "Invalid user ID",
            Self::InvalidRoom => "Invalid room",
            Self::InvalidName => "Invalid name",
            Self::UserIdInUse => "User ID already in use",
            Self::MessageTooBig => "Message too big",
            Self::TooManyFragments => "Too many fragments",
            Self::Internal => "Internal error",
            Self::Overloaded => "Server overloaded",
            Self::Restarting => "Server restarting",
            Self::TokenExpired => "Token expired",
            Self::TokenNotYetValid => "Token not yet valid",
            Self::RoomForbidden => "Room not allowed",
            Self::TokenRevoked => "Token revoked",
            Self::HeartbeatTimeout => "Heartbeat timeout",
            Self::MessageTimeout => "Message not finished in time",
            Self::SlowConsumer(bound) => return Cow::Owned(format!("Slow consumer: {}", bound.text())),
            Self::RateLimited => "Rate limit ignored",
            Self::PositionLost => "Position lost",
            Self::Replaced => "Replaced by a newer connection",
            Self::Kicked => "Kicked",
            Self::EndedBy(end) => return Cow::Owned(end.1.to_string()),
            Self::RepeatedlyMalformed => "Repeated malformed input",
        })
    }

    /// Returns true where the server ends the connection, and says so with a `disconnect` event and a close frame;
    /// false where the peer ended it.
    #[must_use]
    pub const fn is_started_by_server(&self) -> bool {
        !matches!(self, Self::PeerClosed(_) | Self::PeerVanished)
    }

    /// Returns what the client should do next. The sender picks a random time within the range, so that clients that
    /// were closed together do not reconnect together. Ends that the peer started need no advice and give "stop".
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
            Self::InvalidUtf8 | Self::InvalidDeflate | Self::ValidationFailed(_) => Advice::STOP,
            Self::AuthenticationFailed | Self::InvalidUserId | Self::InvalidRoom => Advice::STOP,
            Self::InvalidName => Advice::STOP,
            Self::UserIdInUse | Self::RoomForbidden | Self::TokenRevoked | Self::NotAllowed(_) => {
                Advice::STOP
            }
            Self::Replaced | Self::Kicked | Self::RepeatedlyMalformed => Advice::STOP,
            Self::EndedBy(end) if end.0 < FIRST_FINAL_CODE => Advice::reconnect(RESTART_MS),
            Self::EndedBy(_) => Advice::STOP,
        }
    }

    /// Returns true where the server is at fault, which is logged at `warn` rather than `debug`.
    #[must_use]
    pub const fn is_server_fault(&self) -> bool {
        matches!(self, Self::Internal)
    }
}

/// Returns true for codes that a close frame may contain (RFC 6455 section 7.4.1 and the IANA registry): 1000–1003,
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
        let long = EndReason::SlowConsumer(Overflow::Node);
        assert!(long.text().len() <= MAX_REASON_BYTES);
    }

    #[test]
    fn the_text_of_a_hook_fits_a_close_frame() {
        let text = |given: Option<&str>| EndReason::not_allowed(given.map(str::to_owned)).text().into_owned();
        assert_eq!(
            [text(None), text(Some("")), text(Some("banned"))],
            ["Not allowed", "Not allowed", "banned"]
        );
        assert_eq!(text(Some(&"ä".repeat(100))), "ä".repeat(61));
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
