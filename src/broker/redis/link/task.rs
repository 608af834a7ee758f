//! The task of a link: it connects, sends what was queued, probes, and begins anew when a connection breaks.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::answers::{Answers, Purpose};
use super::confirmations::Change;
use super::connect::{Connections, connect};
use super::event::Event;
use super::mailbox::{Shared, Taken};
use super::pushes::Pushes;
use super::reason::DownReason;
use super::settings::{ServerSettings, Timings};

/// How often the link looks after its deadlines.
const TICK: Duration = Duration::from_millis(100);
/// Subscriptions are sent in chunks of this many, one chunk in each [`CHUNK_PAUSE`]: 20,000 per second, so that they
/// leave the server time for the calls of others.
const CHUNK: usize = 200;
const CHUNK_PAUSE: Duration = Duration::from_millis(10);
/// Most channels that wait for their confirmation: 200 ms of them.
const MAX_UNCONFIRMED: usize = 4_000;
/// Doublings after which the wait before an attempt no longer grows.
const MAX_DOUBLINGS: u32 = 16;

/// Keeps the link for ever.
pub(super) async fn run(settings: Arc<ServerSettings>, shared: Arc<Shared>) {
    let _answer_all = CloseOnDrop(Arc::clone(&shared));
    let mut last_reason = None;
    let mut attempts = 0;
    loop {
        let channel = shared.probe_channel();
        // The future holds the state of two handshakes: on the heap, as this task lives for ever.
        let reason = match Box::pin(connect(&settings, &channel)).await {
            Ok(connections) => {
                let since = Instant::now();
                shared.open();
                shared.events.send(shared.link, Event::Up(Arc::clone(&connections.facts)));
                last_reason = None;
                let pushes = Pushes::new(shared.link, shared.events.clone(), channel);
                let reason = use_until_broken(&settings.timings, &shared, pushes, connections).await;
                attempts = if since.elapsed() < settings.timings.steady { attempts } else { 0 };
                reason
            }
            Err(reason) => reason,
        };
        if last_reason.as_ref() != Some(&reason) {
            last_reason = Some(reason.clone());
            shared.events.send(shared.link, Event::Down(reason));
        }
        sleep(pause(&settings.timings, attempts)).await;
        attempts += 1;
    }
}

/// Returns a random wait before an attempt: the limit doubles with each one.
fn pause(timings: &Timings, attempts: u32) -> Duration {
    let longest = timings.first_retry.saturating_mul(1 << attempts.min(MAX_DOUBLINGS));
    longest.min(timings.last_retry).mul_f64(fastrand::f64())
}

/// Answers what was not sent when the task ends, and tells the owner.
struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
        self.0.events.send(self.0.link, Event::Down(DownReason::Ended));
    }
}

/// Uses the connections until one of them is to be dropped, and returns why. All calls are answered then.
async fn use_until_broken(
    timings: &Timings,
    shared: &Shared,
    pushes: Pushes,
    connections: Connections,
) -> DownReason {
    let now = Instant::now();
    let (answers, taken) = Default::default();
    let mut link =
        Link { timings, shared, pushes, connections, answers, taken, last_probe: now, next_chunk: now };
    let reason = match link.work().await {
        Ok(never) => match never {},
        Err(reason) => reason,
    };
    shared.close();
    reason
}

struct Link<'a> {
    timings: &'a Timings,
    shared: &'a Shared,
    pushes: Pushes,
    connections: Connections,
    answers: Answers,
    taken: Taken,
    last_probe: Instant,
    next_chunk: Instant,
}

impl Link<'_> {
    /// Sends what is queued, takes what comes, and looks after deadlines, until something is wrong.
    async fn work(&mut self) -> Result<Infallible, DownReason> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.send_queued()?;
            let has_more_changes = self.taken.has_more_changes;
            let next_chunk = self.next_chunk;
            let Connections { calls, subscriptions, .. } = &mut self.connections;
            tokio::select! {
                progress = calls.progress() => {
                    progress.map_err(|_| DownReason::Closed)?;
                    self.take_answers()?;
                }
                progress = subscriptions.progress() => {
                    progress.map_err(|_| DownReason::Closed)?;
                    while let Some(frame) = self.connections.subscriptions.next_frame()? {
                        self.pushes.receive(frame)?;
                    }
                }
                () = self.shared.arrived() => {}
                () = sleep_until(next_chunk), if has_more_changes => {}
                _ = ticks.tick() => self.look_after()?,
            }
        }
    }

    fn take_answers(&mut self) -> Result<(), DownReason> {
        let Connections { calls, facts, .. } = &mut self.connections;
        while let Some(frame) = calls.next_frame()? {
            if let Some(request) = self.answers.receive(frame, &facts.replication_id)? {
                calls.send_call(&request.call, true);
                let deadline = request.deadline.unwrap_or(self.timings.answer);
                self.answers.expect(Purpose::CallWithText(request), deadline, Instant::now());
            }
        }
        Ok(())
    }

    /// Probes, and checks the deadlines of probes, calls and subscriptions.
    fn look_after(&mut self) -> Result<(), DownReason> {
        let now = Instant::now();
        self.move_probe(now);
        if self.pushes.since_probe() > self.timings.probe_lost {
            return Err(DownReason::ProbeLost(self.timings.probe_lost));
        }
        let overdue = self.pushes.is_overdue(now).then_some(self.timings.answer);
        if let Some(deadline) = overdue.or_else(|| self.answers.overdue(now)) {
            return Err(DownReason::AnswerDeadline(deadline));
        }
        if now - self.last_probe >= self.timings.probe_every {
            self.last_probe = now;
            let calls = &mut self.connections.calls;
            calls.send([b"SPUBLISH", &self.pushes.probe_channel()[..], &super::PROBE].into_iter());
            self.answers.expect(Purpose::Probe, self.timings.answer, now);
            calls.send([&b"INFO"[..], b"replication"].into_iter());
            self.answers.expect(Purpose::Facts, self.timings.answer, now);
        }
        Ok(())
    }

    /// Subscribes to the channel of the probes if that is another one now.
    fn move_probe(&mut self, now: Instant) {
        let channel = self.shared.probe_channel();
        if self.pushes.probe_on(&channel) {
            self.change(Change::Subscribe(channel), now);
        }
    }

    /// Sends a change of the subscriptions.
    fn change(&mut self, change: Change, now: Instant) {
        self.connections.subscriptions.send(change.words().into_iter());
        self.pushes.expect(change, now + self.timings.answer);
    }

    fn send_queued(&mut self) -> Result<(), DownReason> {
        let now = Instant::now();
        let room = MAX_UNCONFIRMED.saturating_sub(self.pushes.unconfirmed());
        let most = if now < self.next_chunk { 0 } else { CHUNK.min(room) };
        self.shared.take(&mut self.taken, most)?;
        for mut request in self.taken.requests.drain(..) {
            request.unanswered.is_being_sent();
            self.connections.calls.send_call(&request.call, false);
            let deadline = request.deadline.unwrap_or(self.timings.answer);
            self.answers.expect(Purpose::Call(request), deadline, now);
        }
        if most > 0 && self.taken.has_more_changes || !self.taken.changes.is_empty() {
            self.next_chunk = now + CHUNK_PAUSE;
        } else if self.taken.has_more_changes {
            self.next_chunk = self.next_chunk.max(now + Duration::from_millis(1));
        }
        for change in std::mem::take(&mut self.taken.changes) {
            self.change(change, now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_limit_and_differ() {
        let timings = Timings::default();
        let longest = |attempts| (0..1_000).map(|_| pause(&timings, attempts)).max().unwrap();
        assert!(longest(0) <= timings.first_retry && longest(0) > timings.first_retry / 2);
        assert!(longest(3) <= timings.first_retry * 8 && longest(3) > timings.first_retry * 4);
        for attempts in [10, 100, u32::MAX] {
            assert!(longest(attempts) <= timings.last_retry && longest(attempts) > timings.last_retry / 2);
        }
        assert_ne!(pause(&timings, 10), pause(&timings, 10));
    }
}
