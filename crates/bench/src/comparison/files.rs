//! Reads results from files that `--json` wrote, of one run or of several rounds.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::super::candidates::MAX_CANDIDATES;
use super::super::counters::printable;
use super::super::environment::without_token;
use super::super::report::Report;
use super::Side;

/// Largest file that is read, in bytes: the result of 16 servers and 100 rounds has a fifth of it.
const MAX_FILE: u64 = 256 << 20;

/// The part of a result that tells of which kind it is.
#[derive(Debug, Deserialize)]
struct Kind {
    reports: Option<IgnoredAny>,
    #[serde(default = "is_paired")]
    paired: bool,
}

fn is_paired() -> bool {
    true
}

/// The part of a result of several rounds from which the rest follows.
#[derive(Debug, Deserialize)]
struct Rounds {
    reports: Vec<Report>,
}

/// Returns the servers in the files, in their order.
///
/// # Errors
/// A file cannot be read or is no result, there are too few or too many, or they are of different scenarios. The error
/// names the file, and what is wrong and where.
pub(in super::super) fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Side>> {
    ensure!(
        (2..=MAX_CANDIDATES).contains(&paths.len()),
        "{} files: from 2 to {MAX_CANDIDATES} can be compared",
        paths.len()
    );
    let mut sides: Vec<Side> = Vec::new();
    for (file, path) in paths.iter().enumerate() {
        let shown = path.display();
        let reports =
            reports(path).with_context(|| format!("{shown}: not a result of `throng bench --json`"))?;
        for side in sides_of(reports, file, &name(path, paths)) {
            let (scenario, report) = (&side.reports[0].scenario, sides.first().map(|it| &it.reports[0]));
            if let Some(first) = report.filter(|first| first.scenario != *scenario) {
                bail!(
                    "{shown}: cannot be compared: its scenario is {scenario}, and the first is {}",
                    first.scenario
                );
            }
            sides.push(side);
        }
    }
    ensure!(
        sides.len() <= MAX_CANDIDATES,
        "the files have {} servers, and at most {MAX_CANDIDATES} can be compared",
        sides.len()
    );
    Ok(sides)
}

fn reports(path: &Path) -> anyhow::Result<Vec<Report>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut text)?;
    ensure!(text.len() as u64 <= MAX_FILE, "it is longer than {MAX_FILE} bytes");
    let kind: Kind = serde_json::from_slice(&text)?;
    ensure!(kind.paired, "it is the result of a comparison: compare the files of which that was made");
    let reports = match kind.reports {
        Some(_) => serde_json::from_slice::<Rounds>(&text)?.reports,
        None => vec![serde_json::from_slice(&text)?],
    };
    ensure!(!reports.is_empty(), "the list `reports` is empty");
    reports.into_iter().map(safe).collect()
}

/// Makes every text of a report safe for a terminal, because anybody may have written the file, and takes the token out
/// of its URL.
fn safe(report: Report) -> anyhow::Result<Report> {
    let mut value = serde_json::to_value(report)?;
    escape(&mut value);
    let mut report: Report = serde_json::from_value(value)?;
    report.target = without_token(&report.target);
    Ok(report)
}

/// Escapes control characters in the values of a JSON value. Its names are known ones or numbers.
fn escape(value: &mut Value) {
    match value {
        Value::String(text) => *text = printable(text),
        Value::Array(all) => all.iter_mut().for_each(escape),
        Value::Object(all) => all.values_mut().for_each(escape),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns the name of a file without its folders and ending, or its whole path if another has the same name.
fn name(path: &Path, paths: &[PathBuf]) -> String {
    let same = paths.iter().filter(|other| other.file_stem() == path.file_stem()).count();
    let stem = path.file_stem().filter(|_| same == 1);
    printable(&stem.map_or_else(|| path.to_string_lossy(), |stem| stem.to_string_lossy()))
}

/// Sorts the reports of a file by their servers. A file with one server gives it its name.
fn sides_of(reports: Vec<Report>, file: usize, name: &str) -> Vec<Side> {
    let mut sides: Vec<Side> = Vec::new();
    for report in reports {
        let label = report.label.clone().unwrap_or_default();
        match sides.iter_mut().find(|side| side.label == label) {
            Some(side) => side.reports.push(report),
            None => sides.push(Side { label, file, reports: vec![report] }),
        }
    }
    let is_single = sides.len() == 1;
    for side in &mut sides {
        side.label = if is_single { name.to_owned() } else { format!("{name}: {}", side.label) };
        for (index, report) in side.reports.iter_mut().enumerate() {
            (report.label, report.round) = (Some(side.label.clone()), Some(index + 1));
        }
    }
    sides
}
