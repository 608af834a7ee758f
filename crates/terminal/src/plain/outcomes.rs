//! Counts typed lines that were refused or stay unanswered, which decide how a chat in lines ends.

use anyhow::anyhow;

use crate::failure::Failure;
use crate::output::{OutputLine, count};

/// The typed lines that failed.
#[derive(Default)]
pub(super) struct LineOutcomes {
    refused: u64,
    first_refusal: Option<String>,
    unanswered: usize,
}

impl LineOutcomes {
    /// Counts a line that was refused with this error.
    pub(super) fn add_refused(&mut self, error: &OutputLine) {
        self.refused += 1;
        self.first_refusal.get_or_insert_with(|| error.to_string().trim_start_matches("! ").to_owned());
    }

    /// Counts lines that may have been carried out.
    pub(super) fn add_unanswered(&mut self, lines: usize) {
        self.unanswered += lines;
    }

    pub(super) const fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// Returns the failure that the chat ends with, if any line failed. An unknown outcome counts before a refusal.
    pub(super) fn into_result(self) -> Result<(), Failure> {
        if self.unanswered > 0 {
            return Err(Failure::unanswered(self.unanswered));
        }
        match self.first_refusal {
            Some(first) => {
                let lines = count(self.refused, "line");
                Err(Failure::Refused(anyhow!("{lines} refused, the first: {first}")))
            }
            None => Ok(()),
        }
    }
}
