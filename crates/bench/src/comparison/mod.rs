//! Compares servers by the reports of their rounds: medians, intervals and ratios to the first server.

use std::collections::HashSet;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::condition::Condition;
use super::figure::Figure;
use super::report::Report;
use super::statistics::{Interval, MIN_ROUNDS, Ratio, interval, median, paired_ratio, unpaired_ratio};

pub(super) use self::files::read;
pub(super) use self::page::html;
pub(super) use self::table::text;

mod bars;
mod differences;
mod files;
mod page;
mod table;

/// One of the servers that are compared, with the report of each of its rounds.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) label: String,
    /// Sides of one file were measured in turn, so that their rounds are pairs.
    pub(super) file: usize,
    /// At least one report.
    pub(super) reports: Vec<Report>,
}

/// The summary of one server: a figure that was not measured is left out.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) label: String,
    pub(super) target: String,
    pub(super) rounds: usize,
    /// Number of the round with the median p99 (`idle`: of the median memory), counted from 1.
    pub(super) median_round: usize,
    #[serde(serialize_with = "by_name")]
    pub(super) figures: Vec<(Figure, Typical)>,
}

/// A figure over all rounds of a server. Its fields are those of the JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Typical {
    pub(super) median: f64,
    /// Left out if there were fewer than three rounds, or if a value was 0.
    #[serde(flatten)]
    pub(super) interval: Option<Interval>,
    /// To the first server; left out for the first itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ratio: Option<Ratio>,
}

/// The JSON of a comparison: the summary of each server, and behind it every report.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    scenario: &'a str,
    /// The rounds of all servers were made in turn, so that they are pairs.
    paired: bool,
    summary: &'a [Summary],
    notes: &'a [String],
    reports: Vec<&'a Report>,
}

/// The comparison of several servers, or of several rounds with one.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) sides: Vec<Side>,
    pub(super) summaries: Vec<Summary>,
    /// Sentences that a reader must know to judge the figures.
    pub(super) notes: Vec<String>,
}

fn by_name<S: Serializer>(figures: &[(Figure, Typical)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(figures.len()))?;
    for (figure, typical) in figures {
        map.serialize_entry(figure.field(), typical)?;
    }
    map.end()
}

impl Side {
    /// Returns the figure of each round, `None` where it was not measured. Memory counts once for each process: the
    /// system gives a server no new memory for what an earlier round has left to it.
    fn values(&self, figure: Figure) -> Vec<Option<f64>> {
        let mut seen = HashSet::new();
        let mut is_new = |report: &Report| {
            figure != Figure::Memory || report.server.as_ref().is_some_and(|server| seen.insert(server.pid))
        };
        self.reports.iter().map(|report| is_new(report).then(|| figure.of(report)).flatten()).collect()
    }

    /// Returns how many rounds have the figure.
    fn measured(&self, figure: Figure) -> usize {
        self.values(figure).iter().flatten().count()
    }

    /// Returns the figure of the rounds; `None` if one of them does not have it. The others would look like all, and a
    /// server that delivers nothing in a bad round would look better for that.
    fn complete(&self, figure: Figure) -> Option<Vec<f64>> {
        let values = self.values(figure);
        if figure == Figure::Memory {
            return Some(values.into_iter().flatten().collect());
        }
        values.into_iter().collect()
    }

    /// Returns the median of a figure over the rounds; `None` if one of them does not have it.
    fn median(&self, figure: Figure) -> Option<f64> {
        median(&self.complete(figure)?)
    }

    /// Returns the index of the round with the median p99, or in `idle` with the median memory: of an even number, the
    /// lower one of the middle two.
    fn median_round(&self) -> usize {
        let figure = if self.reports[0].scenario == "idle" { Figure::Memory } else { Figure::P99 };
        let mut rounds: Vec<usize> = (0..self.reports.len()).collect();
        rounds.sort_by(|a, b| {
            let [a, b] = [a, b].map(|it| figure.of(&self.reports[*it]).unwrap_or(f64::MAX));
            a.total_cmp(&b)
        });
        rounds.get((rounds.len().max(1) - 1) / 2).copied().unwrap_or(0)
    }

    /// Returns the ratio of this server's figure to that of `first`; `None` if a round of one of them does not have it.
    fn ratio(&self, first: &Self, figure: Figure) -> Option<Ratio> {
        let (all, base) = (self.complete(figure)?, first.complete(figure)?);
        if self.file != first.file {
            return unpaired_ratio(&all, &base);
        }
        // Memory has rounds without a value, which make no pair.
        let (values, base) = (self.values(figure), first.values(figure));
        let pairs = values.iter().zip(&base).filter_map(|(value, base)| value.zip(*base));
        let (values, base): (Vec<f64>, Vec<f64>) = pairs.unzip();
        paired_ratio(&values, &base)
    }

    fn summary(&self, first: Option<&Self>) -> Summary {
        let figures = Figure::of_scenario(&self.reports[0].scenario).into_iter();
        let typical = |figure: Figure| {
            let values = self.complete(figure)?;
            Some(Typical {
                median: median(&values)?,
                interval: interval(&values),
                ratio: first.and_then(|first| self.ratio(first, figure)),
            })
        };
        Summary {
            label: self.label.clone(),
            target: self.reports[0].target.clone(),
            rounds: self.reports.len(),
            median_round: self.median_round() + 1,
            figures: figures.filter_map(|figure| Some((figure, typical(figure)?))).collect(),
        }
    }
}

impl Comparison {
    /// Compares servers, of which there must be at least one. They must have run the same scenario.
    pub(super) fn new(sides: Vec<Side>) -> Self {
        let (first, others) = sides.split_first().expect("there is a server to compare");
        let mut summaries = vec![first.summary(None)];
        summaries.extend(others.iter().map(|it| it.summary(Some(first))));
        let mut notes = differences::between(&sides);
        notes.extend(limits(&sides, &summaries));
        Self { sides, summaries, notes }
    }

    /// Returns what the JSON has: in the order of the servers, and of each in that of its rounds.
    pub(super) fn document(&self) -> Document<'_> {
        let reports = self.sides.iter().flat_map(|side| &side.reports).collect();
        let paired = self.sides.iter().all(|side| side.file == self.sides[0].file);
        Document { scenario: self.scenario(), paired, summary: &self.summaries, notes: &self.notes, reports }
    }

    /// Describes everything that went wrong, with the server and the round.
    pub(super) fn failures(&self) -> Vec<String> {
        let rounds = self.sides.iter().flat_map(|side| {
            side.reports.iter().enumerate().map(|(index, report)| (&side.label, index + 1, report))
        });
        rounds
            .flat_map(|(label, round, report)| {
                report.failures().into_iter().map(move |what| format!("{label}, round {round}: {what}"))
            })
            .collect()
    }

    /// Describes which conditions hold for the median of a server's rounds.
    pub(super) fn broken_conditions(&self, conditions: &[Condition]) -> Vec<String> {
        let pairs = conditions.iter().flat_map(|it| self.sides.iter().map(move |side| (it, side)));
        pairs
            .filter_map(|(condition, side)| {
                let failure = condition.failure(side.median(condition.figure))?;
                Some(format!("{failure} ({}, median of {})", side.label, table::counted(side.reports.len())))
            })
            .collect()
    }

    /// Returns the name of the scenario.
    pub(super) fn scenario(&self) -> &str {
        &self.sides[0].reports[0].scenario
    }

    /// Returns the figures that at least one server has, in the order of the table.
    pub(super) fn figures(&self) -> Vec<Figure> {
        let has = |figure: &Figure| {
            self.summaries.iter().any(|summary| summary.figures.iter().any(|(it, _)| it == figure))
        };
        Figure::of_scenario(self.scenario()).into_iter().filter(has).collect()
    }
}

impl Summary {
    /// Returns a figure of the server, if it was measured.
    pub(super) fn typical(&self, figure: Figure) -> Option<&Typical> {
        self.figures.iter().find(|(it, _)| *it == figure).map(|(_, typical)| typical)
    }
}

/// Names the figures that are left out because only some rounds of a server have them.
fn incomplete(side: &Side) -> impl Iterator<Item = String> {
    let rounds = side.reports.len();
    let figures = Figure::of_scenario(&side.reports[0].scenario).into_iter();
    let partial = figures.filter(|figure| *figure != Figure::Memory);
    partial
        .map(|figure| (figure, side.measured(figure)))
        .filter(move |(_, count)| (1..rounds).contains(count))
        .map(move |(figure, count)| {
            format!(
                "{}: {} is left out, because only {count} of {rounds} rounds have it",
                side.label,
                figure.field()
            )
        })
}

/// Returns what the figures cannot say.
fn limits(sides: &[Side], summaries: &[Summary]) -> Vec<String> {
    let mut notes: Vec<String> = sides
        .iter()
        .filter(|side| side.reports.len() < MIN_ROUNDS)
        .map(|side| {
            let (label, rounds) = (&side.label, side.reports.len());
            format!("{label} has no interval: it ran {rounds} time(s), and an interval needs {MIN_ROUNDS}")
        })
        .collect();
    let is_short = |side: &Side| (1..side.reports.len()).contains(&side.measured(Figure::Memory));
    if sides.iter().any(is_short) {
        notes.push(
            "KiB per connection is that of the first round of each process, because a server keeps memory for the next"
                .into(),
        );
    }
    notes.extend(sides.iter().flat_map(incomplete));
    let zero = summaries.iter().flat_map(|summary| {
        let flat = summary.figures.iter().filter(|(figure, typical)| {
            typical.interval.is_none() && *figure != Figure::Memory && summary.rounds >= MIN_ROUNDS
        });
        flat.map(|(figure, _)| {
            format!("{}: {} has no interval, because it was 0 in a round", summary.label, figure.field())
        })
    });
    notes.extend(zero);
    if sides.iter().any(|side| side.file != sides[0].file) {
        notes.push(
            "The files were measured at different times: what the machine did meanwhile is part of their ratios".into(),
        );
    }
    notes
}

#[cfg(test)]
mod tests;
