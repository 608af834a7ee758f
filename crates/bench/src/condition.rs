//! Conditions under which a run counts as failed, such as `p99>5ms`: for builds that must not get slower.

use std::fmt;
use std::str::FromStr;

use super::figure::{FIGURES, Figure};
use super::units::with_unit;

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
    pub(super) figure: Figure,
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
        let (_, figure) = FIGURES.into_iter().find(|(known, _)| *known == name).ok_or(RULE)?;
        let limit = if figure.is_time() { with_unit(value, &UNITS) } else { value.parse().ok() };
        let limit = limit.filter(|limit: &f64| limit.is_finite() && *limit >= 0.0).ok_or(RULE)?;
        Ok(Self { text: text.to_owned(), figure, is_above: text[at..].starts_with('>'), limit })
    }
}

impl Condition {
    /// Describes how the condition holds for `value`, the figure of a run in microseconds if it is a time; `None` if it
    /// does not hold. A figure that was not measured counts as holding: a check that cannot be made must not pass.
    pub(super) fn failure(&self, value: Option<f64>) -> Option<String> {
        let Some(value) = value else {
            return Some(format!("--fail-if {self}: this run has no such figure"));
        };
        let holds = if self.is_above { value > self.limit } else { value < self.limit };
        let shown = if self.figure.is_time() { format!("{} ms", value / 1e3) } else { value.to_string() };
        holds.then(|| format!("--fail-if {self}: it is {shown}"))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
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
