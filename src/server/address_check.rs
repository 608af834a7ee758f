//! Counts an accepted socket against the limits of its address, before any byte of it is read.

use std::sync::Arc;

use crate::admission::Refusal;
use crate::admission::address::Net;
use crate::admission::limits::{AddressLease, AddressLimits};

/// One handshake and, where connections are limited, one connection that are counted for an address.
#[derive(Debug)]
pub(super) struct AddressCharge {
    net: Net,
    lease: Option<AddressLease>,
}

impl AddressCharge {
    /// Counts a handshake and a connection for `net`.
    ///
    /// # Errors
    /// The limit that the address has reached.
    pub(super) fn new(addresses: &Arc<AddressLimits>, net: Net, now_ms: u64) -> Result<Self, Refusal> {
        addresses.handshake(net, now_ms)?;
        Ok(Self { net, lease: addresses.connect(net)? })
    }

    /// Takes both back, as if the socket had never come.
    pub(super) fn refund(self, addresses: &AddressLimits) {
        addresses.forgive(self.net);
    }

    /// Keeps the connection counted for as long as the lease lives; `None` where connections are not limited.
    pub(super) fn into_lease(self) -> Option<AddressLease> {
        self.lease
    }
}

/// The result of counting a socket against the limits of its address.
#[derive(Debug, Default)]
pub(super) enum AddressCheck {
    /// The socket comes from a proxy, and its client is not known yet.
    #[default]
    Pending,
    /// The address is within its limits.
    Passed(AddressCharge),
    /// A limit is reached. The socket has a reserved permit: it may ask whether the server is well, and is refused
    /// nearly everything else for this reason.
    Refused(Refusal),
}

impl AddressCheck {
    /// Returns the reason for which the socket is refused nearly everything.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        if let Self::Refused(refusal) = self { Some(*refusal) } else { None }
    }
}

impl From<Result<AddressCharge, Refusal>> for AddressCheck {
    fn from(result: Result<AddressCharge, Refusal>) -> Self {
        result.map_or_else(Self::Refused, Self::Passed)
    }
}
