//! Joins the dashboard and the engine's thread: the report that this node sends with its beats, and the table of nodes
//! as the last beat returned it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;

use super::details::{BadDetails, Details};
use super::table::Node;
use crate::broker::redis::batch::Incarnation;

/// The report of a node about itself, which all nodes get with its beats.
pub struct Report {
    /// The addresses that the node listens at.
    pub addresses: String,
    /// Returns the counters: a JSON object on one line. The engine's thread calls it for each beat, so it never waits.
    pub counters: Box<dyn Fn() -> String + Send + Sync>,
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// The table of nodes as the last beat of this node returned it.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// All nodes, by incarnation. The dead ones are among them until they are removed.
    pub nodes: Vec<Node>,
    /// The incarnation of this node; `None` before its first beat.
    pub own: Option<Incarnation>,
    /// The time of the table, in Unix milliseconds of the engine's clock.
    pub engine_ms: u64,
    /// When the table arrived, in milliseconds of the node's clock.
    pub arrived_ms: u64,
}

impl Overview {
    /// Returns the age of a node's last beat in milliseconds. `now_ms` is the time of this node's clock.
    #[must_use]
    pub fn age_ms(&self, node: &Node, now_ms: u64) -> u64 {
        self.engine_ms.saturating_sub(node.beat_ms) + now_ms.saturating_sub(self.arrived_ms)
    }
}

/// The meeting place of the engine's thread, which sends reports and reads the table, and of the dashboard, which makes
/// reports and shows the table.
#[derive(Debug, Default)]
pub struct Board {
    report: OnceLock<Report>,
    overview: Mutex<Arc<Overview>>,
}

impl Board {
    /// Sets what this node reports from its next beat on. Only the first report counts.
    pub fn set_report(&self, report: Report) {
        let _ = self.report.set(report);
    }

    /// Returns the details for a beat: those of the report with counters of this moment, or `plain` without a report.
    ///
    /// # Errors
    /// The report is too long, or not one line.
    pub(in crate::broker::redis) fn details(&self, plain: &Details) -> Result<Details, BadDetails> {
        let Some(Report { addresses, counters }) = self.report.get() else { return Ok(plain.clone()) };
        let version = Bytes::copy_from_slice(plain.version().as_bytes());
        Details::new(version, addresses.clone().into(), counters().into())
    }

    /// Replaces the table.
    pub(in crate::broker::redis) fn set_overview(&self, overview: Overview) {
        *self.overview.lock() = Arc::new(overview);
    }

    /// Returns the table.
    #[must_use]
    pub fn overview(&self) -> Arc<Overview> {
        Arc::clone(&self.overview.lock())
    }
}
