//! What decides over newcomers and their requests.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::feed::Feed;
use super::handshakes::Group;
use super::standing::{Counted, Standing};
use crate::admission::address::TrustedProxies;
use crate::admission::limits::PerAddress;
use crate::admission::operator;
use crate::admission::origin::OriginList;
use crate::admission::token::Verifier;
use crate::clock::Clock;
use crate::config::Config;

/// See the module's documentation; made once from the configuration.
pub(super) struct Rules {
    pub(super) proxies: TrustedProxies,
    /// Every peer is a proxy that says in a header whose connection it is.
    pub(super) has_headers: bool,
    pub(super) origins: OriginList,
    pub(super) addresses: Arc<PerAddress>,
    /// Decides when tokens expire and when addresses may knock again.
    pub(super) clock: Clock,
    pub(super) verifier: Option<Verifier>,
    /// Keys of the operator.
    pub(super) keys: operator::Keys,
    pub(super) feed: Feed,
    /// The log has said that there is no key.
    pub(super) has_warned: AtomicBool,
}

impl Rules {
    pub(super) fn new(config: &Config, clock: Clock) -> io::Result<Self> {
        let Config { admission, api, auth, limits, .. } = config;
        let (connections, handshakes) =
            (limits.max_connections_per_address, limits.handshakes_per_second_per_address);
        Ok(Self {
            proxies: TrustedProxies::parse(&admission.trusted_proxies).map_err(io::Error::other)?,
            has_headers: admission.proxy_protocol,
            origins: OriginList::parse(&admission.origins).map_err(io::Error::other)?,
            addresses: PerAddress::new(connections, handshakes),
            clock,
            verifier: Verifier::from_config(auth).map_err(io::Error::other)?,
            keys: operator::Keys::new(&api.keys).map_err(io::Error::other)?,
            feed: Feed::default(),
            has_warned: AtomicBool::new(false),
        })
    }

    /// True when `peer` speaks for others. Where every peer sends a header, and nobody is listed, each may be a proxy.
    pub(super) fn is_proxy(&self, peer: IpAddr) -> bool {
        self.has_headers && self.proxies.is_empty() || self.proxies.contains(peer)
    }

    /// Whose places among the handshakes are counted together with those of `peer`, from whom a socket comes.
    pub(super) fn group(&self, peer: IpAddr) -> Group {
        Group { is_proxy: self.is_proxy(peer), ..Group::of_client(peer) }
    }

    /// Counts a newcomer whose own address `peer` is.
    pub(super) fn standing(&self, peer: IpAddr) -> Standing {
        Standing::count(&self.addresses, peer.into(), self.clock.now_ms())
    }

    /// Takes back that a handshake and a connection were counted.
    pub(super) fn take_back(&self, counted: Counted) {
        self.addresses.forgive(counted.net);
    }

    /// Forgets what addresses did some time ago; to be called ten times a second with 0, 1, 2…
    pub(super) fn keep_house(&self, turn: usize) {
        self.addresses.forget(turn, self.clock.now_ms());
    }
}
