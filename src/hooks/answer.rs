//! The answers of hooks, in JSON.

use serde::Deserialize;

use crate::names::UserId;

/// A newcomer who may come in, and on which terms.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ConnectAnswer {
    /// True when the other server said so, and not only its silence.
    pub is_certain: bool,
    /// The user id in place of that in the path.
    pub user: Option<UserId>,
    /// The name to show to people.
    pub name: Option<String>,
    /// Patterns of the rooms that the user may enter; `None` allows all.
    pub rooms: Option<Vec<String>>,
    /// When the connection has to end, in milliseconds since the Unix epoch.
    pub until_unix_ms: Option<i64>,
}

/// Why a newcomer may not come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The other server said so, with this reason.
    Denied(Option<String>),
    /// The other server gave no answer that can be used.
    NoAnswer,
}

#[derive(Deserialize)]
struct Raw {
    allow: bool,
    user: Option<String>,
    name: Option<String>,
    rooms: Option<Vec<String>>,
    expires_at_ms: Option<i64>,
    reason: Option<String>,
}

fn parse(body: &[u8]) -> Option<Raw> {
    simd_json::from_slice(&mut body.to_vec()).ok()
}

/// Returns true when the body says whether the newcomer may come in.
pub(super) fn is_answer(body: &[u8]) -> bool {
    parse(body).is_some_and(|raw| raw.user.is_none_or(|user| user.parse::<UserId>().is_ok()))
}

/// Parses the answer of the hook `connect`; `None` where it cannot be used.
pub(super) fn connect(body: &[u8]) -> Option<Result<ConnectAnswer, Refused>> {
    let raw = parse(body)?;
    if !raw.allow {
        return Some(Err(Refused::Denied(raw.reason)));
    }
    let user = raw.user.map(|user| user.parse()).transpose().ok()?;
    let Raw { name, rooms, expires_at_ms: until_unix_ms, .. } = raw;
    Some(Ok(ConnectAnswer { is_certain: true, user, name, rooms, until_unix_ms }))
}

/// Parses the answer of the hook `join`; `None` where it cannot be used.
pub(super) fn join(body: &[u8]) -> Option<Result<(), Refused>> {
    let raw = parse(body)?;
    Some(if raw.allow { Ok(()) } else { Err(Refused::Denied(raw.reason)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_decides_is_one() {
        for body in ["", "{}", "true", "{\"allow\":1}", "{\"allow\":\"true\"}", "{\"allow\":true"] {
            assert!(!is_answer(body.as_bytes()) && connect(body.as_bytes()).is_none(), "{body}");
        }
        let wrong_user = br#"{"allow":true,"user":"no one"}"#;
        assert!(!is_answer(wrong_user) && connect(wrong_user).is_none());
        let bare = Ok(ConnectAnswer { is_certain: true, ..ConnectAnswer::default() });
        assert_eq!(connect(br#"{"allow":true,"else":[1]}"#), Some(bare));
        let full = br#"{"allow":true,"user":"bob","name":"Bob","rooms":["a*"],"expires_at_ms":7}"#;
        let expected = ConnectAnswer {
            is_certain: true,
            user: Some("bob".parse().unwrap()),
            name: Some("Bob".into()),
            rooms: Some(vec!["a*".into()]),
            until_unix_ms: Some(7),
        };
        assert_eq!(connect(full), Some(Ok(expected)));
        let denied = br#"{"allow":false,"reason":"banned"}"#;
        assert_eq!(connect(denied), Some(Err(Refused::Denied(Some("banned".into())))));
        assert_eq!(join(denied), Some(Err(Refused::Denied(Some("banned".into())))));
        assert_eq!(join(br#"{"allow":true}"#), Some(Ok(())));
    }
}
