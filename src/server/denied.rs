//! How a request that is not let in hears why: in HTTP, or as the close of a connection that a person can read.

use crate::admission::Refusal;
use crate::admission::token::TokenError;
use crate::protocol::close::EndReason;

/// Why a request is not let in.
#[derive(Debug)]
pub(super) enum Denied {
    /// It is told in HTTP: only a broken or hostile client does this.
    Http(Refusal),
    /// It is told so that a person can read it.
    Visibly(EndReason),
}

impl From<EndReason> for Denied {
    fn from(reason: EndReason) -> Self {
        Self::Visibly(reason)
    }
}

/// Says in HTTP what a close would have said (`admission.refuse = "http"`).
pub(super) const fn in_http(reason: &EndReason) -> Refusal {
    use EndReason as R;
    match reason {
        R::AuthenticationFailed | R::TokenExpired | R::TokenNotYetValid => Refusal::Unauthorized,
        R::RoomForbidden => Refusal::Forbidden("the token does not allow this room"),
        R::UserIdInUse => Refusal::Conflict,
        R::InvalidUserId => Refusal::Forbidden("invalid user id: 3 to 64 of A-Z a-z 0-9 _ . : @ -"),
        R::InvalidRoom => Refusal::Forbidden("invalid room: 1 to 64 of A-Z a-z 0-9 _ . : @ -"),
        // What is wrong on our side is in the log; the client can only come back later.
        R::Overloaded | R::Internal => Refusal::AtCapacity,
        R::GoingAway | R::Restarting => Refusal::Draining,
        // These end a connection that has been let in. Named one by one, so that a new reason is decided on.
        R::PeerClosed(_) | R::PeerVanished | R::Replaced | R::Kicked => Refusal::AtCapacity,
        R::Protocol(_) | R::BinaryRefused | R::InvalidUtf8 | R::ValidationFailed(_) => Refusal::AtCapacity,
        R::MessageTooBig | R::TooManyFragments | R::RepeatedlyMalformed => Refusal::AtCapacity,
        R::Inactivity | R::HeartbeatTimeout | R::MessageTimeout => Refusal::AtCapacity,
        R::SlowConsumer(_) | R::RateLimited | R::PositionLost => Refusal::AtCapacity,
    }
}

/// Says why a bad token ends the connection: only whoever shows an otherwise good one learns what is wrong with it.
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
        // Of the keys that we sign or verify with: nothing that a client can show is good then.
        TokenError::EmptySecret => EndReason::AuthenticationFailed,
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
            (EndReason::RoomForbidden, 403, "forbidden"),
            (EndReason::InvalidUserId, 403, "forbidden"),
            (EndReason::InvalidRoom, 403, "forbidden"),
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
