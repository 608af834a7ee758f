//! What is counted in the whole of a run, and what went wrong.

use std::collections::BTreeMap;

/// Complaints that are kept word for word.
const MAX_COMPLAINTS: usize = 5;

/// Counters of a run. They only grow, so that any stretch of time is a difference.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// Messages published.
    pub(super) sent: u64,
    /// Deliveries they must cause: receivers counted when each was sent.
    pub(super) expected: u64,
    /// Marks received.
    pub(super) delivered: u64,
    /// Bytes received on open connections.
    pub(super) bytes: u64,
    /// Marks that could not be read, on sampled connections.
    pub(super) bad_marks: u64,
    /// Pongs received.
    pub(super) pongs: u64,
    /// Handshakes that succeeded.
    pub(super) opened: u64,
    /// Handshakes that did not.
    pub(super) failed: u64,
    /// Open connections that the server, or the network, ended.
    pub(super) closed: u64,
    /// Their close codes; 1006 where no close frame came.
    pub(super) close_codes: BTreeMap<u16, u64>,
    /// Connections given up because the server broke the rules of RFC 6455.
    pub(super) malformed: u64,
    /// The first few of what went wrong, in words.
    pub(super) complaints: Vec<String>,
}

impl Tally {
    /// Keeps `what` if it is among the first and new.
    pub(super) fn complain(&mut self, what: impl Into<String>) {
        let what = what.into();
        if self.complaints.len() < MAX_COMPLAINTS && !self.complaints.contains(&what) {
            self.complaints.push(what);
        }
    }

    /// An open connection ended.
    pub(super) fn close(&mut self, code: u16, reason: &str) {
        self.closed += 1;
        *self.close_codes.entry(code).or_default() += 1;
        self.complain(format!("closed with {code} {reason}").trim_end());
    }

    /// A handshake failed.
    pub(super) fn fail(&mut self, why: impl std::fmt::Display) {
        self.failed += 1;
        self.complain(format!("handshake failed: {why}"));
    }

    /// Expected and not delivered, if more was expected; else 0.
    pub(super) fn missing(&self) -> u64 {
        self.expected.saturating_sub(self.delivered)
    }
}
