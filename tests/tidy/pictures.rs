//! The rules for the pictures of the manual in `docs/pictures/`: a page shows each of them, they load fast, and the
//! drawn ones are complete documents that run and fetch nothing.

use std::path::Path;

use super::Complaints;
use super::source::Tree;

const FOLDER: &str = "docs/pictures/";
/// Most bytes of a picture, by the end of its name. The README shows them to people who look for a moment.
const MAX_BYTES: &[(&str, u64)] = &[(".svg", 60_000), (".png", 150_000)];
/// A drawn picture has none of these: it is shown on pages of others, who must be able to trust it.
const BANNED: &[&str] =
    &["<script", "javascript:", " on", "<foreignObject", "<image", "@import", "url(", "<!ENTITY"];

/// Checks that a page shows each picture, and that the drawn ones are whole and harmless.
fn pictures(tree: &Tree) -> Complaints {
    let pages = || tree.files.iter().filter(|file| file.path.ends_with(".md"));
    let mut complaints = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.starts_with(FOLDER)) {
        let name = file.path.strip_prefix("docs/").unwrap_or(&file.path);
        if !MAX_BYTES.iter().any(|(end, _)| name.ends_with(end)) {
            continue;
        }
        if !pages().any(|page| page.text.contains(&format!("{name})"))) {
            complaints.push(format!("{}: no page shows it", file.path));
        }
        if name.ends_with(".svg") {
            let problem = why_incomplete(&file.text).or_else(|| why_unsafe(&file.text));
            complaints.extend(problem.map(|problem| format!("{}: {problem}", file.path)));
        }
    }
    complaints
}

/// Returns the part of a drawn picture that it must not have.
fn why_unsafe(text: &str) -> Option<String> {
    let tags = || text.split('<').map(|rest| format!("<{}", rest.split('>').next().unwrap_or(rest)));
    let is_fetched = |tag: &str| tag.contains("href=") && !tag.contains("href=\"#");
    let fetched = tags().find(|tag| is_fetched(tag)).map(|tag| format!("{tag}> leads elsewhere"));
    let has = |banned: &&&str| match **banned {
        // Anywhere else it is a word.
        " on" => tags().any(|tag| tag.contains(" on") && tag.split(" on").skip(1).any(is_handler)),
        banned => text.contains(banned),
    };
    fetched.or_else(|| BANNED.iter().find(has).map(|banned| format!("has {banned:?}")))
}

/// Returns whether a part of a tag, behind `on`, is an attribute: `load="…"`.
fn is_handler(rest: &str) -> bool {
    rest.split_once('=').is_some_and(|(name, _)| name.chars().all(char::is_alphabetic) && !name.is_empty())
}

/// Returns why a text is not one element whose tags are all closed.
fn why_incomplete(text: &str) -> Option<String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text.trim();
    if !rest.starts_with("<svg ") {
        return Some("does not begin with <svg".into());
    }
    while let Some(start) = rest.find('<') {
        let Some(tag) = rest[start + 1..].split('>').next().filter(|tag| rest.len() > start + tag.len() + 1)
        else {
            return Some("ends inside of a tag".into());
        };
        rest = &rest[start + tag.len() + 2..];
        let name = tag.trim_matches('/').split_whitespace().next().unwrap_or_default();
        if tag.starts_with('/') {
            if open.pop() != Some(name) {
                return Some(format!("</{name}> closes another element"));
            }
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        if open.is_empty() && !rest.is_empty() {
            return Some(format!("goes on behind </{name}>"));
        }
    }
    open.last().map(|name| format!("<{name}> is not closed"))
}

#[test]
fn the_pictures_are_shown_and_whole() {
    let tree = Tree::of_repository();
    let mut complaints = pictures(&tree);
    let all: Vec<&str> =
        tree.files.iter().map(|file| file.path.as_str()).filter(|path| path.starts_with(FOLDER)).collect();
    for path in &all {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let bytes = std::fs::metadata(&file).unwrap_or_else(|error| panic!("{path}: {error}")).len();
        let limit = MAX_BYTES.iter().find(|(end, _)| path.ends_with(end));
        let limit = limit.filter(|(_, limit)| bytes > *limit);
        complaints.extend(limit.map(|(_, limit)| format!("{path}: {bytes} bytes, at most {limit}")));
    }
    assert!(complaints.is_empty(), "somebody looks at a page for a moment:\n  {}", complaints.join("\n  "));
    assert!(all.iter().any(|path| path.ends_with(".svg")), "{all:?}");
}

#[test]
fn a_picture_that_is_broken_or_runs_something_is_found() {
    let complaints = |text: &str| {
        let page = ("a.md", "![a picture](docs/pictures/a.svg)");
        pictures(&Tree::of(&[("docs/pictures/a.svg", text), page]))
    };
    let good = "<svg a=\"b\"><title>Based on a</title><use href=\"#a\"/></svg>\n";
    assert_eq!(complaints(good), [""; 0]);
    for (from, to) in [
        ("<svg", "<html"),
        ("</svg>", ""),
        ("</svg>", "</svg"),
        ("</title>", ""),
        ("</svg>", "</svg><svg />"),
        ("<title>", "<script>alert()</script><title>"),
        ("a=\"b\"", "onload=\"b\""),
        ("#a", "https://example.org/a"),
        ("</title>", "</title><style>a{background:url(a)}</style>"),
    ] {
        assert_eq!(complaints(&good.replace(from, to)).len(), 1, "{to}");
    }
    let unseen = Tree::of(&[("docs/pictures/a.svg", good), ("a.md", "docs/pictures/b.svg)")]);
    assert_eq!(pictures(&unseen), ["docs/pictures/a.svg: no page shows it"]);
}
