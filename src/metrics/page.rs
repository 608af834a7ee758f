//! A page in Prometheus' text format, while it is being written.

use std::fmt::{Display, Write as _};

use super::counter::BUCKETS;

/// A page that is being written. Writing to memory cannot fail, so results are ignored.
#[derive(Debug, Default)]
pub(super) struct Page(pub(super) String);

impl Page {
    /// Writes the help and type of a metric, which precede its series.
    pub(super) fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "counter", help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// Writes one series with one label, whose value needs no escaping.
    pub(super) fn series(&mut self, name: &str, label: &str, label_value: impl Display, value: impl Display) {
        let _ = writeln!(self.0, "{name}{{{label}=\"{label_value}\"}} {value}");
    }

    /// Writes one series without labels.
    pub(super) fn plain(&mut self, name: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// Writes the series of a histogram: the count of each bucket by its upper bound, those that nothing bounds last.
    /// The counts are not cumulative.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        buckets: impl Iterator<Item = (impl Display, u64)>,
        unbounded: u64,
        sum: impl Display,
    ) {
        let mut count = 0;
        for (bound, bucket) in buckets {
            count += bucket;
            self.series(&format!("{name}_bucket"), "le", bound, count);
        }
        count += unbounded;
        self.series(&format!("{name}_bucket"), "le", "+Inf", count);
        self.plain(&format!("{name}_sum"), sum);
        self.plain(&format!("{name}_count"), count);
    }

    /// Writes the series of a histogram of durations, whose buckets are [`BUCKETS`].
    pub(super) fn durations(&mut self, name: &str, counts: impl Iterator<Item = u64>, sum_us: u64) {
        let counts: Vec<u64> = counts.collect();
        let (bounded, unbounded) = counts.split_at(BUCKETS.len());
        let buckets = BUCKETS.iter().map(|&(_, label)| label).zip(bounded.iter().copied());
        self.histogram(name, buckets, unbounded.iter().sum(), sum_us as f64 / 1e6);
    }
}
