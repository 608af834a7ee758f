//! Findings: the results of checks of the settings, of the machine or of an engine, for a person.

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Everything is as it should be.
    Ok,
    /// The server works, but not as well or as safely as it could.
    Warning,
    /// The server does not start, or does not work.
    Error,
}

impl Level {
    /// Returns the word for the level: `ok`, `warning` or `error`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// The thing that was checked, as one or a few words: `descriptors`, `redis clock`.
    pub subject: String,
    /// The state that was found, with its value: no secret, on one line, without a full stop.
    pub text: String,
    /// The change that would help, on one line; `None` where there is nothing to do.
    pub advice: Option<String>,
}

impl Finding {
    /// Creates a finding that all is well.
    pub fn ok(subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self { level: Level::Ok, subject: subject.into(), text: text.into(), advice: None }
    }

    /// Creates a finding of something that should be changed.
    pub fn warning(subject: impl Into<String>, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Warning, advice: Some(advice.into()), ..Self::ok(subject, text) }
    }

    /// Creates a finding of something that must be changed.
    pub fn error(subject: impl Into<String>, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Error, ..Self::warning(subject, text, advice) }
    }
}
