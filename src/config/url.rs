//! The URL of another server that throng calls.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::address::is_host;

/// An `https` URL, or an `http` URL whose host can be near: a name, or a loopback or private address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Url(String);

impl Url {
    /// Most bytes of a URL, as many servers take no longer ones.
    pub const MAX_BYTES: usize = 2048;

    /// Parses `https://host[:port][/path][?query]`. `None` for anything else: other schemes, a user before the host, a
    /// fragment, or `http` to an address on the internet. An `http` URL with a name is checked again when the name is
    /// resolved.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, authority, path) = parts(text)?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let is_port = |port: &str| {
            port.bytes().all(|b| b.is_ascii_digit()) && port.parse().is_ok_and(|port: u16| port > 0)
        };
        let address = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => Some(IpAddr::from(address.parse::<Ipv6Addr>().ok()?)),
            None => is_host(host).then_some(host)?.parse().ok(),
        };
        let fits_scheme = match scheme {
            "https" => true,
            "http" => address.is_none_or(is_near),
            _ => false,
        };
        let fits_path = path.bytes().all(|b| b.is_ascii_graphic() && !b"#\"<>\\^`{|}".contains(&b));
        (fits_scheme && port.is_none_or(is_port) && fits_path && text.len() <= Self::MAX_BYTES)
            .then(|| Self(text.to_owned()))
    }

    /// Returns the URL with this path if it has none, and if it is not too long then.
    #[must_use]
    pub fn or_path(self, path: &str) -> Self {
        let has_path = parts(&self.0).is_some_and(|(_, _, path)| !path.trim_end_matches('/').is_empty());
        let completed = (!has_path).then(|| format!("{}{path}", self.0.trim_end_matches('/')));
        completed.and_then(|text| Self::parse(&text)).unwrap_or(self)
    }

    /// Returns the URL as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Splits a URL into its scheme, its host with the port, and its path with the query.
fn parts(text: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    Some((scheme, authority, path))
}

/// Returns true for loopback and private addresses (RFC 1918, RFC 4193), to which text may travel unencrypted.
/// Link-local addresses are not among them: clouds answer there with their machines' credentials.
#[must_use]
pub fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_https_or_near() {
        for good in [
            "https://backend.example",
            "https://backend.example/throng?a=b",
            "https://8.8.8.8:8443/",
            "https://[2001:db8::1]:443/x",
            "http://localhost:8000/hook",
            "http://backend:80",
            "http://10.0.0.1",
            "http://[fd00::1]/",
            "http://[::1]:1?x",
        ] {
            assert_eq!(Url::parse(good).as_ref().map(Url::as_str), Some(good));
        }
        for bad in [
            "",
            "backend.example",
            "ftp://backend.example",
            "HTTPS://backend.example",
            "http://8.8.8.8/",
            "http://[2001:db8::1]/",
            "http://169.254.169.254/",
            "http://[::ffff:8.8.8.8]/",
            "https://user:password@backend.example/",
            "https://backend.example:0/",
            "https://backend.example:+1/",
            "https://backend.example:65536/",
            "https://backend.example/#part",
            "https://backend.example/a b",
            "https:///path",
            "https://[1]/",
        ] {
            assert_eq!(Url::parse(bad), None, "{bad}");
        }
        assert_eq!(Url::parse(&format!("https://a/{}", "x".repeat(Url::MAX_BYTES))), None);
    }
}
