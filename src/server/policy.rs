//! The admission rules of a server, made once from its configuration and shared by all threads.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::RwLock;

use super::address_check::{AddressCharge, AddressCheck};
use super::denial;
use super::handshakes::Group;
use super::jwks::RemoteKeys;
use crate::admission::address::TrustedProxies;
use crate::admission::limits::AddressLimits;
use crate::admission::origin::OriginList;
use crate::admission::token::{Identity, Token, Verifier};
use crate::clock::Clock;
use crate::config::{Auth, Config};
use crate::keys::KeyError;
use crate::keys::jwks::KeySet;
use crate::names::UserId;
use crate::protocol::close::EndReason;

/// Decides which sockets and requests are admitted.
pub(super) struct AdmissionPolicy {
    pub(super) proxies: TrustedProxies,
    /// `admission.proxy_protocol`: every connection begins with a header in which a proxy names the client.
    expects_proxy_header: bool,
    pub(super) origins: OriginList,
    pub(super) addresses: Arc<AddressLimits>,
    /// The clock by which tokens expire and handshakes are counted.
    pub(super) clock: Clock,
    /// Verifies tokens; `None` without a key. It is replaced as a whole, and never changed.
    verifier: RwLock<Option<Arc<Verifier>>>,
    /// The keys that are fetched from a URL, if they are.
    pub(super) remote_keys: Option<RemoteKeys>,
    /// True once the log has said that no key for tokens is configured.
    has_warned: AtomicBool,
}

impl AdmissionPolicy {
    /// Reads the policy from the configuration.
    ///
    /// # Errors
    /// An entry cannot be used. Loading the configuration has ruled that out.
    pub(super) fn new(config: &Config, clock: Clock) -> io::Result<Self> {
        let Config { admission, auth, limits, .. } = config;
        let (connections, handshakes) =
            (limits.max_connections_per_address, limits.handshakes_per_second_per_address);
        Ok(Self {
            proxies: TrustedProxies::parse(&admission.trusted_proxies).map_err(io::Error::other)?,
            expects_proxy_header: admission.proxy_protocol,
            origins: OriginList::parse(&admission.origins).map_err(io::Error::other)?,
            addresses: AddressLimits::new(connections, handshakes),
            remote_keys: RemoteKeys::new(config, clock.clone()).map_err(io::Error::other)?,
            clock,
            verifier: RwLock::new(Verifier::from_config(auth).map_err(io::Error::other)?.map(Arc::new)),
            has_warned: AtomicBool::new(false),
        })
    }

    /// Returns true when `peer` is a proxy that speaks for others. Where every connection begins with a header and no
    /// proxy is listed, any peer may be one.
    pub(super) fn is_proxy(&self, peer: IpAddr) -> bool {
        self.expects_proxy_header && self.proxies.is_empty() || self.proxies.contains(peer)
    }

    /// Returns the client of a request: `peer`, or the address that a trusted proxy names in `X-Forwarded-For`.
    pub(super) fn client<'a>(
        &self,
        peer: IpAddr,
        forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
    ) -> IpAddr {
        self.proxies.client(peer, forwarded)
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
        let verifier = self.verifier.read().clone();
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
        if self.remote_keys.as_ref().is_some_and(|keys| !keys.are_good()) {
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

    /// Verifies tokens with a set of keys that was fetched.
    ///
    /// # Errors
    /// The set has no key.
    pub(super) fn use_key_set(&self, auth: &Auth, set: &KeySet) -> Result<(), KeyError> {
        *self.verifier.write() = Some(Arc::new(Verifier::with_key_set(auth, set)?));
        Ok(())
    }

    /// Returns true when tokens cannot be verified because no set of keys has come yet.
    pub(super) fn awaits_keys(&self) -> bool {
        self.remote_keys.is_some() && self.verifier.read().is_none()
    }

    /// Verifies tokens with the keys and claims of `auth` from now on. Connections that are open stay.
    ///
    /// # Errors
    /// A key does not fit its algorithm. The keys are those of before then.
    #[expect(dead_code, reason = "called when the configuration is read again")]
    pub(super) fn replace_keys(&self, auth: &Auth) -> Result<(), KeyError> {
        if self.remote_keys.is_some() {
            // They come from their URL, whatever else is configured.
            return Ok(());
        }
        let verifier = Verifier::from_config(auth)?.map(Arc::new);
        *self.verifier.write() = verifier;
        Ok(())
    }

    /// Forgets handshakes that no longer count; to be called ten times a second with 0, 1, 2…
    pub(super) fn keep_house(&self, turn: usize) {
        self.addresses.forget(turn, self.clock.now_ms());
    }
}
