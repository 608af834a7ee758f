//! Decides when a connection has to act although nothing was received. The functions are pure: `now_ms` is an argument,
//! in the shard's time.

use crate::clock::Moment;
use crate::protocol::close::{EndReason, Overflow};
use crate::shard::Status;
use crate::shard::wheel::TICK_MS;

/// Longest time for the rest of a frame and the close frame to leave to a slow consumer, in milliseconds.
pub const TAIL_MS: u64 = 1_000;

/// Clients are pinged at different times, spread over `heartbeat.interval` divided by this.
const PHASE: u64 = 5;
/// Time by which a ping is always sent ahead of its deadline, in milliseconds: the timer wheel and a busy worker may be
/// late.
const LEAD_MS: u64 = 2 * TICK_MS;
/// The lead is at most `heartbeat.interval` divided by this.
const LEAD_PART: u64 = 10;

/// The configured times, which hold for every connection, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Longest silence before a ping: `heartbeat.interval`.
    pub heartbeat_ms: u64,
    /// Longest wait for the answer to a ping: `heartbeat.timeout`.
    pub pong_ms: u64,
    /// Longest time for a message to arrive completely: `limits.message_timeout`.
    pub message_ms: u64,
    /// Longest time in which a client may read nothing of its queue: `queue.max_age`.
    pub stall_ms: u64,
}

/// An action that is due.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// The end of the connection.
    End(EndReason),
    /// A ping, because the client or the server has been silent for long.
    Ping,
    /// The failure of a probe: the client did not answer in time.
    ProbeFailed,
}

/// One connection's deadlines.
#[derive(Debug)]
pub struct Deadlines {
    /// Expiry of the token, by the clock; the end of time without a token.
    expires_ms: u64,
    /// Time of the ping that is not answered yet.
    pinged: Option<Moment>,
    /// Start of the message that is under way.
    message: Option<Moment>,
    /// Longest silence of the client or of the server: `heartbeat.interval` at most.
    silence_ms: u32,
    /// Earliest time at which the server can have been silent for so long.
    unsent: Moment,
}

impl Deadlines {
    /// Creates the deadlines of a client that connects at `now_ms`, and whose token expires at `expires_ms` by the
    /// clock. Each client is pinged somewhat sooner than after `heartbeat.interval`, so that a storm of connects is not
    /// followed by storms of pings. `choose` picks how much sooner, up to its argument.
    #[must_use]
    pub fn new(expires_ms: Option<u64>, now_ms: u64, times: &Times, choose: impl FnOnce(u64) -> u64) -> Self {
        let lead_ms = LEAD_MS.min(times.heartbeat_ms / LEAD_PART);
        let sooner_ms = choose(times.heartbeat_ms / PHASE).max(lead_ms);
        // The longest interval is an hour.
        let silence_ms = times.heartbeat_ms.saturating_sub(sooner_ms) as u32;
        let (expires_ms, unsent) =
            (expires_ms.unwrap_or(u64::MAX), Moment::at(now_ms + u64::from(silence_ms)));
        Self { expires_ms, pinged: None, message: None, silence_ms, unsent }
    }

    /// Goes on with a token that expires at `expires_ms` by the clock.
    pub fn renew(&mut self, expires_ms: u64) {
        self.expires_ms = expires_ms;
    }

    /// Returns true once the token has expired, even if the process stood still meanwhile.
    #[must_use]
    pub fn has_expired(&self, clock_ms: u64) -> bool {
        clock_ms >= self.expires_ms
    }

    /// Returns true when the server has been silent for so long that it must send a ping now, however much the client
    /// sends: a proxy may cut a connection on which nothing flows in one direction. Any frame of the client answers the
    /// ping. `sent_ms` returns when the server last sent something, and is called only when that may be long ago.
    pub fn must_send(&mut self, now_ms: u64, sent_ms: impl FnOnce() -> u64) -> bool {
        if now_ms < self.unsent.ms(now_ms) {
            return false;
        }
        let silence_ms = u64::from(self.silence_ms);
        let until_ms = sent_ms() + silence_ms;
        if now_ms < until_ms {
            self.unsent = Moment::at(until_ms);
            return false;
        }
        self.unsent = Moment::at(now_ms + silence_ms);
        self.pinged.get_or_insert(Moment::at(now_ms));
        true
    }

    /// Notes that a frame was received, which answers a ping.
    pub fn heard(&mut self) {
        self.pinged = None;
    }

    /// Notes whether a message is under way. `is_new` is true when another one was finished since the last call.
    pub fn message(&mut self, is_under_way: bool, is_new: bool, now_ms: u64) {
        if is_new || !is_under_way {
            self.message = None;
        }
        if is_under_way {
            self.message.get_or_insert(Moment::at(now_ms));
        }
    }

    /// Returns what is due now, or `None`. To be called until nothing is.
    pub fn due(&mut self, now_ms: u64, status: &Status, times: &Times) -> Option<Due> {
        let has_passed = |since: Option<u64>, after: u64| since.is_some_and(|since| now_ms >= since + after);
        let (pinged_ms, message_ms) = self.begun_ms(now_ms);
        if self.has_expired(now_ms + status.lost_ms) {
            return Some(Due::End(EndReason::TokenExpired));
        }
        if has_passed(message_ms, times.message_ms) {
            return Some(Due::End(EndReason::MessageTimeout));
        }
        if has_passed(status.oldest_ms, times.stall_ms) || has_passed(status.stalled_ms, times.stall_ms) {
            return Some(Due::End(EndReason::SlowConsumer(Overflow::Age)));
        }
        if status.probe_until_ms.is_some_and(|until| now_ms >= until) {
            return Some(Due::ProbeFailed);
        }
        if message_ms.is_none() && has_passed(pinged_ms, times.pong_ms) {
            return Some(Due::End(EndReason::HeartbeatTimeout));
        }
        if pinged_ms.is_none() && now_ms >= self.ping_ms(status) {
            self.pinged = Some(Moment::at(now_ms));
            return Some(Due::Ping);
        }
        None
    }

    /// Returns when the ping that is not answered, and the message that is under way, began.
    fn begun_ms(&self, now_ms: u64) -> (Option<u64>, Option<u64>) {
        let ms = |moment: Option<Moment>| moment.map(|moment| moment.ms(now_ms));
        (ms(self.pinged), ms(self.message))
    }

    fn ping_ms(&self, status: &Status) -> u64 {
        status.heard_ms + u64::from(self.silence_ms)
    }

    /// Returns the earliest time at which something will be due.
    #[must_use]
    pub fn next_ms(&self, now_ms: u64, status: &Status, times: &Times) -> u64 {
        let (pinged_ms, message_ms) = self.begun_ms(now_ms);
        let heartbeat = match pinged_ms {
            // A ping cannot be answered in the middle of a frame, and a message has a deadline of its own.
            Some(_) if message_ms.is_some() => u64::MAX,
            Some(at) => at + times.pong_ms,
            None => self.ping_ms(status),
        };
        let others = [
            Some(self.expires_ms.saturating_sub(status.lost_ms)),
            message_ms.map(|at| at + times.message_ms),
            status.oldest_ms.map(|at| at + times.stall_ms),
            status.stalled_ms.map(|at| at + times.stall_ms),
            status.probe_until_ms,
            Some(self.unsent.ms(now_ms)),
        ];
        others.into_iter().flatten().fold(heartbeat, u64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times { heartbeat_ms: 1000, pong_ms: 200, message_ms: 300, stall_ms: 400 };
    /// The silence that is allowed with the tests' choice.
    const SILENCE_MS: u64 = 900;

    fn deadlines() -> Deadlines {
        Deadlines::new(None, 0, &TIMES, |most| most.saturating_sub(200))
    }

    fn status() -> Status {
        Status::default()
    }

    #[test]
    fn clients_are_pinged_sooner_than_the_interval_says_and_not_all_at_once() {
        for (sooner, silence_ms) in [(0, SILENCE_MS), (150, 850), (200, 800)] {
            let deadlines = Deadlines::new(None, 0, &TIMES, |_| sooner);
            assert_eq!(u64::from(deadlines.silence_ms), silence_ms);
        }
        let short = Times { heartbeat_ms: 1, ..TIMES };
        assert_eq!(Deadlines::new(None, 0, &short, |most| most).silence_ms, 1);
    }

    #[test]
    fn silence_is_answered_by_a_ping_and_then_the_end() {
        let mut deadlines = deadlines();
        assert_eq!(deadlines.due(899, &status(), &TIMES), None);
        assert_eq!(deadlines.next_ms(0, &status(), &TIMES), SILENCE_MS);
        assert_eq!(deadlines.due(900, &status(), &TIMES), Some(Due::Ping));
        assert_eq!(deadlines.due(900, &status(), &TIMES), None);
        assert!(!deadlines.must_send(900, || 900), "the ping has left");
        assert_eq!(deadlines.next_ms(0, &status(), &TIMES), 1100);
        assert_eq!(deadlines.due(1100, &status(), &TIMES), Some(Due::End(EndReason::HeartbeatTimeout)));
        deadlines.heard();
        let heard = Status { heard_ms: 1050, ..status() };
        assert_eq!(deadlines.due(1100, &heard, &TIMES), None);
    }

    #[test]
    fn a_client_that_is_sent_nothing_is_pinged_however_much_it_sends() {
        let mut deadlines = deadlines();
        let heard = |heard_ms| Status { heard_ms, ..status() };
        assert!(!deadlines.must_send(899, || unreachable!("it is not asked so soon")));
        assert!(!deadlines.must_send(900, || 600));
        assert_eq!(deadlines.next_ms(0, &heard(1400), &TIMES), 1500);
        assert!(deadlines.must_send(1500, || 600));
        assert_eq!(deadlines.next_ms(0, &heard(1400), &TIMES), 1700);
        assert_eq!(deadlines.due(1700, &heard(1400), &TIMES), Some(Due::End(EndReason::HeartbeatTimeout)));
        deadlines.heard();
        assert_eq!(deadlines.due(1700, &heard(1400), &TIMES), None);
        assert_eq!(deadlines.next_ms(0, &heard(1700), &TIMES), 2400, "at the latest behind the last ping");
    }

    #[test]
    fn a_token_expires_by_the_clock() {
        let mut deadlines = Deadlines::new(Some(10_000), 0, &TIMES, |_| 0);
        let stood_still = |lost_ms| Status { lost_ms, heard_ms: 1_000, ..status() };
        assert_eq!(deadlines.due(1_500, &stood_still(8_499), &TIMES), None);
        let due = deadlines.due(1_500, &stood_still(8_500), &TIMES);
        assert_eq!(due, Some(Due::End(EndReason::TokenExpired)));
        assert_eq!(deadlines.next_ms(0, &stood_still(9_800), &TIMES), 200);
    }

    #[test]
    fn a_message_has_to_be_finished() {
        let mut deadlines = deadlines();
        deadlines.message(true, false, 100);
        deadlines.message(true, false, 350);
        let heard = Status { heard_ms: 390, ..status() };
        assert_eq!(deadlines.due(399, &heard, &TIMES), None);
        assert_eq!(deadlines.due(400, &heard, &TIMES), Some(Due::End(EndReason::MessageTimeout)));
        deadlines.message(true, true, 400);
        assert_eq!(deadlines.next_ms(0, &heard, &TIMES), 700);
        deadlines.message(false, true, 500);
        assert_eq!(deadlines.next_ms(0, &heard, &TIMES), SILENCE_MS);
    }

    /// Regression: 1. The server sends nothing for an interval and sends a ping. 2. A long message is on its way, in
    /// the middle of which no pong can be sent. 3. The client was late for the pong, though not for the message.
    #[test]
    fn a_message_under_way_is_no_silence() {
        let mut deadlines = deadlines();
        deadlines.message(true, false, 850);
        assert!(deadlines.must_send(900, || 0));
        let heard = Status { heard_ms: 840, ..status() };
        assert_eq!(deadlines.due(1149, &heard, &TIMES), None);
        assert_eq!(deadlines.next_ms(0, &heard, &TIMES), 1150);
        assert_eq!(deadlines.due(1150, &heard, &TIMES), Some(Due::End(EndReason::MessageTimeout)));
        // The message has ended, and nothing was received since.
        deadlines.message(false, true, 1140);
        assert_eq!(deadlines.due(1150, &heard, &TIMES), Some(Due::End(EndReason::HeartbeatTimeout)));
    }

    #[test]
    fn a_client_that_reads_nothing_is_slow() {
        let mut deadlines = deadlines();
        let old = Status { oldest_ms: Some(10), stalled_ms: Some(300), ..status() };
        assert_eq!(deadlines.next_ms(0, &old, &TIMES), 410);
        assert!(matches!(deadlines.due(410, &old, &TIMES), Some(Due::End(EndReason::SlowConsumer(_)))));
        let own = Status { stalled_ms: Some(300), ..status() };
        assert_eq!(deadlines.due(699, &own, &TIMES), None);
        assert!(matches!(deadlines.due(700, &own, &TIMES), Some(Due::End(EndReason::SlowConsumer(_)))));
    }
}
