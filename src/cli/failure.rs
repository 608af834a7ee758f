//! Exit codes, and the errors that end the process with them.

#[cfg(feature = "bench")]
use throng_bench as bench;
#[cfg(feature = "chat")]
use throng_terminal as terminal;

/// A load test failed, a check of a history found something, or a server is not well.
pub const CHECK_FAILED: u8 = 1;
/// `EX_USAGE` of `sysexits.h`: the configuration or the command line is wrong.
pub const USAGE: u8 = 64;
/// `EX_DATAERR` of `sysexits.h`: the server refused something that was typed into the chat.
pub const REFUSED: u8 = 65;
/// `EX_UNAVAILABLE` of `sysexits.h`: the address cannot be bound, or the folder of `history.dir` or
/// `webhooks.dir` cannot be used.
///
/// For the chat: there is no connection, or the server ended it for good.
pub const UNAVAILABLE: u8 = 69;
/// `EX_SOFTWARE` of `sysexits.h`: an internal error, of throng or of the system.
pub const INTERNAL: u8 = 70;
/// `EX_TEMPFAIL` of `sysexits.h`: the server did not acknowledge everything that was typed into the chat.
pub const UNANSWERED: u8 = 75;

/// An error that ends the process, with its exit code.
#[derive(Debug)]
pub struct Failure {
    /// One of the exit codes of this module.
    pub code: u8,
    /// The error and its causes, for a person.
    pub error: anyhow::Error,
}

impl Failure {
    /// Creates a failure from an error and the exit code that it stands for.
    pub fn new(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self { code, error: error.into() }
    }
}

#[cfg(feature = "bench")]
impl From<bench::Failure> for Failure {
    fn from(failure: bench::Failure) -> Self {
        match failure {
            bench::Failure::Usage(error) => Self::new(USAGE, error),
            bench::Failure::Broken(error) => Self::new(INTERNAL, error),
            bench::Failure::Unwell(error) => Self::new(CHECK_FAILED, error),
        }
    }
}

#[cfg(feature = "chat")]
impl From<terminal::Failure> for Failure {
    fn from(failure: terminal::Failure) -> Self {
        match failure {
            terminal::Failure::Usage(error) => Self::new(USAGE, error),
            terminal::Failure::Refused(error) => Self::new(REFUSED, error),
            terminal::Failure::Unavailable(error) => Self::new(UNAVAILABLE, error),
            terminal::Failure::Unanswered(error) => Self::new(UNANSWERED, error),
            terminal::Failure::Broken(error) => Self::new(INTERNAL, error),
        }
    }
}
