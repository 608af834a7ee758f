//! The outbox: messages in the order in which they were said, each until the server has acknowledged it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::command::{CommandFrame, Data, Reply};
use super::error::SendError;
use super::event::Ack;
use super::timestamp::Timestamp;
use throng_names::{RoomName, UserId};

/// How long after the first attempt a message may be sent again. The server remembers an idempotency key for 300
/// seconds and would publish a later repetition as a new message; 30 seconds are kept in reserve.
const KEY_LIFETIME: Duration = Duration::from_secs(270);
/// Most attempts to send a message. If the connection broke after each of them, the message itself may be the cause.
const MAX_ATTEMPTS: u32 = 5;
/// Longest interval between messages after the server found the client too fast, and the interval where it does not
/// tell its rate. With one message in two seconds the server refuses at most 30 a minute; by default it ends a
/// connection after more than 50 (`rate_limit.strikes`).
const MAX_INTERVAL: Duration = Duration::from_secs(2);
/// After this long without a message the slower pace ([`Pace`]) is dropped: the server's token bucket is usually full
/// again.
const PACE_RESET: Duration = Duration::from_secs(5);

/// The recipient of a message, with the channel through which the caller gets the result: the position in a room, or
/// the number of the user's connections that were reached.
#[derive(Debug)]
pub(super) enum Recipient {
    Room(RoomName, Reply<Ack>),
    User(UserId, Reply<usize>),
}

#[derive(Debug)]
struct QueuedMessage {
    to: Recipient,
    text: String,
    data: Option<Data>,
    key: String,
    first_sent: Option<Timestamp>,
    attempts: u32,
}

impl QueuedMessage {
    /// Returns true when the server may have forgotten the key. The age is measured by both clocks, because the
    /// monotonic one stands still while the machine sleeps. If the system clock was set back, the age is unknown and
    /// the key counts as forgotten.
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
    pub(super) fn push(&mut self, to: Recipient, text: String, data: Option<Data>) {
        self.last_key += 1;
        let key = format!("{}-{}", self.key_prefix, self.last_key);
        let message = QueuedMessage { to, text, data, key, first_sent: None, attempts: 0 };
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

    /// Returns the next frame, encoded with `id`, and marks its message as in flight. Returns `None` while another is
    /// in flight, during a pause, or while `may_send_to` rejects the room of the first message. First fails the
    /// messages before it that can no longer be sent safely.
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
            // The limit on the length is known only from the welcome, so a message that was queued before is checked
            // here. One that was sent is not: the server may have appended it.
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
            data: first.data.as_deref(),
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

    /// Takes back the message in flight, which the server refused as too early, for another attempt at `until`. Slows
    /// down the messages behind it: the first time to the interval of the server's rate, then to twice the interval,
    /// at most [`MAX_INTERVAL`]. Other clients may be using up the rate of the same user.
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

    /// Fails the first message if it was sent. Call it when the server has ended the connection because a message was
    /// too large (1009): sent again, it would end the next connection too.
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
