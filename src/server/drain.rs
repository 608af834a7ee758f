//! The way out: every connection is told to come back, in random order and spread over the window, so that the
//! node that takes over is not met by all of them at once.

use std::time::Duration;

use tokio::time::sleep;

use crate::connection::Tools;
use crate::protocol::close::EndReason;

/// The part of the window over which the closes are spread; the rest is for the farewells.
const SPREAD: f64 = 0.7;
/// What is due within this time is due: the shard's time has no finer steps.
const SOON: Duration = Duration::from_millis(1);
/// How often it is looked whether everybody has gone.
const LOOK: Duration = Duration::from_millis(10);

/// Ends all connections of a worker; returns when they are gone or the window is over.
pub(super) async fn run(tools: &Tools, reason: EndReason) {
    let window = tools.node.config.drain.window;
    // The shard's time: those who are left when we have stood still get their farewell all the same.
    let began_ms = tools.shard.tick();
    let passed = || Duration::from_millis(tools.shard.tick().saturating_sub(began_ms));
    let mut ids = tools.shard.ids();
    fastrand::shuffle(&mut ids);
    let count = ids.len().max(1) as f64;
    for (index, id) in ids.into_iter().enumerate() {
        let at = window.mul_f64(SPREAD * index as f64 / count);
        while let Some(left) = at.checked_sub(passed()).filter(|left| *left >= SOON) {
            sleep(left).await;
        }
        tools.shard.end(id, reason.clone());
    }
    while !tools.shard.is_empty() && passed() < window {
        // Whoever was in their handshake when the drain began is here now.
        for id in tools.shard.ids() {
            tools.shard.end(id, reason.clone());
        }
        sleep(LOOK).await;
    }
    let left = tools.shard.len();
    if left > 0 {
        tracing::warn!(left, "the drain window is over, connections are cut");
    }
}
