//! `throng bench --rounds`: several rounds and servers in turn, their medians, intervals and ratios.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use serde_json::Value;

use crate::bench::{bench, bench_ok, number};
use crate::support::server::{Server, run};

const USAGE: i32 = 64;
/// So few messages that no client can fall behind the bound of its queue, however busy this machine is.
const FAST: &[&str] = &["--rate", "100", "--seconds", "0.6", "--warm-up", "0.1", "--settle", "0"];

/// Starts a server that refuses every handshake and tells its `name` each time; returns its URL.
fn refusing(name: &'static str, asked: &SyncSender<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let asked = asked.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 4096];
            // The sampler asks for the metrics; only handshakes count.
            let length = stream.read(&mut request).unwrap_or(0);
            if request[..length].starts_with(b"GET /metrics") {
                continue;
            }
            asked.send(name).expect("the test waits");
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").expect("a client");
        }
    });
    format!("{name}=ws://{address}/")
}

fn names(asked: &Receiver<&'static str>, count: usize) -> Vec<&'static str> {
    (0..count).map(|_| asked.recv_timeout(Duration::from_secs(20)).expect("a handshake")).collect()
}

#[test]
fn servers_are_loaded_in_turn() {
    let (send, asked) = sync_channel(16);
    let (a, b) = (refusing("a", &send), refusing("b", &send));
    let (code, result) =
        bench(&["connect", "-c", "1", "--rounds", "3", "--url", &a, "--url", &b, "--settle", "0"]);
    assert_eq!(code, 1, "every handshake failed: {result:#}");
    assert_eq!(names(&asked, 6), ["a", "b", "b", "a", "a", "b"], "even rounds have the reverse order");
    let marks: Vec<(&str, u64)> = result["reports"]
        .as_array()
        .expect("reports")
        .iter()
        .map(|it| (it["label"].as_str().expect("a label"), it["round"].as_u64().expect("a round")))
        .collect();
    assert_eq!(marks, [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2), ("b", 3)]);
}

/// Runs a fan-out of three rounds against two servers; returns the exit code, the result, and both streams as text.
fn two_servers(more: &[&str]) -> (Option<i32>, Value, String, String) {
    let servers = [
        Server::start(&[("rate_limit.enabled", "false")]),
        Server::start(&[("rate_limit.enabled", "false")]),
    ];
    let [a, b] = [("old", &servers[0]), ("new", &servers[1])]
        .map(|(label, it)| format!("{label}=ws://{}/ws/chat/u{{i}}?room={{r}}", it.address()));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("result.json");
    let load = ["bench", "fanout", "-c", "8", "--rounds", "3", "--url", &a, "--url", &b, "--json"];
    // Any process serves to see that one server alone has CPU time and memory.
    let pid = format!("new={}", std::process::id());
    let output = run(&[&load[..], &[file.to_str().expect("text"), "--pid", &pid], FAST, more].concat(), &[]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (table, said) = (text(&output.stdout), text(&output.stderr));
    let result = serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON");
    (output.status.code(), result, table, said)
}

#[test]
fn two_servers_are_compared_with_intervals() {
    let folder = tempfile::tempdir().expect("a folder");
    let html = folder.path().join("report.html");
    let (code, result, table, said) = two_servers(&["--report", html.to_str().expect("text")]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(result["summary"].as_array().map(Vec::len), Some(2), "{result:#}");
    for (index, label) in ["old", "new"].iter().enumerate() {
        let summary = &result["summary"][index];
        assert_eq!((&summary["label"], &summary["rounds"]), (&(*label).into(), &3.into()), "{summary:#}");
        for figure in ["deliveries_per_s", "messages_per_s", "p50_us", "p90_us", "p99_us", "p999_us"] {
            let figure = &summary["figures"][figure];
            let all = ["low", "median", "high"].map(|it| number(figure, &format!("/{it}")));
            assert!(all[0] > 0.0 && all[0] <= all[2] && all[1] > 0.0, "{figure:#}");
            assert_eq!(figure["ratio"].is_object(), index == 1, "{figure:#}");
        }
    }
    let deliveries = "/summary/1/figures/deliveries_per_s/ratio";
    let ratio = ["low", "value", "high"].map(|it| number(&result, &format!("{deliveries}/{it}")));
    assert!(ratio.is_sorted() && ratio[0] > 0.0, "{ratio:?}");
    assert!(result["summary"][0]["figures"].get("cpu_us_each").is_none(), "its process is not known");
    assert!(number(&result, "/summary/1/figures/kib_per_connection/median") >= 0.0);
    for part in
        ["old: ws://", "deliveries per second (more is better)", "95 % interval", "÷ old", "first round"]
    {
        assert!(table.contains(part), "{part}: {table}");
    }
    let page = std::fs::read_to_string(html).expect("a file");
    for part in
        ["aria-label=\"latency p99.9\"", "class=\"whisker\"", "command line", "kernel", "Latency over time"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
}

#[test]
fn a_condition_applies_to_the_median_of_each_server() {
    let (code, _, _, said) = two_servers(&["--fail-if", "p99>10s", "--fail-if", "deliveries<1000000000"]);
    assert_eq!(code, Some(1), "{said}");
    for label in ["old", "new"] {
        assert!(said.contains(&format!("({label}, median of 3 rounds)")), "{said}");
    }
    assert!(!said.contains("p99"), "{said}");
}

#[test]
fn a_server_of_its_own_is_started_anew_for_each_round() {
    let (code, result) = bench(&["idle", "-c", "20", "--rounds", "3", "--hold", "0.1", "--settle", "0.1"]);
    assert_eq!(code, 0, "{result:#}");
    let pids: std::collections::HashSet<u64> = result["reports"]
        .as_array()
        .expect("reports")
        .iter()
        .map(|it| it["server"]["pid"].as_u64().expect("a process"))
        .collect();
    assert_eq!(pids.len(), 3, "{pids:?}");
}

#[test]
fn complete_rounds_are_kept_when_a_later_one_breaks() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let (script, file, page) = (path("starts.sh"), path("result.json"), path("page.html"));
    // It starts the server twice, and ends without a server at the third time.
    let text = format!("mkdir '{}' || mkdir '{}' || exit 1\nexec \"$@\"\n", path("one"), path("two"));
    std::fs::write(&script, text).expect("a file");
    let prefix = format!("sh {script}");
    let load = ["bench", "connect", "-c", "1", "--settle", "0", "--rounds", "3", "--server-prefix", &prefix];
    let output = run(&[&load[..], &["--json", &file, "--report", &page]].concat(), &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(70), "{said}");
    assert!(said.contains("throng, round 3 of 3") && said.contains("did not start to listen"), "{said}");
    let result: Value = serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON");
    assert_eq!(result["summary"][0]["rounds"], 2, "{result:#}");
    let note = result["notes"][0].as_str().expect("a note");
    assert!(note.starts_with("The run ended early") && note.contains("round 3 of 3"), "{note}");
    assert!(std::fs::read_to_string(page).expect("a file").contains("The run ended early"));
}

#[test]
fn files_that_cannot_be_written_are_named_before_the_first_round() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let (kept, new) = (path("kept.json"), path("new.json"));
    std::fs::write(&kept, "kept").expect("a file");
    let (send, asked) = sync_channel(16);
    let url = refusing("a", &send);
    for json in [&kept, &new] {
        for bad in [path("nowhere/page.html"), path("")] {
            let output =
                run(&["bench", "connect", "-c", "1", "--url", &url, "--json", json, "--report", &bad], &[]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(USAGE), "{said}");
            assert!(said.contains(&format!("cannot write {bad}")), "{said}");
        }
    }
    assert!(asked.try_recv().is_err(), "nothing was measured");
    assert_eq!(std::fs::read_to_string(kept).expect("a file"), "kept");
    assert!(!std::path::Path::new(&new).exists(), "there is no result yet");
}

#[test]
fn one_round_with_one_server_is_reported_as_before() {
    let server = Server::start(&[("rate_limit.enabled", "false")]);
    let url = format!("a label=ws://{}/ws/chat/u{{i}}?room={{r}}&token=hidden", server.address());
    let report = bench_ok(&[&["fanout", "-c", "5", "--url", &url, "--rounds", "1"], FAST].concat());
    for field in ["summary", "reports", "label", "round", "notes"] {
        assert_eq!(report.get(field), None, "{report:#}");
    }
    assert!(report["target"].as_str().is_some_and(|url| url.starts_with("ws://")), "{report:#}");
    assert!(report.to_string().contains("&token=…") && !report.to_string().contains("hidden"), "{report:#}");
    assert_eq!((&report["protocol"], &report["receivers"]), (&"throng".into(), &"room".into()));
}

#[test]
fn wrong_usage_is_named() {
    let url = "ws://127.0.0.1:9/";
    let (named, other) = (format!("a={url}"), format!("b={url}"));
    for (arguments, part) in [
        (&["fanout", "--rounds", "0"][..], "--rounds 0: must be from 1 to 100"),
        (&["fanout", "--rounds", "101"], "--rounds 101: must be from 1 to 100"),
        (&["storm", "--url", &named, "--url", &other], "storm: cannot be repeated"),
        (&["fanout", "--url", &named, "--url", &named], "another one is called a too"),
        (&["fanout", "--url", &named, "--pid", "b=1"], "no --url has this label"),
        (&["fanout", "--pid", "1"], "--url"),
        (&["fanout", "--url", "=ws://127.0.0.1:9/"], "a label must have 1 to 40 characters"),
    ] {
        let output = run(&[&["bench"], arguments].concat(), &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(USAGE), "{arguments:?}: {said}");
        assert!(said.contains(part), "{part}: {said}");
    }
}
