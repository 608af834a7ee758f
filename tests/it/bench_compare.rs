//! `throng bench compare`: results in files become the same comparison as rounds of one run.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bench::number;
use crate::support::server::run;

const FAST: &[&str] = &["--seconds", "0.6", "--warm-up", "0.1", "--settle", "0", "--workers", "1"];

/// Runs a fan-out, keeps its result in `folder`, and returns the path of that.
#[track_caller]
fn measured(folder: &Path, name: &str, more: &[&str]) -> PathBuf {
    let path = folder.join(name);
    let output = run(&[&["bench", "fanout", "--json", text(&path)], FAST, more].concat(), &[]);
    assert!(output.status.success(), "{output:?}");
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// Compares files; returns the exit code, and both streams.
fn compare(files: &[&Path], more: &[&str]) -> (Option<i32>, String, String) {
    let files: Vec<&str> = files.iter().map(|path| text(path)).collect();
    let output = run(&[&["bench", "compare"], &files[..], more].concat(), &[]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn files_of_several_rounds_are_compared_with_an_interval() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let [before, after] = ["before.json", "after.json"]
        .map(|name| measured(folder, name, &["-c", "6", "--rate", "100", "--rounds", "3"]));
    let page = folder.join("page.html");
    let options = ["--json", "-", "--report", text(&page), "--fail-if", "deliveries<1"];
    let (code, result, said) = compare(&[&before, &after], &options);
    assert_eq!(code, Some(0), "{said}");
    let result: Value = serde_json::from_str(&result).expect("JSON");
    assert_eq!(
        (&result["summary"][0]["label"], &result["summary"][1]["label"]),
        (&"before".into(), &"after".into())
    );
    let ratio = ["low", "value", "high"]
        .map(|it| number(&result, &format!("/summary/1/figures/deliveries_per_s/ratio/{it}")));
    assert!(ratio.is_sorted(), "{ratio:?}");
    assert_eq!((&result["paired"], &result["reports"][5]["label"]), (&false.into(), &"after".into()));
    // A run this short may have used no CPU time that the system has counted, which is noted too.
    let notes = result["notes"].as_array().expect("notes");
    assert!(notes.iter().any(|it| it.as_str().is_some_and(|it| it.contains("different times"))), "{notes:?}");
    assert!(!notes.iter().any(|it| it.as_str().is_some_and(|it| it.contains("Different"))), "{notes:?}");
    let page = std::fs::read_to_string(page).expect("a file");
    for part in ["throng bench fanout: before and after", "class=\"whisker\"", "Latency over time", "kernel"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    let both = folder.join("both.json");
    std::fs::write(&both, serde_json::to_vec(&result).expect("JSON")).expect("a file");
    let (code, _, said) = compare(&[&before, &both], &[]);
    assert_eq!(code, Some(64), "its rounds are no pairs any more: {said}");
    assert!(said.contains("it is the result of a comparison"), "{said}");
}

#[test]
fn one_round_has_no_interval_and_every_difference_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let before = measured(folder, "before.json", &["-c", "6", "--in-flight", "2"]);
    let after =
        measured(folder, "after.json", &["-c", "8", "--size", "200", "--rate", "50", "--publishers", "2"]);
    let mut other: Value = serde_json::from_slice(&std::fs::read(&after).expect("a file")).expect("JSON");
    other["version"] = "0.0.1".into();
    other["machine"]["kernel"] = "another".into();
    std::fs::write(&after, serde_json::to_vec(&other).expect("JSON")).expect("a file");
    let (code, table, said) = compare(&[&before, &after], &["--fail-if", "p99>10s"]);
    assert_eq!(code, Some(0), "{said}");
    for part in [
        "before has no interval: it ran 1 time(s), and an interval needs 3",
        "Different number of connections: before has 6, after has 8",
        "Different number of publishers: before has 1, after has 2",
        "Different size of payloads: before has 100 bytes, after has 200 bytes",
        "Different pace: before has 2 in flight each, after has 50 messages/s on schedule",
        "Different version: ",
        "Different kernel: ",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert!(!table.contains("Different number of rooms"), "{table}");
    let (code, _, said) = compare(&[&before, &after], &["--fail-if", "p99>0us"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("(after, median of 1 round)"), "{said}");
}

#[test]
fn texts_of_foreign_files_are_escaped_and_their_tokens_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let good = measured(folder, "good.json", &["-c", "2"]);
    let mut other: Value = serde_json::from_slice(&std::fs::read(&good).expect("a file")).expect("JSON");
    other["target"] = "ws://\u{1b}[2Jh/?token=hidden".into();
    other["complaints"] = vec!["\u{1b}[31mred"].into();
    other["machine"]["kernel"] = "\u{202e}lenrek".into();
    other["whole_run"]["missing"] = 1.into();
    other["protocol"] = "\u{7}bell".into();
    let reports = ["\u{9b}x", "y"].map(|label| {
        let mut report = other.clone();
        report["label"] = label.into();
        report
    });
    let both = serde_json::json!({ "reports": reports });
    let foreign = folder.join("foreign.json");
    std::fs::write(&foreign, serde_json::to_vec(&both).expect("JSON")).expect("a file");
    let page = folder.join("page.html");
    let (code, table, said) = compare(&[&good, &foreign], &["--report", text(&page), "--fail-if", "p99>0us"]);
    assert_eq!(code, Some(1), "{said}");
    let page = std::fs::read_to_string(page).expect("a file");
    for shown in [&table, &said, &page] {
        assert!(!shown.chars().any(|c| matches!(c, '\u{1b}' | '\u{7}' | '\u{9b}' | '\u{202e}')), "{shown:?}");
        assert!(!shown.contains("hidden"), "{shown}");
    }
    for part in ["ws://\\u{1b}[2Jh/?token=…", "has \\u{202e}lenrek", "foreign: \\u{9b}x", "has \\u{7}bell"]
    {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert!(page.contains("\\u{1b}[31mred"), "{page}");
}

#[test]
fn a_file_that_is_no_result_is_named_with_its_fault() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let good = measured(folder, "good.json", &["-c", "2", "--in-flight", "2"]);
    let report: Value = serde_json::from_slice(&std::fs::read(&good).expect("a file")).expect("JSON");
    let with = |field: &str, value: Value| {
        let mut changed = report.clone();
        changed[field] = value;
        serde_json::to_string(&changed).expect("JSON")
    };
    for (content, part) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("hello", "expected value at line 1 column 1"),
        ("{\n\"a\": 1,,\n}", "at line 2 column"),
        ("[]", "at line 1 column"),
        ("{}", "missing field"),
        ("{\"reports\": []}", "the list `reports` is empty"),
        ("{\"reports\": [{}]}", "missing field"),
        (
            &with("connections", "many".into()),
            "invalid type: string \"many\", expected usize at line 1 column",
        ),
        (&with("scenario", "idle".into()), "its scenario is idle, and the first is fanout"),
    ] {
        let bad = folder.join("bad.json");
        std::fs::write(&bad, content).expect("a file");
        let (code, _, said) = compare(&[&good, &bad], &[]);
        assert_eq!(code, Some(64), "{content}: {said}");
        assert!(said.contains(text(&bad)) && said.contains(part), "{part}: {said}");
    }
    let (code, _, said) = compare(&[&good, &folder.join("nowhere.json")], &[]);
    assert!(code == Some(64) && said.contains("nowhere.json") && said.contains("No such file"), "{said}");
    let (code, _, said) = compare(&[&good], &[]);
    assert!(code == Some(64) && !said.is_empty(), "{said}");
    let (code, _, said) = compare(&[&*good; 17], &[]);
    assert!(code == Some(64) && said.contains("17 files: from 2 to 16"), "{said}");
}
