//! The admission rules of a server, made from its configuration and shared by all threads. A reload replaces them.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::address_check::{AddressCharge, AddressCheck};
use super::handshakes::Group;
use crate::admission::Refusal;
use crate::admission::address::TrustedProxies;
use crate::admission::limits::AddressLimits;
use crate::admission::origin::OriginList;
use crate::admission::token::Verifier;
use crate::clock::Clock;
use crate::config::{Config, Limits};
use crate::live::Live;

/// The rules that a reload replaces.
pub(super) struct AdmissionRules {
    proxies: TrustedProxies,
    origins: OriginList,
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
        Ok(Self {
            rules: Live::new(AdmissionRules::new(config)?),
            expects_proxy_header: config.admission.proxy_protocol,
            addresses: AddressLimits::new(connections, handshakes),
            clock,
            has_warned: AtomicBool::new(false),
        })
    }

    /// Replaces the rules and the limits of addresses.
    pub(super) fn replace(&self, rules: AdmissionRules, limits: &Limits) {
        self.rules.replace(rules);
        self.addresses.set(limits.max_connections_per_address, limits.handshakes_per_second_per_address);
        self.has_warned.store(false, Relaxed);
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

    /// Returns the verifier of tokens; `None` where no key is configured, which the log says once.
    pub(super) fn verifier(&self) -> Option<Arc<Verifier>> {
        let verifier = self.rules.read().verifier.clone();
        if verifier.is_none() && !self.has_warned.swap(true, Relaxed) {
            tracing::warn!("no key is configured (auth.secret or auth.public_key): every token is refused");
        }
        verifier
    }

    /// Forgets handshakes that no longer count; to be called ten times a second with 0, 1, 2…
    pub(super) fn keep_house(&self, turn: usize) {
        self.addresses.forget(turn, self.clock.now_ms());
    }
}
