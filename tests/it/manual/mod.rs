//! The manual is true: its tables agree with the declarations in the code, its commands and examples with the binary.
//!
//! This file has the pages, and finds sections, tables and blocks on them. A missing heading or table fails its test.
//! `tests/tidy.rs` checks the links between pages.

mod examples;
mod tables;

use std::collections::BTreeSet;

pub(crate) use tables::commands;

/// A page of the manual.
#[derive(Clone, Copy)]
pub(crate) struct Page {
    /// From the root of the repository.
    path: &'static str,
    pub(crate) text: &'static str,
}

macro_rules! page {
    ($path:literal) => {
        Page { path: $path, text: include_str!(concat!("../../../", $path)) }
    };
}

pub(crate) const README: Page = page!("README.md");
pub(crate) const GETTING_STARTED: Page = page!("docs/getting-started.md");
pub(crate) const PROTOCOL: Page = page!("docs/protocol.md");
pub(crate) const CLIENTS: Page = page!("docs/clients.md");
pub(crate) const CONFIGURATION: Page = page!("docs/configuration.md");
pub(crate) const OPERATIONS: Page = page!("docs/operations.md");
pub(crate) const SERVER_API: Page = page!("docs/server-api.md");
pub(crate) const WATCHING: Page = page!("docs/watching.md");

/// All pages, which are searched for commands and examples.
const ALL: &[Page] = &[
    README,
    GETTING_STARTED,
    PROTOCOL,
    CLIENTS,
    CONFIGURATION,
    OPERATIONS,
    SERVER_API,
    WATCHING,
    page!("docs/README.md"),
    page!("docs/architecture.md"),
    page!("docs/benchmarking.md"),
    page!("docs/cluster.md"),
    page!("docs/comparison.md"),
    page!("docs/install.md"),
    page!("docs/performance.md"),
    page!("docs/webhooks.md"),
    page!("docs/write-a-client.md"),
    page!("CONTRIBUTING.md"),
];

impl Page {
    /// Returns the text under a heading, up to the next heading of any level.
    #[track_caller]
    pub(crate) fn section(&self, heading: &str) -> &'static str {
        let start = self.text.find(&format!("\n{heading}\n"));
        let start = start.unwrap_or_else(|| panic!("no {heading:?} in {}", self.path));
        let text = &self.text[start + heading.len() + 2..];
        &text[..text.find("\n#").unwrap_or(text.len())]
    }

    /// Returns the rows of the table in a section, each as its cells, without the head.
    #[track_caller]
    pub(crate) fn rows(&self, heading: &str) -> Vec<Vec<&'static str>> {
        let lines = self.section(heading).lines().skip_while(|line| !line.starts_with('|'));
        let lines = lines.take_while(|line| line.starts_with('|')).skip(2);
        let rows: Vec<Vec<_>> =
            lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect();
        assert!(!rows.is_empty(), "no table under {heading:?} in {}", self.path);
        rows
    }

    /// Returns the name, without labels, and the type of every metric in the tables of the page.
    #[track_caller]
    pub(crate) fn metrics(&self) -> BTreeSet<(&'static str, &'static str)> {
        let rows = self.text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let rows = rows.map(|(name, rest)| (name.split('{').next().unwrap_or(name), rest));
        let ours = rows.filter(|(name, _)| name.starts_with("throng_") || name.starts_with("process_"));
        let metrics: Vec<_> =
            ours.map(|(name, rest)| (name, rest.split(" | ").next().unwrap_or(rest))).collect();
        assert!(!metrics.is_empty(), "no metrics in {}", self.path);
        let unique: BTreeSet<_> = metrics.iter().copied().collect();
        assert_eq!(unique.len(), metrics.len(), "a metric is listed twice in {}", self.path);
        unique
    }

    /// Replaces a part of the page, in the file.
    #[track_caller]
    fn replace(&self, part: &str, by: &str) {
        assert!(
            !part.is_empty() && self.text.matches(part).count() == 1,
            "not once in {}: {part}",
            self.path
        );
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(self.path);
        std::fs::write(path, self.text.replace(part, by)).expect("a file that can be written to");
    }

    /// Returns the fenced blocks of a language.
    pub(crate) fn blocks(&self, language: &str) -> Vec<&'static str> {
        let fence = format!("\n```{language}\n");
        let bodies = self.text.split(fence.as_str()).skip(1);
        bodies.map(|rest| &rest[..rest.find("\n```").expect("a fence that is closed") + 1]).collect()
    }
}

/// Returns the fenced blocks of a language on all pages.
pub(crate) fn blocks(language: &str) -> Vec<&'static str> {
    ALL.iter().flat_map(|page| page.blocks(language)).collect()
}

/// Returns the words in backticks.
pub(crate) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_page_is_searched() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let files = std::fs::read_dir(folder).expect("a folder").flatten().map(|file| file.file_name());
    let names = files.filter_map(|name| Some(format!("docs/{}", name.to_str()?)));
    let pages: BTreeSet<String> = names.filter(|name| name.ends_with(".md")).collect();
    let searched = ALL.iter().map(|page| page.path.to_owned()).filter(|path| path.starts_with("docs/"));
    assert_eq!(searched.collect::<BTreeSet<_>>(), pages);
}

#[test]
#[should_panic(expected = "no table under")]
fn a_table_that_is_gone_is_missed() {
    Page { path: "made up", text: "\n## Codes\n\nThere was a table.\n" }.rows("## Codes");
}

#[test]
#[should_panic(expected = "no \"## Codes\" in made up")]
fn a_heading_that_is_gone_is_missed() {
    Page { path: "made up", text: "\n## Other codes\n\n| a | b |\n|---|---|\n| 1 | 2 |\n" }.rows("## Codes");
}
