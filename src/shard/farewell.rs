//! Encodes the last frames that a client is sent.

use bytes::Bytes;

use crate::protocol::Dialect;
use crate::protocol::close::EndReason;
use crate::protocol::event::v1;
use crate::protocol::{frame, sse};

/// Encodes the close frame, and for `throng.v1` the `disconnect` event before it, unless the client closed first. For
/// server-sent events it is the last event.
/// Returns `None` when the client has vanished.
pub(super) fn last_frames(dialect: Dialect, reason: &EndReason) -> Option<Bytes> {
    match reason {
        EndReason::PeerVanished => None,
        // The client's own code is echoed (RFC 6455 section 5.5.1). The code 1005 means that the client sent none.
        EndReason::PeerClosed(code) => Some(frame::close((*code != 1005).then_some(*code), "")),
        ours => {
            let close = frame::close(Some(ours.code()), &ours.text());
            Some(match dialect {
                Dialect::Plain => close,
                Dialect::Sse => sse::farewell(ours, fastrand::u64(ours.advice().after_ms)),
                // The delay is random, so that clients that were closed together do not return together.
                Dialect::V1 => {
                    let after_ms = fastrand::u64(ours.advice().after_ms);
                    [v1::disconnect(ours, after_ms), close].concat().into()
                }
            })
        }
    }
}
