//! The phases of scenarios that publish messages.

use super::super::latency::LatencyRecorder;
use super::super::outcome::{Interval, Measurement};
use super::super::pacer::Pacer;
use super::{Driver, MAX_POLL};

impl Driver<'_, '_> {
    /// Connects and publishes. If `stalled` is not 0, publishes a second time while that many connections read nothing.
    pub(super) fn traffic(&mut self, stalled: usize) -> anyhow::Result<()> {
        self.connect()?;
        if stalled > 0 {
            self.outcome.baseline = Some(self.publish("baseline")?);
            self.event_loop.stall(stalled);
        }
        self.sampled(|driver| {
            driver.outcome.measured = driver.publish("measuring")?;
            Ok(())
        })?;
        self.outcome.dropped = self.event_loop.count_dropped();
        Ok(())
    }

    /// Publishes through warm-up, measured time and drain; returns the measurement.
    fn publish(&mut self, phase: &str) -> anyhow::Result<Measurement> {
        let start_ns = self.now_ns();
        let from_ns = start_ns + self.plan.warm_up.as_nanos() as u64;
        let to_ns = from_ns + self.plan.measured.as_nanos() as u64;
        self.event_loop.shared.latency = LatencyRecorder::new(from_ns, to_ns);
        let mut pacer = Pacer::new(self.plan, &mut self.event_loop, start_ns, to_ns);
        self.publish_until(from_ns, "warming up", &mut pacer)?;
        let from = self.snapshot();
        self.event_loop.shared.latency.begin(from.at_ns, from.delivered);
        self.publish_until(to_ns, phase, &mut pacer)?;
        let to = self.snapshot();
        self.event_loop.shared.latency.finish(to.at_ns, to.delivered);
        // Messages that were due in the measured time may still be sent and arrive; they count with their full latency.
        let deadline_ns = self.now_ns() + self.plan.drain.as_nanos() as u64;
        while self.now_ns() < deadline_ns && self.event_loop.shared.readers() > 0 {
            let wait = pacer.step(self.now_ns(), &mut self.event_loop);
            if pacer.unsent() == 0 && self.event_loop.shared.counters.missing() == 0 {
                break;
            }
            self.event_loop.turn(wait.min(MAX_POLL))?;
        }
        self.outcome.unsent += pacer.unsent();
        Ok(Measurement::new(Interval::between(&from, &to), &mut self.event_loop.shared.latency))
    }

    fn publish_until(&mut self, end_ns: u64, phase: &str, pacer: &mut Pacer) -> anyhow::Result<()> {
        let start_ns = self.now_ns();
        loop {
            let now_ns = self.now_ns();
            let shared = &mut self.event_loop.shared;
            if now_ns >= end_ns || shared.readers() == 0 {
                return Ok(());
            }
            let delivered = shared.counters.delivered;
            let done = (now_ns - start_ns) as f64 / (end_ns - start_ns).max(1) as f64;
            self.progress.tick(phase, done, || {
                let last = shared.latency.windows().last();
                last.map_or(format!("{delivered} deliveries"), |window| {
                    let p99_ms = window.latency_us.p99 / 1e3;
                    format!("{:.0} deliveries/s, p99 {p99_ms:.2} ms", window.per_s)
                })
            });
            shared.latency.roll(now_ns, delivered);
            let wait = pacer.step(now_ns, &mut self.event_loop);
            self.event_loop.turn(wait.min(MAX_POLL))?;
        }
    }
}
