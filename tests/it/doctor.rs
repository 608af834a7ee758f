//! `throng doctor`: looks at settings, machine, files and engine, says what to change, and disturbs no server.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use serde_json::Value;

use crate::support::server::{Server, Settings, run, throng};

/// Exit codes of `sysexits.h`: wrong settings, and something that cannot be used.
const USAGE: i32 = 64;
const UNAVAILABLE: i32 = 69;

/// A port that the system picks is always free.
const FREE: (&str, &str) = ("listen", "127.0.0.1:0");

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// Runs `throng doctor --json`. Returns its exit code, and its findings as level, subject and text.
#[track_caller]
fn findings(settings: Settings<'_>) -> (Option<i32>, Vec<[String; 3]>) {
    let output = run(&["doctor", "--json"], settings);
    let report: Value = serde_json::from_str(&printed(&output)).expect("JSON");
    let rows = report["findings"].as_array().expect("a list");
    let count = |level: &str| rows.iter().filter(|row| row["level"] == level).count() as u64;
    assert_eq!(report["errors"].as_u64(), Some(count("error")), "{report}");
    assert_eq!(report["warnings"].as_u64(), Some(count("warning")), "{report}");
    let row = |row: &Value| {
        ["level", "subject", "text"].map(|name| row[name].as_str().unwrap_or_default().to_owned())
    };
    (output.status.code(), rows.iter().map(row).collect())
}

/// Returns the level of the finding that has this subject and contains this text.
#[track_caller]
fn level<'a>(findings: &'a [[String; 3]], subject: &str, text: &str) -> &'a str {
    let found = findings.iter().find(|[_, of, says]| of == subject && says.contains(text));
    &found.unwrap_or_else(|| panic!("no {subject} with {text:?}: {findings:#?}"))[0]
}

#[test]
fn a_machine_is_looked_at_line_by_line() {
    let output = run(&["doctor"], &[FREE, ("limits.max_connections", "50")]);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let lines: Vec<_> = text.lines().collect();
    let (last, lines) = lines.split_last().expect("lines");
    assert!(last.starts_with("errors: 0, warnings: "), "{last}");
    for line in lines {
        let (level, rest) = line.split_once(' ').expect("a level and a text");
        assert!(["ok", "warning"].contains(&level), "{line}");
        assert!(rest.contains(": ") && (level == "ok" || rest.contains("; ")), "what to change: {line}");
    }
    for subject in ["settings", "listen", "descriptors", "workers", "memory", "history", "engine"] {
        assert!(lines.iter().any(|line| line.contains(&format!(" {subject}: "))), "no {subject}: {text}");
    }
}

#[test]
fn wrong_settings_are_all_reported_and_end_with_64() {
    let settings: Settings<'_> =
        &[("queue.max_bytes", "banana"), ("engine", "redis"), ("redis.username", "ann"), ("workers", "-3")];
    let (code, found) = findings(settings);
    assert_eq!(code, Some(USAGE), "{found:?}");
    assert_eq!(found.len(), 3, "{found:#?}");
    for mistake in ["queue.max_bytes = \"banana\"", "redis.username needs a password", "workers = \"-3\""] {
        assert_eq!(level(&found, "settings", mistake), "error");
    }
    let file = run(&["doctor", "--config", "/no/such/file.toml"], &[]);
    assert_eq!(file.status.code(), Some(USAGE));
}

#[test]
fn a_folder_that_cannot_be_used_ends_with_69() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path in UTF-8");
    let (code, found) = findings(&[FREE, ("history.dir", path)]);
    assert_eq!(code, Some(UNAVAILABLE), "{found:?}");
    assert_eq!(level(&found, "history", path), "error");
    let output = run(&["doctor"], &[FREE, ("history.dir", path)]);
    assert!(printed(&output).contains("error    history: `history.dir`"), "{}", printed(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("errors found: 1"));
}

#[test]
fn a_running_server_is_not_disturbed() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("history");
    let history = ("history.dir", dir.to_str().expect("a path in UTF-8"));
    let server = Server::start(&[history]);
    let address = server.address().to_string();
    let (code, found) = findings(&[history, ("listen", &address)]);
    assert_eq!(code, Some(0), "{found:#?}");
    assert_eq!(level(&found, "listen", &address), "warning");
    assert_eq!(level(&found, "history", "can be written to"), "ok");
    assert_eq!(server.get("/readyz").status, 200);
}

#[test]
fn secrets_are_for_few_and_never_shown() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "hunter2-hunter2-hunter2-hunter2-hunter2").expect("written");
    let path = file.path().to_str().expect("a path in UTF-8");
    let settings: Settings<'_> =
        &[FREE, ("auth.secret_file", path), ("redis.password", "hunter2"), ("redis.addresses", "a:1")];
    for (mode, expected) in [(0o644, "warning"), (0o600, "ok")] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
        let (code, found) = findings(settings);
        assert_eq!(code, Some(0), "{found:#?}");
        assert_eq!(level(&found, "secrets", path), expected, "{mode:o}");
        assert_eq!(level(&found, "settings", "`redis.password` have no effect"), "warning");
        assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
    }
}

#[test]
fn few_descriptors_are_found() {
    let wrapper = ["sh", "-c", "ulimit -n 256 && exec \"$@\"", "sh"];
    let output = throng(&wrapper, &[FREE]).args(["doctor"]).output().expect("throng runs");
    let text = printed(&output);
    assert!(output.status.success(), "{text}");
    let line = text.lines().find(|line| line.contains(" descriptors: ")).expect("a line");
    assert!(
        line.starts_with("warning") && line.contains("256 descriptors") && line.contains("LimitNOFILE"),
        "{line}"
    );
}
