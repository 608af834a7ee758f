//! Who may see what is the operator's: whoever has a key, wherever the request comes from. Where none is configured one
//! is made at the start and told in the log alone. What a request says about its way here proves nothing: a proxy on
//! the same machine may add no header at all, and pass on the `Host` that a stranger chose.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::token::bearer_credentials;
use crate::config::Secret;

/// Random bytes of a key that is made: nobody guesses 144 bits, and base64 writes them without a rest.
const KEY_BYTES: usize = 18;

/// The keys of the operator; there is at least one.
#[derive(Debug)]
pub struct Keys {
    keys: Box<[Secret]>,
    /// The only key was made here, and nobody knows it yet.
    is_made: bool,
}

impl Keys {
    /// The keys of `api.keys`; without any, one that is made now.
    ///
    /// # Errors
    /// The system has no random numbers to make one of.
    pub fn new(configured: &[Secret]) -> Result<Self, getrandom::Error> {
        if !configured.is_empty() {
            return Ok(Self { keys: configured.into(), is_made: false });
        }
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self { keys: [Secret::new(URL_SAFE_NO_PAD.encode(bytes))].into(), is_made: true })
    }

    /// Where the dashboard of a server is that listens on `address`, as somebody on its machine asks for it. A key that
    /// was made here stands behind it, because it can be read nowhere else: in the fragment, which a browser sends to
    /// nobody. Configured keys never do.
    #[must_use]
    pub fn dashboard(&self, address: SocketAddr) -> String {
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

    /// True when a request shows one of the keys: behind `Bearer` in an `Authorization` header, or in an `X-API-Key`.
    /// `headers` gives the values of all headers of a name in lower case.
    ///
    /// Takes as long for a near miss as for a far one, whichever key it is near to; the length of keys is no secret.
    pub fn accept<'r, V>(&self, headers: impl Fn(&str) -> V) -> bool
    where
        V: Iterator<Item = &'r [u8]>,
    {
        let shown = headers("authorization").filter_map(bearer_credentials).chain(headers("x-api-key"));
        shown.fold(false, |any, shown| {
            self.keys.iter().fold(any, |any, key| any | is_same(key.expose(), shown))
        })
    }
}

/// Compares without an early way out, and with none for the compiler to find.
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
            Keys::new(&[Secret::new("first-of-the-two-keys"), Secret::new("second-of-the-keys")]).unwrap();
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
        let (one, other) = (Keys::new(&[]).unwrap(), Keys::new(&[]).unwrap());
        let made = |keys: &Keys| {
            let address = keys.dashboard("127.0.0.1:8080".parse().unwrap());
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
        let keys = Keys::new(&[Secret::new("the-only-one-of-the-keys")]).unwrap();
        for (listen, expected) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080/dashboard"),
            ("0.0.0.0:80", "http://127.0.0.1:80/dashboard"),
            ("[::]:8080", "http://[::1]:8080/dashboard"),
            ("[::ffff:0.0.0.0]:8080", "http://127.0.0.1:8080/dashboard"),
            ("[::1]:8080", "http://[::1]:8080/dashboard"),
            ("192.0.2.1:8080", "http://192.0.2.1:8080/dashboard"),
        ] {
            assert_eq!(keys.dashboard(listen.parse().unwrap()), expected, "{listen}");
        }
    }
}
