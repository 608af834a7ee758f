//! Why a chat did not end well.

use std::io;
use std::time::Duration;

use anyhow::anyhow;

use super::output::count;
use throng_client::{BuildError, UNTRUSTED};

/// Longest wait for the close handshake, and for the last lines to be written.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a chat did not end well. Each variant has an exit code of its own.
#[derive(Debug)]
pub enum Failure {
    /// The arguments are wrong.
    Usage(anyhow::Error),
    /// Something that was typed was refused.
    Refused(anyhow::Error),
    /// There was no connection, or the server ended it for good.
    Unavailable(anyhow::Error),
    /// Something that was typed is unanswered, and its outcome unknown.
    Unanswered(anyhow::Error),
    /// The program or the system failed.
    Broken(anyhow::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.into())
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::NoRuntime => Self::Broken(error.into()),
            BuildError::Url(_)
            | BuildError::NoUser
            | BuildError::User(_)
            | BuildError::Room(_)
            | BuildError::Token
            | BuildError::Tls(_)
            | BuildError::Ca(_) => Self::Usage(error.into()),
            // An error of a later client: like most, it is about an argument.
            _ => Self::Usage(error.into()),
        }
    }
}

impl Failure {
    /// Creates the failure of a chat whose client has stopped for this reason, with a hint where there is one.
    pub(super) fn stopped(reason: &str) -> Self {
        let hint =
            if reason.starts_with(UNTRUSTED) { "; --ca FILE names a certificate to trust" } else { "" };
        Self::Unavailable(anyhow!("the chat is over: {reason}{hint}"))
    }

    /// Creates the failure of a chat in which so many typed lines stayed unanswered.
    pub(super) fn unanswered(lines: usize) -> Self {
        let lines = count(lines as u64, "line");
        Self::Unanswered(anyhow!("{lines} unanswered: the outcome is unknown"))
    }
}
