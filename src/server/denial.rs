//! How a denied request is answered: with an HTTP status, or with a completed upgrade and a close reason that a browser
//! shows to a person.

use crate::admission::Refusal;
use crate::admission::token::TokenError;
use crate::protocol::close::EndReason;
use crate::protocol::event::CommandError;

/// Why a request is denied.
#[derive(Debug)]
pub(super) enum Denial {
    /// Answered in HTTP, because only a broken or hostile client sends such a request.
    Http(Refusal),
    /// Answered with a close, so that a person can read the reason.
    Close(EndReason),
}

impl From<EndReason> for Denial {
    fn from(reason: EndReason) -> Self {
        Self::Close(reason)
    }
}

/// Returns the HTTP refusal that stands for a close reason (`admission.refuse = "http"`).
pub(super) const fn in_http(reason: &EndReason) -> Refusal {
    use EndReason as R;
    match reason {
        R::AuthenticationFailed | R::TokenExpired | R::TokenNotYetValid => Refusal::Unauthorized,
        R::TokenRevoked => Refusal::Unauthorized,
        R::RoomForbidden => Refusal::Forbidden("the token does not allow this room"),
        R::NotAllowed(_) => Refusal::Forbidden("the connection is not allowed"),
        R::UserIdInUse => Refusal::Conflict,
        R::InvalidUserId => Refusal::Forbidden("invalid user id: 3 to 64 of A-Z a-z 0-9 _ . : @ -"),
        R::InvalidRoom => Refusal::Forbidden("invalid room: 1 to 64 of A-Z a-z 0-9 _ . : @ -"),
        R::InvalidName => Refusal::Forbidden(
            "invalid name: 1 to 64 characters that show something, without control \
             characters and ones that change the direction of text",
        ),
        // The cause is on our side and in the log; the client can only come back later.
        R::Overloaded | R::Internal => Refusal::AtCapacity,
        R::GoingAway | R::Restarting => Refusal::Draining,
        // These end a connection that was admitted. They are listed, so that a new reason has to be decided on.
        R::PeerClosed(_) | R::PeerVanished | R::Replaced | R::Kicked | R::EndedBy(_) => Refusal::AtCapacity,
        R::Protocol(_) | R::BinaryRefused | R::InvalidUtf8 | R::ValidationFailed(_) => Refusal::AtCapacity,
        R::InvalidDeflate | R::MessageTooBig | R::TooManyFragments => Refusal::AtCapacity,
        R::RepeatedlyMalformed => Refusal::AtCapacity,
        R::Inactivity | R::HeartbeatTimeout | R::MessageTimeout => Refusal::AtCapacity,
        R::SlowConsumer(_) | R::RateLimited | R::PositionLost => Refusal::AtCapacity,
    }
}

/// Returns the close reason for a bad token. Only the times of a token are named, and only when nothing else is wrong
/// with it.
pub(super) const fn of_token(error: TokenError) -> EndReason {
    match error {
        TokenError::Expired => EndReason::TokenExpired,
        TokenError::NotYetValid => EndReason::TokenNotYetValid,
        TokenError::TooLong | TokenError::Malformed | TokenError::Algorithm | TokenError::Signature => {
            EndReason::AuthenticationFailed
        }
        TokenError::MissingClaim | TokenError::Audience | TokenError::Issuer | TokenError::Subject => {
            EndReason::AuthenticationFailed
        }
        // The key may come with the next set: the client can come back.
        TokenError::UnknownKey => EndReason::Overloaded,
        TokenError::TooLongLived => EndReason::AuthenticationFailed,
        // Not an error of a token but of a key that mints tokens; verifying never returns it.
        TokenError::EmptySecret => EndReason::AuthenticationFailed,
    }
}

/// The answer to a token that is bad in a way that is not told.
pub(super) const FAILED: &str = "authentication failed";

/// Returns the answer to a token that comes over an open connection, where a newcomer would be closed for this reason.
pub(super) const fn in_answer(reason: &EndReason) -> CommandError {
    match reason {
        EndReason::TokenExpired => CommandError::InvalidToken("it has expired"),
        EndReason::TokenNotYetValid => CommandError::InvalidToken("it is not valid yet"),
        EndReason::Overloaded => CommandError::Unavailable,
        _ => CommandError::InvalidToken(FAILED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_says_what_the_close_would_have_said() {
        for (reason, status, code) in [
            (EndReason::AuthenticationFailed, 401, "unauthorized"),
            (EndReason::TokenExpired, 401, "unauthorized"),
            (EndReason::TokenNotYetValid, 401, "unauthorized"),
            (EndReason::TokenRevoked, 401, "unauthorized"),
            (EndReason::RoomForbidden, 403, "forbidden"),
            (EndReason::InvalidUserId, 403, "forbidden"),
            (EndReason::InvalidRoom, 403, "forbidden"),
            (EndReason::InvalidName, 403, "forbidden"),
            (EndReason::UserIdInUse, 409, "conflict"),
            (EndReason::Overloaded, 503, "at_capacity"),
            (EndReason::Restarting, 503, "draining"),
        ] {
            let refusal = in_http(&reason);
            assert_eq!((refusal.status(), refusal.code()), (status, code), "{reason:?}");
        }
    }

    #[test]
    fn of_a_bad_token_only_its_times_are_told() {
        assert_eq!(of_token(TokenError::Expired), EndReason::TokenExpired);
        assert_eq!(of_token(TokenError::NotYetValid), EndReason::TokenNotYetValid);
        assert_eq!(of_token(TokenError::Signature), EndReason::AuthenticationFailed);
        assert_eq!(of_token(TokenError::Audience), EndReason::AuthenticationFailed);
    }
}
