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
    inline_mods: usize,
}

/// Every path of two names or more, and single names that are imported. A group gives one path for each member.
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

/// The module that a file under `src/` is: `src/http/api.rs` → `http`, `api`; `src/main.rs` → `main`.
pub(crate) fn module_of(file: &str) -> Vec<String> {
    let place = file.trim_start_matches("src/").trim_end_matches(".rs");
    place.trim_end_matches("/mod").split('/').map(String::from).collect()
}

/// The path from the crate's root (without `crate`), or nothing when it starts elsewhere.
pub(crate) fn resolve(file: &str, path: &WrittenPath) -> Option<Vec<String>> {
    let first = path.segments[0].as_str();
    if matches!(first, "crate" | "throng") {
        return (path.segments.len() > 1).then(|| path.segments[1..].to_vec());
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
