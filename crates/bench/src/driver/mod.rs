//! The course of a run, phase after phase, on the calling thread.

use std::time::Duration;

use anyhow::Context as _;

use super::latency::Latency;
use super::outcome::{Mark, Measured, Outcome, Stretch};
use super::plan::{Course, Plan};
use super::process;
use super::progress::Progress;
use super::sampler::Sampler;
use super::swarm::Swarm;
use super::wire::PING;

mod traffic;

/// Longest wait of the poller: how late the end of a phase may be noticed.
const TICK: Duration = Duration::from_millis(5);
/// A handshake, or an answer, that takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest wait for the answers to our own close frames: a server that does not answer must not keep us.
const FAREWELL: Duration = Duration::from_secs(3);

/// Runs `plan` to its end.
///
/// # Errors
/// The system has no sockets or no poller for us. What the server does wrong is no error but part of the outcome.
pub(super) fn run(plan: &Plan, progress: &mut Progress) -> anyhow::Result<Outcome> {
    let swarm = Swarm::new(plan).context("no poller")?;
    let mut driver = Driver { plan, swarm, progress, outcome: Outcome::default() };
    driver.outcome.resident.before = driver.resident();
    match plan.course {
        Course::Traffic { stalled } => driver.traffic(stalled)?,
        Course::Connect => driver.sampled(Driver::connect)?,
        Course::Idle(hold) => {
            driver.connect()?;
            driver.sampled(|driver| driver.idle(hold))?;
        }
        Course::Storm(rounds) => {
            driver.connect()?;
            driver.sampled(|driver| driver.storms(rounds))?;
        }
    }
    driver.progress.finish();
    driver.outcome.open = driver.swarm.shared.readers();
    driver.outcome.resident.after = driver.resident();
    driver.outcome.tally = driver.swarm.shared.tally.clone();
    driver.swarm.leave();
    driver.until(FAREWELL, |swarm| swarm.shared.readers() == 0)?;
    Ok(driver.outcome)
}

struct Driver<'p, 'o> {
    plan: &'p Plan,
    swarm: Swarm<'p>,
    progress: &'o mut Progress,
    outcome: Outcome,
}

impl Driver<'_, '_> {
    fn now_ns(&self) -> u64 {
        self.swarm.shared.clock.now_ns()
    }

    fn resident(&self) -> Option<u64> {
        self.plan.pid.and_then(process::resident_kib)
    }

    fn mark(&self) -> Mark {
        let tally = &self.swarm.shared.tally;
        Mark {
            at_ns: self.now_ns(),
            sent: tally.sent,
            delivered: tally.delivered,
            bytes: tally.bytes,
            opened: tally.opened,
            server: self.plan.pid.and_then(process::cpu),
            load: process::cpu(std::process::id()).unwrap_or_default(),
        }
    }

    /// Runs a phase while the server is sampled.
    fn sampled(&mut self, phase: impl FnOnce(&mut Self) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let sampler = Sampler::start(self.plan.pid, self.plan.target.address).context("no thread")?;
        let done = phase(self);
        self.outcome.samples = sampler.finish();
        done
    }

    /// Handles what happens until `done` or for `longest`; says whether it was done.
    fn until(&mut self, longest: Duration, mut done: impl FnMut(&Swarm<'_>) -> bool) -> anyhow::Result<bool> {
        let deadline_ns = self.now_ns() + longest.as_nanos() as u64;
        while !done(&self.swarm) {
            if self.now_ns() >= deadline_ns {
                return Ok(false);
            }
            self.swarm.pump(TICK)?;
        }
        Ok(true)
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        self.until(self.plan.settle, |_| false).map(drop)
    }

    /// Connects everybody for the first time.
    fn connect(&mut self) -> anyhow::Result<()> {
        let now_ns = self.now_ns();
        self.swarm.shared.handshakes = Latency::new(now_ns, u64::MAX);
        let from = self.mark();
        self.swarm.shared.handshakes.begin(now_ns, 0);
        self.dial_all("connecting")?;
        let stretch = Stretch::between(&from, &self.mark());
        let handshakes = &mut self.swarm.shared.handshakes;
        handshakes.finish(self.swarm.shared.clock.now_ns(), self.swarm.shared.tally.opened);
        self.outcome.connecting = Measured::new(stretch, handshakes);
        self.settle()?;
        self.outcome.resident.connected = self.resident();
        if self.plan.course == Course::Connect {
            self.outcome.measured = self.outcome.connecting.clone();
        }
        Ok(())
    }

    /// Dials every connection, so many at once as the plan allows, until each is open or has failed.
    fn dial_all(&mut self, phase: &str) -> anyhow::Result<()> {
        let total = self.plan.connections;
        let settled = |swarm: &Swarm<'_>| swarm.shared.tally.opened + swarm.shared.tally.failed;
        let before = settled(&self.swarm);
        let mut dialled = 0;
        let mut last = (before, self.now_ns());
        loop {
            let done = (settled(&self.swarm) - before) as usize;
            while dialled < total && dialled - done < self.plan.concurrency {
                self.swarm.dial(dialled)?;
                dialled += 1;
            }
            if done >= total {
                return Ok(());
            }
            self.swarm.pump(TICK)?;
            let now_ns = self.now_ns();
            self.swarm.shared.handshakes.roll(now_ns, self.swarm.shared.tally.opened);
            self.progress.tick(phase, done as f64 / total as f64, || format!("{done} of {total}"));
            if settled(&self.swarm) != last.0 {
                last = (settled(&self.swarm), now_ns);
            } else if now_ns > last.1 + PATIENCE.as_nanos() as u64 {
                let silent = total - done;
                self.swarm.shared.tally.failed += silent as u64;
                self.swarm
                    .shared
                    .tally
                    .complain(format!("{silent} handshakes without an answer in {PATIENCE:?}"));
                return Ok(());
            }
        }
    }

    /// Everybody sends and receives something once, then nothing happens.
    fn idle(&mut self, hold: Duration) -> anyhow::Result<()> {
        let from = self.mark();
        for connection in &mut self.swarm.connections {
            connection.send_frame(PING, b"idle");
        }
        for publisher in 0..self.plan.rooms.min(self.plan.connections) {
            let now_ns = self.now_ns();
            self.swarm.publish(publisher, now_ns);
        }
        self.until(PATIENCE, |swarm| {
            let tally = &swarm.shared.tally;
            tally.pongs >= swarm.shared.readers() as u64 && tally.missing() == 0
        })?;
        self.settle()?;
        let holding = self.now_ns();
        while self.now_ns() < holding + hold.as_nanos() as u64 {
            self.swarm.pump(TICK * 20)?;
            let done = (self.now_ns() - holding) as f64 / hold.as_nanos().max(1) as f64;
            let open = self.swarm.shared.readers();
            self.progress.tick("holding", done, || format!("{open} open"));
        }
        self.outcome.measured.stretch = Stretch::between(&from, &self.mark());
        Ok(())
    }

    /// All cut, all back at once.
    fn storms(&mut self, rounds: usize) -> anyhow::Result<()> {
        let now_ns = self.now_ns();
        self.swarm.shared.handshakes = Latency::new(now_ns, u64::MAX);
        let from = self.mark();
        self.swarm.shared.handshakes.begin(now_ns, from.opened);
        for round in 1..=rounds {
            let start_ns = self.now_ns();
            self.swarm.cut();
            self.dial_all(&format!("storm {round} of {rounds}"))?;
            self.outcome.storms.push(Duration::from_nanos(self.now_ns() - start_ns));
            if round < rounds {
                self.settle()?;
            }
        }
        let stretch = Stretch::between(&from, &self.mark());
        let handshakes = &mut self.swarm.shared.handshakes;
        handshakes.finish(self.swarm.shared.clock.now_ns(), self.swarm.shared.tally.opened);
        self.outcome.measured = Measured::new(stretch, handshakes);
        // Whoever is refused after the 101 is closed a moment later.
        self.settle()
    }
}
