//! What decides over newcomers and their requests.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::feed::Feed;
use super::handshakes::Group;
use super::standing::Standing;
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

    /// Whose places among the handshakes are counted together with those of `peer`, from whom a socket comes.
    pub(super) fn group(&self, peer: IpAddr) -> Group {
        // Without a list whoever connects may be the proxy.
        let is_unlisted = self.has_headers && self.proxies.is_empty();
        Group { is_proxy: is_unlisted || self.proxies.contains(peer), ..self.client_group(peer) }
    }

    /// As [`Rules::group`], for a client as a proxy has named it: should that be the proxy, it speaks for itself.
    pub(super) fn client_group(&self, client: IpAddr) -> Group {
        Group { net: client.into(), is_proxy: false }
    }

    /// Counts a newcomer whose own address `peer` is.
    pub(super) fn standing(&self, peer: IpAddr) -> Standing {
        Standing::count(&self.addresses, peer.into(), self.clock.now_ms())
    }

    /// Takes back that a handshake of this address was counted.
    pub(super) fn forgive(&self, peer: IpAddr) {
        self.addresses.forgive(peer.into());
    }

    /// Forgets what addresses did some time ago; to be called ten times a second with 0, 1, 2…
    pub(super) fn keep_house(&self, turn: usize) {
        self.addresses.forget(turn, self.clock.now_ms());
    }
}
