//! Types of settings: policies with names, secrets that cannot be printed by accident, and checks of text.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::address::is_host;

/// Declares an enum whose variants have names in the configuration, and `ALL`, which lists both in the order in which
/// messages show them.
macro_rules! named {
    ($(#[doc = $title:literal])+ $Name:ident { $($(#[doc = $doc:literal])+ $Variant:ident = $text:literal,)+ }) => {
        $(#[doc = $title])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $Name { $($(#[doc = $doc])+ $Variant,)+ }

        impl $Name {
            pub(super) const ALL: &'static [(&'static str, Self)] = &[$(($text, Self::$Variant)),+];

            /// Returns the name in the configuration.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$Variant => $text,)+
                }
            }
        }
    };
}

named! {
    /// Policy for a client whose queue reaches a bound.
    QueuePolicy {
        /// The client is closed with 4001 and its queue is freed at once.
        Disconnect = "disconnect",
        /// The oldest messages are dropped, and a `gap` event says so.
        DropOldest = "drop_oldest",
        /// The newest messages are dropped, and a `gap` event says so.
        DropNewest = "drop_newest",
    }
}

named! {
    /// Policy for a connection that asks for a user id held by another one.
    Duplicate {
        /// The older connection stays if it is alive, and the newer one gets 1008.
        Reject = "reject",
        /// The newer connection stays, and the older one gets 4501.
        Replace = "replace",
        /// Both connections stay.
        Allow = "allow",
    }
}

named! {
    /// The place of what several nodes have in common: rooms, positions, history.
    Engine {
        /// This process alone: there is one node.
        Memory = "memory",
        /// Servers of Redis or Valkey, as the section `redis` names them.
        Redis = "redis",
    }
}

named! {
    /// How the servers of Redis belong together.
    RedisMode {
        /// One server.
        Single = "single",
        /// A master and its replicas, which Sentinels watch and promote.
        Sentinel = "sentinel",
        /// Redis Cluster: each master has some of the slots.
        Cluster = "cluster",
    }
}

named! {
    /// How a bad token or user id is answered.
    Refuse {
        /// The upgrade is completed and the connection closed with code and reason, because browsers show nothing of a
        /// refused handshake.
        Close = "close",
        /// The handshake is refused with status 401, 403 or 409.
        Http = "http",
    }
}

named! {
    /// The format of log lines.
    LogFormat {
        /// Text for people.
        Text = "text",
        /// One flat JSON object per line.
        Json = "json",
    }
}

named! {
    /// When the history on disk is flushed, so that it survives the end of the machine.
    HistorySync {
        /// Never by this process: the operating system decides.
        Off = "off",
        /// At most a second after a message was written.
        Second = "1s",
        /// Before a message is acknowledged.
        Batch = "batch",
    }
}

named! {
    /// An event that a webhook is told if it asks for it.
    WebhookEvent {
        /// A user has a connection, after having none anywhere.
        UserOnline = "user_online",
        /// A user has had no connection anywhere for `webhooks.offline_after`.
        UserOffline = "user_offline",
        /// A room has a member, after having none anywhere.
        RoomOccupied = "room_occupied",
        /// A room has had no member anywhere for `webhooks.offline_after`.
        RoomVacated = "room_vacated",
        /// A user came into a room.
        MemberJoined = "member_joined",
        /// A user left a room.
        MemberLeft = "member_left",
        /// A message was published in a room.
        Message = "message",
        /// A connection of the chat ended.
        Disconnected = "disconnected",
    }
}

named! {
    /// The answer for a newcomer when the hook that decides about it fails.
    OnFailure {
        /// The newcomer is refused, and comes again.
        Refuse = "refuse",
        /// The newcomer comes in.
        Allow = "allow",
    }
}

/// Text that is never shown: `Debug`, `Serialize` and error messages print `[redacted]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The text that is shown instead of a secret.
pub(super) const REDACTED: &str = "[redacted]";

impl Secret {
    /// Wraps the text, which cannot be printed afterwards.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Takes a secret apart that may have a name before it (`NAME=SECRET`). Padding of base64 at the end of a secret
    /// makes no name of it.
    #[must_use]
    pub fn named(&self) -> (Option<&str>, &[u8]) {
        match self.0.split_once('=') {
            Some((name, secret)) if is_name(name) && !secret.trim_end_matches('=').is_empty() => {
                (Some(name), secret.as_bytes())
            }
            _ => (None, self.0.as_bytes()),
        }
    }

    /// Returns the key that `whsec_` and base64 stand for; `None` where the text is something else.
    #[must_use]
    pub fn signing_key(&self) -> Option<Vec<u8>> {
        STANDARD.decode(self.0.strip_prefix("whsec_")?).ok()
    }

    /// Returns the bytes, for code that computes with them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

/// Returns true for a name of a room or node: 1 to 64 of `[A-Za-z0-9_.:@-]`.
pub(super) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:@-".contains(&b))
}

/// Returns true for a name as in [`is_name`] that may also contain `*`.
pub(super) fn is_pattern(text: &str) -> bool {
    is_name(&text.replace('*', "-"))
}

/// Returns true for the `Origin` of a page: `scheme://host[:port]` without path or wildcard. `null` is refused, because
/// any sandboxed page sends it.
pub(super) fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    // A port follows the last colon, unless that colon is within the brackets of an IPv6 address.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, "0"),
    };
    let port_fits = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let host_fits = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => is_host(host),
    };
    scheme_fits && port_fits && host_fits
}

/// Returns true for an IP address or an address block (`10.0.0.0/8`).
pub(super) fn is_address_block(text: &str) -> bool {
    let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let widest = if address.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= widest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), REDACTED);
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"[redacted]\"");
        assert_eq!(secret.expose(), b"hunter2");
    }

    #[test]
    fn a_name_may_stand_before_a_secret() {
        for (text, name, secret) in [
            ("backend=0123456789abcdef", Some("backend"), "0123456789abcdef"),
            ("backend=a=b==", Some("backend"), "a=b=="),
            ("0123456789abcdef", None, "0123456789abcdef"),
            ("MDEyMzQ1Njc4OWFiY2Q=", None, "MDEyMzQ1Njc4OWFiY2Q="),
            ("MDEyMzQ1Njc4OWFiYw==", None, "MDEyMzQ1Njc4OWFiYw=="),
            ("no name=0123456789abcdef", None, "no name=0123456789abcdef"),
            ("=0123456789abcdef", None, "=0123456789abcdef"),
        ] {
            assert_eq!(Secret::new(text).named(), (name, secret.as_bytes()), "{text}");
        }
    }

    #[test]
    fn origins() {
        for good in ["https://example.com", "http://localhost:3000", "http://[::1]:8080", "http://[::1]"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "",
            "example.com",
            "https://",
            "https://a.com/",
            "null",
            "://a",
            "https://*",
            "http://a:",
            "http://a:99999",
            "http://[1]",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    #[test]
    fn address_blocks() {
        for good in ["10.0.0.1", "10.0.0.0/8", "::1", "fd00::/8", "::/128"] {
            assert!(is_address_block(good), "{good}");
        }
        for bad in ["", "10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/", "host"] {
            assert!(!is_address_block(bad), "{bad}");
        }
    }

    #[test]
    fn patterns() {
        assert!(is_pattern("live-*") && is_pattern("*") && is_pattern("lobby"));
        assert!(!is_pattern("") && !is_pattern("a b") && !is_pattern(&"*".repeat(65)));
    }
}
