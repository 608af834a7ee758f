//! The rule about the maps in the root files of the server and of its crates: a map names every file, and nothing else.

use crate::paths::crate_of;
use crate::source::{File, Tree};
use crate::{Complaints, SOURCES};

/// An entry of a map: `chat/   the rules: room · presence`, with the lines that continue it.
struct Entry {
    line: usize,
    /// From the root of the repository.
    path: String,
    text: String,
}

/// Reads the entries of a map: the lines of a fenced block whose first word ends in `/` or `.rs`. Other lines continue
/// the entry above them. The block begins with `src/`; entries behind the line `crates/` are crates. The block may
/// stand in doc comments or in plain ones.
fn entries(lib: &File) -> Vec<Entry> {
    let base = lib.path.strip_suffix("src/lib.rs").unwrap_or_default();
    let mut entries: Vec<Entry> = Vec::new();
    let mut is_fenced = false;
    let mut folder = None;
    for (index, line) in lib.text.lines().enumerate() {
        let Some(comment) = line.strip_prefix("//!").or(line.strip_prefix("//")).map(str::trim) else {
            continue;
        };
        if comment.starts_with("```") {
            is_fenced = !is_fenced;
            folder = None;
            continue;
        }
        let (name, text) = comment.split_once(char::is_whitespace).unwrap_or((comment, ""));
        if is_fenced && SOURCES.contains(&name) {
            folder = Some(name);
        } else if let Some(folder) = folder.filter(|_| name.ends_with('/') || name.ends_with(".rs")) {
            let path = format!("{base}{folder}{name}");
            entries.push(Entry { line: index + 1, path, text: text.into() });
        } else if let Some(last) = entries.last_mut().filter(|_| folder.is_some()) {
            last.text = format!("{} {comment}", last.text);
        }
    }
    entries
}

/// Returns the names that the text of a folder's entry lists between `·`. Text in brackets and before a colon is prose.
fn listed(text: &str) -> Vec<String> {
    let mut depth = 0;
    let mut bare = String::new();
    for char in text.chars() {
        depth += i32::from(char == '(') - i32::from(char == ')');
        bare.push(if depth > 0 || char == ')' { ' ' } else { char });
    }
    if !bare.contains('·') {
        return Vec::new();
    }
    let first_word = |part: &str| part.rsplit(": ").next()?.split_whitespace().next().map(String::from);
    bare.split('·').filter_map(first_word).map(|word| word.trim_matches([',', '.', ';']).into()).collect()
}

pub(crate) fn map_is_complete(tree: &Tree) -> Complaints {
    let libs = tree.files.iter().filter(|file| {
        file.path == "src/lib.rs" || crate_of(&file.path).is_some() && file.path.ends_with("/src/lib.rs")
    });
    libs.flat_map(|lib| check(tree, lib)).collect()
}

/// Compares the map in `lib` with the files beside it; the server's map also with the crates.
fn check(tree: &Tree, lib: &File) -> Complaints {
    let map = entries(lib);
    let beside = lib.path.strip_suffix("lib.rs").unwrap_or_default();
    let exists = |path: &str| {
        let folder = format!("{}/", path.trim_end_matches('/'));
        tree.files.iter().any(|file| file.path == path || file.path.starts_with(&folder))
    };
    let mut complaints = Vec::new();
    for entry in &map {
        let children = listed(&entry.text).into_iter().filter(|_| entry.path.ends_with('/'));
        let children = children.map(|child| format!("{}{child}", entry.path));
        for path in std::iter::once(entry.path.clone()).chain(children) {
            if !exists(&path) && !exists(&format!("{path}.rs")) {
                let at = format!("{}:{}", lib.path, entry.line);
                complaints.push(format!("{at}: the map names {path}, which does not exist"));
            }
        }
    }
    for file in tree.rust_files(&[beside]) {
        let place = file.path.strip_prefix(beside).unwrap_or(&file.path);
        let (top, child) =
            place.split_once('/').map_or((place.into(), None), |(top, rest)| (format!("{top}/"), Some(rest)));
        if matches!(top.as_str(), "lib.rs" | "main.rs") {
            continue;
        }
        let stem = child.map_or("mod", |child| child.split(['/', '.']).next().unwrap_or(child));
        let is_word = |text: &str| {
            text.split(|char: char| !char.is_alphanumeric() && char != '_').any(|word| word == stem)
        };
        let entry = map.iter().find(|entry| entry.path == format!("{beside}{top}"));
        if entry.is_none_or(|entry| stem != "mod" && !is_word(&entry.text)) {
            complaints.push(format!("{}:1: not in the map in {}", file.path, lib.path));
        }
    }
    if lib.path == "src/lib.rs" {
        let crates = tree.files.iter().filter(|file| file.path.ends_with("/Cargo.toml"));
        for name in crates.filter_map(|file| crate_of(&file.path)) {
            if !map.iter().any(|entry| entry.path == format!("crates/{name}/")) {
                complaints.push(format!("crates/{name}/Cargo.toml:1: not in the map in {}", lib.path));
            }
        }
    }
    complaints
}
