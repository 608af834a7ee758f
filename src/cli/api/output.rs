//! Prints results: as tables for people, or as JSON for programs.

use simd_json::prelude::*;

use super::error;
use super::session::{Answer, Next};
use super::table::{Table, clean, clean_json};
use super::views::{self, View};
use crate::cli::failure::Failure;
use crate::cli::output::print;
use crate::clock::Clock;

/// Prints the results of calls that belong together.
pub(super) struct Output {
    table: Table,
    json: bool,
    /// Parts that were printed before.
    parts: usize,
}

impl Output {
    /// Makes an output for results that are shown like this.
    pub(super) fn new(view: &'static View, json: bool) -> Self {
        Self { table: Table::new(view), json, parts: 0 }
    }

    /// Prints a result.
    ///
    /// # Errors
    /// Standard output cannot be written, or a part of the call failed.
    pub(super) fn print(&mut self, answer: &Answer) -> Result<(), Failure> {
        let parts = answer.parts();
        if parts.is_some() && self.parts == 0 {
            self.table = Table::new(&views::RESULTS);
        }
        if self.json {
            print(&format!("{}\n", clean_json(&answer.json)))?;
        } else {
            print(&self.table.rows(&answer.value, Clock::system().unix_ms()))?;
        }
        for node in answer.value.get_array("unanswered").into_iter().flatten() {
            eprintln!(
                "warning: the node {} did not answer, and its part is missing",
                clean(node.as_str().unwrap_or_default())
            );
        }
        if answer.value.get_bool("is_up") == Some(false) {
            eprintln!("warning: the engine that the nodes share does not answer");
        }
        let parts = parts.unwrap_or_default();
        let numbered = parts.iter().zip(self.parts + 1..);
        let failed: Vec<_> =
            numbered.filter_map(|(part, number)| Some((number, part.get("error")?))).collect();
        self.parts += parts.len();
        error::of_parts(parts.len(), &failed).map_or(Ok(()), Err)
    }

    /// Tells how to get the next page.
    pub(super) fn hint(&self, Next { flag, name }: &Next) {
        if !self.json {
            eprintln!("there is more: see {flag} {}", clean(name));
        }
    }
}
