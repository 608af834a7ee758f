//! The limits of what a socket has to do before it speaks HTTP: its time, and its handshake permit.

use std::future::Future;
use std::pin::pin;

use tokio::time::{Instant, timeout_at};

use super::handshakes::{Activity, Revocation};
use crate::http;

/// Why a step before HTTP was not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfinished {
    /// It was not over in time.
    Late,
    /// The handshake permit was revoked before it was over.
    MadeWay,
}

/// Makes a step in which the peer is waited for, until `deadline`, or a little longer where the process stood still
/// meanwhile, and as long as the handshake permit is not revoked.
///
/// # Errors
/// The step is given up.
pub(super) async fn in_time<R>(
    step: impl Future<Output = R>,
    revocation: &Revocation,
    deadline: Instant,
) -> Result<R, Unfinished> {
    let in_time = async {
        let mut step = pin!(step);
        let mut in_time = timeout_at(deadline, step.as_mut()).await;
        if in_time.is_err()
            && let Some(until) = http::grace(deadline)
        {
            in_time = timeout_at(until, step).await;
        }
        in_time.map_err(|_| Unfinished::Late)
    };
    let done = http::unless_revoked(in_time, |cx| revocation.poll_revoked(cx, Activity::AwaitingPeer)).await;
    done.unwrap_or(Err(Unfinished::MadeWay))
}
