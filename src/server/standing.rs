//! How a newcomer stands with the limits of its address before it has asked for anything.

use std::sync::Arc;

use crate::admission::Refusal;
use crate::admission::address::Net;
use crate::admission::limits::{Lease, PerAddress};

/// See the module's documentation. By default it is known only from the request's head whose connection it is.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// It is to be told this, and whether the server is well, and hardly more.
    pub(super) refusal: Option<Refusal>,
    /// Its handshake and connection are counted.
    pub(super) is_counted: bool,
    pub(super) lease: Option<Lease>,
}

impl Standing {
    /// Counts a newcomer from this address.
    pub(super) fn count(addresses: &Arc<PerAddress>, net: Net, now_ms: u64) -> Self {
        let counted = addresses.handshake(net, now_ms).and_then(|()| addresses.connect(net));
        match counted {
            Ok(lease) => Self { refusal: None, is_counted: true, lease },
            Err(refusal) => Self::refused(refusal),
        }
    }

    /// One that there is no place for.
    pub(super) fn refused(refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), ..Self::default() }
    }
}
