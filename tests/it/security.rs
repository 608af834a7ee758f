//! `SECURITY.md` is true as far as a machine can tell: the tests that its tables name as proofs are there and run, the
//! configuration keys and the files exist, and the version is this one. `tests/tidy.rs` checks its links.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use throng::config;

use crate::manual::{README, quoted};

const SECURITY: &str = include_str!("../../SECURITY.md");

/// Returns a path inside the repository.
fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Returns the rows of all tables whose last column is called `proof`, each as its cells.
fn proven_rows(text: &str) -> Vec<Vec<&str>> {
    let mut rows = Vec::new();
    let (mut is_in_table, mut has_proofs) = (false, false);
    for line in text.lines() {
        let was_in_table = std::mem::replace(&mut is_in_table, line.starts_with('|'));
        if !is_in_table {
            continue;
        }
        let cells: Vec<_> =
            line.trim_start_matches('|').trim_end_matches('|').split('|').map(str::trim).collect();
        if !was_in_table {
            has_proofs = cells.last() == Some(&"proof");
        } else if has_proofs && !line.starts_with("|--") {
            rows.push(cells);
        }
    }
    rows
}

/// Returns the tests that a cell names, each with the file that stands before it.
fn proofs(cell: &str) -> Vec<(&str, &str)> {
    let mut file = None;
    let mut found = Vec::new();
    for word in quoted(cell) {
        if word.contains('/') {
            file = Some(word);
        } else {
            found.push((file.unwrap_or_else(|| panic!("no file before {word}")), word));
        }
    }
    found
}

/// Returns true if `source` has a function of this name that an attribute makes a test.
fn has_test(source: &str, name: &str) -> bool {
    let heads = [format!("fn {name}("), format!("async fn {name}(")];
    let mut is_marked = false;
    for line in source.lines().map(str::trim) {
        if is_marked && heads.iter().any(|head| line.starts_with(head.as_str())) {
            return true;
        }
        let marks = line == "#[test]" || line.starts_with("#[tokio::test");
        is_marked = marks || is_marked && line.starts_with('#');
    }
    false
}

#[test]
fn every_row_of_the_tables_names_tests_that_are_there() {
    let rows = proven_rows(SECURITY);
    assert!(rows.len() > 60, "only {} rows have been found", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        let named = proofs(row.last().copied().unwrap_or_default());
        if named.is_empty() {
            wrong.push(format!("{}: names no test", row[0]));
        }
        for (file, test) in named {
            match std::fs::read_to_string(in_repository(file)) {
                Ok(source) if has_test(&source, test) => {}
                Ok(_) => wrong.push(format!("{}: {file} has no test {test}", row[0])),
                Err(error) => wrong.push(format!("{}: {file}: {error}", row[0])),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_test_is_a_function_that_runs() {
    let source = "#[test]\nfn one() {}\n#[tokio::test(a)]\n#[b]\nasync fn two() {}\nfn three() {}\n";
    let found = ["one", "two", "three", "on", "four"].map(|name| has_test(source, name));
    assert_eq!(found, [true, true, false, false, false]);
    let table = "| a | b |\n|---|---|\n| no | `x` |\n\n| a | proof |\n|---|---|\n| yes | `f/g` `h`, `i`, `k/l` `m` |\n";
    let rows = proven_rows(table);
    assert_eq!(rows.len(), 1);
    assert_eq!(proofs(rows[0][1]), [("f/g", "h"), ("f/g", "i"), ("k/l", "m")]);
}

#[test]
fn every_key_and_every_file_exists() {
    let keys: BTreeSet<&str> = config::keys().map(|key| key.path).collect();
    let sections: BTreeSet<&str> = keys.iter().filter_map(|key| Some(key.split_once('.')?.0)).collect();
    let (mut named, mut wrong) = (BTreeSet::new(), Vec::new());
    for word in quoted(SECURITY) {
        // `chat.duplicate = "allow"` names a key too.
        let first = word.split([' ', '=']).next().unwrap_or_default();
        if first.split_once('.').is_some_and(|(section, _)| sections.contains(section)) {
            named.insert(first);
            if !keys.contains(first) {
                wrong.push(format!("no key {first}"));
            }
        }
        let is_file =
            ["src/", "crates/", "tests/", "fuzz/", "docs/"].iter().any(|folder| word.starts_with(folder));
        if is_file && !in_repository(word).exists() {
            wrong.push(format!("no file {word}"));
        }
    }
    // The column of limits names nothing but keys.
    for row in proven_rows(SECURITY).iter().filter(|row| row[2].starts_with('`')) {
        let strangers = quoted(row[2]).filter(|word| !keys.contains(word));
        wrong.extend(strangers.map(|word| format!("{}: {word} is no key", row[0])));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(named.len() > 30, "only {} keys have been found", named.len());
}

#[test]
fn the_readme_leads_here() {
    assert!(README.text.contains("](SECURITY.md)"));
}

#[test]
fn this_version_is_among_the_supported_ones() {
    let (minor, _) = env!("CARGO_PKG_VERSION").rsplit_once('.').expect("three numbers");
    assert!(SECURITY.contains(&format!("\n| {minor}, the newest release | yes |\n")), "{minor}");
}
