//! `throng api batch`: commands from a file or standard input, one JSON object on each line or one document.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow, ensure};
use clap::Args;
use simd_json::OwnedValue;
use simd_json::prelude::*;

use super::output::Output;
use super::session::Session;
use super::views;
use crate::cli::failure::{Failure, USAGE};

/// Most commands of a call, as the server has it.
const MAX_COMMANDS: usize = 1_000;
/// Most bytes of the commands of a call, unless one alone has more: below the default of `limits.max_request_body`,
/// which is 1 MiB.
const MAX_BYTES: usize = 1_000_000;
/// Most bytes of a line, and of a document: what fits into a body by far.
const MAX_INPUT: u64 = 64 * 1024 * 1024;

/// The source of the commands.
#[derive(Debug, Args)]
pub(super) struct Source {
    /// File with one command on each line, such as {"publish":{"room":"lobby","message":"hi"}}, or with one document
    /// {"commands":[…]}; without it or with `-`, standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Carry the commands of each thousand out in any order
    #[arg(long)]
    parallel: bool,
}

/// The commands to send.
pub(super) struct Commands {
    input: Box<dyn BufRead>,
    /// The first line.
    first: Vec<u8>,
    /// Lines that were read.
    line: usize,
    is_parallel: bool,
    is_document: bool,
}

impl Source {
    /// Opens the source and looks at its first line.
    ///
    /// # Errors
    /// It cannot be read ([`USAGE`]).
    pub(super) fn open(self) -> Result<Commands, Failure> {
        let Self { file, parallel } = self;
        let input: anyhow::Result<Box<dyn BufRead>> = match file.filter(|path| path.as_os_str() != "-") {
            None => Ok(Box::new(stdin().lock())),
            Some(path) => File::open(&path)
                .with_context(|| format!("cannot read {}", path.display()))
                .map(|file| Box::new(BufReader::new(file)) as _),
        };
        input.and_then(|input| Commands::new(input, parallel)).map_err(|error| Failure::new(USAGE, error))
    }
}

impl Commands {
    fn new(input: Box<dyn BufRead>, is_parallel: bool) -> anyhow::Result<Self> {
        let mut commands = Self { input, first: Vec::new(), line: 0, is_parallel, is_document: false };
        commands.first = commands.next_line()?.context("there are no commands")?;
        commands.is_document = object(&commands.first).is_none_or(|object| object.contains_key("commands"));
        ensure!(
            !(commands.is_document && is_parallel),
            "a document says by itself whether it is \"parallel\""
        );
        Ok(commands)
    }

    /// Makes the calls, and prints what became of each command. A call that fails as a whole is the last one.
    ///
    /// # Errors
    /// The input or a call was wrong, or a command failed: the last of these errors.
    pub(super) fn send(mut self, session: &Session, json: bool) -> Result<(), Failure> {
        let mut output = Output::new(&views::RESULTS, json);
        let mut failed = Ok(());
        loop {
            let from = self.line;
            let sent = self.next_body().map_err(|error| Failure::new(USAGE, error));
            let Some(body) = sent.map_err(|failure| rest(failure, from))? else { return failed };
            let answer = session.call("batch", body).map_err(|failure| rest(failure, from))?;
            if let Err(failure) = output.print(&answer) {
                failed = Err(failure);
            }
        }
    }

    /// Returns the body of the next call; `None` at the end of the input.
    fn next_body(&mut self) -> anyhow::Result<Option<String>> {
        if self.is_document { self.document() } else { self.lines() }
    }

    fn document(&mut self) -> anyhow::Result<Option<String>> {
        if self.first.is_empty() {
            return Ok(None);
        }
        let mut text = std::mem::take(&mut self.first);
        text.push(b'\n');
        (&mut self.input).take(MAX_INPUT + 1).read_to_end(&mut text)?;
        ensure!(text.len() as u64 <= MAX_INPUT, "a document of more than {MAX_INPUT} bytes");
        let is_good = object(&text).is_some_and(|object| object.contains_key("commands"));
        ensure!(is_good, "neither a JSON object on each line nor a document with \"commands\"");
        Ok(Some(String::from_utf8(text)?))
    }

    fn lines(&mut self) -> anyhow::Result<Option<String>> {
        let (mut commands, mut bytes) = (Vec::new(), 0);
        while commands.len() < MAX_COMMANDS {
            let line = match std::mem::take(&mut self.first) {
                first if !first.is_empty() => Some(first),
                _ => self.next_line()?,
            };
            let Some(line) = line else { break };
            // A line that is more or less than one value would change the meaning of those around it.
            object(&line).ok_or_else(|| anyhow!("line {} is not a JSON object", self.line))?;
            if bytes + line.len() > MAX_BYTES && !commands.is_empty() {
                self.first = line;
                break;
            }
            bytes += line.len() + 1;
            commands.push(String::from_utf8(line)?);
        }
        let parallel = if self.is_parallel { ",\"parallel\":true" } else { "" };
        Ok((!commands.is_empty()).then(|| format!("{{\"commands\":[{}]{parallel}}}", commands.join(","))))
    }

    /// Returns the next line that is not blank; `None` at the end of the input.
    fn next_line(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        loop {
            let mut line = Vec::new();
            if (&mut self.input).take(MAX_INPUT + 1).read_until(b'\n', &mut line)? == 0 {
                return Ok(None);
            }
            self.line += 1;
            ensure!(line.len() as u64 <= MAX_INPUT, "line {} has more than {MAX_INPUT} bytes", self.line);
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line.trim_ascii().to_vec()));
            }
        }
    }
}

/// Returns the JSON object that a text is, and nothing around it.
fn object(text: &[u8]) -> Option<OwnedValue> {
    simd_json::to_owned_value(&mut text.to_vec()).ok().filter(OwnedValue::is_object)
}

/// Adds to a failure that commands before it were sent.
fn rest(failure: Failure, from: usize) -> Failure {
    let Failure { code, error } = failure;
    if from <= 1 {
        return Failure { code, error };
    }
    Failure { code, error: error.context(format!("only the lines before {from} were answered")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(text: &str, is_parallel: bool) -> anyhow::Result<Vec<String>> {
        let mut commands = Commands::new(Box::new(std::io::Cursor::new(text.to_owned())), is_parallel)?;
        std::iter::from_fn(|| commands.next_body().transpose()).collect()
    }

    #[test]
    fn lines_become_calls_of_a_thousand_commands_and_a_megabyte() {
        assert_eq!(
            bodies("\n{\"a\":1}\n\n {\"b\":2}", false).unwrap(),
            [r#"{"commands":[{"a":1},{"b":2}]}"#]
        );
        assert_eq!(bodies("{}\n", true).unwrap(), [r#"{"commands":[{}],"parallel":true}"#]);
        let count = |body: &String| body.matches("{\"a\"").count();
        let many = bodies(&"{\"a\":1}\n".repeat(2_001), false).unwrap();
        assert_eq!(many.iter().map(count).collect::<Vec<_>>(), [1_000, 1_000, 1]);
        let long = format!("{{\"a\":\"{}\"}}\n", "x".repeat(400_000));
        let long = bodies(&long.repeat(3), false).unwrap();
        assert_eq!(long.iter().map(count).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn a_document_is_one_call() {
        for document in
            ["{\"commands\":[{}]}\n", "{\n  \"commands\": [\n    {}\n  ],\n  \"parallel\": true\n}\n"]
        {
            let bodies = bodies(document, false).unwrap();
            assert_eq!(bodies.iter().map(|body| body.trim()).collect::<Vec<_>>(), [document.trim()]);
        }
    }

    #[test]
    fn other_input_is_refused() {
        for (text, is_parallel) in [
            ("", false),
            ("\n\n", false),
            ("[{}]\n", false),
            ("publish\n", false),
            ("{}\n{}],\"parallel\":[{}\n", false),
            ("{}\n{} {}\n", false),
            ("{\"commands\":[{}]}", true),
            ("{\n\"no\":\"commands\"\n}", false),
            ("{\"a\":\"\u{0}\"}\n", false),
        ] {
            assert!(bodies(text, is_parallel).is_err(), "{text:?}");
        }
    }
}
