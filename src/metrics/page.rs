//! A page in Prometheus' text format, while it is being written.

use std::fmt::{Display, Write as _};

use super::counter::{BUCKETS, Histogram};

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

    /// Writes the series of a histogram.
    pub(super) fn histogram(&mut self, name: &str, histogram: &Histogram) {
        let mut count = 0;
        let labels = BUCKETS.iter().map(|&(_, label)| label).chain(["+Inf"]);
        for (bound, bucket) in labels.zip(&histogram.counts) {
            count += bucket.get();
            self.series(&format!("{name}_bucket"), "le", bound, count);
        }
        self.plain(&format!("{name}_sum"), histogram.sum_us.get() as f64 / 1e6);
        self.plain(&format!("{name}_count"), count);
    }
}
