//! Drives a run through its phases on the calling thread: connect, warm-up, measurement, drain, close.

use std::time::Duration;

use anyhow::Context as _;

use super::event_loop::EventLoop;
use super::latency::LatencyRecorder;
use super::outcome::{Interval, Measurement, Outcome, Snapshot};
use super::plan::{Plan, Workload};
use super::process;
use super::progress::Progress;
use super::sampler::Sampler;
use super::wire::PING;

mod traffic;

/// Longest wait of the poller, by which the end of a phase may be noticed too late.
const MAX_POLL: Duration = Duration::from_millis(5);
/// Longest wait for a handshake or for the answer to a ping.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Longest wait for the answers to our own close frames, so that a run ends even if the server does not answer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs `plan` to its end.
///
/// # Errors
/// The system cannot create a socket, a thread or a poller. A mistake of the server is no error, but part of the
/// outcome.
pub(super) fn run(plan: &Plan, progress: &mut Progress) -> anyhow::Result<Outcome> {
    let event_loop = EventLoop::new(plan).context("cannot create a poller")?;
    let mut driver = Driver { plan, event_loop, progress, outcome: Outcome::default() };
    driver.outcome.resident.before = driver.resident_kib();
    match plan.workload {
        Workload::Traffic { stalled } => driver.traffic(stalled)?,
        Workload::Connect => driver.sampled(Driver::connect)?,
        Workload::Idle(hold) => {
            driver.connect()?;
            driver.sampled(|driver| driver.idle(hold))?;
        }
        Workload::Storm(rounds) => {
            driver.connect()?;
            driver.sampled(|driver| driver.storms(rounds))?;
        }
    }
    driver.progress.finish();
    driver.outcome.open = driver.event_loop.shared.readers();
    driver.outcome.resident.after = driver.resident_kib();
    driver.outcome.counters = driver.event_loop.shared.counters.clone();
    driver.outcome.tls = driver.event_loop.shared.tls.clone();
    driver.event_loop.close_all();
    driver.run_until(CLOSE_TIMEOUT, |event_loop| event_loop.shared.readers() == 0)?;
    Ok(driver.outcome)
}

struct Driver<'p, 'o> {
    plan: &'p Plan,
    event_loop: EventLoop<'p>,
    progress: &'o mut Progress,
    outcome: Outcome,
}

impl Driver<'_, '_> {
    fn now_ns(&self) -> u64 {
        self.event_loop.shared.clock.now_ns()
    }

    fn resident_kib(&self) -> Option<u64> {
        self.plan.pid.and_then(process::resident_kib)
    }

    fn snapshot(&self) -> Snapshot {
        let counters = &self.event_loop.shared.counters;
        Snapshot {
            at_ns: self.now_ns(),
            sent: counters.sent,
            delivered: counters.delivered,
            bytes: counters.bytes,
            opened: counters.opened,
            server: self.plan.pid.and_then(process::cpu),
            load: process::cpu(std::process::id()).unwrap_or_default(),
        }
    }

    /// Runs a phase while a sampler reads the server's memory and queues.
    fn sampled(&mut self, phase: impl FnOnce(&mut Self) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let sampler =
            Sampler::start(self.plan.pid, &self.plan.target).context("cannot start the sampler's thread")?;
        let done = phase(self);
        self.outcome.samples = sampler.finish();
        done
    }

    /// Runs the event loop until `done` returns true, for at most `longest`; returns whether it is done.
    fn run_until(
        &mut self,
        longest: Duration,
        mut done: impl FnMut(&EventLoop<'_>) -> bool,
    ) -> anyhow::Result<bool> {
        let deadline_ns = self.now_ns() + longest.as_nanos() as u64;
        while !done(&self.event_loop) {
            if self.now_ns() >= deadline_ns {
                return Ok(false);
            }
            self.event_loop.turn(MAX_POLL)?;
        }
        Ok(true)
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        self.run_until(self.plan.settle, |_| false).map(drop)
    }

    /// Opens all connections for the first time and measures their handshakes.
    fn connect(&mut self) -> anyhow::Result<()> {
        let now_ns = self.now_ns();
        self.event_loop.shared.handshakes = LatencyRecorder::new(now_ns, u64::MAX);
        let from = self.snapshot();
        self.event_loop.shared.handshakes.begin(now_ns, 0);
        self.dial_all("connecting")?;
        let interval = Interval::between(&from, &self.snapshot());
        let handshakes = &mut self.event_loop.shared.handshakes;
        handshakes.finish(self.event_loop.shared.clock.now_ns(), self.event_loop.shared.counters.opened);
        self.outcome.connecting = Measurement::new(interval, handshakes);
        self.settle()?;
        self.outcome.resident.connected = self.resident_kib();
        if self.plan.workload == Workload::Connect {
            self.outcome.measured = self.outcome.connecting.clone();
        }
        Ok(())
    }

    /// Dials every connection, as many at once as the plan allows, until each is open or has failed.
    fn dial_all(&mut self, phase: &str) -> anyhow::Result<()> {
        let total = self.plan.connections;
        let settled = |event_loop: &EventLoop<'_>| {
            event_loop.shared.counters.opened + event_loop.shared.counters.failed
        };
        let before = settled(&self.event_loop);
        let mut dialled = 0;
        let mut last = (before, self.now_ns());
        loop {
            let done = (settled(&self.event_loop) - before) as usize;
            while dialled < total && dialled - done < self.plan.concurrency {
                self.event_loop.dial(dialled)?;
                dialled += 1;
            }
            if done >= total {
                return Ok(());
            }
            self.event_loop.turn(MAX_POLL)?;
            let now_ns = self.now_ns();
            self.event_loop.shared.handshakes.roll(now_ns, self.event_loop.shared.counters.opened);
            self.progress.tick(phase, done as f64 / total as f64, || format!("{done} of {total}"));
            if settled(&self.event_loop) != last.0 {
                last = (settled(&self.event_loop), now_ns);
            } else if now_ns > last.1 + TIMEOUT.as_nanos() as u64 {
                let silent = total - done;
                self.event_loop.shared.counters.failed += silent as u64;
                self.event_loop
                    .shared
                    .counters
                    .add_complaint(format!("{silent} handshakes without an answer in {TIMEOUT:?}"));
                return Ok(());
            }
        }
    }

    /// Lets each connection send a ping and receive a message, then holds all of them idle.
    fn idle(&mut self, hold: Duration) -> anyhow::Result<()> {
        let from = self.snapshot();
        for connection in &mut self.event_loop.connections {
            connection.send_frame(PING, b"idle");
        }
        for publisher in 0..self.plan.rooms.min(self.plan.connections) {
            let now_ns = self.now_ns();
            self.event_loop.publish(publisher, now_ns);
        }
        self.run_until(TIMEOUT, |event_loop| {
            let counters = &event_loop.shared.counters;
            counters.pongs >= event_loop.shared.readers() as u64 && counters.missing() == 0
        })?;
        self.settle()?;
        let holding = self.now_ns();
        while self.now_ns() < holding + hold.as_nanos() as u64 {
            self.event_loop.turn(MAX_POLL * 20)?;
            let done = (self.now_ns() - holding) as f64 / hold.as_nanos().max(1) as f64;
            let open = self.event_loop.shared.readers();
            self.progress.tick("holding", done, || format!("{open} open"));
        }
        self.outcome.measured.interval = Interval::between(&from, &self.snapshot());
        Ok(())
    }

    /// Resets all connections and reconnects them at once, `rounds` times.
    fn storms(&mut self, rounds: usize) -> anyhow::Result<()> {
        let now_ns = self.now_ns();
        self.event_loop.shared.handshakes = LatencyRecorder::new(now_ns, u64::MAX);
        let from = self.snapshot();
        self.event_loop.shared.handshakes.begin(now_ns, from.opened);
        for round in 1..=rounds {
            let start_ns = self.now_ns();
            self.event_loop.reset_all();
            self.dial_all(&format!("storm {round} of {rounds}"))?;
            self.outcome.storms.push(Duration::from_nanos(self.now_ns() - start_ns));
            if round < rounds {
                self.settle()?;
            }
        }
        let interval = Interval::between(&from, &self.snapshot());
        let handshakes = &mut self.event_loop.shared.handshakes;
        handshakes.finish(self.event_loop.shared.clock.now_ns(), self.event_loop.shared.counters.opened);
        self.outcome.measured = Measurement::new(interval, handshakes);
        // A connection that the server refuses after the 101 is closed a moment later.
        self.settle()
    }
}
