//! The last thing that a client is sent.

use bytes::Bytes;

use crate::protocol::Dialect;
use crate::protocol::close::EndReason;
use crate::protocol::event::v1;
use crate::protocol::frame;

/// The close frame, and in `throng.v1` the advice right before it; `None` when nobody is there to read it.
pub(super) fn last_frames(dialect: Dialect, reason: &EndReason) -> Option<Bytes> {
    match reason {
        EndReason::PeerVanished => None,
        // The client's own code comes back (RFC 6455 section 5.5.1); 1005 stands for none.
        EndReason::PeerClosed(code) => Some(frame::close((*code != 1005).then_some(*code), "")),
        ours => {
            let close = frame::close(Some(ours.code()), &ours.text());
            Some(match dialect {
                Dialect::Plain => close,
                // At different times, or those who were closed together come back together.
                Dialect::V1 => {
                    let after_ms = fastrand::u64(ours.advice().after_ms);
                    [v1::disconnect(ours, after_ms), close].concat().into()
                }
            })
        }
    }
}
