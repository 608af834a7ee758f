//! The protocol's words as the crate declares them. The documentation's tables, the snapshots and the traffic of real
//! sockets are compared with them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use throng::testing::api::ApiError;
use throng::testing::protocol::close::{EndReason, Overflow};
use throng::testing::protocol::event::CommandError;

/// Returns every reason that a close frame can give, one of each kind.
pub(crate) fn reasons() -> Vec<EndReason> {
    use EndReason as R;
    let all = vec![
        R::Inactivity,
        R::GoingAway,
        R::Protocol("frame is not masked"),
        R::BinaryRefused,
        R::InvalidUtf8,
        R::InvalidDeflate,
        R::ValidationFailed("Missing 'message' field".into()),
        R::AuthenticationFailed,
        R::InvalidUserId,
        R::InvalidRoom,
        R::InvalidName,
        R::UserIdInUse,
        R::MessageTooBig,
        R::TooManyFragments,
        R::Internal,
        R::Overloaded,
        R::Restarting,
        R::TokenExpired,
        R::TokenNotYetValid,
        R::RoomForbidden,
        R::TokenRevoked,
        R::not_allowed(None),
        R::HeartbeatTimeout,
        R::MessageTimeout,
        R::SlowConsumer(Overflow::Bytes),
        R::RateLimited,
        R::PositionLost,
        R::Replaced,
        R::Kicked,
        R::RepeatedlyMalformed,
    ];
    // The match is exhaustive, so that a new reason does not compile until it stands in the list above.
    for reason in &all {
        match reason {
            R::PeerClosed(_) | R::PeerVanished => unreachable!("these are the client's, not ours"),
            R::Inactivity | R::GoingAway | R::Protocol(_) | R::BinaryRefused | R::InvalidUtf8 => {}
            R::ValidationFailed(_) | R::AuthenticationFailed | R::InvalidUserId | R::InvalidRoom => {}
            R::InvalidName | R::InvalidDeflate => {}
            R::UserIdInUse | R::MessageTooBig | R::TooManyFragments | R::Internal | R::Overloaded => {}
            R::Restarting | R::TokenExpired | R::TokenNotYetValid | R::RoomForbidden => {}
            R::TokenRevoked | R::NotAllowed(_) => {}
            R::HeartbeatTimeout | R::MessageTimeout => {}
            R::SlowConsumer(_) | R::RateLimited | R::PositionLost => {}
            R::Replaced | R::Kicked | R::RepeatedlyMalformed => {}
            R::EndedBy(_) => unreachable!("its code and its text are the operator's"),
        }
    }
    all
}

/// Returns every error that answers a command, with the numbers and words of the documentation's table.
pub(crate) fn errors() -> Vec<CommandError> {
    use CommandError as E;
    let all = vec![
        E::InvalidJson,
        E::InvalidMessage("must be an object"),
        E::MissingField("message"),
        E::MessageTooLong { max: 500 },
        E::DataTooLong { max: 4096 },
        E::UnknownType,
        E::InvalidRoom,
        E::NotInRoom,
        E::AlreadyJoined,
        E::TooManyRooms { max: 100 },
        E::UserNotFound,
        E::RateLimited { retry_after_ms: 250 },
        E::Forbidden("the token does not allow this room"),
        E::InvalidToken("it has expired"),
        E::Unavailable,
        E::NoMoreRooms,
    ];
    // The match is exhaustive, so that a new error does not compile until it stands in the list above.
    for error in &all {
        match error {
            E::InvalidJson | E::InvalidMessage(_) | E::MissingField(_) | E::MessageTooLong { .. } => {}
            E::DataTooLong { .. } | E::UnknownType | E::InvalidRoom | E::NotInRoom | E::AlreadyJoined => {}
            E::TooManyRooms { .. } | E::UserNotFound | E::RateLimited { .. } | E::Forbidden(_) => {}
            E::InvalidToken(_) | E::Unavailable | E::NoMoreRooms => {}
        }
    }
    all
}

/// Returns every error of the server API, one of each kind.
pub(crate) fn api_errors() -> Vec<ApiError> {
    use ApiError as E;
    let all = vec![
        E::InvalidJson,
        E::InvalidField("'to' must be a string"),
        E::UnknownField("field".into()),
        E::MissingField("room"),
        E::InvalidRoom,
        E::InvalidName,
        E::DataTooLong { max: 4096 },
        E::InvalidUser,
        E::InvalidKey,
        E::MessageTooLong { max: 1 },
        E::ContentType,
        E::ApiKey,
        E::ReadOnlyKey,
        E::Origin,
        E::RoomNotFound,
        E::UserNotFound,
        E::UnknownPath,
        E::Method { allow: "POST" },
        E::Timeout,
        E::BodyTooLarge { max: 1 },
        E::RateLimited { retry_after_ms: 1 },
        E::AtCapacity,
        E::RevocationsFull,
        E::Draining,
        E::InvalidSettings(Box::default()),
        E::NotReloadable,
        E::Unavailable,
        E::UnknownOutcome,
        E::Unanswered("a, b".into()),
    ];
    // The match is exhaustive, so that a new error does not compile until it stands in the list above.
    for error in &all {
        match error {
            E::InvalidJson | E::InvalidField(_) | E::UnknownField(_) | E::MissingField(_) => {}
            E::InvalidRoom | E::InvalidUser | E::InvalidKey | E::MessageTooLong { .. } => {}
            E::ContentType | E::ApiKey | E::ReadOnlyKey | E::Origin => {}
            E::RoomNotFound | E::UserNotFound | E::UnknownPath | E::Method { .. } => {}
            E::Timeout | E::BodyTooLarge { .. } | E::RateLimited { .. } | E::AtCapacity => {}
            E::InvalidName | E::DataTooLong { .. } | E::InvalidSettings(_) | E::NotReloadable => {}
            E::Draining | E::RevocationsFull | E::Unavailable | E::UnknownOutcome | E::Unanswered(_) => {}
        }
    }
    all
}

/// Types of JSON objects (field `type`), with the names of their other fields.
pub(crate) type Fields = BTreeMap<String, BTreeSet<String>>;

/// Returns the events of `throng.v1` as they are encoded, each with all of its fields.
pub(crate) fn events() -> Fields {
    let lines = include_str!("../snapshots/v1-events.txt").lines();
    let payloads = lines.filter_map(|line| line.find('{').map(|at| &line[at..]));
    let parsed = payloads.map(|payload| serde_json::from_str(payload).expect("JSON"));
    fields(&parsed.collect::<Vec<_>>())
}

/// Returns the types of `objects`, each with every field that any object of the type has.
pub(crate) fn fields(objects: &[Value]) -> Fields {
    let mut all = Fields::new();
    for object in objects {
        let names = object.as_object().expect("an object").keys().filter(|name| *name != "type").cloned();
        all.entry(object["type"].as_str().expect("a type").to_owned()).or_default().extend(names);
    }
    all
}
