//! The servers that one run loads in turn: their labels, URLs and processes, from `--url` and `--pid`.

use std::str::FromStr;

use anyhow::{bail, ensure};

use super::target::authority_and_path;

/// Most servers of a run: more do not fit a table or a page.
pub(super) const MAX_CANDIDATES: usize = 16;
/// Most letters of a label: it stands in the columns of a table.
const MAX_LABEL: usize = 40;
/// The label of a server that the run starts.
const STARTED: &str = "throng";

/// A URL of the command line, with a label if there is one: `URL` or `LABEL=URL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedUrl {
    label: Option<String>,
    pub(super) url: String,
}

/// A process id of the command line: `PID`, or `LABEL=PID` for the server with this label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedPid {
    label: Option<String>,
    pid: u32,
}

/// A server to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) label: String,
    /// `None` for a server that is started for each round.
    pub(super) url: Option<String>,
    /// Process id of a server that is running, if it is known.
    pub(super) pid: Option<u32>,
}

fn label(text: &str) -> Result<String, String> {
    let text = text.trim();
    let is_short = (1..=MAX_LABEL).contains(&text.chars().count());
    if is_short && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(format!("a label must have 1 to {MAX_LABEL} characters and no control characters"))
    }
}

impl FromStr for NamedUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A URL has its `://` before any `=`, so that text before an earlier `=` is a label.
        match text.split_once('=') {
            Some((name, url)) if !name.contains("://") => {
                Ok(Self { label: Some(label(name)?), url: url.into() })
            }
            _ => Ok(Self { label: None, url: text.into() }),
        }
    }
}

impl FromStr for NamedPid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, pid) = match text.rsplit_once('=') {
            Some((name, pid)) => (Some(label(name)?), pid),
            None => (None, text),
        };
        let pid = pid.parse().map_err(|_| "must be a process id, or LABEL=PID".to_owned())?;
        Ok(Self { label: name, pid })
    }
}

/// Returns the servers in the order of their URLs; one to be started if there is no URL.
///
/// # Errors
/// There are too many, two have the same label, or a process id belongs to none or to one that has another.
pub(super) fn candidates(urls: &[NamedUrl], pids: &[NamedPid]) -> anyhow::Result<Vec<Candidate>> {
    ensure!(
        urls.len() <= MAX_CANDIDATES,
        "--url: {} were given, and at most {MAX_CANDIDATES} are possible",
        urls.len()
    );
    if urls.is_empty() {
        return Ok(vec![Candidate { label: STARTED.into(), url: None, pid: None }]);
    }
    let mut all: Vec<Candidate> = Vec::new();
    for NamedUrl { label, url } in urls {
        // A server that has no label is called by its host and port.
        let label = label.clone().unwrap_or_else(|| authority_and_path(url).0.to_owned());
        ensure!(
            all.iter().all(|it| it.label != label),
            "--url {url}: another one is called {label} too; give each a label, as in --url 'new={url}'"
        );
        all.push(Candidate { label, url: Some(url.clone()), pid: None });
    }
    let mut next = 0;
    for NamedPid { label, pid } in pids {
        let index = match label {
            Some(label) => all.iter().position(|it| it.label == *label),
            None => Some(next).filter(|next| *next < all.len()),
        };
        let Some(index) = index else {
            match label {
                Some(label) => bail!("--pid {label}={pid}: no --url has this label"),
                None => bail!("--pid {pid}: there are more process ids than the {} server(s)", all.len()),
            }
        };
        next += usize::from(label.is_none());
        let candidate = &mut all[index];
        ensure!(candidate.pid.is_none(), "--pid {pid}: {} has another process id already", candidate.label);
        candidate.pid = Some(*pid);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(urls: &[&str], pids: &[&str]) -> Result<Vec<Candidate>, String> {
        let urls: Result<Vec<NamedUrl>, String> = urls.iter().map(|it| it.parse()).collect();
        let pids: Result<Vec<NamedPid>, String> = pids.iter().map(|it| it.parse()).collect();
        candidates(&urls?, &pids?).map_err(|error| error.to_string())
    }

    fn shown(urls: &[&str], pids: &[&str]) -> Vec<(String, Option<u32>)> {
        parsed(urls, pids).expect("candidates").into_iter().map(|it| (it.label, it.pid)).collect()
    }

    #[test]
    fn a_label_stands_before_the_url() {
        let all = parsed(&["old one=ws://h:1/?a=b", "wss://h:2/x?room={r}", "ws://h"], &[]).expect("three");
        let labels: Vec<&str> = all.iter().map(|it| it.label.as_str()).collect();
        assert_eq!(labels, ["old one", "h:2", "h"]);
        assert_eq!(all[0].url.as_deref(), Some("ws://h:1/?a=b"));
        assert_eq!(all[1].url.as_deref(), Some("wss://h:2/x?room={r}"));
        assert_eq!(parsed(&[], &[]).expect("one to start")[0].label, STARTED);
    }

    #[test]
    fn process_ids_are_in_the_order_of_the_urls_or_name_their_server() {
        let urls = ["a=ws://h/", "b=ws://h/"];
        let pairs = |a, b| vec![("a".to_owned(), a), ("b".to_owned(), b)];
        assert_eq!(shown(&urls, &["7"]), pairs(Some(7), None));
        assert_eq!(shown(&urls, &["b=8"]), pairs(None, Some(8)));
        assert_eq!(shown(&urls, &["7", "8"]), pairs(Some(7), Some(8)));
    }

    #[test]
    fn every_mistake_is_named() {
        let many: Vec<String> = (0..=MAX_CANDIDATES).map(|n| format!("ws://h:{n}/")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (urls, pids, part) in [
            (&["ws://h/a", "ws://h/b"][..], &[][..], "another one is called h too"),
            (&["=ws://h/"], &[], "1 to 40 characters"),
            (&["a\nb=ws://h/"], &[], "no control characters"),
            (&many, &[], "at most 16"),
            (&["ws://h/"], &["1", "2"], "than the 1 server"),
            (&["a=ws://h/"], &["b=1"], "no --url has this label"),
            (&["a=ws://h/"], &["1", "a=2"], "another process id already"),
            (&["ws://h/"], &["x"], "must be a process id"),
        ] {
            let error = parsed(urls, pids).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
    }
}
