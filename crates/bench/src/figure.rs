//! The main figures of a report, by which runs are compared and conditions are checked.

use super::format::{grouped, time};
use super::report::Report;

/// A figure of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    Deliveries,
    Messages,
    Handshakes,
    P50,
    P90,
    P99,
    P999,
    Max,
    Cpu,
    Memory,
    /// The rate of a ramp at which p99 was first above ten times that of its first second.
    Tenfold,
}

/// The figures that every run of a scenario has, with their names in a condition.
pub(super) const FIGURES: [(&str, Figure); 10] = [
    ("p50", Figure::P50),
    ("p90", Figure::P90),
    ("p99", Figure::P99),
    ("p99.9", Figure::P999),
    ("max", Figure::Max),
    ("cpu", Figure::Cpu),
    ("deliveries", Figure::Deliveries),
    ("messages", Figure::Messages),
    ("handshakes", Figure::Handshakes),
    ("memory", Figure::Memory),
];

/// The percentiles that are compared. The maximum is not: it is one message, and says little about the next run.
const PERCENTILES: [Figure; 4] = [Figure::P50, Figure::P90, Figure::P99, Figure::P999];

impl Figure {
    /// Returns the figures by which runs of `scenario` are compared, in the order of a table.
    pub(super) fn of_scenario(scenario: &str) -> Vec<Self> {
        let (first, last): (&[Self], &[Self]) = match scenario {
            "idle" => return vec![Self::Memory],
            "connect" | "storm" => (&[Self::Handshakes], &[Self::Cpu, Self::Memory]),
            _ => (&[Self::Deliveries, Self::Messages], &[Self::Tenfold, Self::Cpu, Self::Memory]),
        };
        [first, &PERCENTILES, last].concat()
    }

    /// Returns the figure of a run, times in microseconds; `None` if it was not measured.
    pub(super) fn of(self, report: &Report) -> Option<f64> {
        let latency = (!report.latency_us.is_empty()).then_some(&report.latency_us);
        match self {
            Self::P50 => latency.map(|it| it.p50),
            Self::P90 => latency.map(|it| it.p90),
            Self::P99 => latency.map(|it| it.p99),
            Self::P999 => latency.map(|it| it.p999),
            Self::Max => latency.map(|it| it.max),
            Self::Cpu => report.server.as_ref().and_then(|server| server.cpu_us_each),
            Self::Deliveries => report.deliveries_per_s,
            Self::Messages => report.messages_per_s,
            Self::Handshakes => report.handshakes.per_s,
            Self::Memory => report.server.as_ref().map(|server| server.kib_per_connection),
            Self::Tenfold => report.ramp.as_ref().and_then(|ramp| ramp.tenfold_p99_at_per_s),
        }
    }

    /// Returns whether the figure is a time, in microseconds.
    pub(super) fn is_time(self) -> bool {
        matches!(self, Self::P50 | Self::P90 | Self::P99 | Self::P999 | Self::Max | Self::Cpu)
    }

    /// Returns whether a server with a larger figure is the better one.
    pub(super) fn is_better_above(self) -> bool {
        matches!(self, Self::Deliveries | Self::Messages | Self::Handshakes | Self::Tenfold)
    }

    /// Returns the name of the figure in the JSON, with its unit.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Deliveries => "deliveries_per_s",
            Self::Messages => "messages_per_s",
            Self::Handshakes => "handshakes_per_s",
            Self::P50 => "p50_us",
            Self::P90 => "p90_us",
            Self::P99 => "p99_us",
            Self::P999 => "p999_us",
            Self::Max => "max_us",
            Self::Cpu => "cpu_us_each",
            Self::Memory => "kib_per_connection",
            Self::Tenfold => "tenfold_p99_at_per_s",
        }
    }

    /// Returns the heading of the figure, with its unit where the values have none.
    pub(super) fn title(self, scenario: &str) -> &'static str {
        match self {
            Self::Deliveries => "deliveries per second",
            Self::Messages => "messages per second",
            Self::Handshakes => "handshakes per second",
            Self::P50 => "latency p50",
            Self::P90 => "latency p90",
            Self::P99 => "latency p99",
            Self::P999 => "latency p99.9",
            Self::Max => "longest latency",
            Self::Cpu if matches!(scenario, "connect" | "storm") => "CPU time per handshake",
            Self::Cpu => "CPU time per delivery",
            Self::Memory => "KiB per connection",
            Self::Tenfold => "messages per second at 10 × p99",
        }
    }

    /// Formats a value of the figure.
    pub(super) fn text(self, value: f64) -> String {
        match self {
            Self::Cpu if value < 100.0 => format!("{value:.3} µs"),
            it if it.is_time() => time(value),
            Self::Memory => format!("{value:.2}"),
            _ => grouped(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scenario_is_compared_by_what_it_measures() {
        assert_eq!(Figure::of_scenario("idle"), [Figure::Memory]);
        assert_eq!(Figure::of_scenario("connect")[0], Figure::Handshakes);
        assert_eq!(Figure::of_scenario("fanout")[..2], [Figure::Deliveries, Figure::Messages]);
        for scenario in ["fanout", "rooms", "connect", "idle", "slow", "storm", "echo"] {
            let figures = Figure::of_scenario(scenario);
            let is_known =
                |it: &Figure| FIGURES.iter().any(|(_, known)| known == it) || *it == Figure::Tenfold;
            assert!(figures.iter().all(is_known), "{scenario}");
        }
    }

    #[test]
    fn values_have_a_unit_or_their_title_has_one() {
        assert_eq!(Figure::Cpu.text(1.2345), "1.234 µs");
        assert_eq!(Figure::P99.text(2_345.0), "2.35 ms");
        assert_eq!(
            (Figure::Memory.text(7.0).as_str(), Figure::Deliveries.text(1e6).as_str()),
            ("7.00", "1,000,000")
        );
    }
}
