//! Renders a comparison as one HTML file: bars with whiskers, a table, and the curves of each server's median round.

use super::super::curves::plots;
use super::super::figure::Figure;
use super::super::page::{document, escaped, rows};
use super::super::plot::Plot;
use super::bars::{self, Bar};
use super::table::{Cells, factor};
use super::{Comparison, Side, Summary};

/// Returns the whole page.
pub(in super::super) fn html(comparison: &Comparison) -> String {
    let labels: Vec<&str> = comparison.sides.iter().map(|side| side.label.as_str()).collect();
    let title = format!("throng bench {}: {}", comparison.scenario(), listed(&labels));
    let failures = paragraphs("bad", &comparison.failures());
    let notes = paragraphs("note", &comparison.notes);
    let figures: String = comparison.figures().into_iter().map(|figure| drawn(comparison, figure)).collect();
    let (head, table) = (rows(&comparison.head()), table(comparison));
    let curves: String = comparison.sides.iter().zip(&comparison.summaries).map(curves).collect();
    // Servers of one file, which stand together, have the same command line and machine.
    let files = comparison.sides.chunk_by(|one, next| one.file == next.file);
    let measured: String = files
        .map(|sides| {
            let metadata = rows(&sides[0].reports[0].environment.rows());
            format!("<h3>{}</h3>\n<table>\n{metadata}</table>\n", escaped(&sides[0].label))
        })
        .collect();
    let report = &comparison.sides[0].reports[0];
    let about = [report.load(), comparison.rounds(), report.environment.line()];
    let about: String = paragraphs("about", &about);
    let body = format!(
        "{about}{failures}<div class=\"figures\">\n{figures}</div>\n\
         <p class=\"legend\">Bars are medians over the rounds, whiskers are 95 % confidence intervals{}.{}</p>\n\
         {notes}<h2>Figures</h2>\n<div class=\"wide\">{table}</div>\n<h2>Load</h2>\n<table>\n{head}</table>\n\
         {curves}<h2>How it was measured</h2>\n{measured}",
        if labels.len() > 1 { format!(", × is the ratio to {}", escaped(labels[0])) } else { String::new() },
        comparison.legend().map_or_else(String::new, |legend| format!(" {legend}")),
    );
    document(&title, "broad", &body)
}

fn listed(labels: &[&str]) -> String {
    match labels {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [all @ .., last] if labels.len() < 5 => format!("{} and {last}", all.join(", ")),
        many => format!("{} servers", many.len()),
    }
}

fn paragraphs(class: &str, texts: &[String]) -> String {
    texts.iter().map(|text| format!("<p class=\"{class}\">{}</p>\n", escaped(text))).collect()
}

/// Draws the bars of one figure.
fn drawn(comparison: &Comparison, figure: Figure) -> String {
    let bar = |(number, summary): (usize, &Summary)| {
        let typical = summary.typical(figure)?;
        let ratio = typical.ratio.map_or_else(String::new, |ratio| {
            let range = ratio.interval.map(|it| format!(" ({} – {})", factor(it.low), factor(it.high)));
            format!(" · × {}{}", factor(ratio.value), range.unwrap_or_default())
        });
        Some(Bar {
            label: summary.label.clone(),
            text: format!("{}{ratio}", figure.text(typical.median)),
            value: typical.median,
            interval: typical.interval.map(|it| (it.low, it.high)),
            number,
        })
    };
    let bars: Vec<Bar> = comparison.summaries.iter().enumerate().filter_map(bar).collect();
    let note = if figure.is_better_above() { "more is better" } else { "less is better" };
    bars::svg(figure.title(comparison.scenario()), note, &bars)
}

fn table(comparison: &Comparison) -> String {
    let columns = if comparison.sides.len() > 1 { 5 } else { 3 };
    let cell = |tag: &str, text: &str| format!("<{tag}>{}</{tag}>", escaped(text));
    let ratio = comparison.ratio_heading();
    let headings = ["", "median", "95 % interval", &ratio, "95 % interval"];
    let head: String = headings.iter().take(columns).map(|text| cell("th", text)).collect();
    let line = |cells: &Cells| {
        let own: String = cells.iter().take(columns).skip(1).map(|text| cell("td", text)).collect();
        format!("<tr>{}{own}</tr>\n", cell("th", &cells[0]))
    };
    let group = |figure: Figure| {
        let lines: String = comparison.cells(figure).iter().map(line).collect();
        let heading = escaped(&comparison.heading(figure));
        format!("<tbody><tr class=\"group\"><th colspan=\"{columns}\">{heading}</th></tr>\n{lines}</tbody>\n")
    };
    let groups: String = comparison.figures().into_iter().map(group).collect();
    format!("<table class=\"figures-table\"><thead><tr>{head}</tr></thead>\n{groups}</table>\n")
}

/// Draws the curves of the median round of one server.
fn curves((side, summary): (&Side, &Summary)) -> String {
    let report = &side.reports[summary.median_round - 1];
    let plots: String = plots(report).iter().map(Plot::svg).collect();
    let which = if summary.rounds > 1 {
        format!(": round {} of {}, the median one", summary.median_round, summary.rounds)
    } else {
        String::new()
    };
    format!("<h2>{}{which}</h2>\n<div class=\"plots\">\n{plots}</div>\n", escaped(&side.label))
}
