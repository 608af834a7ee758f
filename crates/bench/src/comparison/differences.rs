//! Finds what differs between runs besides the server, because then their figures may differ for that reason.

use super::super::report::Report;
use super::Side;

/// Most that the measured time of two runs may differ, as a part of it and in seconds: it never has exactly the length
/// that was asked for, least of all on a busy machine.
const LENGTH_TOLERANCE: (f64, f64) = (0.1, 0.5);

/// Describes each difference to the first server, in sentences.
pub(super) fn between(sides: &[Side]) -> Vec<String> {
    let Some((first, others)) = sides.split_first() else { return Vec::new() };
    let base = conditions(&first.reports[0]);
    let mut found = Vec::new();
    for side in others {
        for ((name, own), (_, of_first)) in conditions(&side.reports[0]).iter().zip(&base) {
            if own != of_first {
                found.push(format!(
                    "Different {name}: {} has {of_first}, {} has {own}",
                    first.label, side.label
                ));
            }
        }
        let [length, of_first] = [side, first].map(|it| it.reports[0].seconds);
        if (length - of_first).abs() > of_first.max(length) * LENGTH_TOLERANCE.0 + LENGTH_TOLERANCE.1
            && is_timed(&first.reports[0])
        {
            found.push(format!(
                "Different length: {} was measured for {of_first} s, {} for {length} s",
                first.label, side.label
            ));
        }
    }
    found
}

/// Returns whether the command line says how long the measurement takes.
fn is_timed(report: &Report) -> bool {
    report.pace().is_some() || report.scenario == "idle"
}

/// Returns everything that must be equal for a fair comparison: a name and a value.
fn conditions(report: &Report) -> Vec<(&'static str, String)> {
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "an unknown value".into());
    let mut all = vec![
        ("protocol", known(&report.protocol)),
        ("receivers", known(&report.receivers)),
        ("number of connections", report.connections.to_string()),
        ("number of rooms", report.rooms.to_string()),
        ("number of publishers", report.publishers.to_string()),
        ("size of payloads", format!("{} bytes", report.payload_bytes)),
        ("pace", report.pace().unwrap_or_else(|| "none".into())),
        ("encryption", report.tls.clone().unwrap_or_else(|| "none".into())),
        ("compression", if report.compressed_connections > Some(0) { "accepted" } else { "none" }.into()),
    ];
    all.extend(report.environment.machine());
    all
}
