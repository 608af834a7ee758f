//! The deadlines of the core: waits, silence of the server, unanswered commands, and events that are not read.

use std::time::Duration;

use tokio::time::Instant;

use super::{Core, Phase};
use crate::connection_end::ConnectionEnd;
use crate::error::SendError;
use crate::timestamp::Timestamp;

/// How long after a heartbeat was due the connection counts as dead.
const HEARTBEAT_GRACE: Duration = Duration::from_secs(10);
/// Longest time that is accepted from the server, as its heartbeat interval or as a pause.
const MAX_SERVER_TIME: Duration = Duration::from_secs(3600);

/// Returns a time that the server has sent, cut to an hour.
pub(super) fn bounded(ms: u64) -> Duration {
    Duration::from_millis(ms).min(MAX_SERVER_TIME)
}

/// Returns how long nothing may be received, for the heartbeat interval of the server.
pub(super) fn silence_limit(heartbeat_ms: u64) -> Duration {
    bounded(heartbeat_ms) + HEARTBEAT_GRACE
}

impl Core {
    /// Returns the time at which [`Core::tick`] is due, if nothing else happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Connecting { until } | Phase::Waiting { until } => Some(*until),
            Phase::Stopped(_) => None,
            Phase::Online => {
                let others = [
                    self.answer_deadline(),
                    self.outbox.deadline(),
                    self.room_commands_paused_until,
                    self.renewal.and_then(|renewal| renewal.due),
                ];
                Some(others.into_iter().flatten().fold(self.silence_deadline(), Instant::min))
            }
        }
    }

    /// Returns the time at which the oldest command must be answered, or `None` while nothing is read from the socket,
    /// because the answer may wait there.
    fn answer_deadline(&self) -> Option<Instant> {
        let oldest = self.pending.oldest_sent_at().filter(|_| self.reading_paused_since.is_none())?;
        Some(oldest.max(self.reading_resumed_at) + self.settings.answer_timeout)
    }

    /// Returns the time at which the server has been silent, or unread, for too long.
    fn silence_deadline(&self) -> Instant {
        self.reading_paused_since.unwrap_or(self.last_received) + self.silence_limit
    }

    /// Does what is due at `now`.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        let instant = now.monotonic;
        match &self.phase {
            Phase::Connecting { until } if instant >= *until => {
                self.end_connection(ConnectionEnd::with_reason("no welcome in time"), instant)
            }
            Phase::Waiting { until } if instant >= *until => self.start_connecting(instant),
            Phase::Online => {
                if instant >= self.silence_deadline() {
                    return self.handle_silence(instant);
                }
                if self.answer_deadline().is_some_and(|deadline| instant >= deadline) {
                    return self.end_connection(ConnectionEnd::with_reason("no answer in time"), instant);
                }
                self.send_due(now);
            }
            Phase::Connecting { .. } | Phase::Waiting { .. } | Phase::Stopped(_) => {}
        }
    }

    /// Handles that nothing was received for too long: ends the connection, unless it was the program that did not
    /// read.
    fn handle_silence(&mut self, now: Instant) {
        if self.reading_paused_since.is_none() {
            return self
                .end_connection(ConnectionEnd::with_code(3008, "the server is silent".to_owned()), now);
        }
        // The server may well have answered, but no answer can be read: no caller must wait for ever.
        self.reading_paused_since = Some(now);
        self.fail_all(&SendError::Unread);
    }

    /// Notes whether the program reads its events, and so whether frames are handed in.
    pub(crate) fn set_reading(&mut self, is_reading: bool, now: Instant) {
        match (self.reading_paused_since, is_reading) {
            (None, false) => self.reading_paused_since = Some(now),
            (Some(_), true) => {
                self.reading_paused_since = None;
                // Frames that arrived meanwhile are only received now.
                (self.last_received, self.reading_resumed_at) = (now, now);
            }
            (None, true) | (Some(_), false) => {}
        }
    }
}
