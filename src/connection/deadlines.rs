//! When a connection has to be looked at although nothing came: pure, `now` is an argument.

use crate::protocol::close::EndReason;
use crate::registry::bounds::Overflow;
use crate::registry::registration::Status;

/// How long the tail of a frame and the close frame of a slow consumer may take to leave, in milliseconds.
pub const TAIL_MS: u64 = 1_000;

/// The times that hold for every connection, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// `heartbeat.interval`
    pub heartbeat_ms: u64,
    /// `heartbeat.timeout`
    pub pong_ms: u64,
    /// `limits.message_timeout`
    pub message_ms: u64,
    /// `queue.max_age`
    pub stall_ms: u64,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// The end.
    End(EndReason),
    /// A ping, because the client is silent.
    Ping,
    /// The news that a probed client did not answer.
    ProbeFailed,
}

/// One connection's deadlines.
#[derive(Debug, Default)]
pub struct Deadlines {
    /// When the ping was sent that is not answered yet.
    pinged_ms: Option<u64>,
    /// When the message began that is under way.
    message_ms: Option<u64>,
    /// When the token expires.
    expires_ms: Option<u64>,
    /// How much sooner than others this client is pinged.
    phase_ms: u64,
    /// When the client may have been sent nothing for so long that it wants a heartbeat; none for those who want none.
    silent_ms: Option<u64>,
}

impl Deadlines {
    /// The deadlines of a client whose token expires at `expires_ms` and who is pinged `phase_ms` sooner than
    /// `heartbeat.interval` says: a storm of connects must not be followed by storms of pings for ever.
    #[must_use]
    pub fn new(expires_ms: Option<u64>, phase_ms: u64) -> Self {
        Self { expires_ms, phase_ms, ..Self::default() }
    }

    /// The client wants to hear something at least once in `heartbeat.interval` from `now_ms` on.
    #[must_use]
    pub fn with_heartbeats(mut self, now_ms: u64, times: &Times) -> Self {
        self.silent_ms = Some(now_ms + times.heartbeat_ms);
        self
    }

    /// True when it is time for a heartbeat, which any frame answers. `sent_ms` says when the client was last sent
    /// something; it is asked only when that may be long ago.
    pub fn owes_heartbeat(&mut self, now_ms: u64, times: &Times, sent_ms: impl FnOnce() -> u64) -> bool {
        let Some(silent_ms) = &mut self.silent_ms else { return false };
        if now_ms < *silent_ms {
            return false;
        }
        *silent_ms = sent_ms() + times.heartbeat_ms;
        if now_ms < *silent_ms {
            return false;
        }
        *silent_ms = now_ms + times.heartbeat_ms;
        self.pinged_ms.get_or_insert(now_ms);
        true
    }

    /// A frame came: a ping needs no answer any more.
    pub fn heard(&mut self) {
        self.pinged_ms = None;
    }

    /// Notes whether a message is under way; `is_new` when one was finished since the last time.
    pub fn message(&mut self, is_under_way: bool, is_new: bool, now_ms: u64) {
        if is_new || !is_under_way {
            self.message_ms = None;
        }
        if is_under_way {
            self.message_ms.get_or_insert(now_ms);
        }
    }

    /// What is due now, if anything: ask until nothing is.
    pub fn due(&mut self, now_ms: u64, status: &Status, times: &Times) -> Option<Due> {
        let has_passed = |since: Option<u64>, after: u64| since.is_some_and(|since| now_ms >= since + after);
        if self.expires_ms.is_some_and(|at| now_ms >= at) {
            return Some(Due::End(EndReason::TokenExpired));
        }
        if has_passed(self.message_ms, times.message_ms) {
            return Some(Due::End(EndReason::MessageTimeout));
        }
        if has_passed(status.oldest_ms, times.stall_ms) || has_passed(status.stalled_ms, times.stall_ms) {
            return Some(Due::End(EndReason::SlowConsumer(Overflow::Age.text())));
        }
        if status.probe_until_ms.is_some_and(|until| now_ms >= until) {
            return Some(Due::ProbeFailed);
        }
        if has_passed(self.pinged_ms, times.pong_ms) {
            return Some(Due::End(EndReason::HeartbeatTimeout));
        }
        if self.pinged_ms.is_none() && now_ms >= self.ping_ms(status, times) {
            self.pinged_ms = Some(now_ms);
            return Some(Due::Ping);
        }
        None
    }

    fn ping_ms(&self, status: &Status, times: &Times) -> u64 {
        status.heard_ms + times.heartbeat_ms.saturating_sub(self.phase_ms)
    }

    /// When something will be due at the earliest.
    #[must_use]
    pub fn next_ms(&self, status: &Status, times: &Times) -> u64 {
        let heartbeat = match self.pinged_ms {
            Some(at) => at + times.pong_ms,
            None => self.ping_ms(status, times),
        };
        let others = [
            self.expires_ms,
            self.message_ms.map(|at| at + times.message_ms),
            status.oldest_ms.map(|at| at + times.stall_ms),
            status.stalled_ms.map(|at| at + times.stall_ms),
            status.probe_until_ms,
            self.silent_ms,
        ];
        others.into_iter().flatten().fold(heartbeat, u64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times { heartbeat_ms: 1000, pong_ms: 200, message_ms: 300, stall_ms: 400 };

    fn status() -> Status {
        Status::default()
    }

    #[test]
    fn silence_is_answered_by_a_ping_and_then_the_end() {
        let mut deadlines = Deadlines::default();
        assert_eq!(deadlines.due(999, &status(), &TIMES), None);
        assert_eq!(deadlines.next_ms(&status(), &TIMES), 1000);
        assert_eq!(deadlines.due(1000, &status(), &TIMES), Some(Due::Ping));
        assert_eq!(deadlines.due(1000, &status(), &TIMES), None);
        assert_eq!(deadlines.next_ms(&status(), &TIMES), 1200);
        assert_eq!(deadlines.due(1200, &status(), &TIMES), Some(Due::End(EndReason::HeartbeatTimeout)));
        deadlines.heard();
        let heard = Status { heard_ms: 1100, ..status() };
        assert_eq!(deadlines.due(1200, &heard, &TIMES), None);
    }

    #[test]
    fn who_hears_nothing_gets_a_heartbeat_and_has_to_answer() {
        let mut deadlines = Deadlines::default().with_heartbeats(0, &TIMES);
        assert!(!deadlines.owes_heartbeat(999, &TIMES, || unreachable!("it is not asked so soon")));
        assert!(!deadlines.owes_heartbeat(1000, &TIMES, || 600));
        assert_eq!(deadlines.next_ms(&Status { heard_ms: 900, ..status() }, &TIMES), 1600);
        assert!(deadlines.owes_heartbeat(1600, &TIMES, || 600));
        let heard = Status { heard_ms: 1500, ..status() };
        assert_eq!(deadlines.next_ms(&heard, &TIMES), 1800);
        assert_eq!(deadlines.due(1800, &heard, &TIMES), Some(Due::End(EndReason::HeartbeatTimeout)));
        deadlines.heard();
        assert_eq!(deadlines.due(1800, &heard, &TIMES), None);
        assert!(!Deadlines::default().owes_heartbeat(u64::MAX, &TIMES, || 0), "a plain client wants none");
    }

    #[test]
    fn a_message_has_to_be_finished() {
        let mut deadlines = Deadlines::default();
        deadlines.message(true, false, 100);
        deadlines.message(true, false, 350);
        let heard = Status { heard_ms: 390, ..status() };
        assert_eq!(deadlines.due(399, &heard, &TIMES), None);
        assert_eq!(deadlines.due(400, &heard, &TIMES), Some(Due::End(EndReason::MessageTimeout)));
        deadlines.message(true, true, 400);
        assert_eq!(deadlines.next_ms(&heard, &TIMES), 700);
        deadlines.message(false, true, 500);
        assert_eq!(deadlines.next_ms(&heard, &TIMES), 1390);
    }

    #[test]
    fn whoever_takes_nothing_is_slow() {
        let mut deadlines = Deadlines::default();
        let old = Status { oldest_ms: Some(10), stalled_ms: Some(300), ..status() };
        assert_eq!(deadlines.next_ms(&old, &TIMES), 410);
        assert!(matches!(deadlines.due(410, &old, &TIMES), Some(Due::End(EndReason::SlowConsumer(_)))));
        let own = Status { stalled_ms: Some(300), ..status() };
        assert_eq!(deadlines.due(699, &own, &TIMES), None);
        assert!(matches!(deadlines.due(700, &own, &TIMES), Some(Due::End(EndReason::SlowConsumer(_)))));
    }
}
