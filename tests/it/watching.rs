//! The page of metrics keeps to the conventions of Prometheus, and the alerts and the board of the examples name only
//! metrics that exist. `promtool` checks the alerts themselves in `tests/run`.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::manual::WATCHING;
use crate::support::receiver::{SECRET, secret_file};
use crate::support::server::Server;

const ALERTS: &str = include_str!("../../examples/prometheus/alerts.yml");
const BOARD: &str = include_str!("../../examples/grafana/throng.json");

/// Returns the path of `promtool`; `None` on a machine without Prometheus.
fn promtool() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("promtool")).find(|file| file.is_file())
}

/// Returns what `promtool check metrics` finds wrong with a page.
fn complaints(promtool: &Path, page: &str) -> String {
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    child.stdin.take().expect("a pipe").write_all(page.as_bytes()).expect("promtool reads the page");
    let output = child.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), said.trim().is_empty(), "{:?}: {said}", output.status);
    said.trim().to_owned()
}

#[test]
fn promtool_finds_nothing_wrong_with_the_page() {
    let Some(promtool) = promtool() else {
        eprintln!("there is no promtool: the page is not checked");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let history = folder.path().join("history");
    let secret = secret_file(folder.path(), &[SECRET]);
    let receivers = format!("[{{url = \"http://127.0.0.1:1/\", secret_file = {secret:?}}}]");
    let server = Server::start(&[
        ("compression.enabled", "true"),
        ("history.dir", history.to_str().expect("UTF-8")),
        ("hooks.connect", "http://127.0.0.1:1/"),
        ("hooks.secret_file", &secret),
        ("webhooks.receivers", &receivers),
    ]);
    let page = server.get("/metrics").body;
    for series in ["throng_hook_in_flight{hook=\"connect\"} 0", "throng_webhook_queue{webhook=\"0\"} "] {
        assert!(page.contains(series), "no {series}: {page}");
    }
    assert_eq!(complaints(&promtool, &page), "");
    // It would find something.
    let wrong = page.replace("throng_writes_total", "throng_writes");
    assert!(complaints(&promtool, &wrong).contains("throng_writes"));
}

/// Returns every name of a metric in a text, without the endings of a histogram's series.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let histograms = WATCHING.metrics().into_iter().filter(|(_, kind)| *kind == "histogram");
    let histograms: BTreeSet<&str> = histograms.map(|(name, _)| name).collect();
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    let names = words.filter(|word| word.starts_with("throng_") || word.starts_with("process_"));
    let base = |name: &str| {
        let ending = ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending));
        ending.filter(|base| histograms.contains(base)).unwrap_or(name).to_owned()
    };
    names.map(base).collect()
}

/// Returns the queries of a board, those of panels inside of rows included.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(query) if name == "expr" || name == "query" => found.push(query.to_owned()),
                    _ => queries(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

#[test]
fn the_alerts_and_the_board_name_metrics_that_exist() {
    let known: BTreeSet<String> = WATCHING.metrics().into_iter().map(|(name, _)| name.to_owned()).collect();
    let board: Value = serde_json::from_str(BOARD).expect("JSON");
    let mut asked = Vec::new();
    queries(&board, &mut asked);
    for (what, text, at_least) in [("alerts", ALERTS.to_owned(), 15), ("board", asked.join("\n"), 30)] {
        let named = metrics_in(&text);
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "the {what}: {unknown:?} are not in docs/watching.md");
        assert!(named.len() >= at_least, "the {what}: only {named:?}");
    }
}

#[test]
fn each_alert_says_what_to_do() {
    let alerts: Vec<&str> = ALERTS.split("\n      - alert: ").skip(1).collect();
    assert!(alerts.len() >= 15, "{} alerts", alerts.len());
    let mut names = BTreeSet::new();
    for alert in alerts {
        let name = alert.lines().next().expect("a name");
        assert!(names.insert(name), "{name} is there twice");
        for part in ["expr: ", "severity: ", "summary: ", "description: ", "action: "] {
            assert!(alert.contains(&format!(" {part}")), "{name} has no {part}");
        }
        assert!(alert.contains("severity: page") || alert.contains("severity: ticket"), "{name}");
    }
}

/// A board can be imported anywhere only if it names no data source and no server of its own.
#[test]
fn the_board_can_be_imported_anywhere() {
    let board: Value = serde_json::from_str(BOARD).expect("JSON");
    let panels = board["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}: its id is there twice");
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(panel["description"].as_str().is_some_and(|text| text.len() > 10), "{title}");
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            let query = target["expr"].as_str().expect("a query");
            let narrowed = query.matches("job=~\"$job\",instance=~\"$instance\"").count();
            let named = query.matches("throng_").count() + query.matches("process_").count();
            assert_eq!(narrowed, named, "{title}: {query}");
        }
    }
    let lists = board["templating"]["list"].as_array().expect("lists");
    let names: Vec<_> = lists.iter().map(|list| list["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["datasource", "job", "instance"]);
}
