//! The tables of the manual against the declarations in the code: keys, codes, commands, events, paths, metrics.
//!
//! This links against the library, because declarations are what documentation is compared with.

use std::borrow::Cow;
use std::collections::BTreeSet;

use throng::cli::{CHECK_FAILED, INTERNAL, REFUSED, UNANSWERED, UNAVAILABLE, USAGE};
use throng::config;
use throng::testing::admission::{Check, Refusal};
use throng::testing::api::{Method, Target};
use throng::testing::protocol::close::EndReason;
use throng::testing::protocol::event::CommandError;

use super::{CLIENTS, CONFIGURATION, OPERATIONS, PROTOCOL, SERVER_API, WATCHING, quoted};
use crate::support::feed::{Viewer, names};
use crate::support::server::{Server, run};
use crate::support::terminal::Chat;
use crate::support::vocabulary::{Fields, api_errors, errors, events, reasons};

/// Returns the remarks of `--print-config` on keys that are not in force, by key.
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
            let applies = if key.is_live { "live" } else { "restart" };
            format!("| `{}` | `{}` | {applies} | {meaning}{remark} |", key.path, key.default)
        })
        .collect();
    let found: Vec<_> =
        CONFIGURATION.section("## All keys").lines().filter(|line| line.starts_with("| `")).collect();
    if std::env::var_os("THRONG_SNAPSHOTS").is_some_and(|word| word == "rewrite") {
        assert!(std::env::var_os("CI").is_none(), "the table is rewritten by people, not where CI is set");
        CONFIGURATION.replace(&found.join("\n"), &expected.join("\n"));
        return;
    }
    let first = expected.iter().zip(&found).find(|(expected, found)| expected != *found);
    assert!(
        found == expected,
        "{} rows instead of {}; the first that differs: {first:#?}\nTHRONG_SNAPSHOTS=rewrite writes the table",
        found.len(),
        expected.len()
    );
}

#[test]
fn the_close_codes_are_those_of_the_code_with_their_reasons() {
    let rows = PROTOCOL.rows("## Close codes");
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
        Refusal::NoEngine,
        Refusal::Tls,
    ];
    let codes: BTreeSet<&str> = all.iter().map(Refusal::code).collect();
    assert_eq!(codes, BTreeSet::from(Refusal::REASONS), "one of each");
    let listed: BTreeSet<(u16, &str)> = PROTOCOL
        .rows("## Refusals in HTTP")
        .into_iter()
        .map(|row| (row[0].parse().expect("a status"), quoted(row[1]).next().expect("a code")))
        .collect();
    assert_eq!(listed, all.iter().map(|refusal| (refusal.status(), refusal.code())).collect());
}

#[test]
fn the_calls_and_errors_of_the_api_are_those_of_the_code() {
    for (heading, verb, only_reads) in [("## Calls", "POST", false), ("## Questions", "GET", true)] {
        let methods = SERVER_API.rows(heading).into_iter().map(|row| {
            let path = quoted(row[0]).next().and_then(|call| call.strip_prefix(verb)).expect("a call");
            let parts = path.trim().trim_start_matches("/api/").split('/').map(Cow::Borrowed);
            Target::of_path(&parts.collect::<Vec<_>>()).expect("a path of the API").method.name()
        });
        let listed: BTreeSet<&str> = methods.collect();
        let all = Method::ALL.iter().filter(|method| method.only_reads() == only_reads);
        assert_eq!(listed, all.map(|method| method.name()).collect(), "{heading}");
    }
    let listed: BTreeSet<(u16, &str)> = SERVER_API
        .rows("## Errors of the API")
        .into_iter()
        .map(|row| (row[0].parse().expect("a status"), quoted(row[1]).next().expect("a code")))
        .collect();
    let all = api_errors();
    assert_eq!(listed, all.iter().map(|error| (error.status(), error.code())).collect());
    for error in all {
        assert_eq!(error.retry_after().is_some(), matches!(error.status(), 429 | 503), "{error:?}");
    }
}

#[test]
fn the_errors_of_the_chat_are_those_of_the_code() {
    let all = errors();
    let listed: BTreeSet<(&str, String)> = PROTOCOL
        .rows("### Errors")
        .into_iter()
        .map(|row| {
            let mut words = row.iter().flat_map(|cell| quoted(cell));
            (words.next().expect("a code"), words.next().expect("a text").to_owned())
        })
        .collect();
    assert_eq!(listed, all.iter().map(|error| (error.code(), error.to_string())).collect());
    let order: Vec<_> = PROTOCOL.rows("### Errors").iter().filter_map(|row| quoted(row[0]).next()).collect();
    let last = order.iter().position(|code| *code == "invalid_room").expect("a row");
    let malformed = all.iter().filter(|error| error.is_malformed()).map(|error| error.code());
    assert_eq!(order[..=last], malformed.collect::<Vec<_>>(), "those that count towards 4502 come first");
}

/// Returns the commands of `throng.v1` in the table, each with all of its fields.
pub(crate) fn commands() -> Fields {
    let all = PROTOCOL.rows("### Commands").into_iter().map(|row| {
        let name = quoted(row[0]).next().expect("a type").to_owned();
        (name, quoted(row[1]).chain(["id"]).map(str::to_owned).collect())
    });
    all.collect()
}

#[test]
fn the_commands_and_events_of_the_second_dialect_are_those_of_the_code() {
    let first = |heading| {
        PROTOCOL.rows(heading).iter().filter_map(|row| quoted(row[0]).next()).collect::<BTreeSet<_>>()
    };
    let unknown = CommandError::UnknownType.to_string();
    let (_, list) = unknown.split_once("must be ").expect("a list");
    let list: BTreeSet<_> = list.split([',', ' ']).filter(|word| !matches!(*word, "" | "or")).collect();
    assert_eq!(first("### Commands"), list);
    let mut sent = events();
    for row in PROTOCOL.rows("### Events of throng.v1") {
        let name = quoted(row[0]).next().expect("a type");
        let fields = sent.remove(name).unwrap_or_else(|| panic!("{name} is never sent"));
        // The fields of an ack stand in the table of commands.
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
        for row in PROTOCOL.rows(heading) {
            let path = quoted(row[0]).next().expect("a path").replace("{user_id}", "alice");
            let path = path.replace("{room}", "lobby");
            // These paths want a key.
            let status = if path.starts_with("/api/") { 401 } else { status };
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
    // Those of the engine exist only where there is one, at which tests/cluster looks, and those of a set of keys where
    // there is a URL, at which `jwks` looks. Those of certificates need one: see `tls`.
    let is_engines = |name: &str| {
        name.starts_with("throng_engine_")
            || name.starts_with("throng_jwks_")
            || name.starts_with("throng_tls_")
            || ["throng_nodes", "throng_control_timeouts_total"].contains(&name)
    };
    let listed = WATCHING.metrics().into_iter().filter(|(name, _)| !is_engines(name));
    assert_eq!(listed.collect::<BTreeSet<_>>(), served.collect());
}

#[test]
fn the_fields_of_the_dashboards_feed_are_those_of_the_table() {
    let server = Server::start(&[]);
    let snapshot = Viewer::open(&server).snapshot();
    let listed =
        OPERATIONS.rows("### The feed").into_iter().flat_map(|row| quoted(row[0])).collect::<BTreeSet<_>>();
    assert_eq!(listed, names(&snapshot));
    let past = Viewer::open(&server).past;
    let rows = OPERATIONS.rows("### The last five minutes").into_iter();
    assert_eq!(rows.flat_map(|row| quoted(row[0])).collect::<BTreeSet<_>>(), names(&past));
}

#[test]
fn the_exit_codes_are_those_of_the_code() {
    // A process that a signal ended: 128 and the number of SIGINT or SIGTERM.
    let ended = [128 + 2, 128 + 15];
    let own = [0, CHECK_FAILED, USAGE, REFUSED, UNAVAILABLE, INTERNAL, UNANSWERED];
    let ours: BTreeSet<u8> = own.into_iter().chain(ended).collect();
    let listed: BTreeSet<u8> =
        OPERATIONS.rows("### Exit codes").into_iter().map(|row| row[0].parse().expect("a code")).collect();
    assert_eq!(listed, ours);
}

#[test]
fn the_exit_codes_of_the_chat_are_those_of_the_code() {
    let ours = BTreeSet::from([0, USAGE, REFUSED, UNAVAILABLE, INTERNAL, UNANSWERED]);
    let listed: BTreeSet<u8> =
        CLIENTS.rows("### How a chat ends").into_iter().map(|row| row[0].parse().expect("a code")).collect();
    assert_eq!(listed, ours);
}

#[test]
fn the_commands_of_the_chat_are_those_that_it_lists() {
    let server = Server::start(&[]);
    let mut chat = Chat::enter(&server, "ann");
    chat.types("/help");
    let (_, lines, _) = chat.finish();
    let listed = CLIENTS
        .rows("## In a terminal")
        .into_iter()
        .map(|row| format!("-- {}: {}", row[0].trim_matches('`'), row[1]));
    let told = lines.into_iter().filter(|line| line.starts_with("-- /"));
    assert_eq!(listed.collect::<Vec<_>>(), told.collect::<Vec<_>>());
}
