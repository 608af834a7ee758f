//! The dashboard's numbers: one snapshot a second for all viewers together, and none while there are no viewers. The
//! numbers of the last five minutes are kept, so that a new viewer sees what has led to the present.
//!
//! The page itself is a file of `web`, which `http` serves.

pub(super) mod counters;
mod feed;
pub(super) mod info;
mod nodes;
mod past;
mod snapshot;
pub(super) mod usage;

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use self::feed::Feed;
use self::past::Past;
use crate::admission::Refusal;
use crate::node::Node;

/// Time between two snapshots.
const PERIOD: Duration = Duration::from_secs(1);
/// Time after which a viewer whose connection is lost should connect again.
const RETRY: Duration = Duration::from_secs(2);

/// The viewers of the dashboard.
#[derive(Debug, Default)]
pub(super) struct Dashboard {
    feed: Feed,
    past: Past,
}

impl Dashboard {
    /// Adds a viewer, and returns the events for it: the last five minutes, and then the snapshots, the last one at
    /// once. Dropping the receiver ends the stream.
    ///
    /// # Errors
    /// [`Refusal::TooManyViewers`] or [`Refusal::Draining`].
    pub(super) fn watch(&self, node: &Node) -> Result<mpsc::Receiver<Bytes>, Refusal> {
        let past = self.past.event(node).inspect_err(|error| {
            tracing::error!(%error, "the last five minutes cannot be written as JSON for the dashboard");
        });
        self.feed.watch(past.ok())
    }

    /// Ends all streams, and refuses new viewers from now on.
    pub(super) fn close(&self) {
        self.feed.close();
    }

    /// Takes samples, and snapshots for as long as there are viewers; never returns.
    ///
    /// # Cancel safety
    /// The snapshot that is being taken is lost, and nothing else.
    pub(super) async fn run(&self, node: &Node) {
        tokio::join!(self.sample(node), self.publish(node));
    }

    async fn sample(&self, node: &Node) {
        let mut ticks = seconds();
        loop {
            ticks.tick().await;
            self.past.sample(node);
        }
    }

    async fn publish(&self, node: &Node) {
        let mut ticks = seconds();
        for id in 1_u64.. {
            let (viewers, has_waited) = self.feed.viewers().await;
            if has_waited {
                ticks.reset_immediately();
            }
            ticks.tick().await;
            match snapshot::take(node, viewers).await {
                Ok(json) => self.feed.publish(event(id, &json)),
                Err(error) => {
                    tracing::error!(%error, "a snapshot for the dashboard cannot be written as JSON")
                }
            }
        }
    }
}

/// Returns the ticks of a clock that strikes each [`PERIOD`].
fn seconds() -> Interval {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Writes a server-sent event (HTML standard, section 9.2). JSON has no line breaks, so that it is one line of data.
fn event(id: u64, json: &str) -> Bytes {
    format!("retry: {}\nid: {id}\ndata: {json}\n\n", RETRY.as_millis()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_as_browsers_read_it() {
        assert_eq!(event(7, "{}"), "retry: 2000\nid: 7\ndata: {}\n\n");
    }
}
