//! The link of a node to one server: two connections, which are kept for ever.
//!
//! One connection carries the calls, the other the subscriptions. Each break, each deadline that passes and each doubt
//! ends both; then the link connects again, and its owner, who is told, repeats its subscriptions and brings every room
//! up to date. So a gap is always known.
//!
//! Every second the link publishes a probe on the connection of the calls and waits for it on the other: a connection
//! that lives and delivers nothing is noticed by that.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::AbortHandle;

mod answers;
mod call;
pub mod check;
mod confirmations;
mod connect;
mod connection;
mod event;
mod facts;
mod mailbox;
mod pushes;
mod reason;
mod sentinel;
mod settings;
mod task;
#[cfg(test)]
mod tests;
mod tls;
pub mod wire;

pub use call::{Call, CallError};
pub use connect::ask_once;
pub use event::{Event, EventReceiver, EventSender, LinkId, MAX_PUSH_BYTES, event_queue};
pub use facts::{ServerFacts, Version};
pub use reason::DownReason;
pub use sentinel::masters_of;
pub use settings::{Sentinels, ServerSettings, Timings, TlsSettings};

use confirmations::Change;
use mailbox::Shared;

/// The text of a probe: its kind, and the version of its form.
const PROBE: Bytes = Bytes::from_static(b"q1");

/// A link to one server. When it is dropped, its connections end, its calls are answered with [`CallError::Lost`] or
/// [`CallError::NotSent`], and [`DownReason::Ended`] is the reason of the last event.
#[derive(Debug)]
pub struct ServerLink {
    shared: Arc<Shared>,
    task: AbortHandle,
}

impl ServerLink {
    /// Starts to connect, on the current runtime of tokio, and reports through `events`.
    ///
    /// # Panics
    /// Called outside a runtime of tokio.
    #[must_use]
    pub fn start(link: LinkId, settings: ServerSettings, events: EventSender) -> Self {
        let shared = Arc::new(Shared::new(link, events, settings.probe_channel.clone()));
        let task = tokio::spawn(task::run(Arc::new(settings), Arc::clone(&shared))).abort_handle();
        Self { shared, task }
    }

    /// Sends a call, which is answered by exactly one [`Event::Answer`] with the same tag. Never blocks. Calls may be
    /// carried out in another order than they were sent.
    pub fn call(&self, tag: u64, call: Call) {
        self.shared.call(tag, call, None);
    }

    /// Sends a call whose answer may take another time than usual.
    pub fn call_within(&self, tag: u64, call: Call, deadline: Duration) {
        self.shared.call(tag, call, Some(deadline));
    }

    /// Subscribes to a channel. [`Event::Subscribed`] confirms it. Ignored while the link is down: after
    /// [`Event::Up`] the owner subscribes to everything that it wants.
    pub fn subscribe(&self, channel: Bytes) {
        self.shared.change(Change::Subscribe(channel));
    }

    /// Ends the subscription to a channel. [`Event::Unsubscribed`] confirms it. Ignored while the link is down.
    pub fn unsubscribe(&self, channel: Bytes) {
        self.shared.change(Change::Unsubscribe(channel));
    }

    /// Probes on another channel from now on, because the server is no longer responsible for the one before.
    pub fn probe_on(&self, channel: Bytes) {
        self.shared.probe_on(channel);
    }

    /// Returns true when the link would take this call now, were it up.
    #[must_use]
    pub fn has_space(&self, call: &Call) -> bool {
        self.shared.has_space(call)
    }

    /// Returns how many calls wait for their answers, and their bytes.
    #[must_use]
    pub fn in_flight(&self) -> (usize, usize) {
        self.shared.in_flight()
    }
}

impl Drop for ServerLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}
