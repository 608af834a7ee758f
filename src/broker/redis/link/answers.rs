//! The answers to the calls of a link, in the order in which these were sent.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::call::{CallError, Reply};
use super::facts;
use super::mailbox::Request;
use super::reason::DownReason;
use super::wire::Frame;

/// The purpose of a command that was sent.
#[derive(Debug)]
pub(super) enum Purpose {
    /// A call of the owner.
    Call(Request),
    /// A call whose script the server did not know, with its text.
    CallWithText(Request),
    /// To publish a probe.
    Probe,
    /// To ask whether the server is still the master of the same data set.
    Facts,
}

/// A command that waits for its answer.
#[derive(Debug)]
struct Awaited {
    purpose: Purpose,
    deadline: Duration,
    until: Instant,
}

/// The commands that wait for their answers. Those of the owner are limited by the mailbox, and probes by their
/// deadline. If this is dropped, all of them are answered with [`CallError::Lost`].
#[derive(Debug, Default)]
pub(super) struct Answers {
    waiting: VecDeque<Awaited>,
}

impl Answers {
    /// Remembers a command that is sent now, and how long its answer may take.
    pub(super) fn expect(&mut self, purpose: Purpose, deadline: Duration, now: Instant) {
        self.waiting.push_back(Awaited { purpose, deadline, until: now + deadline });
    }

    /// Returns the deadline of a command whose answer is overdue.
    pub(super) fn overdue(&self, now: Instant) -> Option<Duration> {
        self.waiting.iter().find(|awaited| awaited.until < now).map(|awaited| awaited.deadline)
    }

    /// Takes a value that the server has sent. Returns a call that has to be sent again, with the text of its script.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub(super) fn receive(
        &mut self,
        frame: Frame,
        replication_id: &str,
    ) -> Result<Option<Request>, DownReason> {
        // Nothing that is pushed here matters.
        let Frame::Reply(reply) = frame else { return Ok(None) };
        let Some(Awaited { purpose, .. }) = self.waiting.pop_front() else {
            return Err(DownReason::NotRedis("an answer came that nothing waits for".into()));
        };
        match (purpose, reply) {
            (Purpose::Call(request), Reply::Error(error)) if request.call.is_unknown(&error) => {
                return Ok(Some(request));
            }
            (
                Purpose::Call(Request { unanswered, .. }) | Purpose::CallWithText(Request { unanswered, .. }),
                reply,
            ) => {
                unanswered.answer(match reply {
                    Reply::Error(error) => Err(CallError::Server(error)),
                    reply => Ok(reply),
                });
            }
            // The slot of the probe has moved, or the cluster is down for a moment. The owner learns of it and moves
            // the probe; else the deadline for probes passes.
            (Purpose::Probe | Purpose::Facts, Reply::Error(error))
                if matches!(error.code.as_str(), "MOVED" | "CLUSTERDOWN") => {}
            (Purpose::Probe | Purpose::Facts, Reply::Error(error)) => {
                return Err(DownReason::CommandRefused { command: "SPUBLISH", error });
            }
            (Purpose::Facts, Reply::Bytes(info)) => {
                if facts::replication_id(&String::from_utf8_lossy(&info))? != replication_id {
                    return Err(DownReason::OtherDataSet);
                }
            }
            (Purpose::Probe | Purpose::Facts, _) => {}
        }
        Ok(None)
    }
}
