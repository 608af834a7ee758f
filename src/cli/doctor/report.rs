//! The findings as lines for people, and as JSON for programs.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde::Serialize;

use crate::cli::failure::{Failure, INTERNAL};
use crate::config::{Finding, Level};

/// Writes one line for each finding, and one with their counts.
pub(super) fn lines(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { level, subject, text: state, advice } in findings {
        let _ = write!(text, "{:<7}  {subject}: {state}", level.name());
        if let Some(advice) = advice {
            let _ = write!(text, "; {advice}");
        }
        text.push('\n');
    }
    let [errors, warnings] = [Level::Error, Level::Warning].map(|level| count(findings, level));
    let _ = writeln!(text, "errors: {errors}, warnings: {warnings}");
    text
}

fn count(findings: &[Finding], level: Level) -> usize {
    findings.iter().filter(|finding| finding.level == level).count()
}

#[derive(Serialize)]
struct Report<'a> {
    version: &'static str,
    errors: usize,
    warnings: usize,
    findings: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    level: &'static str,
    subject: &'a str,
    text: &'a str,
    /// `null` where there is nothing to do.
    advice: Option<&'a str>,
}

/// Writes one JSON object on one line.
///
/// # Errors
/// A bug in throng: the findings cannot be serialised ([`INTERNAL`]).
pub(super) fn json(findings: &[Finding]) -> Result<String, Failure> {
    let rows = findings.iter().map(|Finding { level, subject, text, advice }| Row {
        level: level.name(),
        subject,
        text,
        advice: advice.as_deref(),
    });
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        errors: count(findings, Level::Error),
        warnings: count(findings, Level::Warning),
        findings: rows.collect(),
    };
    let text = simd_json::to_string(&report).context("cannot write the findings as JSON");
    text.map(|text| text + "\n").map_err(|error| Failure::new(INTERNAL, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_and_one_object() {
        let findings = [
            Finding::ok("workers", "2 workers on 2 cores"),
            Finding::warning("backlog", "`net.core.somaxconn` is 128", "raise it"),
            Finding::error("listen", "\"here\"", "choose \\ another"),
        ];
        let expected = "ok       workers: 2 workers on 2 cores\n\
                        warning  backlog: `net.core.somaxconn` is 128; raise it\n\
                        error    listen: \"here\"; choose \\ another\n\
                        errors: 1, warnings: 1\n";
        assert_eq!(lines(&findings), expected);
        let json: serde_json::Value = serde_json::from_str(&json(&findings).expect("JSON")).expect("JSON");
        let expected = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "errors": 1,
            "warnings": 1,
            "findings": [
                {"level": "ok", "subject": "workers", "text": "2 workers on 2 cores", "advice": null},
                {"level": "warning", "subject": "backlog", "text": "`net.core.somaxconn` is 128", "advice": "raise it"},
                {"level": "error", "subject": "listen", "text": "\"here\"", "advice": "choose \\ another"},
            ]
        });
        assert_eq!(json, expected);
    }
}
