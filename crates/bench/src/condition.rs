//! Conditions under which a run counts as failed, such as `p99>5ms`: for builds that must not get slower.

use std::fmt;
use std::str::FromStr;

use super::report::Report;
use super::units::with_unit;

/// A figure of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Figure {
    P50,
    P90,
    P99,
    P999,
    Max,
    Cpu,
    Deliveries,
    Messages,
    Handshakes,
    Memory,
}

/// All figures: the name, and whether it is a time.
const FIGURES: [(&str, Figure, bool); 10] = [
    ("p50", Figure::P50, true),
    ("p90", Figure::P90, true),
    ("p99", Figure::P99, true),
    ("p99.9", Figure::P999, true),
    ("max", Figure::Max, true),
    ("cpu", Figure::Cpu, true),
    ("deliveries", Figure::Deliveries, false),
    ("messages", Figure::Messages, false),
    ("handshakes", Figure::Handshakes, false),
    ("memory", Figure::Memory, false),
];

/// The units of times, each in microseconds.
const UNITS: [(&str, f64); 3] = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];

const RULE: &str = "must be a figure, < or >, and a number, like p99>5ms or deliveries<100000. Times are p50, p90, \
                    p99, p99.9, max and cpu (of the server for each delivery), with the unit us, ms or s. Others are \
                    deliveries, messages, handshakes (each in a second) and memory (KiB for each connection)";

/// A condition under which a run counts as failed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    /// The condition as it was given.
    text: String,
    figure: Figure,
    is_time: bool,
    /// The run has failed above the limit, or else below it.
    is_above: bool,
    /// In microseconds if it is a time.
    limit: f64,
}

impl FromStr for Condition {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at = text.find(['<', '>']).ok_or(RULE)?;
        let (name, value) = (text[..at].trim(), text[at + 1..].trim());
        let (_, figure, is_time) = FIGURES.into_iter().find(|(known, ..)| *known == name).ok_or(RULE)?;
        let limit = if is_time { with_unit(value, &UNITS) } else { value.parse().ok() };
        let limit = limit.filter(|limit: &f64| limit.is_finite() && *limit >= 0.0).ok_or(RULE)?;
        Ok(Self { text: text.to_owned(), figure, is_time, is_above: text[at..].starts_with('>'), limit })
    }
}

impl Condition {
    /// Describes how the condition holds; `None` if it does not hold. A figure that was not measured counts as holding:
    /// a check that cannot be made must not pass.
    pub(super) fn failure(&self, report: &Report) -> Option<String> {
        let Some(value) = self.figure.of(report) else {
            return Some(format!("--fail-if {self}: this run has no such figure"));
        };
        let holds = if self.is_above { value > self.limit } else { value < self.limit };
        let shown = if self.is_time { format!("{} ms", value / 1e3) } else { value.to_string() };
        holds.then(|| format!("--fail-if {self}: it is {shown}"))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Figure {
    /// Returns the figure of a run, times in microseconds.
    fn of(self, report: &Report) -> Option<f64> {
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str) -> Result<(bool, f64), &'static str> {
        text.parse::<Condition>().map(|condition| (condition.is_above, condition.limit))
    }

    #[test]
    fn figures_and_units_are_read() {
        for (text, expected) in [
            ("p99>5ms", (true, 5e3)),
            (" p99.9 > 0.5s", (true, 5e5)),
            ("cpu>7.5us", (true, 7.5)),
            ("deliveries<100000", (false, 100_000.0)),
            ("memory>8", (true, 8.0)),
        ] {
            assert_eq!(limit(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn everything_else_is_told_what_is_allowed() {
        for text in [
            "",
            "p99",
            "p99>",
            "p99>5",
            "p99>5h",
            "p99>-1ms",
            "p99=5ms",
            "p98>5ms",
            "deliveries<5ms",
            "max>NaNs",
        ] {
            assert_eq!(limit(text), Err(RULE), "{text}");
        }
    }
}
