//! The phases of scenarios that publish.

use super::super::latency::Latency;
use super::super::outcome::{Measured, Stretch};
use super::super::pacer::Pacer;
use super::{Driver, TICK};

impl Driver<'_, '_> {
    /// Connect, publish; with `stalled` connections publish a second time while these read nothing.
    pub(super) fn traffic(&mut self, stalled: usize) -> anyhow::Result<()> {
        self.connect()?;
        if stalled > 0 {
            self.outcome.baseline = Some(self.publish("everybody reads")?);
            self.swarm.stall(stalled);
        }
        self.sampled(|driver| {
            driver.outcome.measured = driver.publish("measuring")?;
            Ok(())
        })?;
        self.outcome.dropped = self.swarm.dropped();
        Ok(())
    }

    /// Warm-up, measured time, drain.
    fn publish(&mut self, phase: &str) -> anyhow::Result<Measured> {
        let start_ns = self.now_ns();
        let from_ns = start_ns + self.plan.warm_up.as_nanos() as u64;
        let to_ns = from_ns + self.plan.measured.as_nanos() as u64;
        self.swarm.shared.latency = Latency::new(from_ns, to_ns);
        let mut pacer = Pacer::new(self.plan, &mut self.swarm, start_ns, to_ns);
        self.publish_until(from_ns, "warming up", &mut pacer)?;
        let from = self.mark();
        self.swarm.shared.latency.begin(from.at_ns, from.delivered);
        self.publish_until(to_ns, phase, &mut pacer)?;
        let to = self.mark();
        self.swarm.shared.latency.finish(to.at_ns, to.delivered);
        // What was due in time leaves and arrives late, and counts as late.
        let deadline_ns = self.now_ns() + self.plan.drain.as_nanos() as u64;
        while self.now_ns() < deadline_ns && self.swarm.shared.readers() > 0 {
            let wait = pacer.step(self.now_ns(), &mut self.swarm);
            if pacer.unsent() == 0 && self.swarm.shared.tally.missing() == 0 {
                break;
            }
            self.swarm.pump(wait.min(TICK))?;
        }
        self.outcome.unsent += pacer.unsent();
        Ok(Measured::new(Stretch::between(&from, &to), &mut self.swarm.shared.latency))
    }

    fn publish_until(&mut self, end_ns: u64, phase: &str, pacer: &mut Pacer) -> anyhow::Result<()> {
        let start_ns = self.now_ns();
        loop {
            let now_ns = self.now_ns();
            let shared = &mut self.swarm.shared;
            if now_ns >= end_ns || shared.readers() == 0 {
                return Ok(());
            }
            let delivered = shared.tally.delivered;
            let done = (now_ns - start_ns) as f64 / (end_ns - start_ns).max(1) as f64;
            self.progress.tick(phase, done, || {
                let last = shared.latency.windows().last();
                last.map_or(format!("{delivered} deliveries"), |window| {
                    let p99_ms = window.latency_us.p99 / 1e3;
                    format!("{:.0} deliveries/s, p99 {p99_ms:.2} ms", window.per_s)
                })
            });
            shared.latency.roll(now_ns, delivered);
            let wait = pacer.step(now_ns, &mut self.swarm);
            self.swarm.pump(wait.min(TICK))?;
        }
    }
}
