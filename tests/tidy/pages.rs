//! The rules for the pages of the manual, which are all tracked files in Markdown: everything that a page points at
//! exists, every page can be found from the README, and the README is short.

use std::collections::BTreeSet;

use super::Complaints;
use super::source::{File, Tree};

/// The README is for somebody who decides in two minutes. Everything else belongs in `docs/`.
const MAX_README_LINES: usize = 250;
/// The pages that lead to every page in `docs/`.
const CONTENTS: &[&str] = &["README.md", "docs/README.md"];
/// Where files of the repository stand that a page may name in backticks.
const FOLDERS: &[&str] =
    &["benches/", "crates/", "docs/", "examples/", "flamegraphs/", "fuzz/", "src/", "tests/"];

/// A page without its fenced blocks, its prose apart from the code in backticks.
struct Page<'a> {
    path: &'a str,
    /// Line by line as in the file. Code is blanked out.
    prose: String,
    /// The code in backticks, each piece with its line.
    quoted: Vec<(usize, String)>,
    /// The anchors that GitHub makes of the headings.
    anchors: BTreeSet<String>,
}

impl<'a> Page<'a> {
    fn of(file: &'a File) -> Self {
        let text = without_fences(&file.text);
        let (mut prose, mut quoted) = (String::new(), Vec::new());
        let mut code: Option<String> = None;
        let mut line = 1;
        let mut last = '\n';
        for char in text.chars() {
            match (char, &mut code) {
                // Backticks belong together within one paragraph.
                ('\n', _) if last == '\n' => code = None,
                ('`', None) => code = Some(String::new()),
                ('`', Some(_)) => quoted.extend(code.take().map(|code| (line, code))),
                (_, Some(code)) => code.push(char),
                (_, None) => {}
            }
            let is_prose = char == '\n' || char != '`' && code.is_none();
            prose.push(if is_prose { char } else { ' ' });
            line += usize::from(char == '\n');
            last = char;
        }
        Self { path: &file.path, prose, quoted, anchors: anchors(&text) }
    }

    /// Returns the targets of all links and pictures, each with its line.
    fn targets(&self) -> Vec<(usize, &str)> {
        let mut targets = Vec::new();
        for (at, _) in self.prose.match_indices("](") {
            let rest = &self.prose[at + 2..];
            let target = rest.split([')', ' ', '\n']).next().unwrap_or(rest);
            targets.push((line_of(&self.prose, at), target));
        }
        let definitions = self.prose.lines().enumerate().filter_map(|(index, line)| {
            let (name, target) = line.strip_prefix('[')?.split_once("]: ")?;
            (!name.contains(']')).then_some((index + 1, target.trim()))
        });
        targets.extend(definitions);
        targets
    }

    /// Returns the names of the definitions that links like `[text][name]` use, each with its line.
    fn uses(&self) -> Vec<(usize, &str)> {
        let all = self.prose.match_indices("][").map(|(at, _)| {
            let rest = &self.prose[at + 2..];
            (line_of(&self.prose, at), rest.split(']').next().unwrap_or(rest))
        });
        all.collect()
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Blanks out the fenced blocks, fences included.
fn without_fences(text: &str) -> String {
    let mut is_inside = false;
    let mut kept = String::new();
    for line in text.lines() {
        let is_fence = line.trim_start().starts_with("```");
        if !is_fence && !is_inside {
            kept.push_str(line);
        }
        is_inside ^= is_fence;
        kept.push('\n');
    }
    kept
}

/// Returns the anchors of all headings, by GitHub's rules: the heading in lower case, without markup and punctuation,
/// with hyphens for blanks, and with a number if it occurs more than once.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        let level = line.chars().take_while(|char| *char == '#').count();
        let Some(heading) = line[level..].strip_prefix(' ').filter(|_| (1..=6).contains(&level)) else {
            continue;
        };
        let slug: String = without_targets(heading.trim())
            .to_lowercase()
            .chars()
            .filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'))
            .map(|char| if char == ' ' { '-' } else { char })
            .collect();
        let numbered = (1..).map(|number| format!("{slug}-{number}"));
        let free = std::iter::once(slug.clone()).chain(numbered).find(|slug| !anchors.contains(slug));
        anchors.extend(free);
    }
    anchors
}

/// Replaces `[text](target)` in a heading by `text`.
fn without_targets(heading: &str) -> String {
    let mut parts = heading.split("](");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(part.split_once(')').map_or(part, |(_, rest)| rest));
    }
    text
}

/// Joins a relative path to the folder of the file that names it; `None` if it leaves the repository.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn pages(tree: &Tree) -> Vec<Page<'_>> {
    let files = tree.files.iter().filter(|file| file.tracked && file.path.ends_with(".md"));
    files.map(Page::of).collect()
}

/// Checks that every relative link leads to a file or folder of the repository, and every `#anchor` to a heading.
fn links(tree: &Tree) -> Complaints {
    let pages = pages(tree);
    let mut complaints = Vec::new();
    for page in &pages {
        let mut complain = |line: usize, what: &str| complaints.push(format!("{}:{line}: {what}", page.path));
        for (line, target) in page.targets() {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { Some(page.path.to_owned()) } else { resolve(page.path, file) };
            let Some(path) = path.filter(|path| exists(tree, path)) else {
                complain(line, &format!("{target}: there is no such file"));
                continue;
            };
            let there = pages.iter().find(|page| page.path == path);
            if !anchor.is_empty() && !there.is_some_and(|page| page.anchors.contains(anchor)) {
                complain(line, &format!("{target}: there is no such heading"));
            }
        }
        for (line, name) in page.uses() {
            if !page.prose.contains(&format!("\n[{name}]: ")) {
                complain(line, &format!("[{name}] is not defined on this page"));
            }
        }
    }
    complaints
}

/// Checks that every path of the repository that stands in backticks exists.
fn named_paths(tree: &Tree) -> Complaints {
    let mut complaints = Vec::new();
    for page in pages(tree) {
        for (line, code) in &page.quoted {
            let path = code.split_whitespace().next().unwrap_or_default();
            let is_path = FOLDERS.iter().any(|folder| path.starts_with(folder)) && !path.contains('*');
            if is_path && !exists(tree, path.trim_end_matches('/')) {
                complaints.push(format!("{}:{line}: `{path}`: there is no such file", page.path));
            }
        }
    }
    complaints
}

fn exists(tree: &Tree, path: &str) -> bool {
    let folder = format!("{path}/");
    tree.files.iter().any(|file| file.path == path || file.path.starts_with(&folder))
}

/// Checks that the README and the table of contents link every page in `docs/`.
fn contents(tree: &Tree) -> Complaints {
    let pages = pages(tree);
    let mut complaints = Vec::new();
    for name in CONTENTS {
        let Some(page) = pages.iter().find(|page| page.path == *name) else {
            complaints.push(format!("{name}: missing"));
            continue;
        };
        let linked: BTreeSet<String> =
            page.targets().into_iter().filter_map(|(_, target)| resolve(page.path, target)).collect();
        let in_docs = pages.iter().filter(|page| page.path.starts_with("docs/"));
        let unlinked = in_docs.filter(|page| !CONTENTS.contains(&page.path) && !linked.contains(page.path));
        complaints.extend(unlinked.map(|page| format!("{name}:1: no link to {}", page.path)));
    }
    complaints
}

fn readme_is_short(tree: &Tree) -> Complaints {
    let readme = tree.files.iter().filter(|file| file.path == "README.md");
    let long = readme.map(|file| file.text.lines().count()).filter(|lines| *lines > MAX_README_LINES);
    long.map(|lines| format!("README.md:{lines}: {lines} lines, at most {MAX_README_LINES}")).collect()
}

#[test]
fn the_pages_of_the_manual_hang_together() {
    let tree = Tree::of_repository();
    let rules: [fn(&Tree) -> Complaints; 4] = [links, named_paths, contents, readme_is_short];
    let complaints: Vec<String> = rules.iter().flat_map(|rule| rule(&tree)).collect();
    assert!(
        complaints.is_empty(),
        "a reader follows a page and finds what it names:\n  {}",
        complaints.join("\n  ")
    );
    assert!(pages(&tree).len() > 10 && pages(&tree).iter().any(|page| page.targets().len() > 20));
}

#[test]
fn links_that_lead_nowhere_are_found() {
    let page = "# A page\n\n## In `code`, twice?\n## In code twice\n\n\
                [here](#in-code-twice), [again](#in-code-twice-1)\n[not](#in-code-twice-2)\n\
                [file](b.md) [its heading](b.md#b), [none](b.md#c)\n[up](../x.png), [out](../../x)\n\
                `[no](link)` [gone](gone.md) ![picture](../y.png)\n```sh\n# no heading\n[no](link)\n```\n\
                [no](#no-heading)\n[folder](../src) [web](https://example.org/#x) [used][there] [used][nowhere]\n\n\
                [there]: b.md\n[lost]: c.md\n";
    let tree = Tree::of(&[("docs/a.md", page), ("docs/b.md", "# B\n"), ("x.png", ""), ("src/a.rs", "")]);
    let lines: Vec<String> =
        links(&tree).iter().filter_map(|complaint| Some(complaint.split(':').nth(1)?.to_owned())).collect();
    assert_eq!(lines, ["7", "8", "9", "10", "10", "15", "19", "16"], "{:#?}", links(&tree));
    assert_eq!(
        named_paths(&Tree::of(&[("a.md", "`src/a.rs` `src/b.rs`,\n`docs/*.md x` `src/c.rs --d`")])).len(),
        3
    );
}

#[test]
fn pages_that_nobody_finds_and_a_long_readme_are_found() {
    let long = "[a](docs/a.md)\n".repeat(MAX_README_LINES + 1);
    let tree = |readme: &str| {
        Tree::of(&[
            ("README.md", readme),
            ("docs/README.md", "[a](a.md) [b](b.md)"),
            ("docs/a.md", ""),
            ("docs/b.md", ""),
        ])
    };
    assert_eq!(contents(&tree(&long)), ["README.md:1: no link to docs/b.md"]);
    assert_eq!(contents(&Tree::of(&[("docs/a.md", "")])).len(), 2);
    assert_eq!(readme_is_short(&tree(&long)).len(), 1);
    assert!(
        readme_is_short(&tree(long.trim_end().rsplit_once('\n').map_or("", |(most, _)| most))).is_empty()
    );
}
