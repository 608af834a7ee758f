//! The prose of a file, whatever its kind: comments, string literals, paragraphs and page texts, cut into sentences.

use crate::source::{File, Piece, Snippet};

/// Text that is read in one go: a paragraph, a comment over several lines, a table cell, a string literal.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// Each word with its line; lines count from 1.
    words: Vec<(usize, String)>,
}

#[derive(Debug)]
pub(crate) struct Sentence {
    pub(crate) line: usize,
    pub(crate) words: Vec<String>,
}

/// A literal with fewer words is a name or a key, not a sentence.
const MIN_WORDS_OF_A_LITERAL: usize = 4;
/// Tags inside a sentence; any other ends it.
const INLINE_TAGS: &[&str] = &["a", "abbr", "b", "code", "em", "i", "kbd", "small", "span", "strong"];
/// Tags whose content is no page text, and what ends it.
const RAW_TAGS: &[(&str, &str)] = &[("script", "</script"), ("style", "</style")];

impl Block {
    fn push(&mut self, line: usize, text: &str) {
        self.words.extend(text.split_whitespace().map(|word| (line, word.to_owned())));
    }

    /// Splits the block behind every word that ends a sentence. The last one may lack its full stop.
    fn sentences(self) -> Vec<Sentence> {
        let mut sentences = Vec::new();
        let mut open: Option<Sentence> = None;
        for (line, word) in self.words {
            let bare = word.trim_end_matches(['"', '\'', '`', ')', ']', '*', '_', '”', '’']);
            let ends = bare.ends_with(['.', '!', '?']) && !matches!(bare, "e.g." | "i.e." | "cf." | "vs.");
            open.get_or_insert_with(|| Sentence { line, words: Vec::new() }).words.push(word);
            if ends {
                sentences.extend(open.take());
            }
        }
        sentences.extend(open);
        sentences
    }
}

/// Returns all sentences of a file; none when its kind holds no prose that is checked.
pub(crate) fn sentences(file: &File) -> Vec<Sentence> {
    let blocks = match file.path.rsplit('.').next() {
        Some("rs") => of_snippets(&file.snippets),
        Some("md") => of_markdown(file.text.lines().enumerate().map(|(index, line)| (index + 1, line))),
        Some("js" | "mjs" | "css") => of_snippets(&script_snippets(&file.text, 1)),
        Some("html") => of_html(&file.text),
        _ => Vec::new(),
    };
    blocks.into_iter().flat_map(Block::sentences).collect()
}

/// Collects comments and literals. Line comments of one kind on successive lines, with no code before them, are joined.
fn of_snippets(snippets: &[Snippet]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut run: Vec<(usize, &str)> = Vec::new();
    let mut run_marker = "";
    for Snippet { piece, line, starts_line, text } in snippets {
        if *piece == Piece::Literal {
            blocks.extend(of_literal(*line, text));
            continue;
        }
        let marker = ["///", "//!", "//"].into_iter().find(|marker| text.starts_with(marker)).unwrap_or("/*");
        let follows = run.last().is_some_and(|(last, _)| last + 1 == *line);
        if !(follows && *starts_line && marker == run_marker && marker != "/*") {
            blocks.extend(of_markdown(run.drain(..)));
        }
        run_marker = if *starts_line { marker } else { "" };
        let body = text.strip_prefix(marker).unwrap_or(text).trim_end_matches("*/");
        run.extend(body.lines().enumerate().map(|(index, part)| {
            let part = if marker == "/*" { part.trim_start().trim_start_matches(['*', '!']) } else { part };
            (line + index, part)
        }));
    }
    blocks.extend(of_markdown(run.drain(..)));
    blocks
}

/// Cuts a literal without its quotes at its line breaks, but for those that a `\` takes away.
fn of_literal(line: usize, text: &str) -> Vec<Block> {
    let inner = text.trim_matches(['r', 'b', 'c', '#']).trim_matches(['"', '\'', '`']);
    let joined = inner.replace("\\\n", "\u{b}").replace("\\n", "\u{c}");
    let mut blocks = vec![Block::default()];
    let mut line = line;
    for part in joined.split_inclusive(['\n', '\u{b}', '\u{c}']) {
        let last = blocks.len() - 1;
        blocks[last].push(line, part.trim_end_matches(['\u{b}', '\u{c}']));
        line += usize::from(!part.ends_with('\u{c}'));
        if !part.ends_with('\u{b}') {
            blocks.push(Block::default());
        }
    }
    // A placeholder is no word: `"{user} in {room}"` is a format, not a sentence.
    let words = |block: &Block| block.words.iter().filter(|(_, word)| !word.contains('{')).count();
    blocks.retain(|block| words(block) >= MIN_WORDS_OF_A_LITERAL);
    blocks
}

/// Collects paragraphs, headings, list items and table cells. Fenced lines are code and left out.
fn of_markdown<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Vec<Block> {
    let mut blocks = vec![Block::default()];
    let mut is_fenced = false;
    for (number, line) in lines {
        let line = line.trim().trim_start_matches("> ");
        let is_fence = line.starts_with("```") || line.starts_with("~~~");
        is_fenced ^= is_fence;
        let item = line.trim_start_matches(|char: char| char.is_ascii_digit());
        let item = item.strip_prefix(". ").filter(|_| item.len() < line.len());
        let item = item.or_else(|| ["* ", "- ", "+ "].iter().find_map(|bullet| line.strip_prefix(bullet)));
        let is_heading = line.starts_with('#');
        if is_fenced || is_fence || line.is_empty() || item.is_some() || is_heading || line.starts_with('|') {
            blocks.push(Block::default());
        }
        if is_fenced || is_fence {
            continue;
        }
        let cells =
            if line.starts_with('|') { line.split('|').collect() } else { vec![item.unwrap_or(line)] };
        for cell in cells {
            let last = blocks.len() - 1;
            blocks[last].push(number, cell.trim_start_matches(['#', ' ']));
            if is_heading || line.starts_with('|') {
                blocks.push(Block::default());
            }
        }
    }
    blocks
}

/// Finds comments and literals of JavaScript and CSS. Quotes end with their line, so that a quote inside a regular
/// expression hides no more than that line.
fn script_snippets(text: &str, first_line: usize) -> Vec<Snippet> {
    let mut snippets = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find(['/', '"', '\'', '`']) {
        at += found;
        let rest = &text[at..];
        let quoted = |ends: &[char]| rest[1..].find(ends).map(|end| end + 2);
        let (piece, end) = match rest.as_bytes()[0] {
            b'/' if rest.starts_with("//") => (Piece::Comment, rest.find('\n')),
            b'/' if rest.starts_with("/*") => (Piece::Comment, rest.find("*/").map(|end| end + 2)),
            b'/' => (Piece::Code, Some(1)),
            b'`' => (Piece::Literal, quoted(&['`'])),
            quote => (Piece::Literal, quoted(&[char::from(quote), '\n'])),
        };
        let end = end.unwrap_or(rest.len());
        if piece != Piece::Code {
            let before = &text[..at];
            let starts_line = before.rsplit('\n').next().is_none_or(|start| start.trim().is_empty());
            let line = first_line + before.matches('\n').count();
            snippets.push(Snippet { piece, line, starts_line, text: rest[..end].trim_end().into() });
        }
        at += end;
    }
    snippets
}

/// Collects page texts, attributes and comments, and treats scripts and styles in the page as files of their kind.
fn of_html(text: &str) -> Vec<Block> {
    let mut paragraphs = vec![Block::default()];
    let mut others = Vec::new();
    let mut raw = None;
    let (mut rest, mut line) = (text, 1);
    while !rest.is_empty() {
        let up_to = |closing: &str, extra: usize| rest.find(closing).map_or(rest, |end| &rest[..end + extra]);
        let part;
        if let Some(closing) = raw.take() {
            part = up_to(closing, 0);
            others.extend(of_snippets(&script_snippets(part, line)));
        } else if rest.starts_with("<!--") {
            part = up_to("-->", 3);
            let comment = part.trim_start_matches("<!--").trim_end_matches("-->");
            others.extend(of_markdown(comment.lines().enumerate().map(|(index, part)| (line + index, part))));
        } else if rest.starts_with('<') {
            part = up_to(">", 1);
            others.extend(of_snippets(&script_snippets(part, line)));
            let name = part[1..].trim_start_matches('/').split(|char: char| !char.is_alphanumeric()).next();
            raw =
                RAW_TAGS.iter().find(|(tag, _)| Some(*tag) == name && !part.starts_with("</")).map(|it| it.1);
            if !name.is_some_and(|name| INLINE_TAGS.contains(&name)) {
                paragraphs.push(Block::default());
            }
        } else {
            part = up_to("<", 0);
            let last = paragraphs.len() - 1;
            part.lines().enumerate().for_each(|(index, text)| paragraphs[last].push(line + index, text));
        }
        line += part.matches('\n').count();
        rest = &rest[part.len()..];
    }
    paragraphs.extend(others);
    paragraphs
}
