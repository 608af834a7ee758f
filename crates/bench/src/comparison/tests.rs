use serde_json::{Value, json};

use super::*;

/// Returns the report of a round: `p99` in microseconds, `memory` in KiB for each connection.
fn report(deliveries: f64, p99: f64, pid: u32, memory: f64) -> Report {
    let latency =
        json!({"count": 9, "mean": p99, "p50": p99, "p90": p99, "p99": p99, "p999": p99, "max": p99});
    serde_json::from_value(json!({
        "version": "1", "time": "2026-01-01T00:00:00Z", "command_line": [], "machine": {"cores": 2},
        "scenario": "fanout", "target": "ws://h/", "connections": 10, "rooms": 1, "publishers": 1,
        "payload_bytes": 100, "in_flight": 1, "seconds": 5.0, "deliveries_per_s": deliveries,
        "messages_per_s": deliveries / 10.0, "latency_us": latency,
        "whole_run": {"sent": 1, "expected": 10, "delivered": 10, "missing": 0, "surplus": 0, "unsent": 0,
            "bad_marks": 0, "closed": 1, "close_codes": {"1000": 1}, "malformed": 0},
        "handshakes": {"opened": 10, "failed": 0, "open_at_end": 10},
        "server": {"pid": pid, "cores": 1.0, "user_cores": 0.5, "cpu_us_each": 2.0, "resident_before_kib": 1,
            "resident_connected_kib": 2, "resident_after_kib": 3, "kib_per_connection": memory},
        "load_cores": 1.0, "windows": [], "distribution": [], "samples": [], "complaints": [],
    }))
    .expect("a report")
}

fn side(label: &str, file: usize, deliveries: &[f64]) -> Side {
    let reports = deliveries.iter().map(|it| report(*it, 1e6 / it, 1, 8.0)).collect();
    Side { label: label.into(), file, reports }
}

fn deliveries(comparison: &Comparison, index: usize) -> Typical {
    comparison.summaries[index].typical(Figure::Deliveries).expect("the figure").clone()
}

#[test]
fn rounds_of_one_run_are_pairs_and_those_of_two_are_not() {
    let (base, twice) = ([100.0, 200.0, 400.0, 800.0], [201.0, 399.0, 802.0, 1_598.0]);
    let width = |comparison: &Comparison| {
        let ratio = deliveries(comparison, 1).ratio.expect("a ratio");
        assert!((ratio.value - 2.0).abs() < 0.01, "{ratio:?}");
        let interval = ratio.interval.expect("an interval");
        interval.high - interval.low
    };
    let paired = Comparison::new(vec![side("a", 0, &base), side("b", 0, &twice)]);
    let unpaired = Comparison::new(vec![side("a", 0, &base), side("b", 1, &twice)]);
    assert!(width(&paired) < 0.1 && width(&unpaired) > 2.0);
    assert_eq!(deliveries(&paired, 0).median, 300.0);
    assert!(deliveries(&paired, 0).ratio.is_none(), "it is the first");
    assert!(unpaired.notes.iter().any(|it| it.contains("different times")), "{:?}", unpaired.notes);
}

#[test]
fn too_few_rounds_are_said() {
    let comparison = Comparison::new(vec![side("a", 0, &[1.0, 2.0]), side("b", 1, &[2.0])]);
    let typical = deliveries(&comparison, 1);
    assert!(typical.interval.is_none() && typical.ratio.is_some_and(|it| it.interval.is_none()));
    for part in ["a has no interval: it ran 2 time(s)", "b has no interval: it ran 1 time(s)"] {
        assert!(comparison.notes.iter().any(|it| it.contains(part)), "{:?}", comparison.notes);
    }
}

#[test]
fn memory_counts_once_for_each_process() {
    let rounds = |pids: [u32; 3]| {
        let reports = pids.iter().zip([8.0, 1.0, 1.0]).map(|(pid, memory)| report(1.0, 1.0, *pid, memory));
        let side = Side { label: "a".into(), file: 0, reports: reports.collect() };
        let comparison = Comparison::new(vec![side]);
        let memory = comparison.summaries[0].typical(Figure::Memory).expect("memory").clone();
        (memory.median, memory.interval.is_some(), comparison.notes.len())
    };
    assert_eq!(rounds([5, 5, 5]), (8.0, false, 1), "the later rounds reuse the memory of the first");
    assert_eq!(rounds([5, 6, 7]), (1.0, true, 0));
}

#[test]
fn the_median_round_is_that_of_p99() {
    let comparison = Comparison::new(vec![side("a", 0, &[500.0, 100.0, 300.0])]);
    assert_eq!(comparison.summaries[0].median_round, 3);
}

/// Takes the latency away from a round, as if no message had arrived in it.
fn without_latency(mut side: Side, round: usize) -> Side {
    side.reports[round - 1].latency_us = serde_json::from_value(json!({"count": 0, "mean": 0.0, "p50": 0.0,
        "p90": 0.0, "p99": 0.0, "p999": 0.0, "max": 0.0}))
    .expect("a summary");
    side
}

#[test]
fn a_round_without_a_figure_leaves_it_out_and_is_named() {
    let rates = [100.0, 200.0, 300.0, 400.0];
    for files in [[0, 0], [0, 1]] {
        let [full, other] = [("a", files[0]), ("b", files[1])].map(|(label, file)| side(label, file, &rates));
        let comparison = Comparison::new(vec![full, without_latency(other, 2)]);
        assert!(comparison.summaries[0].typical(Figure::P99).is_some());
        assert_eq!(comparison.summaries[1].typical(Figure::P99), None, "a failure must not improve it");
        assert_ne!(comparison.summaries[1].median_round, 2, "it has no latency");
        let note = "b: p99_us is left out, because only 3 of 4 rounds have it";
        assert!(comparison.notes.iter().any(|it| it == note), "{:?}", comparison.notes);

        let [first, full] = [("a", files[0]), ("b", files[1])].map(|(label, file)| side(label, file, &rates));
        let comparison = Comparison::new(vec![without_latency(first, 4), full]);
        let typical = comparison.summaries[1].typical(Figure::P99).expect("all rounds have it");
        assert!(typical.ratio.is_none() && typical.interval.is_some(), "{typical:?}");
        assert!(deliveries(&comparison, 1).ratio.is_some(), "the other figures stay");
    }
    let worst = without_latency(side("a", 0, &[100.0, 200.0, 300.0]), 1);
    assert_eq!(worst.median_round() + 1, 2, "its memory is no latency: it is the slowest round");
}

#[test]
fn conditions_apply_to_the_median_and_name_the_server() {
    let comparison = Comparison::new(vec![side("a", 0, &[1.0, 9.0, 9.0]), side("b", 0, &[1.0, 1.0, 9.0])]);
    let conditions: Vec<Condition> = ["deliveries<5", "messages<0"].map(|it| it.parse().expect("one")).into();
    let broken = comparison.broken_conditions(&conditions);
    assert_eq!(broken, ["--fail-if deliveries<5: it is 1 (b, median of 3 rounds)"]);
    let mut missing = side("c", 0, &[9.0, 9.0]);
    missing.reports[1].deliveries_per_s = None;
    let broken = Comparison::new(vec![missing]).broken_conditions(&conditions[..1]);
    assert!(broken[0].contains("no such figure"), "a round without the figure must not pass: {broken:?}");
}

#[test]
fn every_difference_is_named() {
    let (first, mut other) = (side("a", 0, &[1.0]), side("b", 1, &[1.0]));
    assert_eq!(differences::between(&[side("a", 0, &[1.0]), side("b", 1, &[1.0])]), [""; 0]);
    let report = &mut other.reports[0];
    (report.protocol, report.receivers) = (Some("pusher".into()), Some("others".into()));
    (report.connections, report.rooms, report.publishers, report.payload_bytes) = (11, 2, 3, 50);
    (report.in_flight, report.rate_per_s, report.seconds) = (None, Some(5.0), 9.0);
    let found = differences::between(&[first, other]);
    for part in [
        "protocol: a has an unknown value, b has pusher",
        "receivers: a has an unknown value, b has others",
        "number of connections: a has 10, b has 11",
        "number of rooms",
        "number of publishers",
        "size of payloads",
        "pace: a has 1 in flight each, b has 5 messages/s on schedule",
        "length",
    ] {
        assert!(found.iter().any(|it| it.contains(part)), "{part}: {found:?}");
    }
    assert_eq!(found.len(), 8, "{found:?}");
}

#[test]
fn the_json_has_figures_by_name() {
    let comparison = Comparison::new(vec![side("a", 0, &[1.0, 2.0, 4.0]), side("b", 0, &[2.0, 4.0, 8.0])]);
    let value: Value = serde_json::to_value(comparison.document()).expect("JSON");
    let figure = &value["summary"][1]["figures"]["deliveries_per_s"];
    assert_eq!(figure["median"], 4.0, "{value:#}");
    assert!(figure["low"].is_f64() && figure["ratio"]["low"].is_f64() && figure["ratio"]["value"].is_f64());
    assert_eq!(value["reports"].as_array().map(Vec::len), Some(6));
}

#[test]
fn the_text_and_the_page_show_medians_and_ratios_and_escape_labels() {
    let comparison =
        Comparison::new(vec![side("<old>", 0, &[10.0, 20.0, 40.0]), side("new", 0, &[30.0, 60.0, 120.0])]);
    let text = text(&comparison);
    for part in ["deliveries per second (more is better)", "÷ <old>", "3.000 – 3.000", "latency p99.9"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let page = html(&comparison);
    assert!(page.contains("&lt;old&gt;") && !page.contains("<old>"), "{page}");
    assert_eq!(page.matches("aria-label=\"latency p99\"").count(), 1);
    assert!(page.contains("2026-01-01T00:00:00Z · throng 1 · 2 core(s)"), "{page}");
    assert!(page.contains("3 rounds with each server, in turn"), "{page}");
    assert!(page.contains("· × 3.000 (3.000 – 3.000)"), "{page}");
    let legend = "Intervals are those of the geometric mean";
    assert!(text.contains(legend) && page.contains(legend), "the interval has a name: {text}");
    let single = Comparison::new(vec![side("a", 0, &[10.0])]);
    assert!(!super::text(&single).contains(legend) && !html(&single).contains(legend), "there is none");
}
