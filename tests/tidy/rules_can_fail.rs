//! A rule that cannot fail is no rule: each one is run against a made-up tree that breaks it, and against one that
//! only seems to.

use super::*;
use crate::language::plain_language;

/// Returns the lines of one made-up file that a rule complains about.
fn lines(rule: fn(&Tree) -> Complaints, path: &str, text: &str) -> Vec<usize> {
    let line = |complaint: &String| complaint.split(':').nth(1).and_then(|line| line.parse().ok());
    let mut lines: Vec<usize> = rule(&Tree::of(&[(path, text)])).iter().filter_map(line).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn layering_sees_every_way_to_name_a_module() {
    let text = "use crate::{names::UserId, node::Node,\n  http::{self, api}};\n\
                fn f(a: super::server::X, b: super::super::cli::Y, c: self::room::Z) {}\n\
                // crate::http\nconst A: &str = \"crate::http\";\n\
                mod tests { use super::*; use super::super::presence; use super::super::super::endpoint; }\n\
                use crate::Gone;\nuse crate::*;\nuse throng::bench::Report;\nfn g() { crate::name!(); }";
    assert_eq!(lines(layering, "src/chat/room.rs", text), [1, 2, 2, 3, 6, 7, 8, 9]);
    assert_eq!(lines(layering, "src/unheard_of.rs", ""), [1]);
    assert_eq!(
        lines(layering, "src/registry/mod.rs", "use crate::chat::Room;\nuse crate::broker::Broker;"),
        [2]
    );
    assert_eq!(lines(layering, "src/config.rs", "use crate::metrics::M;\nuse crate::names::UserId;"), [1]);
    let bench = "use crate::wire::W;\nuse throng_client::C;\nuse throng::node::N;\nuse throng_names::U;";
    assert_eq!(lines(layering, "crates/bench/src/lib.rs", bench), [2, 3, 4]);
    assert_eq!(lines(layering, "src/server/mod.rs", "use throng_client as c;\nuse throng_names as n;"), [1]);
    assert_eq!(
        lines(layering, "src/main.rs", "mod cli;\nuse throng::Server;\nmod tests { use super::*; }"),
        []
    );
}

#[test]
fn manifests_that_ask_for_too_much_are_found() {
    let manifest = "[package]\nname = \"throng-client\"\n[dependencies]\nthrong-names.workspace = true\n\
                    throng-bench = { path = \"..\" }\n[dev-dependencies]\nthrong = \"1\"\n";
    assert_eq!(lines(manifests, "crates/client/Cargo.toml", manifest), [5, 7]);
    assert_eq!(lines(manifests, "crates/new/Cargo.toml", ""), [1]);
    assert_eq!(lines(manifests, "Cargo.toml", manifest), []);
}

#[test]
fn fences_hold_outside_their_modules() {
    let text = "use hyper::Request;\nuse anyhow;\nfn f(a: ::fastwebsockets::Frame) {}\n// hyper::Body";
    assert_eq!(lines(fenced_crates, "src/node.rs", text), [1, 2, 3]);
    assert_eq!(lines(fenced_crates, "src/http/api.rs", text), [2, 3]);
    assert_eq!(lines(fenced_crates, "crates/bench/src/wire.rs", text), [1, 3]);
    assert_eq!(lines(fenced_crates, "crates/client/src/tls.rs", "use rustls::A;\nuse ratatui::B;"), [2]);
    assert_eq!(lines(fenced_crates, "src/protocol/frame.rs", text), [1, 2]);
    assert_eq!(lines(fenced_crates, "src/broker/redis.rs", "use redis::Client;"), []);
    let broker = "mod redis;\nuse redis::RedisBroker;\nuse ::redis::Client;";
    assert_eq!(lines(fenced_crates, "src/broker/mod.rs", broker), [3]);
    assert_eq!(lines(fenced_crates, "src/node.rs", "use crate::broker::redis;\nfn f(b: redis::B) {}"), []);
}

#[test]
fn long_files_and_lines_are_found() {
    assert_eq!(lines(lengths, "src/a.rs", &"\n".repeat(MAX_FILE_LINES)), []);
    assert_eq!(lines(lengths, "src/a.rs", &"\n".repeat(MAX_FILE_LINES + 1)), [MAX_FILE_LINES + 1]);
    let wide = format!("//{}\n//{}", "ä".repeat(MAX_LINE_CHARS - 2), "ä".repeat(MAX_LINE_CHARS - 1));
    assert_eq!(lines(lengths, "tests/a.rs", &wide), [2]);
    assert_eq!(lines(lengths, "crates/a/src/b.rs", &"\n".repeat(MAX_FILE_LINES + 1)), [MAX_FILE_LINES + 1]);
}

#[test]
fn a_module_beside_its_folder_is_found() {
    let tree = Tree::of(&[
        ("src/room.rs", ""),
        ("src/room/lane.rs", ""),
        ("tests/tidy.rs", ""),
        ("tests/tidy/map.rs", ""),
    ]);
    assert_eq!(one_mod_style(&tree).len(), 1);
    assert!(one_mod_style(&Tree::of(&[("src/room/mod.rs", ""), ("src/room/lane.rs", "")])).is_empty());
}

#[test]
fn a_map_with_holes_or_inventions_is_found() {
    let lib = "//! ```text\n//! src/\n//!   names.rs  newtypes\n//!   chat/     rules, pure: room (a · b) ·\n\
               //!             history\n//!   gone.rs   x\n//! ```\n";
    let tree = |lib| {
        Tree::of(&[("src/lib.rs", lib), ("src/names.rs", ""), ("src/chat/room.rs", ""), ("src/new.rs", "")])
    };
    let found = map_is_complete(&tree(lib)).join("\n");
    assert_eq!(found.lines().count(), 3, "{found}");
    assert!(
        found.contains("gone.rs") && found.contains("src/chat/history") && found.contains("src/new.rs"),
        "{found}"
    );
    assert_eq!(map_is_complete(&tree("//! no map\n")).len(), 3);
    assert_eq!(
        map_is_complete(&tree(&lib.replace("room", "x"))).len(),
        5,
        "neither room is named nor x there"
    );
}

#[test]
fn a_crate_has_its_own_map_and_stands_in_the_servers() {
    let servers = "//! ```text\n//! src/\n//! crates/\n//!   a/   one\n//!   b/   gone\n//! ```\n";
    let own = "//! Docs.\n\n// ```text\n// src/\n//   x.rs  one\n//   y.rs  gone\n// ```\nmod x;\n";
    let found = map_is_complete(&Tree::of(&[
        ("src/lib.rs", servers),
        ("crates/a/Cargo.toml", ""),
        ("crates/a/src/lib.rs", own),
        ("crates/a/src/x.rs", ""),
        ("crates/a/src/x/part.rs", ""),
        ("crates/a/src/z.rs", ""),
        ("crates/c/Cargo.toml", ""),
    ]));
    let expected = ["crates/b/", "crates/c/Cargo.toml:1", "a/src/y.rs", "a/src/z.rs:1", "x/part.rs:1"];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    assert!(expected.iter().all(|part| found.iter().any(|line| line.contains(part))), "{found:#?}");
}

#[test]
fn strays_and_holes_at_the_top_level_are_found() {
    let found =
        top_level(&Tree::of(&[("notes.md", ""), (".ci/run", ""), ("src/a.rs", ""), ("notes/a.md", "")]))
            .join("\n");
    for name in ["notes.md: does", "notes: does", "README.md: missing", "LICENSE-MIT: missing"] {
        assert!(found.contains(name), "{name} in {found}");
    }
    assert!(!found.contains(".ci") && !found.contains("src"), "{found}");
}

#[test]
fn leftovers_are_found_outside_literals_and_tests() {
    let text = "fn f() { todo!() }\nfn g() { unimplemented!(); dbg!(1); }\n\n#[ignore = \"slow\"]\n\
                fn h() { a.unwrap(); b.unwrap_or_default(); }\nconst A: &str = \"todo!() .unwrap()\";\n\
                #[cfg(test)]\nmod tests { fn i() { a.unwrap(); } }\nfn j() { a\n.unwrap() }";
    assert_eq!(lines(forbidden_code, "src/a.rs", text), [1, 2, 2, 4, 5, 10]);
    assert_eq!(lines(forbidden_code, "crates/a/src/a.rs", text), [1, 2, 2, 4, 5, 10]);
    assert_eq!(lines(forbidden_code, "tests/a.rs", text), [1, 2, 2, 4]);
    assert_eq!(lines(forbidden_code, "crates/a/src/lib.rs", "//! Docs."), [1]);
    assert_eq!(lines(forbidden_code, "src/main.rs", "//! #![forbid(unsafe_code)]"), [1]);
    assert_eq!(lines(forbidden_code, "src/main.rs", "#![forbid(unsafe_code)]"), []);
}

#[test]
fn machine_traces_are_found_in_every_tracked_text() {
    let text = format!("a\nsee {}main\nhttps://{}/simple", MACHINE_TRACES[0], MACHINE_TRACES[6]);
    assert_eq!(lines(machine_traces, "README.md", &text), [2, 3]);
    let lock = format!("{LOCKED_SOURCE}\nsource = \"registry+https://mirror.example/index\"");
    assert_eq!(lines(machine_traces, "Cargo.lock", &lock), [2]);
}

/// A sentence that begins with a relative, taken apart so that this file has none.
const LATE: &str = concat!("Wh", "o comes late must wait.");

#[test]
fn sentences_that_begin_with_a_relative_are_found() {
    let text = format!(
        "//! One.\n//! Two. {LATE}\n\n// {LATE}\nfn f() {{}} // {LATE}\n// The word\n// {LATE}\n\
         // ```\n// {LATE}\n// ```\n/* {LATE} */\nconst A: &str = \"a{{}}: {LATE}\";\n\
         const B: &str = \"{LATE}\";\nconst C: &str = r#\"b c\n{LATE}\"#;\nconst D: &str = \"what\";\n\
         // Who is there? And what is a room?\n// * {LATE}\n// 2. {LATE}\n"
    );
    let found = [2, 4, 5, 11, 13, 15, 18, 19];
    assert_eq!(lines(plain_language, "src/a.rs", &text), found);
    assert_eq!(lines(plain_language, "tests/a.rs", &text), found);
    assert_eq!(lines(plain_language, "notes/a.rs", &text), []);
}

#[test]
fn sentences_of_pages_and_manuals_are_found() {
    let manual =
        format!("# {LATE}\n\none\n{LATE}\n\n```\n{LATE}\n```\n* **{LATE}**\n| a | {LATE} |\n1. {LATE}\n");
    assert_eq!(lines(plain_language, "docs/a/b.md", &manual), [1, 9, 10, 11]);
    assert_eq!(lines(plain_language, "README.md", &format!("The end.\n{LATE}")), [2]);
    let script = format!("// {LATE}\nf(/\"/);\nf('{LATE}', `{LATE}\n`); // said\n/* a.\n * {LATE}\n */");
    assert_eq!(lines(plain_language, "src/web/a.js", &script), [1, 3, 3, 6]);
    let page = format!(
        "<!-- {LATE} -->\n<p title=\"{LATE}\">so\n<b>{LATE}</b> or. <b>{LATE}</b></p>{LATE}\n\
         <script>\n// {LATE}\n</script>\n<style>\n/* {LATE} */</style>"
    );
    assert_eq!(lines(plain_language, "src/web/a.html", &page), [1, 2, 3, 3, 5, 8]);
}

#[test]
fn docs_of_functions_that_begin_without_a_verb_are_found() {
    let text = "/// The sum.\npub(crate) const fn a() {}\n/// Returns the sum.\n#[inline]\nfn b() {}\n\
                impl A {\n    /// Bytes.\n    #[must_use = \"(\"]\n    pub(in a::b) async fn c() {}\n}\n\
                /// A type.\ntype B = fn(u8);\n/// Seconds.\nstruct D;\nfn d() {}\n/// True when full.\nfn e() {}\n\
                /// The scenario.\n#[tokio::test]\nasync fn g() {}\n/// Re-reads.\nfn h() {}\n\
                /// Pairs the sums.\nfn i() {}\n/// Has the sum made.\nfn j() {}\n";
    assert_eq!(lines(plain_language, "src/a.rs", text), [1, 7, 25]);
    assert_eq!(lines(plain_language, "tests/a.rs", text), [1, 7, 25]);
}

#[test]
fn names_of_functions_that_begin_with_a_relative_are_found() {
    let text = "fn who_leaves_is_forgotten() {}\nfn who() {}\nmod tests {\n fn what_is_left() {}\n}\n\
                fn somewhat_late() {}";
    assert_eq!(lines(plain_language, "tests/a.rs", text), [1, 4]);
}

#[test]
fn causatives_and_unfinished_work_are_found() {
    let text = concat!(
        "// It has the line fet",
        "ched.\n\n// It has been fetched.\nf(\"",
        "TO",
        "DO\"); // TO",
        "DO: b"
    );
    assert_eq!(lines(plain_language, "src/a.rs", text), [1, 4]);
    assert_eq!(lines(plain_language, "src/a.rs", &text.replace("It has the", "They have the")), [1, 4]);
    assert_eq!(lines(plain_language, "docs/a.md", concat!("One.\nTO", "DO: two")), [2]);
    assert_eq!(lines(plain_language, ".ci/run", concat!("# FIX", "ME")), [1]);
}
