//! Reads the words of a control message's first line.

use std::str::{FromStr, Split};

use crate::broker::redis::batch::decimal;
use crate::broker::redis::nodes::text::parse_hex;

/// The start of a request, with its version.
pub(super) const REQUEST: &str = "c1";
/// The start of an answer, with its version.
pub(super) const ANSWER: &str = "a1";

/// Returns true for a message of another version, which a newer or older node has sent.
pub(super) fn is_other_version(payload: &[u8]) -> bool {
    [REQUEST, ANSWER]
        .iter()
        .all(|start| payload.strip_prefix(start.as_bytes()).and_then(|rest| rest.first()) != Some(&b' '))
}

/// The words of a line that have not been read yet. They are parted by one space each.
#[derive(Debug)]
pub(super) struct Words<'a> {
    rest: Split<'a, char>,
}

impl<'a> Words<'a> {
    pub(super) fn new(line: &'a [u8]) -> Option<Self> {
        Some(Self { rest: std::str::from_utf8(line).ok()?.split(' ') })
    }

    pub(super) fn word(&mut self) -> Option<&'a str> {
        self.rest.next()
    }

    /// Reads a number of 16 hexadecimal digits.
    pub(super) fn hex(&mut self) -> Option<u64> {
        parse_hex(self.word()?)
    }

    pub(super) fn decimal(&mut self) -> Option<u64> {
        decimal(self.word()?)
    }

    /// Reads a word that has a type of its own.
    pub(super) fn name<N: FromStr>(&mut self) -> Option<N> {
        self.word()?.parse().ok()
    }

    pub(super) fn yes_or_no(&mut self) -> Option<bool> {
        match self.word()? {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }
    }

    /// Reads 1 to `most` hexadecimal numbers with commas between them.
    pub(super) fn list(&mut self, most: usize) -> Option<Vec<u64>> {
        let numbers: Option<Vec<u64>> = self.word()?.split(',').take(most + 1).map(parse_hex).collect();
        numbers.filter(|numbers| numbers.len() <= most)
    }

    pub(super) fn is_at_end(&mut self) -> bool {
        self.rest.next().is_none()
    }
}
