//! The connection of the subscriptions: its probes, messages and confirmations.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::call::Reply;
use super::confirmations::{Change, Confirmations, Ended};
use super::event::{Event, EventSender, LinkId};
use super::reason::DownReason;
use super::wire::{Frame, Push};

/// Moves what comes into the queue of events. Never waits.
#[derive(Debug)]
pub(super) struct Pushes {
    link: LinkId,
    events: EventSender,
    probe_channel: Bytes,
    last_probe: Instant,
    confirmations: Confirmations,
}

impl Pushes {
    /// Begins when a probe on this channel has just come.
    pub(super) fn new(link: LinkId, events: EventSender, probe_channel: Bytes) -> Self {
        let (last_probe, confirmations) = (Instant::now(), Confirmations::default());
        Self { link, events, probe_channel, last_probe, confirmations }
    }

    pub(super) fn probe_channel(&self) -> &Bytes {
        &self.probe_channel
    }

    /// Expects probes on another channel. Returns false when it is the same one.
    pub(super) fn probe_on(&mut self, channel: &Bytes) -> bool {
        let is_other = self.probe_channel != *channel;
        if is_other {
            self.probe_channel = channel.clone();
        }
        is_other
    }

    /// Takes a value that the server has sent.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub(super) fn receive(&mut self, frame: Frame) -> Result<(), DownReason> {
        match frame {
            Frame::Push(Push::Message { channel, .. }) if channel == self.probe_channel => {
                self.last_probe = Instant::now();
            }
            Frame::Push(Push::Message { channel, payload }) => {
                if !self.events.push(self.link, channel, payload) {
                    return Err(DownReason::PushesFull);
                }
            }
            Frame::Push(Push::Subscribed(channel)) => {
                if !self.confirmations.subscribed(&channel) {
                    return Err(DownReason::NotRedis("a subscription begins that was not asked for".into()));
                }
                if channel != self.probe_channel {
                    self.events.send(self.link, Event::Subscribed { channel });
                }
            }
            Frame::Push(Push::Unsubscribed(channel)) => {
                let is_asked = self.confirmations.unsubscribed(&channel) == Ended::Asked;
                self.events.send(self.link, Event::Unsubscribed { channel, is_asked });
            }
            // No other subscription is made here.
            Frame::Push(Push::Other) => {}
            Frame::Reply(Reply::Error(error)) => match self.confirmations.refused() {
                Some(Change::Subscribe(channel)) if channel == self.probe_channel => {
                    return Err(DownReason::of_refusal("SSUBSCRIBE", error));
                }
                Some(Change::Subscribe(channel)) => {
                    self.events.send(self.link, Event::SubscribeRefused { channel, error });
                }
                // A server that is no longer responsible for a channel has no subscription to end.
                Some(Change::Unsubscribe(channel)) => {
                    self.events.send(self.link, Event::Unsubscribed { channel, is_asked: true });
                }
                None => return Err(DownReason::NotRedis(error.to_string())),
            },
            Frame::Reply(other) => {
                return Err(DownReason::NotRedis(format!("{other:?} on a connection of subscriptions")));
            }
        }
        Ok(())
    }

    /// Returns how long ago the last probe came.
    pub(super) fn since_probe(&self) -> Duration {
        self.last_probe.elapsed()
    }

    /// Remembers a change that is sent now, and until when it must be confirmed.
    pub(super) fn expect(&mut self, change: Change, until: Instant) {
        self.confirmations.expect(change, until);
    }

    /// Returns how many changes wait for a confirmation.
    pub(super) fn unconfirmed(&self) -> usize {
        self.confirmations.waiting()
    }

    /// Returns true when a confirmation is overdue.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.confirmations.is_overdue(now)
    }
}
