//! The address of the server, and the URL of one connection attempt.

use std::fmt::Write;
use std::str::FromStr;

use tokio_tungstenite::tungstenite::http::Uri;

use super::error::BuildError;
use throng_names::{DisplayName, Position, RoomName, SessionId, UserId};

/// The address under which the server's `/` is reached: the scheme `ws` or `wss`, an authority, and the path prefix of
/// a proxy without its last `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    scheme: &'static str,
    authority: String,
    prefix: String,
}

impl FromStr for Address {
    type Err = BuildError;

    fn from_str(url: &str) -> Result<Self, BuildError> {
        let invalid = |why: String| BuildError::Url(why);
        let uri: Uri = url.parse().map_err(|error| invalid(format!("{error}")))?;
        let scheme = match uri.scheme_str().map(str::to_ascii_lowercase).as_deref() {
            Some("ws" | "http") => "ws",
            Some("wss" | "https") => "wss",
            _ => return Err(invalid("must begin with ws://, wss://, http:// or https://".to_owned())),
        };
        let authority = uri.authority().map_or("", |authority| authority.as_str()).to_owned();
        let host = uri.host().unwrap_or_default();
        if host.is_empty() {
            return Err(invalid("must name a host".to_owned()));
        }
        if !is_host(host) {
            return Err(invalid(format!(
                "'{host}' is not a valid host: each part between dots is 1 to 63 letters, digits, - and _"
            )));
        }
        // The port is checked as it is written, because `Uri` shows no port when it is invalid.
        let port = authority.rsplit_once(host).map_or("", |(_, port)| port);
        if !port.is_empty()
            && port.strip_prefix(':').and_then(|port| port.parse::<u16>().ok()).is_none_or(|n| n == 0)
        {
            return Err(invalid(format!("'{port}' is not a valid port: ports are numbers from 1 to 65535")));
        }
        if authority.contains('@') {
            return Err(invalid("must not hold a user or password: log in with a token instead".to_owned()));
        }
        if uri.query().is_some() {
            return Err(invalid("must not have a query (?...)".to_owned()));
        }
        Ok(Self { scheme, authority, prefix: uri.path().trim_end_matches('/').to_owned() })
    }
}

/// Returns true for a name that fits into a DNS query (RFC 1035, section 2.3.4) and for an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        let mut bytes = label.bytes();
        (1..=63).contains(&label.len())
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match in_brackets {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.len() <= 253 && name.split('.').all(is_label),
    }
}

/// Encodes all bytes but those that never have a meaning of their own in a URL (RFC 3986, section 2.3).
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

impl Address {
    pub(super) fn is_secure(&self) -> bool {
        self.scheme == "wss"
    }

    /// Returns the URL of one attempt. It may hold the secret of a session and must not be logged.
    pub(super) fn url(&self, target: &Target<'_>) -> String {
        let Self { scheme, authority, prefix } = self;
        // Ids hold only characters that need no encoding, neither in a path nor in a query. A display name may.
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
        if let Some(name) = target.name {
            query("name", &percent_encoded(name.as_str()));
        }
        if let Some(session) = target.session {
            query("session", &String::from_utf8_lossy(&session.digits()));
        }
        url
    }
}

/// The parameters of a connection attempt.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) user: &'a UserId,
    /// The name that people are shown.
    pub(super) name: Option<&'a DisplayName>,
    /// The entry room, with the last known position in it.
    pub(super) entry: Option<(&'a RoomName, Option<Position>)>,
    /// The secret of the previous connection. If that one is half open on the server, the secret lets this attempt take
    /// the user id over instead of being refused.
    pub(super) session: Option<SessionId>,
}

#[cfg(test)]
mod tests {
    use throng_names::Offset;

    use super::*;

    #[test]
    fn an_address_keeps_the_prefix_of_a_proxy() {
        let user = "ann:x@y".parse().unwrap();
        let target = Target { user: &user, name: None, entry: None, session: None };
        for (url, expected) in [
            ("ws://127.0.0.1:8080", "ws://127.0.0.1:8080/ws/chat/ann:x@y"),
            ("http://[::1]:80/", "ws://[::1]:80/ws/chat/ann:x@y"),
            ("https://chat.example/a/b/", "wss://chat.example/a/b/ws/chat/ann:x@y"),
            ("WSS://chat.example/a", "wss://chat.example/a/ws/chat/ann:x@y"),
        ] {
            assert_eq!(url.parse::<Address>().unwrap().url(&target), expected, "{url}");
        }
    }

    #[test]
    fn the_url_of_an_attempt_holds_position_and_session() {
        let (user, room) = ("ann".parse().unwrap(), "lobby".parse().unwrap());
        let position = Position { epoch: "000000000000a".parse().unwrap(), offset: Offset(7) };
        let session = "0123456789abcdef0123456789abcdef".parse().ok();
        let address: Address = "ws://h".parse().unwrap();
        let url_of = |entry, session| address.url(&Target { user: &user, name: None, entry, session });
        assert_eq!(url_of(Some((&room, None)), None), "ws://h/ws/chat/ann?room=lobby");
        assert_eq!(
            url_of(Some((&room, Some(position))), session),
            "ws://h/ws/chat/ann?room=lobby&resume=000000000000a:7&session=0123456789abcdef0123456789abcdef"
        );
        assert_eq!(url_of(None, session), "ws://h/ws/chat/ann?session=0123456789abcdef0123456789abcdef");
    }

    #[test]
    fn a_name_is_encoded_whatever_it_holds() {
        let user = "ann".parse().unwrap();
        let address: Address = "ws://h".parse().unwrap();
        for (name, encoded) in [
            ("Ann-._~9", "Ann-._~9"),
            ("A&b=c #%?+/", "A%26b%3Dc%20%23%25%3F%2B%2F"),
            ("\u{fc}\u{5c71}\u{1f980}", "%C3%BC%E5%B1%B1%F0%9F%A6%80"),
        ] {
            let name = name.parse().unwrap();
            let target = Target { user: &user, name: Some(&name), entry: None, session: None };
            assert_eq!(address.url(&target), format!("ws://h/ws/chat/ann?name={encoded}"));
        }
    }

    #[test]
    fn invalid_addresses_are_refused_with_the_reason() {
        for (url, why) in [
            ("", "empty"),
            ("127.0.0.1:8080", "must begin"),
            ("/chat", "must begin"),
            ("ftp://h", "must begin"),
            ("ws://", ""),
            ("ws://ann:secret@h", "must not hold a user"),
            ("ws://h/?token=secret", "must not have a query (?...)"),
            ("ws://h h", ""),
            ("ws://chat..example", "'chat..example' is not a valid host"),
            ("ws://.", "is not a valid host"),
            ("ws://[::1::2]/", ""),
            ("ws://h:99999/", "is not a valid port"),
            ("ws://h:0/", "is not a valid port"),
            ("ws://[::1]:x/", ""),
            (&format!("ws://{}.example", "x".repeat(64)), "is not a valid host"),
            (&format!("ws://{}example", "x.".repeat(130)), "is not a valid host"),
        ] {
            let error = url.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("secret"), "{url}: {error}");
        }
    }
}
