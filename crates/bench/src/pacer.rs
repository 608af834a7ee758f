//! Publishes when it is time to.

use std::time::Duration;

use super::plan::Plan;
use super::schedule::{Pace, Schedule};
use super::swarm::Swarm;

/// Messages published between two looks at the sockets.
const BURST: usize = 256;
/// Longest wait while nothing is due.
const LONGEST: Duration = Duration::from_millis(5);

/// The publishers of one stretch of traffic.
#[derive(Debug)]
pub(super) struct Pacer {
    schedule: Option<Schedule>,
    publishers: u64,
    end_ns: u64,
    unsent: u64,
}

impl Pacer {
    /// Publishing from `start_ns` until `end_ns`.
    pub(super) fn new(plan: &Plan, swarm: &mut Swarm<'_>, start_ns: u64, end_ns: u64) -> Self {
        let permits = &mut swarm.shared.permits;
        permits.clear();
        let schedule = match plan.pace {
            Pace::PerSecond(rate) => Some(Schedule::new(start_ns, rate)),
            Pace::InFlight(count) => {
                // All of a publisher's at once, as they come back.
                permits.extend(
                    (0..plan.publishers).flat_map(|number| std::iter::repeat_n(number as u16, count)),
                );
                None
            }
        };
        Self { schedule, publishers: plan.publishers as u64, end_ns, unsent: 0 }
    }

    /// Publishes what may be published at `now_ns`; returns how long the poller may wait.
    pub(super) fn step(&mut self, now_ns: u64, swarm: &mut Swarm<'_>) -> Duration {
        match &mut self.schedule {
            None if now_ns >= self.end_ns => LONGEST,
            None => spend_permits(swarm),
            Some(schedule) => {
                self.unsent = publish_due(schedule, self.publishers, now_ns, self.end_ns, swarm);
                if schedule.due_ns() >= self.end_ns { LONGEST } else { schedule.wait(now_ns, LONGEST) }
            }
        }
    }

    /// Messages that were due before the end, at the last step, and are not sent yet.
    pub(super) fn unsent(&self) -> u64 {
        self.unsent
    }
}

fn spend_permits(swarm: &mut Swarm<'_>) -> Duration {
    if swarm.shared.permits.is_empty() {
        return LONGEST;
    }
    let mut permits = std::mem::take(&mut swarm.shared.permits);
    for publisher in permits.drain(..) {
        let now_ns = swarm.shared.clock.now_ns();
        swarm.publish(usize::from(publisher), now_ns);
    }
    swarm.shared.permits = permits;
    Duration::ZERO
}

/// Returns how many messages of those due are left.
fn publish_due(
    schedule: &mut Schedule,
    publishers: u64,
    now_ns: u64,
    end_ns: u64,
    swarm: &mut Swarm<'_>,
) -> u64 {
    for _ in 0..BURST {
        let due_ns = schedule.due_ns();
        if due_ns > now_ns || due_ns >= end_ns {
            return 0;
        }
        let publisher = (schedule.number() % publishers) as usize;
        // It keeps its due time: held back here it is as late as if it waited in the kernel.
        if swarm.connections[publisher].is_stuffed() {
            break;
        }
        swarm.publish(publisher, due_ns);
        schedule.advance();
    }
    schedule.due_before(now_ns.min(end_ns))
}
