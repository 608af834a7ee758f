//! The receiver of the pushes on the connection of the subscriptions, and the end of a link's connections.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::call::ServerError;
use super::confirmations::{Change, Confirmations, Ended};
use super::event::{Event, EventSender, LinkId};
use super::reason::DownReason;

/// The connection is not used any more.
#[derive(Debug)]
pub(super) struct Closed;

/// The first reason why the connections of a link are to be dropped.
#[derive(Debug, Default)]
pub(super) struct Breaks {
    reason: Mutex<Option<DownReason>>,
    broken: Notify,
}

impl Breaks {
    /// Asks for the connections to be dropped. The first reason counts.
    pub(super) fn give(&self, reason: DownReason) {
        self.reason.lock().get_or_insert(reason);
        self.broken.notify_one();
    }

    /// Reports that a connection was closed.
    pub(super) fn close(&self) -> Result<(), Closed> {
        self.give(DownReason::Closed);
        Err(Closed)
    }

    /// Waits for a reason. May be dropped while it waits.
    pub(super) async fn wait(&self) -> DownReason {
        loop {
            if let Some(reason) = self.reason.lock().clone() {
                return reason;
            }
            self.broken.notified().await;
        }
    }
}

/// Receives the pushes of one connection and moves them into the queue of events. Never waits.
#[derive(Debug)]
pub(super) struct Pushes {
    link: LinkId,
    events: EventSender,
    breaks: Arc<Breaks>,
    probe_came: Notify,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    is_open: bool,
    probe_channel: Bytes,
    last_probe: Instant,
    confirmations: Confirmations,
}

impl Pushes {
    pub(super) fn new(link: LinkId, events: EventSender, probe_channel: Bytes, breaks: Arc<Breaks>) -> Self {
        let state = State {
            is_open: true,
            probe_channel,
            last_probe: Instant::now(),
            confirmations: Confirmations::default(),
        };
        Self { link, events, breaks, probe_came: Notify::new(), state: Mutex::new(state) }
    }

    pub(super) fn breaks(&self) -> &Arc<Breaks> {
        &self.breaks
    }

    pub(super) fn probe_channel(&self) -> Bytes {
        self.state.lock().probe_channel.clone()
    }

    /// Expects probes on another channel. Returns false when it is the same one.
    pub(super) fn probe_on(&self, channel: &Bytes) -> bool {
        let mut state = self.state.lock();
        let is_other = state.probe_channel != *channel;
        if is_other {
            state.probe_channel = channel.clone();
        }
        is_other
    }

    /// Takes a push from the connection's reader.
    pub(super) fn receive(&self, push: PushInfo) -> Result<(), Closed> {
        let PushInfo { kind, data } = push;
        let mut state = self.state.lock();
        if !state.is_open {
            return Err(Closed);
        }
        let mut data = data.into_iter().map(|value| match value {
            Value::BulkString(bytes) => Bytes::from(bytes),
            _ => Bytes::new(),
        });
        let channel = data.next().unwrap_or_default();
        match kind {
            PushKind::SMessage if channel == state.probe_channel => {
                state.last_probe = Instant::now();
                self.probe_came.notify_one();
            }
            PushKind::SMessage => {
                let payload = data.next().unwrap_or_default();
                if !self.events.push(self.link, channel, payload) {
                    state.is_open = false;
                    self.breaks.give(DownReason::PushesFull);
                    return Err(Closed);
                }
            }
            PushKind::Disconnection => return self.breaks.close(),
            PushKind::SSubscribe if channel == state.probe_channel => {}
            PushKind::SSubscribe => {
                state.confirmations.subscribed(&channel);
                self.events.send(self.link, Event::Subscribed { channel });
            }
            PushKind::SUnsubscribe => {
                let is_asked = state.confirmations.unsubscribed(&channel) == Ended::Asked;
                self.events.send(self.link, Event::Unsubscribed { channel, is_asked });
            }
            // No other subscription is made here.
            _ => {}
        }
        Ok(())
    }

    /// Takes no more pushes: what the reader still has is dropped.
    pub(super) fn close(&self) {
        self.state.lock().is_open = false;
    }

    /// Waits until a probe has come.
    pub(super) async fn first_probe(&self) {
        self.probe_came.notified().await;
    }

    /// Returns how long ago the last probe came.
    pub(super) fn since_probe(&self) -> Duration {
        self.state.lock().last_probe.elapsed()
    }

    /// Remembers changes that are sent now, and until when they must be confirmed.
    pub(super) fn expect(&self, changes: &[Change], until: Instant) {
        self.state.lock().confirmations.expect(changes, until);
    }

    /// Returns how many channels wait for a confirmation.
    pub(super) fn unconfirmed(&self) -> usize {
        self.state.lock().confirmations.waiting()
    }

    /// Returns true when a confirmation is overdue.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.state.lock().confirmations.is_overdue(now)
    }

    /// Takes an error that answers a change.
    ///
    /// # Errors
    /// It is not certain that it answers this one.
    pub(super) fn refused(&self, change: &Change, error: ServerError) -> Result<(), DownReason> {
        if !self.state.lock().confirmations.refused(change) {
            return Err(DownReason::UnclearRefusal(error));
        }
        self.events.send(
            self.link,
            match change.clone() {
                Change::Subscribe(channel) => Event::SubscribeRefused { channel, error },
                // A server that is no longer responsible for a channel has no subscription to end.
                Change::Unsubscribe(channel) => Event::Unsubscribed { channel, is_asked: true },
            },
        );
        Ok(())
    }
}
