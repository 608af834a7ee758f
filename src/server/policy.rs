//! The admission rules of a server, made from its configuration and shared by all threads. A reload replaces them.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;

use super::address_check::{AddressCharge, AddressCheck};
use super::denial;
use super::handshakes::Group;
use super::jwks::RemoteKeys;
use crate::admission::Refusal;
use crate::admission::address::TrustedProxies;
use crate::admission::limits::AddressLimits;
use crate::admission::origin::OriginList;
use crate::admission::token::{Identity, Token, Verifier};
use crate::clock::Clock;
use crate::config::{Auth, Config, Limits};
use crate::keys::jwks::KeySet;
use crate::keys::{Algorithm, KeyError};
use crate::live::Live;
use crate::names::UserId;
use crate::protocol::close::EndReason;

/// The rules that a reload replaces.
pub(super) struct AdmissionRules {
    proxies: TrustedProxies,
    origins: OriginList,
    auth: Auth,
    /// Verifies tokens with the keys of the configuration; `None` where it has none.
    verifier: Option<Arc<Verifier>>,
}

impl AdmissionRules {
    /// Reads the rules from the configuration.
    ///
    /// # Errors
    /// An entry cannot be used. Loading the configuration has ruled that out.
    pub(super) fn new(config: &Config) -> io::Result<Self> {
        let Config { admission, auth, .. } = config;
        Ok(Self {
            proxies: TrustedProxies::parse(&admission.trusted_proxies).map_err(io::Error::other)?,
            origins: OriginList::parse(&admission.origins).map_err(io::Error::other)?,
            verifier: Verifier::from_config(auth).map_err(io::Error::other)?.map(Arc::new),
            auth: auth.clone(),
        })
    }
}

/// Decides which sockets and requests are admitted.
pub(super) struct AdmissionPolicy {
    rules: Live<AdmissionRules>,
    /// `admission.proxy_protocol`: every connection begins with a header in which a proxy names the client.
    expects_proxy_header: bool,
    pub(super) addresses: Arc<AddressLimits>,
    /// The clock by which tokens expire and handshakes are counted.
    pub(super) clock: Clock,
    /// Verifies tokens; `None` without a key. It is replaced as a whole, and never changed.
    verifier: Live<Option<Arc<Verifier>>>,
    /// The keys that are fetched from a URL, if they are.
    pub(super) remote_keys: Option<RemoteKeys>,
    /// The keys that were fetched last. Held while the verifier is replaced, so that the rules and the keys that it is
    /// made of are the newest ones.
    fetched: Mutex<Option<KeySet>>,
    /// True once the log has said that no key for tokens is configured.
    has_warned: AtomicBool,
}

impl AdmissionPolicy {
    /// Reads the policy from the configuration.
    ///
    /// # Errors
    /// An entry cannot be used. Loading the configuration has ruled that out.
    pub(super) fn new(config: &Config, clock: Clock) -> io::Result<Self> {
        let limits = &config.limits;
        let (connections, handshakes) =
            (limits.max_connections_per_address, limits.handshakes_per_second_per_address);
        let rules = AdmissionRules::new(config)?;
        Ok(Self {
            verifier: Live::new(rules.verifier.clone()),
            rules: Live::new(rules),
            expects_proxy_header: config.admission.proxy_protocol,
            addresses: AddressLimits::new(connections, handshakes),
            remote_keys: RemoteKeys::new(config, clock.clone()).map_err(io::Error::other)?,
            fetched: Mutex::new(None),
            clock,
            has_warned: AtomicBool::new(false),
        })
    }

    /// Replaces the rules, the keys of tokens, and the limits of addresses. Connections that are open stay.
    ///
    /// # Errors
    /// The set of keys that was fetched last has no key, which parsing has ruled out.
    pub(super) fn replace(&self, rules: AdmissionRules, limits: &Limits) -> Result<(), KeyError> {
        {
            let fetched = self.fetched.lock();
            let of_set = |set| Verifier::with_key_set(&rules.auth, set).map(Arc::new);
            let remote = fetched.as_ref().map(of_set).transpose()?;
            self.verifier.replace(remote.or_else(|| rules.verifier.clone()));
            self.rules.replace(rules);
        }
        if let Some(keys) = &self.remote_keys {
            // The algorithm decides which keys of the set are used.
            keys.fetch_soon();
        }
        self.addresses.set(limits.max_connections_per_address, limits.handshakes_per_second_per_address);
        self.has_warned.store(false, Relaxed);
        Ok(())
    }

    /// Checks the `Origin` headers of a handshake.
    ///
    /// # Errors
    /// [`Refusal::Origin`].
    pub(super) fn check_origin<'a>(
        &self,
        headers: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), Refusal> {
        self.rules.read().origins.check(headers)
    }

    /// Returns true for an address of `admission.trusted_proxies`.
    pub(super) fn is_trusted(&self, address: IpAddr) -> bool {
        self.rules.read().proxies.contains(address)
    }

    /// Returns true when `peer` is a proxy that speaks for others. Where every connection begins with a header and no
    /// proxy is listed, any peer may be one.
    pub(super) fn is_proxy(&self, peer: IpAddr) -> bool {
        let proxies = &self.rules.read().proxies;
        self.expects_proxy_header && proxies.is_empty() || proxies.contains(peer)
    }

    /// Returns the client of a request: `peer`, or the address that a trusted proxy names in `X-Forwarded-For`.
    pub(super) fn client<'a>(
        &self,
        peer: IpAddr,
        forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
    ) -> IpAddr {
        self.rules.read().proxies.client(peer, forwarded)
    }

    /// Returns true when it is the request head, and no PROXY protocol header, that names the client of a proxy.
    pub(super) fn is_client_in_request(&self) -> bool {
        !self.expects_proxy_header
    }

    /// Returns the group in which the handshake permit of a socket from `peer` is counted.
    pub(super) fn group(&self, peer: IpAddr) -> Group {
        Group { is_proxy: self.is_proxy(peer), ..Group::of_client(peer) }
    }

    /// Counts a socket of the client `client` against the limits of its address.
    pub(super) fn check_address(&self, client: IpAddr) -> AddressCheck {
        AddressCharge::new(&self.addresses, client.into(), self.clock.now_ms()).into()
    }

    /// Takes back what was counted for an address, as if the socket had never come.
    pub(super) fn refund(&self, charge: AddressCharge) {
        charge.refund(&self.addresses);
    }

    /// Returns the verifier of tokens; `None` where no key is configured, which the log says once. Call it once for
    /// each token: the keys may be replaced at any time.
    pub(super) fn verifier(&self) -> Option<Arc<Verifier>> {
        let verifier = (**self.verifier.read()).clone();
        if verifier.is_none() && !self.has_warned.swap(true, Relaxed) {
            tracing::warn!("no key is configured (auth.secret or auth.public_key): every token is refused");
        }
        verifier
    }

    /// Returns the owner of a token, who has to be `user` where that is given. The log says why a token is bad, and
    /// never holds the token.
    ///
    /// # Errors
    /// Why the token is bad.
    pub(super) fn verify(&self, token: &Token, user: Option<&UserId>) -> Result<Identity, EndReason> {
        if !self.has_good_keys() {
            tracing::debug!("a token was refused: there is no set of keys, or it is too old");
            return Err(EndReason::Overloaded);
        }
        let verifier = self.verifier().ok_or(EndReason::AuthenticationFailed)?;
        let now_unix_ms = self.clock.wall_ms();
        verifier.verify(token.expose(), user.map(UserId::as_str), now_unix_ms).map_err(|error| {
            tracing::debug!(%error, "a token was refused");
            match denial::of_token(error) {
                // Without a URL no further key will come.
                EndReason::Overloaded if self.remote_keys.is_none() => EndReason::AuthenticationFailed,
                reason => reason,
            }
        })
    }

    /// Returns true unless keys come from a URL, and none have come, or too long ago.
    pub(super) fn has_good_keys(&self) -> bool {
        let stale_after = || self.rules.read().auth.jwks_stale;
        self.remote_keys.as_ref().is_none_or(|keys| keys.are_good(stale_after()))
    }

    /// Verifies tokens with a set of keys that was fetched.
    ///
    /// # Errors
    /// The set has no key.
    pub(super) fn use_key_set(&self, set: KeySet) -> Result<(), KeyError> {
        let mut fetched = self.fetched.lock();
        let verifier = Verifier::with_key_set(&self.rules.read().auth, &set)?;
        self.verifier.replace(Some(Arc::new(verifier)));
        *fetched = Some(set);
        Ok(())
    }

    /// Returns the one algorithm that tokens may have.
    pub(super) fn algorithm(&self) -> Algorithm {
        self.rules.read().auth.algorithm
    }

    /// Returns true when tokens cannot be verified because no set of keys has come yet.
    pub(super) fn awaits_keys(&self) -> bool {
        self.remote_keys.is_some() && self.verifier.read().is_none()
    }

    /// Forgets handshakes that no longer count; to be called ten times a second with 0, 1, 2…
    pub(super) fn keep_house(&self, turn: usize) {
        self.addresses.forget(turn, self.clock.now_ms());
    }
}
