//! Where the server is, and what is asked of it there.

use std::fmt::Write;
use std::str::FromStr;

use tokio_tungstenite::tungstenite::http::Uri;

use super::error::BuildError;
use super::rooms::Position;
use crate::names::{RoomName, SessionId, UserId};

/// The server's `/` as a WebSocket address: `ws` or `wss`, an authority, the prefix of a proxy without a `/` behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    scheme: &'static str,
    authority: String,
    prefix: String,
}

impl FromStr for Address {
    type Err = BuildError;

    fn from_str(url: &str) -> Result<Self, BuildError> {
        let wrong = |why: String| BuildError::Url(why);
        let uri: Uri = url.parse().map_err(|error| wrong(format!("{error}")))?;
        let scheme = match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("ws" | "http") => "ws",
            Some("wss" | "https") => "wss",
            _ => return Err(wrong("must begin with ws://, wss://, http:// or https://".to_owned())),
        };
        let authority = uri.authority().map_or("", |authority| authority.as_str()).to_owned();
        if uri.host().is_none_or(str::is_empty) {
            return Err(wrong("names no host".to_owned()));
        }
        if authority.contains('@') {
            return Err(wrong("must not hold a user or password: there is a token for that".to_owned()));
        }
        if uri.query().is_some() {
            return Err(wrong("must not have a query".to_owned()));
        }
        Ok(Self { scheme, authority, prefix: uri.path().trim_end_matches('/').to_owned() })
    }
}

impl Address {
    pub(super) fn is_secure(&self) -> bool {
        self.scheme == "wss"
    }

    /// The address of one attempt. It may hold the secret of a session: not for logs.
    pub(super) fn of(&self, target: &Target<'_>) -> String {
        let Self { scheme, authority, prefix } = self;
        // All names are of characters that need no encoding, in a path or in a query.
        let mut url = format!("{scheme}://{authority}{prefix}/ws/chat/{}", target.user);
        let mut separator = '?';
        let mut query = |name: &str, value: &str| {
            let _ = write!(url, "{separator}{name}={value}");
            separator = '&';
        };
        if let Some((room, position)) = target.entry {
            query("room", room.as_str());
            if let Some(Position { epoch, offset }) = position {
                query("resume", &format!("{epoch}:{offset}"));
            }
        }
        if let Some(session) = target.session {
            query("session", &String::from_utf8_lossy(&session.digits()));
        }
        url
    }
}

/// What an attempt asks for.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) user: &'a UserId,
    /// The entry room, with the last position in it.
    pub(super) entry: Option<(&'a RoomName, Option<Position>)>,
    /// The secret of the connection before, which may be half open and would lock us out.
    pub(super) session: Option<SessionId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_the_prefix_of_a_proxy() {
        let user = "ann:x@y".parse().unwrap();
        let target = Target { user: &user, entry: None, session: None };
        for (url, expected) in [
            ("ws://127.0.0.1:8080", "ws://127.0.0.1:8080/ws/chat/ann:x@y"),
            ("http://[::1]:80/", "ws://[::1]:80/ws/chat/ann:x@y"),
            ("https://chat.example/a/b/", "wss://chat.example/a/b/ws/chat/ann:x@y"),
            ("WSS://chat.example/a", "wss://chat.example/a/ws/chat/ann:x@y"),
        ] {
            assert_eq!(url.parse::<Address>().unwrap().of(&target), expected, "{url}");
        }
    }

    #[test]
    fn an_attempt_shows_position_and_session() {
        let (user, room) = ("ann".parse().unwrap(), "lobby".parse().unwrap());
        let position = Position { epoch: "000000000000a".parse().unwrap(), offset: 7 };
        let session = "0123456789abcdef0123456789abcdef".parse().ok();
        let address: Address = "ws://h".parse().unwrap();
        let of = |entry, session| address.of(&Target { user: &user, entry, session });
        assert_eq!(of(Some((&room, None)), None), "ws://h/ws/chat/ann?room=lobby");
        assert_eq!(
            of(Some((&room, Some(position))), session),
            "ws://h/ws/chat/ann?room=lobby&resume=000000000000a:7&session=0123456789abcdef0123456789abcdef"
        );
        assert_eq!(of(None, session), "ws://h/ws/chat/ann?session=0123456789abcdef0123456789abcdef");
    }

    #[test]
    fn what_is_no_address_is_told() {
        for (url, why) in [
            ("", "empty"),
            ("127.0.0.1:8080", "must begin"),
            ("/chat", "must begin"),
            ("ftp://h", "must begin"),
            ("ws://", ""),
            ("ws://ann:secret@h", "must not hold a user"),
            ("ws://h/?token=secret", "must not have a query"),
            ("ws://h h", ""),
        ] {
            let error = url.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("secret"), "{url}: {error}");
        }
    }
}
