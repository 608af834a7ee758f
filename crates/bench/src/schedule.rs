//! Computes when messages are due in an open loop.

use std::time::Duration;

use super::ramp::Ramp;

/// The rule by which publishers send messages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pace {
    /// Closed loop: each publisher keeps this many messages in flight and sends the next when one has come back.
    InFlight(usize),
    /// Open loop: this many messages per second over all publishers, due on schedule even if the server falls behind.
    PerSecond(f64),
    /// Open loop whose rate rises evenly through the measured time.
    Ramp(Ramp),
}

/// The due times of an open loop. They do not depend on the server: a message that is sent late because the server
/// stalled is late in the result too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    start_ns: u64,
    gap_ns: f64,
    next: u64,
    rise: Option<Rise>,
}

/// The part of a schedule in which the rate rises.
#[derive(Debug, Clone, Copy)]
struct Rise {
    /// Its start, in seconds since that of the schedule.
    at_s: f64,
    /// Number of messages that are due before it, with the fraction of the one that is due in it.
    before: f64,
    /// Messages per second at its start.
    rate: f64,
    /// Growth of the rate, in messages per second in each second.
    slope: f64,
}

impl Rise {
    /// Returns when message `number` is due, in seconds since the start of the schedule; `None` if it is due before the
    /// rate rises. This solves `rate * t + slope * t² / 2 = number - before` in the form that subtracts nothing.
    fn due_s(&self, number: f64) -> Option<f64> {
        let count = number - self.before;
        let root = (self.rate * self.rate + 2.0 * self.slope * count.max(0.0)).sqrt();
        (count > 0.0).then(|| self.at_s + 2.0 * count / (self.rate + root))
    }

    /// Returns how many messages are due before `at_s`; `None` if the rate does not rise yet.
    fn due_before(&self, at_s: f64) -> Option<u64> {
        let t = at_s - self.at_s;
        (t > 0.0).then(|| (self.before + self.rate * t + self.slope * t * t / 2.0).ceil() as u64)
    }
}

impl Schedule {
    /// Returns a schedule of `rate` messages per second from `start_ns` on.
    pub(super) fn new(start_ns: u64, rate: f64) -> Self {
        Self { start_ns, gap_ns: 1e9 / rate, next: 0, rise: None }
    }

    /// Returns a schedule that begins with the lower rate of `ramp` and, after `warm_up`, rises to the higher one
    /// within `length`.
    pub(super) fn rising(start_ns: u64, warm_up: Duration, length: Duration, ramp: Ramp) -> Self {
        let (at_s, slope) = (warm_up.as_secs_f64(), (ramp.to - ramp.from) / length.as_secs_f64());
        let rise = Rise { at_s, before: ramp.from * at_s, rate: ramp.from, slope };
        Self { rise: Some(rise), ..Self::new(start_ns, ramp.from) }
    }

    /// Returns when the next message is due, in nanoseconds of the run's clock. It is computed from the start, so that
    /// rounding errors do not add up.
    pub(super) fn due_ns(&self) -> u64 {
        let number = self.next as f64;
        let risen_ns = self.rise.and_then(|rise| rise.due_s(number)).map(|due_s| due_s * 1e9);
        self.start_ns + risen_ns.unwrap_or(number * self.gap_ns) as u64
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
        let end_s = end_ns.saturating_sub(self.start_ns) as f64 / 1e9;
        match self.rise.and_then(|rise| rise.due_before(end_s)) {
            Some(all) => all.saturating_sub(self.next),
            None => (end_ns.saturating_sub(self.due_ns()) as f64 / self.gap_ns).ceil() as u64,
        }
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

    /// From 100 to 300 messages per second within 2 s, after a second of 100: by then 100, and by the end 100 + 400.
    #[test]
    fn a_ramp_rises_evenly_from_the_end_of_the_warm_up() {
        let (second, ramp) = (1_000_000_000, Ramp { from: 100.0, to: 300.0 });
        let mut schedule = Schedule::rising(7, Duration::from_secs(1), Duration::from_secs(2), ramp);
        let mut due = Vec::new();
        for number in 0..500u64 {
            assert_eq!(schedule.due_before(7 + 3 * second), 500 - number);
            due.push(schedule.due_ns() - 7);
            schedule.advance();
        }
        assert_eq!((due[0], due[1], due[100]), (0, 10_000_000, second));
        let between = |from: u64, to: u64| due.iter().filter(|at| (from..to).contains(at)).count();
        assert_eq!([between(second, 2 * second), between(2 * second, 3 * second)], [150, 250], "trapezes");
        assert!(due.windows(2).all(|pair| pair[0] < pair[1]));
        let gap = due[499] - due[498];
        assert!((3_300_000..3_400_000).contains(&gap), "300 per second at the end: {gap}");
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
