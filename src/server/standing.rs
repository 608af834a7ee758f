//! How a newcomer stands with the limits of its address before it has asked for anything.

use std::sync::Arc;

use crate::admission::Refusal;
use crate::admission::address::Net;
use crate::admission::limits::{Lease, PerAddress};

/// A handshake and a connection that are counted.
#[derive(Debug)]
pub(super) struct Counted {
    /// Whose they are.
    pub(super) net: Net,
    /// The connection is counted for as long as this is held; none where there is no limit.
    pub(super) lease: Option<Lease>,
}

/// See the module's documentation. By default it is known only from the request's head whose connection it is.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// It is to be told this, and whether the server is well, and hardly more.
    pub(super) refusal: Option<Refusal>,
    pub(super) counted: Option<Counted>,
}

impl Standing {
    /// Counts a newcomer from this address.
    pub(super) fn count(addresses: &Arc<PerAddress>, net: Net, now_ms: u64) -> Self {
        let counted = addresses.handshake(net, now_ms).and_then(|()| addresses.connect(net));
        match counted {
            Ok(lease) => Self { refusal: None, counted: Some(Counted { net, lease }) },
            Err(refusal) => Self::refused(refusal),
        }
    }

    /// One that there is no place for.
    pub(super) fn refused(refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), ..Self::default() }
    }
}
