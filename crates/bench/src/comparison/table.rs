//! The comparison as text for standard output, and the cells of its table.

use std::fmt::Write as _;

use super::super::figure::Figure;
use super::super::format::{self, Row};
use super::super::statistics::{Interval, Ratio};
use super::{Comparison, Summary, Typical};

/// The cells of one server in the table of a figure: label, median, interval, ratio and its interval. A cell without a
/// value is empty.
pub(super) type Cells = [String; 5];

/// Says what the intervals are about.
const LEGEND: &str = "Intervals are those of the geometric mean, which can lie beside the median, and ratios are \
                      geometric means. About one of twenty misses by chance.";

impl Comparison {
    /// Returns what a reader must know about the intervals; `None` if there is none.
    pub(super) fn legend(&self) -> Option<&'static str> {
        let has_interval = |typical: &Typical| {
            typical.interval.is_some() || typical.ratio.is_some_and(|ratio| ratio.interval.is_some())
        };
        let mut all = self.summaries.iter().flat_map(|it| &it.figures);
        all.any(|(_, typical)| has_interval(typical)).then_some(LEGEND)
    }

    /// Returns scenario, load and servers as rows.
    pub(super) fn head(&self) -> Vec<Row> {
        let report = &self.sides[0].reports[0];
        let mut rows: Vec<Row> = vec![("scenario", report.scenario.clone()), ("load", report.load())];
        rows.extend(self.summaries.iter().map(|it| ("server", format!("{}: {}", it.label, it.target))));
        rows.push(("rounds", self.rounds()));
        rows
    }

    /// Says how many rounds there were, and in which order.
    pub(super) fn rounds(&self) -> String {
        let counts: Vec<usize> = self.summaries.iter().map(|it| it.rounds).collect();
        let is_one_run = self.sides.iter().all(|side| side.file == self.sides[0].file);
        match counts.as_slice() {
            [only] => counted(*only),
            [first, ..] if is_one_run => format!("{} with each server, in turn", counted(*first)),
            many => {
                let each: Vec<String> = many.iter().map(usize::to_string).collect();
                format!("{} round(s), measured at different times", each.join(" and "))
            }
        }
    }

    /// Returns the rows of the table of a figure. A server that does not have the figure has no row.
    pub(super) fn cells(&self, figure: Figure) -> Vec<Cells> {
        self.summaries.iter().filter_map(|summary| cells(summary, figure)).collect()
    }

    /// Returns the heading of a figure, which says whether more or less of it is better.
    pub(super) fn heading(&self, figure: Figure) -> String {
        let better = if figure.is_better_above() { "more" } else { "less" };
        format!("{} ({better} is better)", figure.title(self.scenario()))
    }

    /// Returns the heading of the column with the ratios; empty if there is one server alone.
    pub(super) fn ratio_heading(&self) -> String {
        if self.sides.len() > 1 { format!("÷ {}", self.sides[0].label) } else { String::new() }
    }
}

/// Returns the number of rounds with its noun.
pub(super) fn counted(rounds: usize) -> String {
    if rounds == 1 { "1 round".into() } else { format!("{rounds} rounds") }
}

fn cells(summary: &Summary, figure: Figure) -> Option<Cells> {
    let typical = summary.typical(figure)?;
    let range = |it: &Interval, text: &dyn Fn(f64) -> String| format!("{} – {}", text(it.low), text(it.high));
    let ratio = typical.ratio.as_ref();
    Some([
        summary.label.clone(),
        figure.text(typical.median),
        typical.interval.map_or_else(String::new, |it| range(&it, &|value| figure.text(value))),
        ratio.map_or_else(String::new, |it| factor(it.value)),
        ratio.and_then(|it: &Ratio| it.interval).map_or_else(String::new, |it| range(&it, &factor)),
    ])
}

/// Formats a ratio with three significant digits.
pub(super) fn factor(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.3}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format::grouped(value),
    }
}

/// Returns the whole comparison as text.
pub(in super::super) fn text(comparison: &Comparison) -> String {
    let mut text = format::text(&comparison.head());
    let headings =
        ["", "median", "95 % interval", &comparison.ratio_heading(), "95 % interval"].map(str::to_owned);
    let tables: Vec<(Figure, Vec<Cells>)> =
        comparison.figures().into_iter().map(|figure| (figure, comparison.cells(figure))).collect();
    let all = || tables.iter().flat_map(|(_, rows)| rows).chain([&headings]);
    let width = |column: usize| all().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    let columns = if comparison.sides.len() > 1 { 5 } else { 3 };
    for (figure, rows) in &tables {
        let _ = writeln!(text, "\n{}", comparison.heading(*figure));
        for cells in [&headings].into_iter().chain(rows) {
            let mut line = format!("  {:1$}", cells[0], widths[0]);
            for (cell, width) in cells.iter().zip(widths).take(columns).skip(1) {
                let _ = write!(line, "  {cell:>width$}");
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    if let Some(legend) = comparison.legend() {
        let _ = writeln!(text, "\n{legend}");
    }
    for (index, note) in comparison.notes.iter().enumerate() {
        let _ = writeln!(text, "{}note: {note}", if index == 0 { "\n" } else { "" });
    }
    text
}
