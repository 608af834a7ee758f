//! The keys of the operator and of other servers: `api.keys` and `api.read_keys`.
//!
//! A request has to show a key wherever it comes from. Its headers prove nothing about its origin: a proxy on the same
//! machine may add no header at all, and pass on the `Host` that a stranger chose. Without configured keys a new one is
//! made at the start for the operator's pages, and stands in the log alone.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;

use super::transport::{Transport, near};
use crate::admission::token::bearer_credentials;
use crate::config::{Api, Secret};
use crate::rate_limit::Bucket;

/// Random bytes of a new key: 144 bits cannot be guessed, and base64 needs no padding for 18 bytes.
const KEY_BYTES: usize = 18;

/// The part of the server that a key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// The operator's pages alone: the key was made here.
    Pages,
    /// The operator's pages, and what reads in the API.
    Read,
    /// Everything.
    Full,
}

/// One key.
#[derive(Debug)]
pub(super) struct OperatorKey {
    /// The name in logs.
    pub(super) name: Box<str>,
    pub(super) access: Access,
    secret: Secret,
    /// The part of its rate that the key has used (`api.requests_per_second`).
    pub(super) bucket: Arc<Mutex<Bucket>>,
}

/// The keys of the operator and of other servers; there is at least one.
#[derive(Debug)]
pub(super) struct OperatorKeys(Box<[OperatorKey]>);

impl OperatorKey {
    /// Reads a configured key, which is the one with this number in its setting.
    fn new(setting: &str, number: usize, configured: &Secret, access: Access) -> Self {
        let (name, secret) = configured.named();
        let name = name.map_or_else(|| format!("{setting}-{number}"), str::to_owned).into();
        Self { name, access, secret: Secret::new(String::from_utf8_lossy(secret)), bucket: Arc::default() }
    }

    /// Makes a key for the operator's pages.
    ///
    /// # Errors
    /// The system has no random numbers.
    fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes)?;
        let secret = Secret::new(URL_SAFE_NO_PAD.encode(bytes));
        Ok(Self { name: "made".into(), access: Access::Pages, secret, bucket: Arc::default() })
    }
}

impl OperatorKeys {
    /// Takes the keys of `api.keys` and `api.read_keys`, or makes one when there are none.
    ///
    /// # Errors
    /// The system has no random numbers for a new key.
    pub(super) fn new(api: &Api) -> Result<Self, getrandom::Error> {
        let read = |setting: &'static str, keys: &[Secret], access| -> Vec<OperatorKey> {
            let keys = keys.iter().zip(1..);
            keys.map(|(key, number)| OperatorKey::new(setting, number, key, access)).collect()
        };
        let mut keys = read("key", &api.keys, Access::Full);
        keys.extend(read("read-key", &api.read_keys, Access::Read));
        if keys.is_empty() {
            keys.push(OperatorKey::random()?);
        }
        Ok(Self(keys.into()))
    }

    /// Takes the keys of a new configuration. A key that stays keeps what it has used of its rate, and the key that was
    /// made here stays as long as there is no other.
    ///
    /// # Errors
    /// The system has no random numbers for a new key.
    pub(super) fn renewed(&self, api: &Api) -> Result<Self, getrandom::Error> {
        let mut keys = Self::new(api)?;
        for key in &mut keys.0 {
            let is_made = key.access == Access::Pages;
            let same = |old: &&OperatorKey| match old.access {
                Access::Pages => is_made,
                Access::Read | Access::Full => old.secret == key.secret,
            };
            if let Some(old) = self.0.iter().find(same) {
                (key.secret, key.bucket) = (old.secret.clone(), Arc::clone(&old.bucket));
            }
        }
        Ok(keys)
    }

    /// Returns the URL of the dashboard for a browser on the machine of the server that listens on `address`, or on
    /// Unix sockets alone, behind a proxy whose address is not known. Its fragment, which a browser sends to nobody,
    /// holds a key that was made here, because that key can be read nowhere else. It never holds a configured key.
    pub(super) fn url(&self, transport: Transport, address: Option<SocketAddr>) -> String {
        let host = address.map_or_else(|| "localhost".to_owned(), |address| near(address).to_string());
        let page = format!("{}://{host}/dashboard", transport.scheme());
        match &self.0[..] {
            [OperatorKey { access: Access::Pages, secret, .. }] => {
                format!("{page}#key={}", String::from_utf8_lossy(secret.expose()))
            }
            _ => page,
        }
    }

    /// Returns the key that a request shows, behind `Bearer` in an `Authorization` header or in an
    /// `X-API-Key` header. `headers` returns the values of all headers of a name in lower case.
    ///
    /// The time it takes does not tell how much of a wrong key is right; the length of the keys is no secret.
    pub(super) fn find<'r, V>(&self, headers: impl Fn(&str) -> V) -> Option<&OperatorKey>
    where
        V: Iterator<Item = &'r [u8]>,
    {
        let shown = headers("authorization").filter_map(bearer_credentials).chain(headers("x-api-key"));
        let found = shown.fold(None, |found, shown| {
            self.0.iter().enumerate().fold(found, |found, (index, key)| {
                // Not lazily: every key is compared with what is shown.
                let is_it = is_same(key.secret.expose(), shown);
                if is_it { found.or(Some(index)) } else { found }
            })
        });
        found.map(|index| &self.0[index])
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

    fn keys(full: &[&str], read: &[&str]) -> OperatorKeys {
        let secrets = |keys: &[&str]| keys.iter().copied().map(Secret::new).collect();
        OperatorKeys::new(&Api { keys: secrets(full), read_keys: secrets(read), ..Api::default() }).unwrap()
    }

    #[test]
    fn keys_have_names_and_open_what_they_should() {
        let keys = keys(&["backend=first-of-the-keys", "second-of-the-keys"], &["third-of-the-keys"]);
        for (shown, expected) in [
            ("first-of-the-keys", Some(("backend", Access::Full))),
            ("second-of-the-keys", Some(("key-2", Access::Full))),
            ("third-of-the-keys", Some(("read-key-1", Access::Read))),
            ("backend=first-of-the-keys", None),
            ("backend", None),
        ] {
            let headers = [("x-api-key", shown)];
            let found = keys.find(|name| values(&headers, name));
            assert_eq!(found.map(|key| (&*key.name, key.access)), expected, "{shown}");
        }
    }

    #[test]
    fn a_key_is_right_or_wrong() {
        let keys = keys(&["first-of-the-two-keys", "second-of-the-keys"], &[]);
        let accepted = |headers: Headers<'_>| keys.find(|name| values(headers, name)).is_some();
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
        let (one, other) = (keys(&[], &[]), keys(&[], &[]));
        let made = |keys: &OperatorKeys| {
            let address = keys.url(Transport::Tls, "127.0.0.1:8080".parse().ok());
            address.strip_prefix("https://127.0.0.1:8080/dashboard#key=").expect("a key").to_owned()
        };
        let key = made(&one);
        assert_ne!(key, made(&other));
        assert!(
            key.len() == 24 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)),
            "{key}"
        );
        let shown = [("x-api-key", &*key)];
        assert!(one.find(|name| values(&shown, name)).is_some());
        assert!(other.find(|name| values(&shown, name)).is_none());
        for nothing in
            [&[][..], &[("x-api-key", "")], &[("authorization", "Bearer ")], &[("host", "localhost")]]
        {
            assert!(one.find(|name| values(nothing, name)).is_none(), "{nothing:?}");
        }
        assert!(!format!("{one:?}").contains(&key), "{one:?}");
    }

    #[test]
    fn a_key_that_stays_keeps_its_bucket_and_a_made_one_stays_until_there_is_another() {
        let api =
            |full: &[&str]| Api { keys: full.iter().copied().map(Secret::new).collect(), ..Api::default() };
        let old = keys(&["one=first-of-the-keys", "second-of-the-keys"], &[]);
        let new =
            old.renewed(&api(&["second-of-the-keys", "third-of-the-keys", "two=first-of-the-keys"])).unwrap();
        let is_same = |new: &OperatorKey, old: &OperatorKey| Arc::ptr_eq(&new.bucket, &old.bucket);
        assert!(is_same(&new.0[0], &old.0[1]) && is_same(&new.0[2], &old.0[0]));
        assert!(!old.0.iter().any(|old| is_same(&new.0[1], old)));
        assert_eq!(&*new.0[2].name, "two");

        let made = keys(&[], &[]);
        assert_eq!(made.renewed(&api(&[])).unwrap().0[0].secret, made.0[0].secret);
        let configured = made.renewed(&api(&["first-of-the-keys"])).unwrap();
        let shown = [("x-api-key", String::from_utf8_lossy(made.0[0].secret.expose()).into_owned())];
        let shown = [(shown[0].0, &*shown[0].1)];
        assert!(configured.find(|name| values(&shown, name)).is_none());
    }

    #[test]
    fn the_address_can_be_asked_for_and_shows_no_configured_key() {
        let keys = keys(&["the-only-one-of-the-keys"], &[]);
        for (listen, expected) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080/dashboard"),
            ("0.0.0.0:80", "http://127.0.0.1:80/dashboard"),
            ("[::]:8080", "http://[::1]:8080/dashboard"),
            ("[::ffff:0.0.0.0]:8080", "http://127.0.0.1:8080/dashboard"),
            ("[::1]:8080", "http://[::1]:8080/dashboard"),
            ("192.0.2.1:8080", "http://192.0.2.1:8080/dashboard"),
        ] {
            assert_eq!(keys.url(Transport::Plain, listen.parse().ok()), expected, "{listen}");
        }
        assert_eq!(keys.url(Transport::Tls, None), "https://localhost/dashboard");
    }
}
