//! Computes when messages are due in an open loop.

use std::time::Duration;

/// The rule by which publishers send messages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pace {
    /// Closed loop: each publisher keeps this many messages in flight and sends the next when one has come back.
    InFlight(usize),
    /// Open loop: this many messages per second over all publishers, due on schedule even if the server falls behind.
    PerSecond(f64),
}

/// The due times of an open loop. They do not depend on the server: a message that is sent late because the server
/// stalled is late in the result too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    start_ns: u64,
    gap_ns: f64,
    next: u64,
}

impl Schedule {
    /// Returns a schedule of `rate` messages per second from `start_ns` on.
    pub(super) fn new(start_ns: u64, rate: f64) -> Self {
        Self { start_ns, gap_ns: 1e9 / rate, next: 0 }
    }

    /// Returns when the next message is due, in nanoseconds of the run's clock. It is computed from the start, so that
    /// rounding errors do not add up.
    pub(super) fn due_ns(&self) -> u64 {
        self.start_ns + (self.next as f64 * self.gap_ns) as u64
    }

    /// Returns the number of the next message.
    pub(super) fn number(&self) -> u64 {
        self.next
    }

    /// Moves on to the next message.
    pub(super) fn advance(&mut self) {
        self.next += 1;
    }

    /// Returns how many messages are due before `end_ns` and not sent.
    pub(super) fn due_before(&self, end_ns: u64) -> u64 {
        (end_ns.saturating_sub(self.due_ns()) as f64 / self.gap_ns).ceil() as u64
    }

    /// Returns how long the event loop may sleep before the next message is due, at most `longest`. It is rounded down
    /// to whole milliseconds, the resolution of `poll`: with less than one millisecond left the result is zero.
    pub(super) fn wait(&self, now_ns: u64, longest: Duration) -> Duration {
        let until = Duration::from_nanos(self.due_ns().saturating_sub(now_ns));
        Duration::from_millis(until.as_millis() as u64).min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_do_not_drift() {
        let mut schedule = Schedule::new(1_000, 3.0);
        let mut due = Vec::new();
        for number in 0..3_000_000 {
            assert_eq!(schedule.number(), number);
            due.push(schedule.due_ns());
            schedule.advance();
        }
        assert_eq!(due[..4], [1_000, 333_334_333, 666_667_666, 1_000_001_000]);
        assert_eq!(schedule.due_ns(), 1_000_000 * 1_000_000_000 + 1_000, "a million seconds later");
    }

    #[test]
    fn waits_are_whole_milliseconds_and_never_beyond_the_due_time() {
        let schedule = Schedule::new(5_900_000, 1.0);
        let longest = Duration::from_millis(3);
        assert_eq!((schedule.due_before(5_000_000), schedule.due_before(1_005_900_001)), (0, 2));
        assert_eq!(schedule.wait(0, longest), longest);
        assert_eq!(schedule.wait(3_000_000, longest), Duration::from_millis(2));
        assert_eq!(schedule.wait(5_500_000, longest), Duration::ZERO);
        assert_eq!(schedule.wait(9_000_000, longest), Duration::ZERO);
    }
}
