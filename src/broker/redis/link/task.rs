//! The task of a link: it connects, sends what was queued, probes, and begins anew when a connection breaks.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisResult, Value};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::call::{Call, CallError, Reply, ServerError};
use super::confirmations::Change;
use super::connect::{Connections, ask, connect};
use super::event::Event;
use super::facts;
use super::mailbox::{Request, Shared, Taken, Unanswered};
use super::pushes::{Breaks, Pushes};
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
        let breaks = Arc::new(Breaks::default());
        let channel = shared.probe_channel();
        let pushes = Pushes::new(shared.link, shared.events.clone(), channel, Arc::clone(&breaks));
        let pushes = Arc::new(pushes);
        // The future holds the crate's state of a handshake: on the heap, as this task lives for ever.
        let reason = match Box::pin(connect(&settings, &pushes)).await {
            Ok(connections) => {
                let since = Instant::now();
                shared.open();
                shared.events.send(shared.link, Event::Up(Arc::clone(&connections.facts)));
                last_reason = None;
                let reason = use_until_broken(&settings.timings, &shared, &pushes, connections).await;
                attempts = if since.elapsed() < settings.timings.steady { attempts } else { 0 };
                reason
            }
            Err(reason) => reason,
        };
        pushes.close();
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
    pushes: &Arc<Pushes>,
    connections: Connections,
) -> DownReason {
    let breaks = Arc::clone(pushes.breaks());
    let mut link = Link {
        timings,
        shared,
        pushes,
        connections,
        calls: JoinSet::new(),
        chunks: JoinSet::new(),
        taken: Taken::default(),
        last_probe: Instant::now(),
        next_chunk: Instant::now(),
    };
    let reason = tokio::select! {
        reason = breaks.wait() => reason,
        reason = link.work() => reason,
    };
    shared.close();
    pushes.close();
    link.calls.shutdown().await;
    reason
}

struct Link<'a> {
    timings: &'a Timings,
    shared: &'a Shared,
    pushes: &'a Arc<Pushes>,
    connections: Connections,
    /// The calls that wait for their answers, and the probe.
    calls: JoinSet<()>,
    /// The chunks of changes that wait for their confirmations.
    chunks: JoinSet<()>,
    taken: Taken,
    last_probe: Instant,
    next_chunk: Instant,
}

impl Link<'_> {
    /// Sends what is queued, and looks after deadlines, until something is wrong.
    async fn work(&mut self) -> DownReason {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Err(reason) = self.send_queued() {
                return reason;
            }
            let has_more_changes = self.taken.has_more_changes;
            let next_chunk = self.next_chunk;
            tokio::select! {
                () = self.shared.arrived() => {}
                () = sleep_until(next_chunk), if has_more_changes => {}
                _ = ticks.tick() => {
                    if let Err(reason) = self.look_after() {
                        return reason;
                    }
                }
            }
        }
    }

    /// Probes, and checks the deadlines of probes and subscriptions.
    fn look_after(&mut self) -> Result<(), DownReason> {
        let now = Instant::now();
        self.move_probe();
        if self.pushes.since_probe() > self.timings.probe_lost {
            return Err(DownReason::ProbeLost(self.timings.probe_lost));
        }
        if self.pushes.is_overdue(now) {
            return Err(DownReason::AnswerDeadline(self.timings.answer));
        }
        if now - self.last_probe >= self.timings.probe_every {
            self.last_probe = now;
            let connection = self.connections.calls.clone();
            let channel = self.pushes.probe_channel();
            let replication_id = self.connections.facts.replication_id.clone();
            let breaks = Arc::clone(self.pushes.breaks());
            self.calls.spawn(async move {
                if let Err(reason) = probe(connection, &channel, &replication_id).await {
                    breaks.give(reason);
                }
            });
        }
        while self.calls.try_join_next().is_some() {}
        while self.chunks.try_join_next().is_some() {}
        Ok(())
    }

    /// Subscribes to the channel of the probes if that is another one now.
    fn move_probe(&mut self) {
        let channel = self.shared.probe_channel();
        if !self.pushes.probe_on(&channel) {
            return;
        }
        let mut connection = self.connections.subscriptions.clone();
        let breaks = Arc::clone(self.pushes.breaks());
        self.chunks.spawn(async move {
            if let Err(reason) = ask(&mut connection, "SSUBSCRIBE", &[channel]).await {
                breaks.give(reason);
            }
        });
    }

    fn send_queued(&mut self) -> Result<(), DownReason> {
        let now = Instant::now();
        let room = MAX_UNCONFIRMED.saturating_sub(self.pushes.unconfirmed());
        let most = if now < self.next_chunk { 0 } else { CHUNK.min(room) };
        self.shared.take(&mut self.taken, most)?;
        for request in self.taken.requests.drain(..) {
            self.calls.spawn(carry_out(
                self.connections.calls.clone(),
                request,
                self.timings.answer,
                Arc::clone(self.pushes.breaks()),
            ));
        }
        while self.calls.try_join_next().is_some() {}
        if most > 0 && self.taken.has_more_changes || !self.taken.changes.is_empty() {
            self.next_chunk = now + CHUNK_PAUSE;
        } else if self.taken.has_more_changes {
            self.next_chunk = self.next_chunk.max(now + Duration::from_millis(1));
        }
        if !self.taken.changes.is_empty() {
            let changes = std::mem::take(&mut self.taken.changes);
            self.pushes.expect(&changes, now + self.timings.answer);
            let connection = self.connections.subscriptions.clone();
            self.chunks.spawn(send_changes(connection, changes, Arc::clone(self.pushes)));
        }
        Ok(())
    }
}

/// Publishes a probe, and checks that the server is still the master of the same data set.
async fn probe(
    mut connection: MultiplexedConnection,
    channel: &[u8],
    replication_id: &str,
) -> Result<(), DownReason> {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("SPUBLISH").arg(channel).arg(&super::PROBE[..]).cmd("INFO").arg("replication");
    let Ok(replies) = connection.send_packed_commands(&pipeline, 0, 2).await else {
        return Err(DownReason::Closed);
    };
    for reply in replies {
        let info = match Reply::from(reply) {
            // The slot of the probe has moved, or the cluster is down for a moment. The owner learns of it and moves
            // the probe; else the deadline for probes passes.
            Reply::Error(error) if matches!(error.code.as_str(), "MOVED" | "CLUSTERDOWN") => continue,
            Reply::Error(error) => return Err(DownReason::CommandRefused { command: "SPUBLISH", error }),
            Reply::Bytes(info) => info,
            _ => continue,
        };
        if facts::replication_id(&String::from_utf8_lossy(&info))? != replication_id {
            return Err(DownReason::OtherDataSet);
        }
    }
    Ok(())
}

/// Sends a call and answers it.
async fn carry_out(
    connection: MultiplexedConnection,
    request: Request,
    answer: Duration,
    breaks: Arc<Breaks>,
) {
    let Request { call, deadline, mut unanswered } = request;
    let deadline = deadline.unwrap_or(answer);
    unanswered.is_being_sent();
    match timeout(deadline, send(connection, &call)).await {
        Ok(result) => reply(unanswered, result),
        Err(_) => {
            unanswered.answer(Err(CallError::Lost));
            breaks.give(DownReason::AnswerDeadline(deadline));
        }
    }
}

/// Sends a call and returns the server's answer, which may be an error.
pub(super) async fn send(mut connection: MultiplexedConnection, call: &Call) -> RedisResult<Value> {
    let value = connection.send_packed_command(&call.request()).await?;
    let is_unknown = matches!(&value, Value::ServerError(error) if error.code() == "NOSCRIPT");
    match is_unknown.then(|| call.request_with_text()).flatten() {
        Some(with_text) => connection.send_packed_command(&with_text).await,
        None => Ok(value),
    }
}

fn reply(unanswered: Unanswered, result: RedisResult<Value>) {
    unanswered.answer(match result {
        Ok(Value::ServerError(error)) => Err(ServerError::from(&error).into()),
        Ok(value) => Ok(value.into()),
        Err(_) => Err(CallError::Lost),
    });
}

/// Sends a chunk of changes. The confirmations come as pushes; here come the errors.
async fn send_changes(mut connection: MultiplexedConnection, changes: Vec<Change>, pushes: Arc<Pushes>) {
    let mut pipeline = Pipeline::with_capacity(changes.len());
    for change in &changes {
        let name = match change {
            Change::Subscribe(_) => "SSUBSCRIBE",
            Change::Unsubscribe(_) => "SUNSUBSCRIBE",
        };
        pipeline.add_command({
            let mut command = Cmd::new();
            command.arg(name).arg(&change.channel()[..]);
            command
        });
    }
    // A broken connection is noticed by its reader.
    let Ok(values) = connection.send_packed_commands(&pipeline, 0, changes.len()).await else { return };
    for (change, value) in changes.iter().zip(values) {
        if let Value::ServerError(error) = value
            && let Err(reason) = pushes.refused(change, ServerError::from(&error))
        {
            pushes.breaks().give(reason);
            return;
        }
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
