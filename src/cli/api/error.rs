//! The errors of calls: their texts, and the exit codes that they end the process with.

use simd_json::OwnedValue;
use simd_json::prelude::*;

use super::table::clean;
use crate::cli::failure::{Failure, REFUSED, UNANSWERED, UNAVAILABLE, USAGE};
use crate::config::Url;
use crate::outbound::{Error, Response};

/// The error in an answer.
pub(super) struct Wrong {
    code: u8,
    text: String,
}

impl Wrong {
    /// Reads an error of the API.
    pub(super) fn refused(response: &Response, error: &OwnedValue) -> Self {
        let (word, mut text) = words(error);
        if let Some(seconds) = response.header("retry-after") {
            text = format!("{text} (Retry-After: {} s)", clean(seconds));
        }
        for mistake in error.get_array("mistakes").into_iter().flatten() {
            text = format!("{text}\n  {}", clean(mistake.as_str().unwrap_or_default()));
        }
        Self { code: exit_code(&word), text }
    }

    /// Describes an answer that is not the API's.
    pub(super) fn foreign(response: &Response) -> Self {
        let status = response.status;
        // A proxy answers so when the server's own answer got lost.
        let code = if matches!(status, 500..=599) { UNANSWERED } else { UNAVAILABLE };
        Self {
            code,
            text: format!("HTTP status {status} and no answer of throng's API: is the address right?"),
        }
    }

    /// Adds the address that was called.
    pub(super) fn at(self, url: &Url) -> Failure {
        Failure::new(self.code, anyhow::anyhow!("{url}: {}", self.text))
    }
}

/// Returns the failure of a call that got no answer.
pub(super) fn of_connection(error: Error, url: &Url) -> Failure {
    let code = match error {
        Error::Request(_) => USAGE,
        Error::NotPrivate | Error::Unreached(_) => UNAVAILABLE,
        Error::Deadline | Error::TooLong | Error::Failed(_) => UNANSWERED,
    };
    Failure::new(code, anyhow::anyhow!("{url}: {}", clean(&error.to_string())))
}

/// Returns the failure of a call of which some parts failed, each with its number; `None` if none did.
pub(super) fn of_parts(parts: usize, failed: &[(usize, &OwnedValue)]) -> Option<Failure> {
    let (number, first) = failed.first()?;
    let code = failed.iter().map(|(_, error)| exit_code(&words(error).0)).max_by_key(|code| match *code {
        UNANSWERED => 2,
        UNAVAILABLE => 1,
        _ => 0,
    });
    let (_, text) = words(first);
    let error =
        anyhow::anyhow!("{} of {parts} failed, the first of them number {number}: {text}", failed.len());
    Some(Failure::new(code.unwrap_or(REFUSED), error))
}

/// Returns the code of an error of the API, and the code with its text.
fn words(error: &OwnedValue) -> (String, String) {
    let field = |name| clean(error.get_str(name).unwrap_or_default()).into_owned();
    let (code, message) = (field("code"), field("message"));
    let text = format!("{code}: {message}");
    (code, text)
}

/// Returns the exit code for an error of the API by its code: whether another attempt can succeed, and whether the call
/// may have been carried out. A code that is not known here is a refusal.
fn exit_code(code: &str) -> u8 {
    match code {
        "unknown_outcome" => UNANSWERED,
        "rate_limited" | "at_capacity" | "revocations_full" | "draining" | "unavailable" | "timeout" => {
            UNAVAILABLE
        }
        _ => REFUSED,
    }
}
