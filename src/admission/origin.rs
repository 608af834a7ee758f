//! Decides which pages may open a connection. A browser lets any page open a WebSocket with the cookies and the address
//! of its user, and only `Origin` says which page it was (RFC 6455, section 10.2; RFC 6454).

use thiserror::Error;

use super::Refusal;

/// An entry of `admission.origins` that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{entry:?} is not an origin: write scheme://host or scheme://host:port, without a path")]
pub struct OriginError {
    entry: String,
}

/// The origins that pages may have. Without entries any is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginList(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    scheme: Box<str>,
    host: Box<str>,
    port: Option<u16>,
}

impl OriginList {
    /// Reads the list from the configuration.
    ///
    /// # Errors
    /// The first entry that is not an origin.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Self, OriginError> {
        let read = |entry: &S| {
            let entry = entry.as_ref();
            let origin = Origin::parse(entry).ok_or_else(|| OriginError { entry: entry.to_owned() })?;
            Ok(Entry { scheme: origin.scheme.into(), host: origin.host.into(), port: origin.port })
        };
        entries.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Checks all `Origin` headers of a request. A request without one does not come from a browser and is allowed. One
    /// with several is an attack and is refused, even where any origin is allowed.
    ///
    /// # Errors
    /// [`Refusal::Origin`].
    pub fn check<'a>(&self, headers: impl IntoIterator<Item = &'a [u8]>) -> Result<(), Refusal> {
        let mut headers = headers.into_iter();
        let Some(only) = headers.next() else { return Ok(()) };
        if headers.next().is_some() {
            return Err(Refusal::Origin);
        }
        if self.0.is_empty() {
            return Ok(());
        }
        let origin = std::str::from_utf8(only).ok().and_then(Origin::parse).ok_or(Refusal::Origin)?;
        if self.0.iter().any(|entry| origin.is(entry)) { Ok(()) } else { Err(Refusal::Origin) }
    }
}

/// An origin as it is written; a missing port is the default port of the scheme.
struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Origin<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        // The colon of a port is the last one outside the brackets of an IPv6 address.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(parse_port(port)?)),
            _ => (authority, None),
        };
        if !is_scheme(scheme) || !is_host(host) {
            return None;
        }
        Some(Self { scheme, host, port: port.or_else(|| default_port(scheme)) })
    }

    fn is(&self, entry: &Entry) -> bool {
        self.port == entry.port
            && self.host.eq_ignore_ascii_case(&entry.host)
            && self.scheme.eq_ignore_ascii_case(&entry.scheme)
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match () {
        () if scheme.eq_ignore_ascii_case("http") => Some(80),
        () if scheme.eq_ignore_ascii_case("https") => Some(443),
        () => None,
    }
}

/// Parses digits only: `u16::from_str` alone would accept a plus sign, too.
fn parse_port(text: &str) -> Option<u16> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Returns true for a name or IPv4 address, or an IPv6 address in brackets: no user, no path, no wildcard.
fn is_host(text: &str) -> bool {
    if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> OriginList {
        OriginList::parse(&["https://a.com", "http://Localhost:3000", "http://[::1]:80", "tauri://app"])
            .unwrap()
    }

    fn allowed(list: &OriginList, headers: &[&str]) -> bool {
        list.check(headers.iter().map(|text| text.as_bytes())).is_ok()
    }

    #[test]
    fn scheme_host_and_port_must_be_the_same() {
        let list = list();
        for good in [
            "https://a.com",
            "https://A.COM",
            "https://a.com:443",
            "http://localhost:3000",
            "http://[::1]",
            "tauri://app",
        ] {
            assert!(allowed(&list, &[good]), "{good}");
        }
        for bad in [
            "null",
            "",
            "http://a.com",
            "https://a.com:8443",
            "https://a.com:",
            "https://a.com:+443",
            "https://a.com:65979",
            "https://a.com.evil.com",
            "https://evil-a.com",
            "https://sub.a.com",
            "https://a.com.",
            "https://a.com/",
            "https://a.com@evil.com",
            "https://user@a.com",
            "https://a.com#",
            "https://a.com https://evil.com",
            "https://a.com, https://a.com",
            " https://a.com",
            "a.com",
            "//a.com",
            "http://localhost",
            "http://[::2]",
            "tauri://app:1",
            "https://\u{430}.com",
        ] {
            assert!(!allowed(&list, &[bad]), "{bad}");
        }
    }

    #[test]
    fn without_origin_it_is_no_browser_and_two_are_refused() {
        let list = list();
        assert!(allowed(&list, &[]));
        assert!(!allowed(&list, &["https://a.com", "https://a.com"]));
        assert!(list.check([&b"https://a.com\xff"[..]]).is_err());
    }

    #[test]
    fn an_empty_list_allows_any_single_origin() {
        let any = OriginList::parse::<&str>(&[]).unwrap();
        assert!(allowed(&any, &["https://evil.com"]) && allowed(&any, &["null"]) && allowed(&any, &[]));
        assert!(!allowed(&any, &["https://a.com", "https://b.com"]));
    }

    #[test]
    fn entries_that_are_no_origin_are_named() {
        for bad in ["a.com", "*", "https://*.a.com", "https://a.com/", "https://", "https://a.com:x", "null"]
        {
            let error = OriginList::parse(&["https://a.com", bad]).unwrap_err();
            assert!(error.to_string().contains(bad), "{error}");
        }
    }
}
