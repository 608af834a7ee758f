//! Publishes messages at the pace of the plan: on a schedule, or when an earlier message has come back.

use std::time::Duration;

use super::event_loop::EventLoop;
use super::plan::Plan;
use super::schedule::{Pace, Schedule};

/// Most messages published before the poller is asked again.
const BURST: usize = 256;
/// Longest wait of the poller while no message is due.
const LONGEST_WAIT: Duration = Duration::from_millis(5);

/// Paces the publishers during one interval of traffic.
#[derive(Debug)]
pub(super) struct Pacer {
    schedule: Option<Schedule>,
    publishers: u64,
    end_ns: u64,
    unsent: u64,
}

impl Pacer {
    /// Returns a pacer that publishes from `start_ns` until `end_ns`.
    pub(super) fn new(plan: &Plan, event_loop: &mut EventLoop<'_>, start_ns: u64, end_ns: u64) -> Self {
        let permits = &mut event_loop.shared.permits;
        permits.clear();
        let schedule = match plan.pace {
            Pace::PerSecond(rate) => Some(Schedule::new(start_ns, rate)),
            Pace::Ramp(ramp) => Some(Schedule::rising(start_ns, plan.warm_up, plan.measured, ramp)),
            Pace::InFlight(count) => {
                // All permits of a publisher are adjacent, as they are when its messages come back together.
                permits.extend(
                    (0..plan.publishers).flat_map(|number| std::iter::repeat_n(number as u16, count)),
                );
                None
            }
        };
        Self { schedule, publishers: plan.publishers as u64, end_ns, unsent: 0 }
    }

    /// Publishes the messages that may be sent at `now_ns`; returns how long the poller may wait.
    pub(super) fn step(&mut self, now_ns: u64, event_loop: &mut EventLoop<'_>) -> Duration {
        match &mut self.schedule {
            None if now_ns >= self.end_ns => LONGEST_WAIT,
            None => spend_permits(event_loop),
            Some(schedule) => {
                self.unsent = publish_due(schedule, self.publishers, now_ns, self.end_ns, event_loop);
                if schedule.due_ns() >= self.end_ns {
                    LONGEST_WAIT
                } else {
                    schedule.wait(now_ns, LONGEST_WAIT)
                }
            }
        }
    }

    /// Returns how many messages were due at the last step, before the end of the interval, and are not sent yet.
    pub(super) fn unsent(&self) -> u64 {
        self.unsent
    }
}

fn spend_permits(event_loop: &mut EventLoop<'_>) -> Duration {
    if event_loop.shared.permits.is_empty() {
        return LONGEST_WAIT;
    }
    let mut permits = std::mem::take(&mut event_loop.shared.permits);
    for publisher in permits.drain(..) {
        let now_ns = event_loop.shared.clock.now_ns();
        event_loop.publish(usize::from(publisher), now_ns);
    }
    event_loop.shared.permits = permits;
    Duration::ZERO
}

/// Publishes up to [`BURST`] messages that are due; returns how many due messages are left.
fn publish_due(
    schedule: &mut Schedule,
    publishers: u64,
    now_ns: u64,
    end_ns: u64,
    event_loop: &mut EventLoop<'_>,
) -> u64 {
    for _ in 0..BURST {
        let due_ns = schedule.due_ns();
        if due_ns > now_ns || due_ns >= end_ns {
            return 0;
        }
        let publisher = (schedule.number() % publishers) as usize;
        // The message keeps its due time: waiting here counts as latency just as waiting in the kernel does.
        if event_loop.connections[publisher].is_backlogged() {
            break;
        }
        event_loop.publish(publisher, due_ns);
        schedule.advance();
    }
    schedule.due_before(now_ns.min(end_ns))
}
