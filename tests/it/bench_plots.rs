//! `throng bench --report`: one page with the table and a plot of everything that changes over time.

use serde_json::Value;

use crate::support::server::run;

/// Long enough for several samples and many ticks of CPU time, even on a busy machine.
const LONG: &[&str] = &["--seconds", "4", "--warm-up", "0.2", "--settle", "0.2", "--workers", "1"];

#[test]
fn the_report_has_its_table_and_plots() {
    let folder = tempfile::tempdir().expect("a folder");
    let (html, json) = (folder.path().join("report.html"), folder.path().join("result.json"));
    let files = ["--report", html.to_str().expect("text"), "--json", json.to_str().expect("text")];
    let output = run(&[&["bench", "fanout", "-c", "10", "--rate", "500"], &files[..], LONG].concat(), &[]);
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && table.contains("deliveries") && table.contains("p99.9"), "{output:?}");
    let report: Value = serde_json::from_slice(&std::fs::read(json).expect("a file")).expect("JSON");
    let samples = report["samples"].as_array().expect("samples");
    let cores = |sample: &Value| sample["user_cores"].as_f64().zip(sample["system_cores"].as_f64());
    assert!(samples.iter().filter_map(cores).any(|(user, system)| user + system > 0.0), "{samples:?}");
    let page = std::fs::read_to_string(html).expect("a file");
    for title in [
        "Latency over time",
        "Latency distribution",
        "Deliveries per second",
        "CPU time of the server",
        "Resident memory",
        "Queue depth",
    ] {
        assert!(page.contains(&format!("aria-label=\"{title}")), "{title}: {page}");
    }
    assert_eq!(page.matches("<svg").count(), 6);
    assert!(
        !page.contains("<script") && !page.contains("http://") && !page.contains("https://"),
        "self-contained"
    );
}
