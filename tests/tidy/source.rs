//! The repository as the rules see it: files, with Rust sources cut into tokens, comments and literals. A lexer of a
//! hundred lines stands here instead of a parser crate, because the rules need names, paths and braces but no types.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// A name or a piece of punctuation (`::` is one piece). Comments and literals leave no tokens.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// Counts from 1.
    pub(crate) line: usize,
    /// Inside an item under `#[cfg(test)]`.
    pub(crate) in_test: bool,
    /// Number of inline `mod name { … }` around the token: each takes one `super` to leave.
    pub(crate) inline_mods: usize,
}

/// A comment or a literal with all that marks it as one.
pub(crate) struct Snippet {
    pub(crate) piece: Piece,
    /// The line on which it begins; counts from 1.
    pub(crate) line: usize,
    /// Nothing but blanks stands before it on its line.
    pub(crate) starts_line: bool,
    pub(crate) text: String,
}

pub(crate) struct File {
    /// Path from the root of the repository, with `/`.
    pub(crate) path: String,
    /// The file's content; empty when it is not text.
    pub(crate) text: String,
    /// Whether git tracks the file; true for all files when git is not there to ask.
    pub(crate) tracked: bool,
    /// The code's tokens; empty when the file is not Rust.
    pub(crate) tokens: Vec<Token>,
    /// The text with literals blanked out, for rules about what comments say.
    pub(crate) without_literals: String,
    /// Comments and literals in their order; empty when the file is not Rust.
    pub(crate) snippets: Vec<Snippet>,
}

impl File {
    fn new(path: &str, text: &str, tracked: bool) -> Self {
        let is_rust = path.ends_with(".rs");
        let (code, without_literals, snippets) = if is_rust { mask(text) } else { Default::default() };
        let mut tokens = tokenize(&code);
        mark_inline_mods(&mut tokens);
        mark_tests(&mut tokens);
        // `mod tests;` behind `#[cfg(test)]` has a file of its own.
        if path.ends_with("/tests.rs") || path.contains("/tests/") {
            tokens.iter_mut().for_each(|token| token.in_test = true);
        }
        Self { path: path.into(), text: text.into(), tracked, tokens, without_literals, snippets }
    }
}

pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

impl Tree {
    /// Reads the files that git tracks, and the Rust sources that it does not track yet.
    pub(crate) fn of_repository() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let tracked = tracked(root);
        let mut all = BTreeSet::new();
        if tracked.is_empty() {
            walk(root, "", &mut all);
        } else {
            super::RUST.iter().for_each(|folder| walk(root, folder.trim_end_matches('/'), &mut all));
            all.extend(tracked.iter().filter(|path| root.join(path).is_file()).cloned());
        }
        let files = all.iter().map(|path| {
            let text = std::fs::read(root.join(path)).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            File::new(path, &text.unwrap_or_default(), tracked.is_empty() || tracked.contains(path))
        });
        Self { files: files.collect() }
    }

    /// Builds a made-up tree from pairs of path and text.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self { files: files.iter().map(|(path, text)| File::new(path, text, true)).collect() }
    }

    pub(crate) fn rust_files<'a>(&'a self, folders: &'a [&str]) -> impl Iterator<Item = &'a File> {
        let inside = |path: &str| folders.iter().any(|folder| path.starts_with(folder));
        self.files.iter().filter(move |file| file.path.ends_with(".rs") && inside(&file.path))
    }
}

/// Asks git for the paths it tracks: none when git is not there or this is not its repository (a source package).
fn tracked(root: &Path) -> BTreeSet<String> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output();
    let Some(listed) = listed.ok().filter(|output| output.status.success()) else { return BTreeSet::new() };
    String::from_utf8_lossy(&listed.stdout).split_terminator('\0').map(String::from).collect()
}

fn walk(root: &Path, folder: &str, found: &mut BTreeSet<String>) {
    let Ok(entries) = std::fs::read_dir(root.join(folder)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if !entry.path().is_dir() {
            found.insert(path);
        } else if !matches!(name.as_str(), "target" | ".git") {
            walk(root, &path, found);
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Piece {
    Code,
    Comment,
    Literal,
}

/// Returns the text twice, line by line the same (only code, and code with comments), and what is not code.
fn mask(text: &str) -> (String, String, Vec<Snippet>) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut without_literals, mut snippets) = (String::new(), String::new(), Vec::new());
    let mut at = 0;
    let mut line = 1;
    while at < chars.len() {
        let (piece, end) = next_piece(&chars, at);
        if piece != Piece::Code {
            let starts_line =
                chars[..at].iter().rev().take_while(|char| **char != '\n').all(|char| char.is_whitespace());
            snippets.push(Snippet { piece, line, starts_line, text: chars[at..end].iter().collect() });
        }
        line += chars[at..end].iter().filter(|char| **char == '\n').count();
        for &char in &chars[at..end] {
            let blank = if char == '\n' { '\n' } else { ' ' };
            code.push(if piece == Piece::Code { char } else { blank });
            without_literals.push(if piece == Piece::Literal { blank } else { char });
        }
        at = end;
    }
    (code, without_literals, snippets)
}

fn next_piece(chars: &[char], at: usize) -> (Piece, usize) {
    let peek = |offset: usize| chars.get(at + offset).copied().unwrap_or('\0');
    let find = |from: usize, hit: &dyn Fn(usize) -> bool| {
        (from..chars.len()).find(|&i| hit(i)).unwrap_or(chars.len())
    };
    match chars[at] {
        '/' if peek(1) == '/' => (Piece::Comment, find(at, &|i| chars[i] == '\n')),
        '/' if peek(1) == '*' => (Piece::Comment, end_of_block_comment(chars, at)),
        '"' => (Piece::Literal, end_of_quoted(chars, at)),
        '\'' if peek(1) == '\\' => (Piece::Literal, end_of_quoted(chars, at)),
        '\'' if peek(2) == '\'' => (Piece::Literal, at + 3),
        first if is_name(first) => {
            let end = find(at, &|i| !is_name(chars[i]));
            let hashes = find(end, &|i| chars[i] != '#') - end;
            let prefix: String = chars[at..end].iter().collect();
            if !matches!(prefix.as_str(), "r" | "br" | "cr") || chars.get(end + hashes) != Some(&'"') {
                return (Piece::Code, end);
            }
            let closes = |i: usize| {
                chars[i] == '"' && chars[i + 1..].iter().take_while(|c| **c == '#').count() >= hashes
            };
            (Piece::Literal, (find(end + hashes + 1, &closes) + 1 + hashes).min(chars.len()))
        }
        _ => (Piece::Code, at + 1),
    }
}

fn is_name(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

fn end_of_quoted(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != chars[start] {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn end_of_block_comment(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') if depth == 1 => return at + 2,
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    chars.len()
}

fn tokenize(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if is_name(first) {
                rest.find(|char| !is_name(char)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            tokens.push(Token {
                text: rest[..length].into(),
                line: index + 1,
                in_test: false,
                inline_mods: 0,
            });
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

fn mark_inline_mods(tokens: &mut [Token]) {
    let mut braces = Vec::new();
    for at in 0..tokens.len() {
        match tokens[at].text.as_str() {
            "{" => braces.push(at >= 2 && tokens[at - 2].text == "mod"),
            "}" => drop(braces.pop()),
            _ => {}
        }
        tokens[at].inline_mods = braces.iter().filter(|is_mod| **is_mod).count();
    }
}

fn mark_tests(tokens: &mut [Token]) {
    let mut at = 0;
    while at < tokens.len() {
        let Some(attribute_end) = end_of_test_attribute(tokens, at) else {
            at += 1;
            continue;
        };
        let is_inner = tokens[at + 1].text == "!";
        let end = if is_inner { tokens.len() } else { end_of_item(tokens, attribute_end) };
        tokens[at..end].iter_mut().for_each(|token| token.in_test = true);
        at = end;
    }
}

/// Returns the end of a `#[cfg(test)]` or `#[cfg(all(test, …))]` that starts at `at`.
fn end_of_test_attribute(tokens: &[Token], at: usize) -> Option<usize> {
    let text = |i: usize| tokens.get(i).map_or("", |token| token.text.as_str());
    let open = if text(at + 1) == "!" { at + 2 } else { at + 1 };
    if text(at) != "#" || text(open) != "[" || text(open + 1) != "cfg" {
        return None;
    }
    let end = end_of_group(tokens, open);
    let names = |name: &str| tokens[open..end].iter().any(|token| token.text == name);
    (names("test") && !names("not") && !names("any")).then_some(end)
}

/// Returns the index behind the bracket that closes the one at `open`.
fn end_of_group(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// Returns the index behind the item, field or arm that starts at `start`, with further attributes before it.
fn end_of_item(tokens: &[Token], start: usize) -> usize {
    let mut at = start;
    let mut is_item = false;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "{" => return end_of_group(tokens, at),
            "(" | "[" => at = end_of_group(tokens, at),
            ";" => return at + 1,
            "}" => return at,
            "," if !is_item => return at + 1,
            name => {
                is_item |=
                    matches!(name, "fn" | "impl" | "struct" | "enum" | "trait" | "type" | "const" | "static");
                at += 1;
            }
        }
    }
    at
}

#[test]
fn literals_comments_and_lifetimes_are_told_apart() {
    let text = r##"fn a<'x>(b: &'x str) { /* c /* d */ e */ f('"', '\'', "g\"h", r#"i"j"#, b'k'); } // l"##;
    let tree = Tree::of(&[("src/a.rs", text)]);
    let tokens: Vec<_> = tree.files[0].tokens.iter().map(|token| token.text.as_str()).collect();
    assert_eq!(tokens.concat(), "fna<'x>(b:&'xstr){f(,,,,b);}");
    assert!(tree.files[0].without_literals.contains("e */") && !tree.files[0].without_literals.contains('g'));
}

#[test]
fn test_items_are_marked_to_their_end() {
    let text = "#[cfg(test)]\nuse a::{b, c};\nfn d() {}\n#[cfg(test)]\n#[allow(x)]\nmod e {\nfn f() {}\n}\nfn g() {}";
    let tree = Tree::of(&[("src/a.rs", text)]);
    let is_test = |name: &str| tree.files[0].tokens.iter().any(|token| token.text == name && token.in_test);
    assert!(["b", "c", "e", "f"].into_iter().all(is_test));
    assert!(!["d", "g"].into_iter().any(is_test));
}
