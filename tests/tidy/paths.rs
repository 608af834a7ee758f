//! Which modules and crates a source names: paths, groups taken apart, `self` and `super` resolved.

use crate::source::Token;

/// A path as written, from its first name on: `crate::chat::room`, `super::node`, `hyper::Request`.
#[derive(Clone)]
pub(crate) struct WrittenPath {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    /// Written `::name`: a crate, never a module of ours.
    pub(crate) is_global: bool,
    /// Ends in `!`: macros live at the crate's root wherever they are written.
    pub(crate) is_macro: bool,
    /// Written in test code.
    pub(crate) in_test: bool,
    /// Says who may see an item: `pub(in path)`.
    pub(crate) is_visibility: bool,
    /// Imported by a `pub use`.
    pub(crate) is_reexport: bool,
    inline_mods: usize,
}

/// Returns every path of two names or more, and single names that are imported. A group gives one path per member.
pub(crate) fn paths_in(tokens: &[Token]) -> Vec<WrittenPath> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if !starts_path(tokens, at) {
            at += 1;
            continue;
        }
        let path = WrittenPath {
            segments: Vec::new(),
            line: tokens[at].line,
            is_global: at > 0 && tokens[at - 1].text == "::",
            is_macro: false,
            in_test: tokens[at].in_test,
            is_visibility: preceded_by(tokens, at, ["(", "in"]),
            is_reexport: ["pub", ")"].iter().any(|before| preceded_by(tokens, at, [before, "use"])),
            inline_mods: tokens[at].inline_mods,
        };
        at = collect(tokens, at, path, &mut found);
    }
    found
}

fn is_name(token: Option<&Token>) -> bool {
    token.is_some_and(|token| token.text.starts_with(|first: char| first.is_alphabetic() || first == '_'))
}

fn is(tokens: &[Token], at: usize, text: &str) -> bool {
    tokens.get(at).is_some_and(|token| token.text == text)
}

/// True when these two tokens stand before the one at `start`.
fn preceded_by(tokens: &[Token], start: usize, two: [&str; 2]) -> bool {
    start.checked_sub(2).is_some_and(|at| tokens[at..start].iter().map(|token| &token.text).eq(two))
}

/// After these, `::name` starts a path; after any other name it goes on with one.
const BEFORE_PATHS: &[&str] =
    &["use", "as", "return", "in", "mut", "dyn", "impl", "for", "match", "if", "while"];

fn starts_path(tokens: &[Token], at: usize) -> bool {
    let behind = |offset: usize| at.checked_sub(offset).and_then(|i| tokens.get(i));
    let is_keyword =
        |token: Option<&Token>| token.is_some_and(|token| BEFORE_PATHS.contains(&token.text.as_str()));
    let before = behind(2);
    let joins = is_name(before) && !is_keyword(before) || before.is_some_and(|token| token.text == ">");
    let continues = behind(1).is_some_and(|token| token.text == "::") && joins;
    let imported = behind(1).is_some_and(|token| token.text == "use");
    is_name(tokens.get(at))
        && !is_keyword(tokens.get(at))
        && !continues
        && (imported || is(tokens, at + 1, "::"))
}

/// Follows the path on from here; returns where the text goes on behind it.
fn collect(tokens: &[Token], start: usize, mut path: WrittenPath, found: &mut Vec<WrittenPath>) -> usize {
    let mut at = start;
    loop {
        let Some(token) = tokens.get(at) else { return at };
        path.line = token.line;
        if token.text == "{" {
            return collect_group(tokens, at + 1, &path, found);
        }
        path.segments.push(token.text.clone());
        at += 1;
        let goes_on = is_name(tokens.get(at + 1)) || is(tokens, at + 1, "{") || is(tokens, at + 1, "*");
        if !is(tokens, at, "::") || !goes_on {
            path.is_macro = is(tokens, at, "!");
            found.push(path);
            return at;
        }
        at += 1;
    }
}

fn collect_group(
    tokens: &[Token],
    start: usize,
    prefix: &WrittenPath,
    found: &mut Vec<WrittenPath>,
) -> usize {
    let mut at = start;
    while at < tokens.len() && !is(tokens, at, "}") {
        at = match tokens[at].text.as_str() {
            "," => at + 1,
            "as" => at + 2,
            _ => collect(tokens, at, prefix.clone(), found),
        };
    }
    at + 1
}

/// Returns the crate under `crates/` to which a file belongs.
pub(crate) fn crate_of(file: &str) -> Option<&str> {
    file.strip_prefix("crates/")?.split('/').next()
}

/// Returns the module that a file is: `src/http/api.rs` → `http`, `api`; `src/main.rs` → `main`. Modules of a crate
/// stand under its name: `crates/client/src/wire.rs` → `client`, `wire`.
pub(crate) fn module_of(file: &str) -> Vec<String> {
    let module = match file.strip_prefix("crates/") {
        Some(rest) => rest.replacen("/src/", "/", 1),
        None => file.trim_start_matches("src/").to_owned(),
    };
    let module = module.trim_end_matches(".rs").trim_end_matches("/mod").trim_end_matches("/lib");
    module.split('/').map(String::from).collect()
}

/// Returns the path from the server's root (without `crate`), or nothing when it starts elsewhere. A path in a crate
/// begins with the crate's name.
pub(crate) fn resolve(file: &str, path: &WrittenPath) -> Option<Vec<String>> {
    let first = path.segments[0].as_str();
    let root = match first {
        "crate" => Some(crate_of(file)),
        "throng" => Some(None),
        _ => first.strip_prefix("throng_").map(Some),
    };
    if let Some(root) = root {
        let absolute: Vec<String> =
            root.into_iter().map(String::from).chain(path.segments[1..].iter().cloned()).collect();
        return (!absolute.is_empty()).then_some(absolute);
    }
    if !matches!(first, "self" | "super") || path.segments.len() < 2 {
        return None;
    }
    let mut absolute = module_of(file);
    absolute.extend((0..path.inline_mods).map(|_| "an inline module".to_owned()));
    for segment in &path.segments {
        match segment.as_str() {
            "self" => {}
            "super" => drop(absolute.pop()),
            name => absolute.push(name.into()),
        }
    }
    Some(absolute)
}

#[test]
fn groups_are_taken_apart_and_tails_resolved() {
    let text =
        "use crate::{a::{b as x, c::*}, d};\nmod m { use super::super::e; fn f() -> <T as g::H>::I {} }";
    let tree = crate::source::Tree::of(&[("src/http/api.rs", text)]);
    let paths = paths_in(&tree.files[0].tokens);
    let written: Vec<_> = paths.iter().map(|path| path.segments.join("::")).collect();
    assert_eq!(written, ["crate::a::b", "crate::a::c::*", "crate::d", "super::super::e", "g::H"]);
    assert_eq!(resolve("src/http/api.rs", &paths[3]), Some(vec!["http".into(), "e".into()]));
}

#[test]
fn a_crate_is_a_module() {
    let file = "crates/client/src/core/hears.rs";
    assert_eq!(module_of(file), ["client", "core", "hears"]);
    assert_eq!(module_of("crates/client/src/lib.rs"), ["client"]);
    let text =
        "use crate::wire::X; use super::Y; use throng_names::Z; use throng::node::N; use throng_bench as b;";
    let tree = crate::source::Tree::of(&[(file, text)]);
    let paths = paths_in(&tree.files[0].tokens);
    let absolute: Vec<_> =
        paths.iter().filter_map(|path| resolve(file, path)).map(|it| it.join("::")).collect();
    assert_eq!(absolute, ["client::wire::X", "client::core::Y", "names::Z", "node::N", "bench"]);
}
