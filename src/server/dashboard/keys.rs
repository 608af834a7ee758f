//! The keys that let the operator see the dashboard's numbers.
//!
//! A request has to show a key wherever it comes from. Its headers prove nothing about its origin: a proxy on the same
//! machine may add no header at all, and pass on the `Host` that a stranger chose. Without configured keys a new one is
//! made at the start, and stands in the log alone.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::admission::token::bearer_credentials;
use crate::config::Secret;

/// Random bytes of a new key: 144 bits cannot be guessed, and base64 needs no padding for 18 bytes.
const KEY_BYTES: usize = 18;

/// The keys of the operator; there is at least one.
#[derive(Debug)]
pub(super) struct OperatorKeys {
    keys: Box<[Secret]>,
    /// True when the only key was made here, so that the log has to show it.
    is_made: bool,
}

impl OperatorKeys {
    /// Takes the keys of `api.keys`, or makes one when there are none.
    ///
    /// # Errors
    /// The system has no random numbers for a new key.
    pub(super) fn new(configured: &[Secret]) -> Result<Self, getrandom::Error> {
        if !configured.is_empty() {
            return Ok(Self { keys: configured.into(), is_made: false });
        }
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self { keys: [Secret::new(URL_SAFE_NO_PAD.encode(bytes))].into(), is_made: true })
    }

    /// Returns the URL of the dashboard for a browser on the machine of the server that listens on `address`. Its
    /// fragment, which a browser sends to nobody, holds a key that was made here, because that key can be read nowhere
    /// else. It never holds a configured key.
    pub(super) fn url(&self, address: SocketAddr) -> String {
        let mut address = address;
        match address.ip().to_canonical() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        let page = format!("http://{address}/dashboard");
        match &self.keys[..] {
            [made] if self.is_made => format!("{page}#key={}", String::from_utf8_lossy(made.expose())),
            _ => page,
        }
    }

    /// Returns true when a request shows one of the keys, behind `Bearer` in an `Authorization` header or in an
    /// `X-API-Key` header. `headers` returns the values of all headers of a name in lower case.
    ///
    /// The time it takes does not tell how much of a wrong key is right; the length of the keys is no secret.
    pub(super) fn accept<'r, V>(&self, headers: impl Fn(&str) -> V) -> bool
    where
        V: Iterator<Item = &'r [u8]>,
    {
        let shown = headers("authorization").filter_map(bearer_credentials).chain(headers("x-api-key"));
        shown.fold(false, |any, shown| {
            self.keys.iter().fold(any, |any, key| any | is_same(key.expose(), shown))
        })
    }
}

/// Compares all bytes, without an early return for the first difference, and without one that the compiler could add.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| black_box(all | (a ^ b))) == 0
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
    fn a_key_is_right_or_wrong() {
        let keys =
            OperatorKeys::new(&[Secret::new("first-of-the-two-keys"), Secret::new("second-of-the-keys")])
                .unwrap();
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
    }

    #[test]
    fn without_keys_one_is_made_that_only_the_address_shows() {
        let (one, other) = (OperatorKeys::new(&[]).unwrap(), OperatorKeys::new(&[]).unwrap());
        let made = |keys: &OperatorKeys| {
            let address = keys.url("127.0.0.1:8080".parse().unwrap());
            address.strip_prefix("http://127.0.0.1:8080/dashboard#key=").expect("a key").to_owned()
        };
        let key = made(&one);
        assert_ne!(key, made(&other));
        assert!(
            key.len() == 24 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)),
            "{key}"
        );
        let shown = [("x-api-key", &*key)];
        assert!(one.accept(|name| values(&shown, name)));
        assert!(!other.accept(|name| values(&shown, name)));
        for nothing in
            [&[][..], &[("x-api-key", "")], &[("authorization", "Bearer ")], &[("host", "localhost")]]
        {
            assert!(!one.accept(|name| values(nothing, name)), "{nothing:?}");
        }
        assert!(!format!("{one:?}").contains(&key), "{one:?}");
    }

    #[test]
    fn the_address_can_be_asked_for_and_shows_no_configured_key() {
        let keys = OperatorKeys::new(&[Secret::new("the-only-one-of-the-keys")]).unwrap();
        for (listen, expected) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080/dashboard"),
            ("0.0.0.0:80", "http://127.0.0.1:80/dashboard"),
            ("[::]:8080", "http://[::1]:8080/dashboard"),
            ("[::ffff:0.0.0.0]:8080", "http://127.0.0.1:8080/dashboard"),
            ("[::1]:8080", "http://[::1]:8080/dashboard"),
            ("192.0.2.1:8080", "http://192.0.2.1:8080/dashboard"),
        ] {
            assert_eq!(keys.url(listen.parse().unwrap()), expected, "{listen}");
        }
    }
}
