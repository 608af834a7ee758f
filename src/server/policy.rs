//! The admission rules of a server, made once from its configuration and shared by all threads.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::RwLock;

use super::address_check::{AddressCharge, AddressCheck};
use super::handshakes::Group;
use crate::admission::address::TrustedProxies;
use crate::admission::limits::AddressLimits;
use crate::admission::origin::OriginList;
use crate::admission::token::Verifier;
use crate::clock::Clock;
use crate::config::{Auth, Config};
use crate::keys::KeyError;

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

    /// Verifies tokens with the keys and claims of `auth` from now on. Connections that are open stay.
    ///
    /// # Errors
    /// A key does not fit its algorithm. The keys are those of before then.
    #[expect(dead_code, reason = "called when the configuration is read again")]
    pub(super) fn replace_keys(&self, auth: &Auth) -> Result<(), KeyError> {
        let verifier = Verifier::from_config(auth)?.map(Arc::new);
        *self.verifier.write() = verifier;
        Ok(())
    }

    /// Forgets handshakes that no longer count; to be called ten times a second with 0, 1, 2…
    pub(super) fn keep_house(&self, turn: usize) {
        self.addresses.forget(turn, self.clock.now_ms());
    }
}
