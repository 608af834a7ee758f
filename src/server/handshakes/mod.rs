//! Limits the sockets that are not upgraded yet: each needs a [`HandshakePermit`], and when all permits are out, one is
//! revoked for a new socket.
//!
//! The tables belong to the acceptor alone and need no lock: a permit that is dropped reports to the acceptor over a
//! channel. When no permit is left, the address with the most permits loses that of its oldest socket that waits for
//! its peer: one that has not sent a request yet, or sends no more. An address that holds permits in silence thus keeps
//! them only until others want them. The same holds for an address with many sockets that wait for the answer of
//! another connection, because the owner of both ends could delay that answer at will. Permits of trusted proxies,
//! whose sockets belong to many clients, are revoked last.

mod revocation;
mod table;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{Instant, timeout};

pub(super) use self::revocation::{Activity, Revocation};
pub(super) use self::table::Group;
use self::table::{GRACE, Issued, PermitTable};

/// Longest wait for a permit when none can be revoked because all sockets are working. After a wait in vain the next
/// sockets do not wait.
const PATIENCE: Duration = Duration::from_millis(250);
/// Permits beside `limits.max_handshakes`, for sockets that got none. They may ask whether the server is well, so that
/// a load balancer does not take a busy server for a dead one. Each of a few balancers asks over one or two
/// connections.
pub(super) const RESERVED: usize = 32;
/// Most of the reserved permits for one address. A browser loads a page over six connections, and may do so while its
/// address is over its limits. Four attackers can take all of them, and then lose one to each other address.
const RESERVED_OF_GROUP: usize = 8;

/// A message from a permit to the acceptor.
#[derive(Debug)]
enum Report {
    /// The permit with this id was dropped.
    Returned(u64),
    /// The permit turned out to belong to another group than the proxy that the socket came from.
    Reassigned(u64, Group),
}

/// The permit of a socket to be in its handshake. Dropping it returns it.
#[derive(Debug)]
pub(super) struct HandshakePermit {
    id: u64,
    revocation: Arc<Revocation>,
    reports: Sender<Report>,
}

impl HandshakePermit {
    /// Tells the socket's task when the permit is revoked. It outlives the permit.
    pub(super) fn revocation(&self) -> &Arc<Revocation> {
        &self.revocation
    }

    /// Counts the permit with those of `group`, after a proxy has named the client.
    ///
    /// To be called once for each permit: the channel has space for that.
    pub(super) fn reassign(&self, group: Group) {
        let _ = self.reports.try_send(Report::Reassigned(self.id, group));
    }
}

impl Drop for HandshakePermit {
    fn drop(&mut self) {
        // The channel has space, unless the acceptor has ended, and its tables with it.
        let _ = self.reports.try_send(Report::Returned(self.id));
    }
}

/// Gives out the permits for handshakes.
#[derive(Debug)]
pub(super) struct Handshakes {
    regular: PermitTable,
    reserve: PermitTable,
    next_id: u64,
    /// True when the last socket waited for a permit in vain.
    is_full: bool,
    /// Permits that were given out and not returned yet, revoked ones included.
    out: usize,
    /// Most permits that may be out: twice as many as the tables have.
    max_out: usize,
    /// The channel has space for two reports of each permit that is out.
    reports: Receiver<Report>,
    reporter: Sender<Report>,
}

impl Handshakes {
    pub(super) fn new(max: usize) -> Self {
        let max_out = 2 * (max + RESERVED);
        let (reporter, reports) = mpsc::channel(2 * max_out);
        let regular = PermitTable::new(max, max);
        let reserve = PermitTable::new(RESERVED, RESERVED_OF_GROUP);
        Self { regular, reserve, next_id: 0, is_full: false, out: 0, max_out, reports, reporter }
    }

    /// Gives a permit to a socket of `group`, if need be by revoking another one. Waits for a moment when none can be
    /// revoked.
    ///
    /// # Cancel safety
    /// No permit is given out.
    pub(super) async fn acquire(&mut self, group: Group) -> Option<HandshakePermit> {
        let began = Instant::now();
        let mut now = began;
        let mut has_waited = false;
        loop {
            self.read_reports();
            let is_free = !self.regular.is_full();
            // The rest of `max_out` is for the reserve.
            let may_issue = self.out < self.max_out - 2 * RESERVED;
            if may_issue && self.regular.make_space(group, now) {
                // Until a permit is free without a revocation, no socket waits again.
                self.is_full = !is_free && (self.is_full || has_waited);
                return Some(self.issue(|handshakes| &mut handshakes.regular, group, now));
            }
            let left = PATIENCE.saturating_sub(now - began);
            if self.is_full || left.is_zero() {
                self.is_full = true;
                return None;
            }
            has_waited = true;
            // A permit may be returned or reassigned meanwhile, or outlive its grace.
            if let Ok(Some(report)) = timeout(left.min(GRACE), self.reports.recv()).await {
                self.apply(report);
            }
            now = Instant::now();
        }
    }

    /// Gives a permit of the reserve to a socket that got no regular one, without waiting.
    pub(super) fn acquire_reserved(&mut self, group: Group) -> Option<HandshakePermit> {
        self.read_reports();
        let now = Instant::now();
        let has_space = self.out < self.max_out && self.reserve.make_space(group, now);
        has_space.then(|| self.issue(|handshakes| &mut handshakes.reserve, group, now))
    }

    fn issue(
        &mut self,
        table: impl FnOnce(&mut Self) -> &mut PermitTable,
        group: Group,
        now: Instant,
    ) -> HandshakePermit {
        let id = self.next_id;
        self.next_id += 1;
        self.out += 1;
        let revocation = Arc::<Revocation>::default();
        table(self).add(id, group, Issued { revocation: Arc::clone(&revocation), since: now });
        HandshakePermit { id, revocation, reports: self.reporter.clone() }
    }

    /// Applies all reports that have come.
    fn read_reports(&mut self) {
        while let Ok(report) = self.reports.try_recv() {
            self.apply(report);
        }
    }

    fn apply(&mut self, report: Report) {
        match report {
            Report::Returned(id) => {
                self.out -= 1;
                if !self.regular.remove(id) {
                    self.reserve.remove(id);
                }
            }
            Report::Reassigned(id, group) => {
                if !self.regular.reassign(id, group) {
                    self.reserve.reassign(id, group);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
