//! The address of another server: a host and a port.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The address of a server: a name that is resolved whenever a connection is opened, or an IP address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// The name or IP address; an IPv6 address without brackets.
    pub host: String,
    /// The port, which is not 0.
    pub port: u16,
}

impl Address {
    /// Parses `host:port`; `None` where it is neither a name nor an IP address with a port from 1 to 65,535.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|_| port.bytes().all(|b| b.is_ascii_digit()))?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().is_ok().then_some(address)?,
            None => is_host(host).then_some(host)?,
        };
        (port != 0).then(|| Self { host: host.into(), port })
    }

    /// Returns true where the address can only be this machine's own.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }
}

/// Shows the address as it is written in the configuration: `host:port`, with an IPv6 address in brackets.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Returns true for what can be a host's name or an IPv4 address.
pub(super) fn is_host(host: &str) -> bool {
    (1..=253).contains(&host.len()) && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_parsed() {
        for (text, host, port) in [
            ("redis.example:6379", "redis.example", 6379),
            ("10.0.0.1:1", "10.0.0.1", 1),
            ("[::1]:65535", "::1", 65535),
            ("redis_1:7000", "redis_1", 7000),
        ] {
            let address = Address::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(
                (address.host.as_str(), address.port, address.to_string().as_str()),
                (host, port, text)
            );
        }
        for text in [
            "",
            "redis",
            "redis:",
            ":6379",
            "a:0",
            "a:65536",
            "a:+1",
            "::1:6379",
            "[a]:1",
            "redis://a:1",
            "a@b:1",
        ] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }

    #[test]
    fn loopback_is_this_machine() {
        for (text, expected) in [
            ("localhost:1", true),
            ("127.0.0.2:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("redis:1", false),
            ("10.0.0.1:1", false),
        ] {
            assert_eq!(Address::parse(text).map(|address| address.is_loopback()), Some(expected), "{text}");
        }
    }
}
