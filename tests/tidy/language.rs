//! The rules of plain English that a pattern can check: how sentences begin, how the docs of functions begin, and
//! words that stand for unfinished work. Grammar and sense are for readers.

use crate::prose::{Sentence, sentences};
use crate::source::{File, Tree};
use crate::{Complaints, RUST};

/// Text that is checked beside [`RUST`]: how its path begins, and how it ends.
const TEXTS: &[(&str, &str)] = &[
    ("README.md", ""),
    ("CONTRIBUTING.md", ""),
    ("CHANGELOG.md", ""),
    ("SECURITY.md", ""),
    ("docs/", ".md"),
    ("tests/", ".md"),
    ("examples/", ".mjs"),
    ("src/web/", ".js"),
    ("src/web/", ".html"),
    ("src/web/", ".css"),
    ("tests/web/", ".mjs"),
    ("tests/", ".sh"),
    ("tests/run", ""),
    ("fuzz/run", ""),
    (".ci/run", ""),
];

/// A sentence that begins with one of these is a question, or its subject comes too late to be understood.
const RELATIVES: &[&str] = &["who", "whom", "whose", "whoever", "what", "whatever", "whichever"];

/// First words of a function's docs that do not end like a verb and are clear all the same: predicates.
const OPENINGS: &[&str] = &["True", "Whether", "Same", "See"];
/// Words that end like a verb in the third person and are none, and `Has`, which says that others do the work.
const NO_VERBS: &[&str] = &["Always", "As", "Has", "Its", "Plus", "This"];
/// Plurals that begin the docs of values. Before an article they are verbs: “Pairs an error with its code.”
const PLURALS: &str = "Buckets Bytes Certificates Clients Connections Counters Descriptors Digits Entries Errors \
    Events Fields Files Frames Handshakes Heartbeats Histories Hours Keys Members Messages Microseconds \
    Milliseconds Pairs Parts Ports Positions Publications Rooms Seconds Settings Threads Topics Users Values";

/// Words of unfinished work. Taken apart here, or this file would break its own rule.
const UNFINISHED: &[&str] = &[concat!("FIX", "ME"), concat!("XX", "X"), concat!("TO", "DO")];

/// Returns what the rules have against each file.
pub(crate) fn plain_language(tree: &Tree) -> Complaints {
    let mut complaints = Vec::new();
    for file in tree.files.iter().filter(|file| is_checked(file)) {
        let at = |line: usize, what: &str, text: &str| format!("{}:{line}: {what}: {text}", file.path);
        for sentence in sentences(file) {
            complaints.extend(fault_of(&sentence).map(|what| at(sentence.line, what, &beginning(&sentence))));
        }
        for (index, line) in text_of(file).lines().enumerate() {
            let mut words = line.split(|char: char| !char.is_alphanumeric());
            let word = words.find(|word| UNFINISHED.contains(word));
            complaints.extend(word.map(|word| at(index + 1, "an open question belongs in an issue", word)));
        }
        for (line, name) in functions(file).filter(|(_, name)| begins_with_relative(name)) {
            complaints.push(at(line, "a name begins with a relative", name));
        }
        for (line, doc) in function_docs(file).filter(|(_, doc)| !begins_with_verb(doc)) {
            complaints.push(at(line, "the docs of a function begin with a verb (“Returns …”)", &doc));
        }
    }
    complaints
}

fn is_checked(file: &File) -> bool {
    let is_text = |(start, end): &(&str, &str)| file.path.starts_with(start) && file.path.ends_with(end);
    file.path.ends_with(".rs") && RUST.iter().any(|folder| file.path.starts_with(folder))
        || file.path.starts_with("crates/") && file.path.ends_with(".md")
        || TEXTS.iter().any(is_text)
}

/// Returns what is searched for unfinished work: comments and code, not what a program only passes on.
fn text_of(file: &File) -> &str {
    if file.path.ends_with(".rs") { &file.without_literals } else { &file.text }
}

fn fault_of(sentence: &Sentence) -> Option<&'static str> {
    let words: Vec<String> = sentence.words.iter().map(|word| bare(word)).collect();
    let is_question = sentence.words.last().is_some_and(|word| word.contains('?'));
    if !is_question && RELATIVES.contains(&words[0].as_str()) {
        return Some("a sentence begins with a relative");
    }
    let is_causative = |(at, word): (usize, &String)| {
        matches!(word.as_str(), "has" | "have")
            && words.get(at + 1).is_some_and(|next| next != "been")
            && words[at + 1..].iter().take(6).any(|word| word.ends_with("fetched"))
    };
    words.iter().enumerate().any(is_causative).then_some("a causative: say “fetches”")
}

/// Returns the word in lower case up to its first sign, without the marks before it: `**What's**` gives `what`.
fn bare(word: &str) -> String {
    let word = word.trim_start_matches(['*', '_', '(', '[', '“', '…']);
    word.chars().take_while(|char| char.is_alphabetic()).flat_map(char::to_lowercase).collect()
}

fn beginning(sentence: &Sentence) -> String {
    let words = &sentence.words[..sentence.words.len().min(9)];
    if words.len() < sentence.words.len() { format!("{} …", words.join(" ")) } else { words.join(" ") }
}

/// Returns the name of each function, tests included, with its line.
fn functions(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let names = file.tokens.windows(2).filter(|pair| pair[0].text == "fn");
    names.map(|pair| (pair[1].line, pair[1].text.as_str()))
}

/// True for `who_leaves_is_forgotten`, and false for `who`: a name of several words is a sentence.
fn begins_with_relative(name: &str) -> bool {
    name.split_once('_').is_some_and(|(first, _)| RELATIVES.contains(&first))
}

/// Returns the first doc line of each documented function that is no test, with its number.
fn function_docs(file: &File) -> impl Iterator<Item = (usize, String)> {
    let tokens = &file.tokens;
    let text = move |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let is_name = |text: &str| text.starts_with(|first: char| first.is_alphabetic() || first == '_');
    (0..tokens.len()).filter(move |at| text(*at) == "fn" && is_name(text(at + 1))).filter_map(move |at| {
        let start = start_of_item(file, at);
        let is_test = |token: &crate::source::Token| token.text == "test";
        let above = start.checked_sub(1).map_or(0, |before| tokens[before].line);
        let doc = file.snippets.iter().find(|snippet| {
            snippet.text.starts_with("///")
                && snippet.starts_line
                && (above + 1..tokens[at].line).contains(&snippet.line)
        })?;
        let line = doc.text.trim_start_matches('/').trim().to_owned();
        (!tokens[start..at].iter().any(is_test)).then_some((doc.line, line))
    })
}

/// Returns the token where the function whose `fn` is at `at` begins: with its first attribute, or its visibility.
fn start_of_item(file: &File, at: usize) -> usize {
    let text = |at: usize| file.tokens[at].text.as_str();
    let mut start = at;
    while let Some(before) = start.checked_sub(1) {
        match text(before) {
            "pub" | "async" | "const" | "unsafe" | "extern" => start = before,
            closing @ (")" | "]") => {
                let opening = if closing == ")" { "(" } else { "[" };
                let mut depth = 0;
                let open = (0..=before).rev().find(|i| {
                    depth += i32::from(text(*i) == closing) - i32::from(text(*i) == opening);
                    depth == 0
                });
                match open.and_then(|open| open.checked_sub(1)).filter(|i| matches!(text(*i), "pub" | "#")) {
                    Some(begin) => start = begin,
                    None => return start,
                }
            }
            _ => return start,
        }
    }
    start
}

fn begins_with_verb(doc: &str) -> bool {
    let mut words = doc.split_whitespace();
    let first = words.next().unwrap_or_default().trim_end_matches([',', '.', ':']);
    let has_object = matches!(words.next(), Some("a" | "an" | "the" | "all" | "each" | "every"));
    let is_word = first.chars().all(|char| char.is_alphabetic() || char == '-') && first.ends_with('s');
    let is_plural = PLURALS.split_whitespace().any(|plural| plural == first);
    OPENINGS.contains(&first) || is_word && !NO_VERBS.contains(&first) && (has_object || !is_plural)
}
