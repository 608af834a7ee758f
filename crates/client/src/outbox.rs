//! The outbox: messages in the order in which they were said, each until the server has acknowledged it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::command::{CommandFrame, Reply};
use super::error::SendError;
use super::event::Ack;
use super::timestamp::Timestamp;
use throng_names::{RoomName, UserId};

/// Longest time after the first attempt at which a message is still sent again. The server remembers an idempotency key
/// for five minutes; beyond them a repetition could appear a second time.
const KEY_LIFETIME: Duration = Duration::from_secs(270);
/// Most attempts to send a message. A message whose attempts all ended with the connection may be what ends it.
const MAX_ATTEMPTS: u32 = 5;
/// Longest interval between messages after the server found the client too fast, and the interval where it does not
/// tell its rate. It allows 30 refusals a minute at most, fewer than the 50 that end a connection.
const MAX_INTERVAL: Duration = Duration::from_secs(2);
/// How long nothing must be said for the pace to be forgotten: by then the server's token bucket is full again, as a
/// rule.
const PACE_RESET: Duration = Duration::from_secs(5);

/// The recipient of a message, with the receiver of its acknowledgement.
#[derive(Debug)]
pub(super) enum Recipient {
    Room(RoomName, Reply<Ack>),
    User(UserId, Reply<usize>),
}

#[derive(Debug)]
struct QueuedMessage {
    to: Recipient,
    text: String,
    key: String,
    first_sent: Option<Timestamp>,
    attempts: u32,
}

impl QueuedMessage {
    /// Returns true when the server may have forgotten the key. A system clock that was set back cannot tell the age,
    /// so that the key counts as forgotten.
    fn is_expired(&self, now: Timestamp) -> bool {
        self.first_sent.is_some_and(|first| {
            let with_sleep = now.system.duration_since(first.system).unwrap_or(Duration::MAX);
            let without_sleep = now.monotonic.saturating_duration_since(first.monotonic);
            with_sleep.max(without_sleep) > KEY_LIFETIME
        })
    }

    /// Answers the message with an error. A caller that no longer waits does not receive it.
    fn fail(self, error: SendError) {
        match self.to {
            Recipient::Room(_, reply) => drop(reply.send(Err(error))),
            Recipient::User(_, reply) => drop(reply.send(Err(error))),
        }
    }
}

/// The interval that messages keep after one was refused for coming too early. Without it, each ack would send the next
/// message at once, to be refused as well, and the server closes a connection that is refused too often.
#[derive(Debug)]
struct Pace {
    interval: Duration,
    /// When the pace is forgotten, unless a message is sent before.
    until: Instant,
}

/// The messages that wait for their acks, at most `limit`. Only the first one may be in flight, so that they keep their
/// order whatever is refused or lost.
#[derive(Debug)]
pub(super) struct Outbox {
    messages: VecDeque<QueuedMessage>,
    limit: usize,
    max_chars: Option<usize>,
    is_in_flight: bool,
    paused_until: Option<Instant>,
    pace: Option<Pace>,
    /// The interval that keeps to the server's rate.
    min_interval: Duration,
    /// Random, so that no other client of the same user has the same keys.
    key_prefix: String,
    last_key: u64,
}

impl Outbox {
    pub(super) fn new(limit: usize) -> Self {
        // Keys need to be unique, not secret: where the system has no random numbers, those of `fastrand` suffice.
        let bits = getrandom::u64().unwrap_or_else(|_| fastrand::u64(..));
        let more = getrandom::u32().unwrap_or_else(|_| fastrand::u32(..));
        let key_prefix = format!("{bits:016x}{more:08x}");
        let messages = VecDeque::new();
        Self {
            messages,
            limit,
            max_chars: None,
            is_in_flight: false,
            paused_until: None,
            pace: None,
            min_interval: MAX_INTERVAL,
            key_prefix,
            last_key: 0,
        }
    }

    /// Takes over the limits that the server's welcome announces: the length of a message in characters, and the
    /// messages a second.
    pub(super) fn connected(&mut self, max_chars: Option<usize>, rate: Option<u32>) {
        self.max_chars = max_chars;
        // An eighth more than the rate asks for, because evenly sent messages do not arrive evenly.
        let interval = |rate| Duration::from_secs(1) * 9 / 8 / rate;
        self.min_interval = rate.filter(|rate| *rate > 0).map_or(MAX_INTERVAL, interval);
    }

    /// Notes that the connection has ended: the message in flight will be sent again.
    pub(super) fn disconnected(&mut self) {
        self.is_in_flight = false;
        self.paused_until = None;
    }

    /// Queues a message behind the others. Fails it at once when the outbox is full or the text too long.
    pub(super) fn push(&mut self, to: Recipient, text: String) {
        self.last_key += 1;
        let key = format!("{}-{}", self.key_prefix, self.last_key);
        let message = QueuedMessage { to, text, key, first_sent: None, attempts: 0 };
        if self.messages.len() >= self.limit {
            return message.fail(SendError::QueueFull);
        }
        match self.too_long(&message.text) {
            Some(error) => message.fail(error),
            None => self.messages.push_back(message),
        }
    }

    fn too_long(&self, text: &str) -> Option<SendError> {
        let max = self.max_chars.filter(|max| text.len() > *max && text.chars().count() > *max)?;
        Some(SendError::TooLong { max })
    }

    /// Returns the next message to send, encoded with `id`, when its time has come and `may_send_to` allows its room.
    /// Fails the messages before it that can no longer be sent safely.
    pub(super) fn next(
        &mut self,
        id: &str,
        may_send_to: impl Fn(&RoomName) -> bool,
        now: Timestamp,
    ) -> Option<String> {
        if self.is_in_flight || self.paused_until.is_some_and(|until| now.monotonic < until) {
            return None;
        }
        self.paused_until = None;
        loop {
            let first = self.messages.front()?;
            // A message that was queued before the first welcome has not been measured yet. One that was sent may have
            // been appended, so that it is not failed as too long.
            let error = if first.is_expired(now) || first.attempts >= MAX_ATTEMPTS {
                Some(SendError::UnknownOutcome)
            } else {
                self.too_long(&first.text).filter(|_| first.attempts == 0)
            };
            match error {
                Some(error) => self.fail_first(error),
                None => break,
            }
        }
        let first = self.messages.front_mut()?;
        if matches!(&first.to, Recipient::Room(room, _) if !may_send_to(room)) {
            return None;
        }
        first.first_sent.get_or_insert(now);
        first.attempts += 1;
        self.is_in_flight = true;
        self.pace.take_if(|pace| now.monotonic >= pace.until);
        if let Some(pace) = &mut self.pace {
            let next = now.monotonic + pace.interval;
            (self.paused_until, pace.until) = (Some(next), next + PACE_RESET);
        }
        let frame = CommandFrame {
            id: Some(id),
            message: Some(&first.text),
            key: Some(&first.key),
            ..CommandFrame::default()
        };
        let frame = match &first.to {
            Recipient::Room(room, _) => CommandFrame { kind: "message", room: Some(room.as_str()), ..frame },
            Recipient::User(user, _) => CommandFrame { kind: "direct", to: Some(user.as_str()), ..frame },
        };
        Some(frame.encode())
    }

    /// Returns the time at which [`Outbox::next`] has to be called even if nothing else happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.paused_until.filter(|_| !self.is_in_flight && !self.messages.is_empty())
    }

    /// Answers the message in flight with its ack: a position for a room, a number of connections for a user.
    pub(super) fn acknowledged(&mut self, position: Option<Ack>, delivered: Option<usize>) {
        let Some(QueuedMessage { to, .. }) = self.take_in_flight() else { return };
        // An ack of the other kind does not tell what became of the message.
        let unknown = || SendError::UnknownOutcome;
        match to {
            Recipient::Room(_, reply) => drop(reply.send(position.ok_or_else(unknown))),
            Recipient::User(_, reply) => drop(reply.send(delivered.ok_or_else(unknown))),
        }
    }

    /// Returns the room of the message in flight, unless that is a direct message.
    pub(super) fn room_in_flight(&self) -> Option<&RoomName> {
        let first = self.messages.front().filter(|_| self.is_in_flight)?;
        if let Recipient::Room(room, _) = &first.to { Some(room) } else { None }
    }

    /// Fails the message in flight, because the server refused it. If an earlier attempt was never answered, the
    /// outcome is unknown: that attempt may have succeeded.
    pub(super) fn refused(&mut self, code: String, message: String, retry_after: Option<Duration>) {
        let Some(refused) = self.take_in_flight() else { return };
        let error = if refused.attempts <= 1 {
            SendError::Refused { code, message, retry_after }
        } else {
            SendError::UnknownOutcome
        };
        refused.fail(error);
    }

    fn take_in_flight(&mut self) -> Option<QueuedMessage> {
        std::mem::take(&mut self.is_in_flight).then(|| self.messages.pop_front()).flatten()
    }

    /// Keeps the message in flight for another attempt at `until`, because it came too early. Doubles the interval of
    /// those behind it, up to a limit: other clients may use up the rate of the same user.
    pub(super) fn pause(&mut self, until: Instant) {
        self.is_in_flight = false;
        self.paused_until = Some(until);
        let interval =
            self.pace.as_ref().map_or(Duration::ZERO, |pace| (pace.interval * 2).min(MAX_INTERVAL));
        self.pace = Some(Pace { interval: interval.max(self.min_interval), until: until + PACE_RESET });
        if let Some(first) = self.messages.front_mut() {
            // This attempt was answered and does not count; an earlier one may be unanswered.
            first.attempts = first.attempts.saturating_sub(1);
            first.first_sent.take_if(|_| first.attempts == 0);
        }
    }

    fn fail_first(&mut self, error: SendError) {
        self.is_in_flight = false;
        if let Some(message) = self.messages.pop_front() {
            message.fail(error);
        }
    }

    /// Fails the first message if it was sent, because it would end the next connection too.
    pub(super) fn fail_sent(&mut self, error: SendError) {
        if self.messages.front().is_some_and(|first| first.attempts > 0) {
            self.fail_first(error);
        }
    }

    /// Fails every message.
    pub(super) fn fail_all(&mut self, error: &SendError) {
        self.is_in_flight = false;
        self.messages.drain(..).for_each(|message| message.fail(error.clone()));
    }
}
