//! The answers of hooks, in JSON.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

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

/// An answer that decides.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    allow: bool,
    #[serde(default, deserialize_with = "user_id")]
    user: Option<UserId>,
    name: Option<String>,
    rooms: Option<Vec<String>>,
    expires_at_ms: Option<i64>,
    reason: Option<String>,
}

fn user_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<UserId>, D::Error> {
    let user = Option::<String>::deserialize(deserializer)?;
    user.map(|user| user.parse()).transpose().map_err(D::Error::custom)
}

impl Answer {
    /// Parses the body of an answer; `None` where it does not say whether the newcomer may come in, or names a user id
    /// that is not valid.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        simd_json::from_slice(&mut body.to_vec()).ok()
    }

    /// Returns what the hook `connect` has answered.
    pub(super) fn into_connect(self) -> Result<ConnectAnswer, Refused> {
        let Self { allow, user, name, rooms, expires_at_ms: until_unix_ms, reason } = self;
        if !allow {
            return Err(Refused::Denied(reason));
        }
        Ok(ConnectAnswer { is_certain: true, user, name, rooms, until_unix_ms })
    }

    /// Returns what the hook `join` has answered.
    pub(super) fn into_join(self) -> Result<(), Refused> {
        if self.allow { Ok(()) } else { Err(Refused::Denied(self.reason)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_decides_is_one() {
        for body in ["", "{}", "true", "{\"allow\":1}", "{\"allow\":\"true\"}", "{\"allow\":true"] {
            assert!(Answer::parse(body.as_bytes()).is_none(), "{body}");
        }
        let wrong_user = br#"{"allow":true,"user":"no one"}"#;
        assert!(Answer::parse(wrong_user).is_none());
        let connect = |body: &[u8]| Answer::parse(body).map(Answer::into_connect);
        let join = |body: &[u8]| Answer::parse(body).map(Answer::into_join);
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
