//! The README is true: its tables against what the code declares, its commands and examples against the binary.
//!
//! The one module that links against the library, because declarations are what documentation is compared with.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;
use throng::admission::{Check, Refusal};
use throng::cli::{INTERNAL, REFUSED, UNANSWERED, UNAVAILABLE, UNWELL, USAGE};
use throng::config;
use throng::protocol::close::EndReason;
use throng::protocol::event::CommandError;

use crate::stats::{Viewer, names};
use crate::support::client::Client;
use crate::support::log::Log;
use crate::support::server::{Server, run, signal, throng};
use crate::support::terminal::Chat;
use crate::support::vocabulary::{Fields, errors, events, reasons};

pub(crate) const README: &str = include_str!("../../README.md");

/// The text under a heading, up to the next heading of any level.
#[track_caller]
fn section(heading: &str) -> &'static str {
    let start =
        README.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading:?} in the README"));
    let text = &README[start + heading.len() + 2..];
    &text[..text.find("\n#").unwrap_or(text.len())]
}

/// The rows of the table in a section, each as its cells, without the head.
#[track_caller]
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let lines = section(heading).lines().filter(|line| line.starts_with('|')).skip(2);
    let rows: Vec<Vec<_>> =
        lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect();
    assert!(!rows.is_empty(), "no table under {heading:?}");
    rows
}

/// The words in backticks.
pub(crate) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The fenced blocks of a language.
pub(crate) fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("\n```{language}\n");
    let bodies = README.split(fence.as_str()).skip(1);
    bodies.map(|rest| &rest[..rest.find("\n```").expect("a fence that is closed") + 1]).collect()
}

/// What `--print-config` remarks on keys that nothing obeys yet, by key.
fn remarks() -> Vec<(String, String)> {
    let printed = run(&["check-config", "--print-config"], &[]);
    let printed = String::from_utf8(printed.stdout).expect("UTF-8");
    let mut remarks = Vec::new();
    let mut section = String::new();
    for line in printed.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = format!("{name}.");
        } else if let Some((assignment, remark)) = line.split_once("  # is ") {
            let name = assignment.trim_start_matches("# ").split(" = ").next().unwrap_or_default();
            remarks.push((format!("{section}{name}"), format!("is {remark}")));
        }
    }
    remarks
}

#[test]
fn the_table_of_keys_is_what_the_code_declares() {
    let remarks = remarks();
    let expected: Vec<String> = config::keys()
        .map(|key| {
            let remark = remarks.iter().find(|(path, _)| path == key.path);
            let remark = remark.map(|(_, text)| format!(" **This key {text}.**")).unwrap_or_default();
            let meaning = key.meaning.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(!meaning.contains('|'), "{}: a bar would end the cell", key.path);
            format!("| `{}` | `{}` | {meaning}{remark} |", key.path, key.default)
        })
        .collect();
    let found: Vec<_> = section("### All keys").lines().filter(|line| line.starts_with("| `")).collect();
    assert!(found == expected, "the table of keys must be:\n{}", expected.join("\n"));
}

#[test]
fn the_close_codes_are_those_of_the_code_with_their_reasons() {
    let rows = rows("## Close codes");
    let code = |row: &[&str]| row[0].parse::<u16>().unwrap_or_else(|_| panic!("no code: {row:?}"));
    for reason in reasons() {
        let row = rows.iter().find(|row| code(row) == reason.code());
        let row = row.unwrap_or_else(|| panic!("{} is not in the table", reason.code()));
        let text = reason.text();
        assert!(quoted(row[1]).any(|quoted| quoted == text), "{}: no `{text}`: {row:?}", reason.code());
        assert!(!row[2].is_empty() && !row[3].is_empty(), "{row:?}");
    }
    let listed: BTreeSet<u16> = rows.iter().map(|row| code(row)).collect();
    let ours: BTreeSet<u16> = reasons().iter().map(EndReason::code).collect();
    assert_eq!(listed, ours);
    assert_eq!(listed.len(), rows.len(), "a code stands there twice");
}

#[test]
fn the_refusals_are_those_of_the_code() {
    let all = [
        Refusal::Malformed(Check::Host),
        Refusal::Origin,
        Refusal::UnknownPath,
        Refusal::Method { allow: "GET" },
        Refusal::NoUpgrade,
        Refusal::Version,
        Refusal::ConnectionsPerAddress,
        Refusal::HandshakesPerAddress,
        Refusal::HeadTooLarge,
        Refusal::Timeout,
        Refusal::AtCapacity,
        Refusal::Draining,
        Refusal::Unauthorized,
        Refusal::Forbidden("invalid user id"),
        Refusal::Conflict,
        Refusal::ApiKey,
        Refusal::TooManyViewers,
        Refusal::MadeWay,
    ];
    let codes: BTreeSet<&str> = all.iter().map(Refusal::code).collect();
    assert_eq!(codes, BTreeSet::from(Refusal::REASONS), "one of each");
    let listed: BTreeSet<(u16, &str)> = rows("## Refusals in HTTP")
        .into_iter()
        .map(|row| (row[0].parse().expect("a status"), quoted(row[1]).next().expect("a code")))
        .collect();
    assert_eq!(listed, all.iter().map(|refusal| (refusal.status(), refusal.code())).collect());
}

#[test]
fn the_errors_of_the_chat_are_those_of_the_code() {
    let all = errors();
    let listed: BTreeSet<(&str, String)> = rows("### Errors")
        .into_iter()
        .map(|row| {
            let mut words = row.iter().flat_map(|cell| quoted(cell));
            (words.next().expect("a code"), words.next().expect("a text").to_owned())
        })
        .collect();
    assert_eq!(listed, all.iter().map(|error| (error.code(), error.to_string())).collect());
    let order: Vec<_> = rows("### Errors").iter().filter_map(|row| quoted(row[0]).next()).collect();
    let last = order.iter().position(|code| *code == "invalid_room").expect("a row");
    let malformed = all.iter().filter(|error| error.is_malformed()).map(|error| error.code());
    assert_eq!(order[..=last], malformed.collect::<Vec<_>>(), "those that count towards 4502 come first");
}

/// The commands of `throng.v1` as the table has them, each with all of its fields.
pub(crate) fn commands() -> Fields {
    let all = rows("### Commands").into_iter().map(|row| {
        let name = quoted(row[0]).next().expect("a type").to_owned();
        (name, quoted(row[1]).chain(["id"]).map(str::to_owned).collect())
    });
    all.collect()
}

#[test]
fn the_commands_and_events_of_the_second_dialect_are_those_of_the_code() {
    let first =
        |heading| rows(heading).iter().filter_map(|row| quoted(row[0]).next()).collect::<BTreeSet<_>>();
    let unknown = CommandError::UnknownType.to_string();
    let (_, list) = unknown.split_once("must be ").expect("a list");
    let list: BTreeSet<_> = list.split([',', ' ']).filter(|word| !matches!(*word, "" | "or")).collect();
    assert_eq!(first("### Commands"), list);
    let mut sent = events();
    for row in rows("### What the server sends") {
        let name = quoted(row[0]).next().expect("a type");
        let fields = sent.remove(name).unwrap_or_else(|| panic!("{name} is never sent"));
        // Those of an ack stand with the commands.
        if name != "ack" {
            assert_eq!(quoted(row[1]).map(str::to_owned).collect::<BTreeSet<_>>(), fields, "{name}");
        }
    }
    assert!(sent.is_empty(), "not in the table: {sent:?}");
}

#[test]
fn every_path_of_the_tables_is_served() {
    let server = Server::start(&[]);
    for (heading, status) in [("### WebSocket", 426), ("### HTTP", 200)] {
        for row in rows(heading) {
            let path = quoted(row[0]).next().expect("a path").replace("{user_id}", "alice");
            // For who has a key.
            let status = if path == "/api/stats/stream" { 401 } else { status };
            assert_eq!(server.get(&path).status, status, "{path}");
        }
    }
}

#[test]
fn the_metrics_are_those_of_the_page() {
    let page = Server::start(&[]).get("/metrics").body;
    let served = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(|line| {
        let (name, kind) = line.split_once(' ').expect("a name and a type");
        (name, kind)
    });
    let listed = rows("## Metrics").into_iter().map(|row| {
        let name = quoted(row[0]).next().expect("a name");
        (name.split('{').next().unwrap_or(name), row[1])
    });
    assert_eq!(listed.collect::<BTreeSet<_>>(), served.collect());
}

#[test]
fn the_fields_of_the_dashboards_feed_are_those_of_the_table() {
    let server = Server::start(&[]);
    let snapshot = Viewer::open(&server).snapshot();
    let listed = rows("## Dashboard").into_iter().flat_map(|row| quoted(row[0])).collect::<BTreeSet<_>>();
    assert_eq!(listed, names(&snapshot));
}

#[test]
fn the_exit_codes_are_those_of_the_code() {
    // 128 and the numbers of SIGINT and SIGTERM.
    let ours = BTreeSet::from([0, UNWELL, USAGE, UNAVAILABLE, INTERNAL, 128 + 2, 128 + 15]);
    let listed: BTreeSet<u8> =
        rows("### Exit codes").into_iter().map(|row| row[0].parse().expect("a code")).collect();
    assert_eq!(listed, ours);
}

#[test]
fn the_exit_codes_of_the_chat_are_those_of_the_code() {
    let ours = BTreeSet::from([0, USAGE, REFUSED, UNAVAILABLE, INTERNAL, UNANSWERED]);
    let listed: BTreeSet<u8> =
        rows("### How a chat ends").into_iter().map(|row| row[0].parse().expect("a code")).collect();
    assert_eq!(listed, ours);
}

#[test]
fn the_commands_of_the_chat_are_those_that_it_lists() {
    let server = Server::start(&[]);
    let mut chat = Chat::enter(&server, "ann");
    chat.types("/help");
    let (_, lines, _) = chat.finish();
    let listed = rows("## In a terminal")
        .into_iter()
        .map(|row| format!("-- {}: {}", row[0].trim_matches('`'), row[1]));
    let told = lines.into_iter().filter(|line| line.starts_with("-- /"));
    assert_eq!(listed.collect::<Vec<_>>(), told.collect::<Vec<_>>());
}

/// `THRONG_QUEUE__MAX_BYTES=512KiB` as the tests name settings.
fn assignment(word: &str) -> Option<(String, String)> {
    let (name, value) = word.strip_prefix("THRONG_")?.split_once('=')?;
    Some((name.to_lowercase().replace("__", "."), value.trim_matches(['"', '\'']).to_owned()))
}

/// Runs the binary with words as a shell line has them, assignments in front; what it says when it fails.
fn accepted(words: &[&str], settings: &[(String, String)]) -> Result<(), String> {
    let settings: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let output = run(words, &settings);
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn every_command_line_is_understood() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(blocks("toml").concat().as_bytes()).expect("written");
    let path = file.path().to_str().expect("a path in UTF-8");
    let mut count = 0;
    for line in blocks("sh").iter().flat_map(|block| block.lines()) {
        let line = line.split(" #").next().unwrap_or(line).split(" > ").next().unwrap_or(line);
        let words: Vec<_> = line.split_whitespace().map(|word| word.trim_matches('\'')).collect();
        let settings: Vec<_> = words.iter().map_while(|word| assignment(word)).collect();
        let mut arguments = match &words[settings.len()..] {
            ["throng", arguments @ ..] | ["cargo", "run", "--release", "--", arguments @ ..] => {
                arguments.to_vec()
            }
            ["cargo", "run", "--release"] => Vec::new(),
            _ => continue,
        };
        count += 1;
        arguments.iter_mut().filter(|word| **word == "throng.toml").for_each(|word| *word = path);
        // What would serve prints its settings instead.
        let serves = arguments.first().is_none_or(|first| *first == "serve" || first.starts_with("--"));
        if serves && !arguments.contains(&"--help") {
            arguments.push("--print-config");
        }
        // What would measure or chat explains itself instead, once it has understood the rest.
        if matches!(arguments.first(), Some(&"bench" | &"chat" | &"history")) {
            arguments.push("--help");
        }
        assert_eq!(accepted(&arguments, &settings), Ok(()), "{line}");
    }
    assert!(count >= 5, "only {count} command lines found");
}

#[test]
fn the_examples_of_settings_are_accepted_and_say_what_they_seem_to() {
    let [toml] = blocks("toml")[..] else { panic!("one example in TOML") };
    let settings: Vec<_> = blocks("env").iter().flat_map(|block| block.lines()).map(assignment).collect();
    let settings: Vec<_> = settings.into_iter().map(|setting| setting.expect("NAME=VALUE")).collect();
    assert!(settings.len() >= 3, "an example of the environment");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(toml.as_bytes()).expect("written");
    let path = file.path().to_str().expect("a path in UTF-8");
    assert_eq!(accepted(&["check-config"], &settings), Ok(()));
    assert_eq!(accepted(&["check-config", "--config", path], &settings), Ok(()));
    // No example may lean on a key that nothing obeys: that is what warnings are for.
    let output = run(&["check-config", "--config", path], &[]);
    let warnings = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && warnings.is_empty(), "{warnings}");
}

/// A line of the log without what differs from run to run.
fn unstamped(line: &str) -> String {
    let (_, line) = line.split_once(' ').unwrap_or(("", line));
    let varies =
        |word: &&str| ["address=", "node=", "workers=", "http://"].iter().any(|name| word.starts_with(name));
    let masked = |word: &str| word.split(['=', '/']).next().unwrap_or_default().to_owned();
    let words = line.split(' ').map(|word| if varies(&word) { masked(word) } else { word.to_owned() });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_log_is_written_as_shown() {
    let (_, rest) = README.split_once("has written to standard error:\n\n```text\n").expect("the example");
    let shown = rest.lines().take_while(|line| *line != "```");
    // Only where no `listen` is set, and then the port would be the one of the example.
    let (of_default, shown): (Vec<_>, Vec<_>) =
        shown.map(unstamped).partition(|line| line.contains("`listen`"));
    let [of_default] = &of_default[..] else { panic!("one line about `listen`: {of_default:?}") };
    let text = of_default.trim_start().strip_prefix("INFO throng: ").expect("a line of main's");
    let code = include_str!("../../src/config/checks/mod.rs").replace("\\\n", "");
    let code = code.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(code.contains(text), "the checks say no {text:?}");
    let mut command = throng(&[], &[]);
    command
        .args(["--listen", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the server starts");
    let log = Log::follow(child.stderr.take().expect("stderr is piped"));
    log.wait_for_line("listening", |line| line.contains("listening"));
    signal(&child, "TERM");
    log.wait_for_end();
    let _ = child.wait();
    let written: Vec<_> = log.text().lines().map(unstamped).collect();
    assert_eq!(shown, written);
}

/// An event without what differs from run to run.
fn masked(event: &str) -> String {
    let mut event: Value = serde_json::from_str(event).unwrap_or_else(|error| panic!("{error}: {event}"));
    for field in ["ts", "id"] {
        if let Some(value) = event.get_mut(field) {
            *value = "differs".into();
        }
    }
    event.to_string()
}

#[tokio::test]
async fn the_first_chat_goes_as_shown() {
    let shown = |user: &str| -> Vec<String> {
        let lines = section("## A first chat").lines();
        lines.filter_map(|line| line.strip_prefix(&format!("{user} gets "))).map(masked).collect()
    };
    let server = Server::start(&[]);
    let (mut said_alice, mut said_bob) = (Vec::new(), Vec::new());
    let mut alice = Client::connect(&server, "/ws/chat/alice").await;
    said_alice.push(masked(&alice.recv_text().await));
    let mut bob = Client::connect(&server, "/ws/chat/bob").await;
    said_bob.push(masked(&bob.recv_text().await));
    said_alice.push(masked(&alice.recv_text().await));
    alice.send_text(r#"{"message":"hi"}"#).await;
    said_alice.push(masked(&alice.recv_text().await));
    said_bob.push(masked(&bob.recv_text().await));
    bob.send_text("hello?").await;
    said_bob.push(masked(&bob.recv_text().await));
    bob.close().await;
    said_alice.push(masked(&alice.recv_text().await));
    assert_eq!((shown("alice"), shown("bob")), (said_alice, said_bob));
}

/// The anchors of a text's headings, as those who show it make them: neither dots nor other punctuation.
pub(crate) fn anchors(text: &str) -> BTreeSet<String> {
    let slug = |heading: &str| -> String {
        let words = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        words.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
    };
    text.lines().filter(|line| line.starts_with('#')).map(slug).collect()
}

/// What the links of a text lead to.
pub(crate) fn link_targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap_or(rest))
}

#[test]
fn every_link_leads_somewhere() {
    let anchors = anchors(README);
    for target in link_targets(README) {
        let leads = match target.strip_prefix('#') {
            Some(anchor) => anchors.contains(anchor),
            None => std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(target).exists(),
        };
        assert!(leads, "{target}");
    }
}

/// The lines of a program that say something: not imports, comments, attributes, or brackets.
fn lines_of_code(program: &str) -> usize {
    let lines = program.lines().map(str::trim_start);
    let counts = |line: &&str| {
        let is_aside = ["//", "# ", "#[", "use ", "import "].iter().any(|start| line.starts_with(start));
        !is_aside && line.contains(char::is_alphanumeric)
    };
    lines.filter(counts).count()
}

#[test]
fn the_clients_to_copy_are_those_that_are_tested_and_are_as_short_as_promised() {
    let clients = [
        ("python", include_str!("../../examples/client.py")),
        ("js", include_str!("../../examples/client.mjs")),
        ("rust", include_str!("../../examples/client.rs")),
    ];
    let promised = section("## Write your own client").contains("of at most 30 lines of code");
    assert!(promised, "the number here and there must be the same");
    for (language, program) in clients {
        assert!(
            blocks(language).contains(&program),
            "examples/client.*: not what the README shows as {language}"
        );
        let count = lines_of_code(program);
        assert!((20..=30).contains(&count), "{language}: {count} lines of code");
    }
}
