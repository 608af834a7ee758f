//! The rules of the code base that the compiler does not check: layering, length, the map, language, and things that
//! must not be there.
//!
//! Each rule is a function from a tree to complaints (`file:line: what`), with its data and its reason above it, one
//! test over the repository and one over a made-up tree that breaks it.

use std::sync::LazyLock;

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/language.rs"]
mod language;
#[path = "tidy/map.rs"]
mod map;
#[cfg(test)]
#[path = "tidy/pages.rs"]
mod pages;
#[path = "tidy/paths.rs"]
mod paths;
#[cfg(test)]
#[path = "tidy/pictures.rs"]
mod pictures;
#[path = "tidy/prose.rs"]
mod prose;
#[cfg(test)]
#[path = "tidy/rules_can_fail.rs"]
mod rules_can_fail;
#[path = "tidy/source.rs"]
mod source;

use language::plain_language;
use map::map_is_complete;
use paths::{crate_of, module_of, paths_in, resolve};
use source::{File, Tree};

/// The layers of the modules. Dependencies point downwards only, or stay in their row: a lower layer can be understood
/// and tested without the upper ones. Top row first, as in the map. A crate under `crates/` is a module like any other.
const LAYERS: &[&[&str]] = &[
    &["main", "cli"],
    &["server", "bench", "client", "terminal"],
    &["http"],
    &["connection", "admission"],
    &["endpoint", "api"],
    &["node"],
    &["shard"],
    &["registry", "broker"],
    &["chat"],
    &["protocol"],
    &["webhooks", "hooks"],
    &["rate_limit", "revocation", "outbound", "tls"],
    &[
        "config", "keys", "metrics", "clock", "shrink", "striped", "prefetch", "live", "deflate", "few",
        "locked", "framed", "faults",
    ],
    &["names"],
];

/// Pairs that do not know each other although their rows would let them.
const STRANGERS: &[(&str, &str, &str)] = &[
    ("registry", "broker", "node joins them; a broker for several nodes must not need local connections"),
    ("shard", "broker", "node joins them; a broker for several nodes must not need local connections"),
    ("server", "bench", "the load generator sees the server over the wire alone"),
    ("server", "client", "the client is for other programs; the server does not speak to itself"),
    ("server", "terminal", "the chat in a terminal sees the server over the wire alone"),
    ("names", "metrics", "leaves use no module of the crate"),
    ("config", "metrics", "leaves use no module of the crate"),
    ("clock", "names", "leaves use no module of the crate"),
    ("clock", "config", "leaves use no module of the crate"),
    ("clock", "metrics", "leaves use no module of the crate"),
];

/// Modules that see less than their row would let them. Each crate has an entry, and its manifest must keep to it.
const SEES_ONLY: &[(&str, &[&str], &str)] = &[
    ("names", &[], "a crate that everybody may use depends on nobody"),
    ("client", &["names"], "the client must be true to the wire, not to our internals"),
    ("terminal", &["client", "names"], "it is a user of the client like any other"),
    ("keys", &[], "the code that reads keys must be easy to check, and needs nothing of the server"),
    ("outbound", &["config", "names"], "a client for several parts of the server, which must not know them"),
    ("tls", &["live"], "strangers reach it before all checks: it must be easy to check itself"),
    ("bench", &[], "a load generator that shares code with the server shares its bugs"),
];

/// The modules that may name a foreign crate: replacing the crate touches only them.
const FENCED_CRATES: &[(&[&str], &[&str])] = &[
    (&["hyper", "hyper_util", "http_body_util"], &["http", "server", "outbound"]),
    (&["httparse"], &["http"]),
    (&["hyper_rustls", "tower_service"], &["outbound"]),
    (&["fastwebsockets"], &["connection", "protocol::frame"]),
    (&["mio"], &["connection", "bench"]),
    (&["tokio_tungstenite", "futures_util"], &["client"]),
    (
        &["rustls", "rustls_native_certs"],
        &["client", "broker::redis::link", "outbound", "tls", "bench::tls", "bench::examples"],
    ),
    (&["x509_cert"], &["tls::certificate"]),
    (&["rcgen"], &["tls::tests"]),
    (&["tokio_rustls"], &["client", "broker::redis::link", "outbound::tests"]),
    (&["ring"], &["outbound", "bench::protocol"]),
    // In tests alone, as a client that shares no code with ours.
    (&["redis"], &["broker::redis"]),
    (&["rsa", "p256", "ed25519_dalek"], &["keys"]),
    (&["jsonwebtoken"], &["admission::token"]),
    (&["safe_arch"], &["prefetch"]),
    (&["arcstr"], &["names"]),
    (&["flate2"], &["deflate", "bench"]),
    (&["arc_swap"], &["live"]),
    (&["clap_complete", "clap_mangen"], &["cli::documents"]),
    (&["anyhow"], &["main", "cli", "bench", "terminal"]),
    (&["ratatui", "unicode_segmentation", "unicode_width", "jiff"], &["terminal::screen"]),
];

/// Most lines of a source file. A longer one has two subjects.
const MAX_FILE_LINES: usize = 400;
/// Most characters of a line. `rustfmt` breaks code at 110 but leaves comments and literals alone; two longer lines do
/// not fit side by side on a screen.
const MAX_LINE_CHARS: usize = 120;

/// The names that must stand at the top level. A reader sees it first: it holds nothing that is not needed. Dot-files
/// are free.
const TOP_LEVEL_REQUIRED: &[&str] =
    &["Cargo.toml", "Cargo.lock", "README.md", "LICENSE-MIT", "LICENSE-APACHE", "crates", "src", "tests"];
const TOP_LEVEL_OPTIONAL: &[&str] = &[
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "Dockerfile",
    "benches",
    "build.rs",
    "clients",
    "docs",
    "examples",
    "flamegraphs",
    "fuzz",
    "packaging",
    "clippy.toml",
    "rustfmt.toml",
];

/// Token sequences that are not in the code, each with the reason.
const BANNED_CODE: &[(&[&str], &str)] = &[
    (&["todo", "!"], "unfinished work is not committed"),
    (&["unimplemented", "!"], "unfinished work is not committed"),
    (&["dbg", "!"], "left over from a search"),
    (&["#", "[", "ignore"], "a test that does not run proves nothing; long ones ask for THRONG_LONG"),
];

/// Paths and hosts of one machine, which mean nothing elsewhere. Taken apart here, or this file would break its rule.
const MACHINE_TRACES: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/tmp", "/w/"),
    concat!("/tmp", "/bash_jobs"),
    concat!("/ro", "ot/"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("py", "pi.org"),
    concat!("pythonhosted", ".org"),
    concat!("registry.", "npmjs.org"),
    concat!("proxy.", "golang.org"),
];
const LOCKED_SOURCE: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

/// Folders of the server's code and of its crates' code.
const SOURCES: &[&str] = &["src/", "crates/"];
/// Folders of all Rust code of the repository.
const RUST: &[&str] = &["src/", "crates/", "tests/", "benches/", "examples/", "fuzz/"];

type Complaints = Vec<String>;

fn layering(tree: &Tree) -> Complaints {
    let row = |name: &str| LAYERS.iter().rev().position(|row| row.contains(&name));
    let mut complaints = Vec::new();
    for file in tree.rust_files(SOURCES).filter(|file| file.path != "src/lib.rs") {
        let owner = module_of(&file.path)[0].clone();
        let Some(own_row) = row(&owner) else {
            complaints.push(format!("{}:1: module {owner} has no row in LAYERS of tests/tidy.rs", file.path));
            continue;
        };
        for path in paths_in(&file.tokens) {
            let Some(absolute) = resolve(&file.path, &path) else { continue };
            let Some(target) = absolute.first().filter(|target| **target != owner) else { continue };
            // Macros live at the crate's root, and the root exports what a program needs to embed a server.
            let is_exported = LAYERS[0].contains(&owner.as_str()) && target.starts_with(char::is_uppercase);
            if absolute.len() == 1 && (path.is_macro || is_exported) {
                continue;
            }
            let why = match row(target) {
                None => Some(
                    "which has no row in LAYERS: write the path from the module that defines the thing"
                        .into(),
                ),
                Some(target_row) if target_row > own_row => Some("which lies above it".into()),
                Some(_) => why_unseen(&owner, target),
            };
            complaints
                .extend(why.map(|why| format!("{}:{}: {owner} names {target}, {why}", file.path, path.line)));
        }
    }
    complaints
}

/// Returns the reason why `owner` may not see `target` although their rows would let it.
fn why_unseen(owner: &str, target: &str) -> Option<String> {
    let strangers =
        STRANGERS.iter().find(|(a, b, _)| (*a, *b) == (owner, target) || (*b, *a) == (owner, target));
    let narrow = SEES_ONLY.iter().find(|(name, seen, _)| *name == owner && !seen.contains(&target));
    strangers
        .map(|(_, _, why)| why)
        .or(narrow.map(|(_, _, why)| why))
        .map(|why| format!("not allowed: {why}"))
}

/// Checks that the manifest of a crate names no more of the other packages than [`SEES_ONLY`] allows. The needs of its
/// tests count too: a test that needs more belongs to the server's tests.
fn manifests(tree: &Tree) -> Complaints {
    let mut complaints = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        let Some(owner) = crate_of(&file.path) else { continue };
        let Some((_, seen, why)) = SEES_ONLY.iter().find(|(name, ..)| *name == owner) else {
            complaints.push(format!("{}:1: {owner} has no row in SEES_ONLY of tests/tidy.rs", file.path));
            continue;
        };
        let mut section = "";
        for (index, line) in file.text.lines().enumerate() {
            section = if line.starts_with('[') { line } else { section };
            let key = line.split(['.', '=', ' ']).next().unwrap_or(line);
            let target = key.strip_prefix("throng").filter(|_| section.contains("dependencies"));
            let target = target.map(|rest| rest.strip_prefix('-').unwrap_or("the server"));
            if let Some(target) = target.filter(|target| !seen.contains(target)) {
                complaints.push(format!("{}:{}: {owner} needs {target}: {why}", file.path, index + 1));
            }
        }
    }
    complaints
}

fn fenced_crates(tree: &Tree) -> Complaints {
    let mut complaints = Vec::new();
    for file in tree.rust_files(SOURCES) {
        let module = module_of(&file.path).join("::");
        let inside = |fence: &&str| module == **fence || module.starts_with(&format!("{fence}::"));
        let paths = paths_in(&file.tokens);
        // `mod redis;` or `use crate::broker::redis` makes `redis` a name of our own, unless it is written `::redis`.
        let is_ours = |name: &str| {
            file.tokens.windows(2).any(|pair| pair[0].text == "mod" && pair[1].text == name)
                || paths
                    .iter()
                    .filter_map(|path| resolve(&file.path, path))
                    .any(|path| path.last().is_some_and(|l| l == name))
        };
        for path in paths.iter().filter(|path| path.is_global || !is_ours(&path.segments[0])) {
            let name = path.segments[0].as_str();
            let Some((_, fences)) = FENCED_CRATES.iter().find(|(names, _)| names.contains(&name)) else {
                continue;
            };
            if !fences.iter().any(inside) {
                complaints.push(format!("{}:{}: {name} only in {}", file.path, path.line, fences.join(", ")));
            }
        }
    }
    complaints
}

fn lengths(tree: &Tree) -> Complaints {
    let mut complaints = Vec::new();
    for file in tree.rust_files(RUST) {
        for (index, line) in file.text.lines().enumerate() {
            let chars = line.chars().count();
            if chars > MAX_LINE_CHARS {
                complaints.push(format!(
                    "{}:{}: {chars} characters, at most {MAX_LINE_CHARS}",
                    file.path,
                    index + 1
                ));
            }
        }
    }
    let mut lines: Vec<usize> = tree.rust_files(SOURCES).map(|file| file.text.lines().count()).collect();
    lines.sort_unstable();
    let median = lines.get(lines.len() / 2).copied().unwrap_or(0);
    println!("{} files of source, median {median} lines", lines.len());
    for file in tree.rust_files(SOURCES) {
        let lines = file.text.lines().count();
        if lines > MAX_FILE_LINES {
            complaints.push(format!(
                "{}:{lines}: {lines} lines, at most {MAX_FILE_LINES} (median {median})",
                file.path
            ));
        }
    }
    complaints
}

/// Checks that a module with files of its own is `name/mod.rs`: a reader who opens the folder finds all of it there.
fn one_mod_style(tree: &Tree) -> Complaints {
    let has_folder = |file: &&File| {
        let folder = format!("{}/", file.path.strip_suffix(".rs").unwrap_or(&file.path));
        tree.files.iter().any(|other| other.path.starts_with(&folder))
    };
    let split = tree.rust_files(SOURCES).filter(has_folder);
    split.map(|file| format!("{}:1: has a folder beside it: move it there, as mod.rs", file.path)).collect()
}

fn top_level(tree: &Tree) -> Complaints {
    let mut names: Vec<&str> = tree
        .files
        .iter()
        .filter(|file| file.tracked)
        .filter_map(|file| file.path.split('/').next())
        .collect();
    names.dedup();
    let known = |name: &&str| {
        name.starts_with('.') || TOP_LEVEL_REQUIRED.contains(name) || TOP_LEVEL_OPTIONAL.contains(name)
    };
    let missing =
        TOP_LEVEL_REQUIRED.iter().filter(|name| !names.contains(name)).map(|name| format!("{name}: missing"));
    let extra = names
        .iter()
        .filter(|name| !known(name))
        .map(|name| format!("{name}: does not belong at the top level"));
    missing.chain(extra).collect()
}

fn forbidden_code(tree: &Tree) -> Complaints {
    let mut complaints = Vec::new();
    for file in tree.rust_files(RUST) {
        let at = |line: usize, what: &str, why: &str| format!("{}:{line}: {what}: {why}", file.path);
        for (banned, why) in BANNED_CODE {
            complaints.extend(find(file, banned).map(|(line, _)| at(line, &banned.concat(), why)));
        }
        if SOURCES.iter().any(|folder| file.path.starts_with(folder)) {
            let unwraps = find(file, &[".", "unwrap", "(", ")"]).filter(|(_, in_test)| !in_test);
            complaints
                .extend(unwraps.map(|(line, _)| at(line, ".unwrap()", "say with expect why it cannot fail")));
        }
        let is_root = file.path == "src/main.rs" || file.path.ends_with("src/lib.rs");
        let forbid = ["#", "!", "[", "forbid", "(", "unsafe_code", ")", "]"];
        if is_root && find(file, &forbid).next().is_none() {
            complaints.push(at(1, "no #![forbid(unsafe_code)]", "the promise stands where a reader looks"));
        }
    }
    complaints
}

/// Returns the line of each occurrence of the tokens in a row, and whether it is test code.
fn find(file: &File, wanted: &[&str]) -> impl Iterator<Item = (usize, bool)> {
    let hit =
        move |window: &&[source::Token]| window.iter().zip(wanted).all(|(token, text)| token.text == **text);
    file.tokens.windows(wanted.len()).filter(hit).map(|window| (window[0].line, window[0].in_test))
}

fn machine_traces(tree: &Tree) -> Complaints {
    let mut complaints = Vec::new();
    for file in tree.files.iter().filter(|file| file.tracked) {
        for (index, line) in file.text.lines().enumerate() {
            let trace = MACHINE_TRACES.iter().find(|trace| line.contains(**trace));
            complaints.extend(trace.map(|trace| format!("{}:{}: names {trace}", file.path, index + 1)));
            if file.path == "Cargo.lock" && line.starts_with("source = ") && line != LOCKED_SOURCE {
                complaints.push(format!("{}:{}: {line}: not from the public index", file.path, index + 1));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod house {
    use super::*;

    static REPOSITORY: LazyLock<Tree> = LazyLock::new(Tree::of_repository);

    fn enforce(rule: fn(&Tree) -> Complaints, why: &str) {
        let complaints = rule(&REPOSITORY);
        assert!(complaints.is_empty(), "{why}:\n  {}\n", complaints.join("\n  "));
    }

    #[test]
    fn dependencies_point_downwards() {
        enforce(layering, "a layer is understood and tested without what lies above it");
    }

    #[test]
    fn files_do_not_import_each_other_in_large_circles() {
        enforce(
            circles::no_large_circles,
            "files that import each other are understood together or not at all",
        );
    }

    #[test]
    fn crates_depend_on_no_more_than_they_may() {
        enforce(manifests, "a crate is for users who want nothing beyond it");
    }

    #[test]
    fn foreign_crates_stay_behind_their_fences() {
        enforce(fenced_crates, "replacing a dependency must touch one module");
    }

    #[test]
    fn files_and_lines_are_short() {
        enforce(lengths, "a file has one subject, and a line fits the screen");
    }

    #[test]
    fn a_module_with_children_is_a_folder() {
        enforce(one_mod_style, "a module stands in one place");
    }

    #[test]
    fn the_map_is_true() {
        enforce(
            map_is_complete,
            "the map in src/lib.rs, and in that of each crate, is where a reader starts",
        );
    }

    #[test]
    fn the_top_level_is_tidy() {
        enforce(top_level, "the top level holds what is needed and nothing else");
    }

    #[test]
    fn nothing_unfinished_is_committed() {
        enforce(forbidden_code, "committed code is finished and cannot panic by accident");
    }

    #[test]
    fn sentences_are_plain() {
        enforce(plain_language, "a sentence is understood at the first reading");
    }

    #[test]
    fn no_path_or_host_of_one_machine_is_named() {
        enforce(machine_traces, "the repository must mean the same on every machine");
    }
}
