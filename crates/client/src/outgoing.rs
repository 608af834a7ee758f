//! What is to be said, in order, until it was acknowledged.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::command::{Line, Reply};
use super::error::SendError;
use super::event::Ack;
use super::moment::Moment;
use throng_names::{RoomName, UserId};

/// The server knows a key for five minutes; a retry later could say it twice.
const KEY_LIFE: Duration = Duration::from_secs(270);
/// A message that went under with so many connections may be what ends them.
const MAX_TRIES: u32 = 5;
/// The longest time between messages when the server finds us too fast: 30 refusals a minute, at the very most, which
/// is less than the 50 that end a connection. Also where it does not tell its rate.
const MAX_GAP: Duration = Duration::from_secs(2);
/// So long nothing was said: the server's bucket has filled again, as a rule.
const CALM: Duration = Duration::from_secs(5);

/// For whom a message is, and who waits for its ack.
#[derive(Debug)]
pub(super) enum To {
    Room(RoomName, Reply<Ack>),
    User(UserId, Reply<usize>),
}

#[derive(Debug)]
struct Letter {
    to: To,
    text: String,
    key: String,
    first_sent: Option<Moment>,
    tries: u32,
}

impl Letter {
    /// Whether the server may have forgotten the key. When the clock on the wall was set back nobody knows.
    fn is_old(&self, now: Moment) -> bool {
        self.first_sent.is_some_and(|first| {
            let slept = now.wall.duration_since(first.wall).unwrap_or(Duration::MAX);
            slept.max(now.at.saturating_duration_since(first.at)) > KEY_LIFE
        })
    }

    fn fail(self, error: SendError) {
        // Who does not wait any more does not want to know.
        match self.to {
            To::Room(_, reply) => drop(reply.send(Err(error))),
            To::User(_, reply) => drop(reply.send(Err(error))),
        }
    }
}

/// The time to keep between messages, since one was refused for coming too early. Without it each ack would send the
/// next message at once, to be refused as well, and each refusal is a strike.
#[derive(Debug)]
struct Pace {
    gap: Duration,
    /// Who says nothing until then is not in a hurry any more.
    until: Instant,
}

/// The messages that wait for their acks, at most `limit`. Only the first may be under way: so they keep their order,
/// whatever is refused or lost.
#[derive(Debug)]
pub(super) struct Outgoing {
    letters: VecDeque<Letter>,
    limit: usize,
    max_chars: Option<usize>,
    is_under_way: bool,
    paused_until: Option<Instant>,
    pace: Option<Pace>,
    /// Between messages, as the server's rate has it.
    least_gap: Duration,
    /// Unguessable, so that no other client of the user has the same.
    key_prefix: String,
    last_key: u64,
}

impl Outgoing {
    pub(super) fn new(limit: usize) -> Self {
        // For uniqueness the second best will do.
        let bits = getrandom::u64().unwrap_or_else(|_| fastrand::u64(..));
        let more = getrandom::u32().unwrap_or_else(|_| fastrand::u32(..));
        let key_prefix = format!("{bits:016x}{more:08x}");
        let letters = VecDeque::new();
        Self {
            letters,
            limit,
            max_chars: None,
            is_under_way: false,
            paused_until: None,
            pace: None,
            least_gap: MAX_GAP,
            key_prefix,
            last_key: 0,
        }
    }

    /// What the server takes, from its welcome: how long a message, and how many a second.
    pub(super) fn connected(&mut self, max_chars: Option<usize>, rate: Option<u32>) {
        self.max_chars = max_chars;
        // An eighth more, because what is sent evenly does not arrive evenly.
        let gap = |rate| Duration::from_secs(1) * 9 / 8 / rate;
        self.least_gap = rate.filter(|rate| *rate > 0).map_or(MAX_GAP, gap);
    }

    /// The connection is gone: what was under way is sent again.
    pub(super) fn disconnected(&mut self) {
        self.is_under_way = false;
        self.paused_until = None;
    }

    /// Puts a message behind the others.
    pub(super) fn push(&mut self, to: To, text: String) {
        self.last_key += 1;
        let key = format!("{}-{}", self.key_prefix, self.last_key);
        let letter = Letter { to, text, key, first_sent: None, tries: 0 };
        if self.letters.len() >= self.limit {
            return letter.fail(SendError::QueueFull);
        }
        match self.too_long(&letter.text) {
            Some(error) => letter.fail(error),
            None => self.letters.push_back(letter),
        }
    }

    fn too_long(&self, text: &str) -> Option<SendError> {
        let max = self.max_chars.filter(|max| text.len() > *max && text.chars().count() > *max)?;
        Some(SendError::TooLong { max })
    }

    /// The next message to send, if it is time and `may_go` has its room, written with `id`. Those that can no longer
    /// be sent safely fail.
    pub(super) fn next(
        &mut self,
        id: &str,
        may_go: impl Fn(&RoomName) -> bool,
        now: Moment,
    ) -> Option<String> {
        if self.is_under_way || self.paused_until.is_some_and(|until| now.at < until) {
            return None;
        }
        self.paused_until = None;
        loop {
            let first = self.letters.front()?;
            // What was said while away could not be measured then; what was sent may have been said.
            let error = if first.is_old(now) || first.tries >= MAX_TRIES {
                Some(SendError::UnknownOutcome)
            } else {
                self.too_long(&first.text).filter(|_| first.tries == 0)
            };
            match error {
                Some(error) => self.give_up_first(error),
                None => break,
            }
        }
        let first = self.letters.front_mut()?;
        if matches!(&first.to, To::Room(room, _) if !may_go(room)) {
            return None;
        }
        first.first_sent.get_or_insert(now);
        first.tries += 1;
        self.is_under_way = true;
        self.pace.take_if(|pace| now.at >= pace.until);
        if let Some(pace) = &mut self.pace {
            let next = now.at + pace.gap;
            (self.paused_until, pace.until) = (Some(next), next + CALM);
        }
        let line =
            Line { id: Some(id), message: Some(&first.text), key: Some(&first.key), ..Line::default() };
        Some(match &first.to {
            To::Room(room, _) => Line { kind: "message", room: Some(room.as_str()), ..line }.encode(),
            To::User(user, _) => Line { kind: "direct", to: Some(user.as_str()), ..line }.encode(),
        })
    }

    /// When [`Outgoing::next`] should be asked again although nothing has happened.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.paused_until.filter(|_| !self.is_under_way && !self.letters.is_empty())
    }

    /// The one under way was acknowledged.
    pub(super) fn acknowledged(&mut self, place: Option<Ack>, delivered: Option<usize>) {
        let Some(Letter { to, .. }) = self.settle() else { return };
        let no_answer = || SendError::UnknownOutcome; // an ack of another kind tells nothing
        match to {
            To::Room(_, reply) => drop(reply.send(place.ok_or_else(no_answer))),
            To::User(_, reply) => drop(reply.send(delivered.ok_or_else(no_answer))),
        }
    }

    /// The room of the one under way.
    pub(super) fn room_under_way(&self) -> Option<&RoomName> {
        let first = self.letters.front().filter(|_| self.is_under_way)?;
        if let To::Room(room, _) = &first.to { Some(room) } else { None }
    }

    /// The one under way was refused. An earlier try that nobody answered may have been taken all the same.
    pub(super) fn refused(&mut self, code: String, message: String, retry_after: Option<Duration>) {
        let Some(letter) = self.settle() else { return };
        let is_known = letter.tries <= 1;
        let error = if is_known {
            SendError::Refused { code, message, retry_after }
        } else {
            SendError::UnknownOutcome
        };
        letter.fail(error);
    }

    fn settle(&mut self) -> Option<Letter> {
        std::mem::take(&mut self.is_under_way).then(|| self.letters.pop_front()).flatten()
    }

    /// The one under way came too early; it goes again at `until`, and those behind it more slowly: others may say
    /// something for the same user.
    pub(super) fn pause(&mut self, until: Instant) {
        self.is_under_way = false;
        self.paused_until = Some(until);
        let gap = self.pace.as_ref().map_or(Duration::ZERO, |pace| (pace.gap * 2).min(MAX_GAP));
        self.pace = Some(Pace { gap: gap.max(self.least_gap), until: until + CALM });
        if let Some(first) = self.letters.front_mut() {
            // This try was answered; an earlier one may not have been.
            first.tries = first.tries.saturating_sub(1);
            first.first_sent.take_if(|_| first.tries == 0);
        }
    }

    fn give_up_first(&mut self, error: SendError) {
        self.is_under_way = false;
        if let Some(letter) = self.letters.pop_front() {
            letter.fail(error);
        }
    }

    /// Gives up the first one if it was sent: it would end the next connection too.
    pub(super) fn give_up_tried(&mut self, error: SendError) {
        if self.letters.front().is_some_and(|first| first.tries > 0) {
            self.give_up_first(error);
        }
    }

    /// All of them fail.
    pub(super) fn fail_all(&mut self, error: &SendError) {
        self.is_under_way = false;
        self.letters.drain(..).for_each(|letter| letter.fail(error.clone()));
    }
}
