//! Ends the connections of a worker when the server stops.
//!
//! The connections are closed in random order and spread over `drain.window`, so that they do not all reconnect at once
//! to the node that takes over.

use std::time::Duration;

use tokio::time::sleep;

use crate::connection::WorkerContext;
use crate::protocol::close::EndReason;

/// Part of the window over which the closes are spread; the rest is for the close frames to arrive.
const SPREAD: f64 = 0.7;
/// A close that is due within this time is due now: the shard's time has no finer steps.
const SOON: Duration = Duration::from_millis(1);
/// Time between two checks of whether all connections have ended.
const CHECK_PERIOD: Duration = Duration::from_millis(10);

/// Ends all connections of a worker for `reason`; returns when they have ended or the window is over.
pub(super) async fn run(context: &WorkerContext, reason: EndReason) {
    let window = context.node.config().drain.window;
    // The shard's time does not advance while the process stands still: a pause costs no client its close frame.
    let began_ms = context.shard.tick();
    let passed = || Duration::from_millis(context.shard.tick().saturating_sub(began_ms));
    let mut ids = context.shard.ids();
    fastrand::shuffle(&mut ids);
    let count = ids.len().max(1) as f64;
    for (index, id) in ids.into_iter().enumerate() {
        let at = window.mul_f64(SPREAD * index as f64 / count);
        while let Some(left) = at.checked_sub(passed()).filter(|left| *left >= SOON) {
            sleep(left).await;
        }
        context.shard.end(id, reason.clone());
    }
    while !context.shard.is_empty() && passed() < window {
        // Handshakes that were under way when the drain began have become connections.
        for id in context.shard.ids() {
            context.shard.end(id, reason.clone());
        }
        sleep(CHECK_PERIOD).await;
    }
    let left = context.shard.len();
    if left > 0 {
        tracing::warn!(left, "the drain window is over, the remaining connections are cut");
    }
}
