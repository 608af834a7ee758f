//! Who may see what is the operator's: whoever sits at the server's own machine, and whoever has a key of `api.keys`.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::token::bearer_credentials;
use crate::config::Secret;

/// What proxies add. A request with any of these comes from somewhere else than its peer.
const FORWARDED: [&str; 6] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via"];

/// The keys of `api.keys`.
#[derive(Debug, Default)]
pub struct Keys(Box<[Secret]>);

impl Keys {
    /// The keys of the configuration; without any, none is right.
    #[must_use]
    pub fn new(keys: &[Secret]) -> Self {
        Self(keys.into())
    }

    /// True when a request shows one of the keys: behind `Bearer` in an `Authorization` header, or in an `X-API-Key`.
    /// `headers` gives the values of all headers of a name in lower case.
    ///
    /// Takes as long for a near miss as for a far one, whichever key it is near to; the length of keys is no secret.
    pub fn accept<'r, V>(&self, headers: impl Fn(&str) -> V) -> bool
    where
        V: Iterator<Item = &'r [u8]>,
    {
        let shown = headers("authorization").filter_map(bearer_credentials).chain(headers("x-api-key"));
        shown.fold(false, |any, shown| self.0.iter().fold(any, |any, key| any | is_same(key.expose(), shown)))
    }
}

/// Compares without an early way out, and with none for the compiler to find.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| black_box(all | (a ^ b))) == 0
}

/// True when a request comes from the server's own machine and from nobody else through it: the peer is loopback, no
/// proxy has written into it, and it was meant for loopback. The last keeps out pages that have their own name resolve
/// to 127.0.0.1 (DNS rebinding), and that a browser says so (`Sec-Fetch-Site`) keeps out those that ask across origins.
/// `headers` as for [`Keys::accept`].
pub fn is_local<'r, V>(peer: IpAddr, headers: impl Fn(&str) -> V) -> bool
where
    V: Iterator<Item = &'r [u8]>,
{
    let is_forwarded = FORWARDED.iter().any(|name| headers(name).next().is_some());
    let is_foreign = headers("sec-fetch-site").any(|site| !matches!(site, b"same-origin" | b"none"));
    let is_for_us = headers("host").next().is_some_and(is_loopback_host);
    peer.to_canonical().is_loopback() && !is_forwarded && !is_foreign && is_for_us
}

/// True for `localhost`, an address of 127.0.0.0/8 and `[::1]`, each with or without a port.
fn is_loopback_host(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    if let Some((address, rest)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let is_port = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_number);
        return is_port && address.parse() == Ok(Ipv6Addr::LOCALHOST);
    }
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let is_loopback = || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    is_number(port) && (name.eq_ignore_ascii_case("localhost") || is_loopback())
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Headers<'a> = &'a [(&'a str, &'a str)];

    fn values<'a>(headers: Headers<'a>, name: &str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let name = name.to_owned();
        headers.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.as_bytes())
    }

    #[test]
    fn only_who_is_here_is_local() {
        let host = ("host", "127.0.0.1:8080");
        for (peer, headers, expected) in [
            ("127.0.0.1", &[host][..], true),
            ("127.8.9.1", &[host], true),
            ("::1", &[host], true),
            ("::ffff:127.0.0.1", &[host], true),
            ("192.0.2.1", &[host], false),
            ("::ffff:192.0.2.1", &[host], false),
            ("127.0.0.1", &[], false),
            ("127.0.0.1", &[host, ("x-forwarded-for", "127.0.0.1")], false),
            ("127.0.0.1", &[host, ("forwarded", "")], false),
            ("127.0.0.1", &[host, ("x-real-ip", "\u{ff}")], false),
            ("127.0.0.1", &[host, ("via", "1.1 proxy")], false),
            ("127.0.0.1", &[host, ("sec-fetch-site", "same-origin")], true),
            ("127.0.0.1", &[host, ("sec-fetch-site", "none")], true),
            ("127.0.0.1", &[host, ("sec-fetch-site", "cross-site")], false),
            ("127.0.0.1", &[host, ("sec-fetch-site", "same-site")], false),
        ] {
            let peer_address = peer.parse().unwrap();
            let found = is_local(peer_address, |name| values(headers, name));
            assert_eq!(found, expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn only_names_of_loopback_are_loopback() {
        for good in ["localhost", "LocalHost:80", "127.0.0.1", "127.0.0.2:8080", "[::1]", "[::1]:8080"] {
            assert!(is_loopback_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "throng.test",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:127",
            "localhost:80@evil.example",
            "[::2]",
            "[::1",
            "[::1]x",
            "[::1]:x",
            "::1",
            "0.0.0.0",
            "127.1",
            "localhost:80:80",
        ] {
            assert!(!is_loopback_host(bad.as_bytes()), "{bad}");
        }
        assert!(!is_loopback_host(b"localhost\xff"));
    }

    #[test]
    fn a_key_is_right_or_wrong() {
        let keys = Keys::new(&[Secret::new("first-of-the-two-keys"), Secret::new("second-of-the-keys")]);
        let accepted = |headers: Headers<'_>| keys.accept(|name| values(headers, name));
        for (headers, expected) in [
            (&[("authorization", "Bearer first-of-the-two-keys")][..], true),
            (&[("authorization", "bearer   second-of-the-keys ")], true),
            (&[("x-api-key", "second-of-the-keys")], true),
            (&[("authorization", "Basic abc"), ("x-api-key", "first-of-the-two-keys")], true),
            (&[("x-api-key", "wrong"), ("x-api-key", "first-of-the-two-keys")], true),
            (&[], false),
            (&[("authorization", "Bearer")], false),
            (&[("authorization", "first-of-the-two-keys")], false),
            (&[("authorization", "Basic first-of-the-two-keys")], false),
            (&[("x-api-key", "first-of-the-two-key")], false),
            (&[("x-api-key", "first-of-the-two-keyS")], false),
            (&[("x-api-key", "")], false),
            (&[("cookie", "first-of-the-two-keys")], false),
        ] {
            assert_eq!(accepted(headers), expected, "{headers:?}");
        }
        assert!(!Keys::default().accept(|name| values(&[("x-api-key", "")], name)), "no keys, no entry");
    }
}
