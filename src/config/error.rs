//! Errors of a configuration: a [`ConfigError`] for each, and [`ConfigErrors`] for all of them together.

use std::fmt;

/// The layer that a value came from; later layers override earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// The defaults: no layer set the value.
    Default,
    /// The configuration file of this name.
    File(String),
    /// The environment variable of this name.
    Environment(String),
    /// The flag of this name.
    Flag(String),
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(name) => write!(f, "file {name}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One error of a configuration, in words that help to correct it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The key's path (`queue.max_bytes`); for an unknown key or a syntax error, what was written or where.
    pub key: String,
    /// The value as TOML, secrets redacted; `None` where it must not or cannot be shown.
    pub given: Option<String>,
    /// The problem, and what is allowed instead.
    pub problem: String,
    /// The layer that gave the value.
    pub layer: Layer,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(given) = &self.given {
            write!(f, " = {given}")?;
        }
        write!(f, " ({}): {}", self.layer, self.problem)
    }
}

/// Every error of a configuration, in the order of the layers; displayed one per line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Returns the known path that was probably meant by `path`: one with the same last word in another section, or one
/// with a few letters different.
pub(super) fn nearest<'a>(path: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // An error in every third letter is still recognisable; with more, it is another word.
    let reach = (path.len() / 3).min(3);
    known
        .map(|candidate| {
            let word = candidate.rsplit('.').next().unwrap_or(candidate);
            let moved = path.rsplit('.').next() == Some(word);
            (if moved { 1 } else { distance(path, candidate) }, candidate)
        })
        .filter(|(slips, _)| *slips <= reach)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// Returns the Levenshtein distance: how many insertions, deletions and replacements of a byte turn one text into the
/// other.
fn distance(from: &str, to: &str) -> usize {
    // The work is quadratic, and an unknown key can be as long as its author likes: a very long one matches nothing.
    if from.len() > 128 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["listen", "limits.max_connections", "queue.max_bytes", "history.bytes"];

    #[test]
    fn slips_and_moved_keys_are_recognised() {
        for (given, meant) in [
            ("lisen", Some("listen")),
            ("limits.max_conections", Some("limits.max_connections")),
            ("max_connections", Some("limits.max_connections")),
            ("queue_max_bytes", Some("queue.max_bytes")),
            ("something.else", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, KNOWN.into_iter()), meant, "{given}");
        }
    }

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }

    #[test]
    fn one_line_per_error() {
        let error = |key: &str, given: Option<&str>, layer| ConfigError {
            key: key.into(),
            given: given.map(Into::into),
            problem: "must be otherwise".into(),
            layer,
        };
        let errors = ConfigErrors(vec![
            error("workers", Some("900"), Layer::Flag("--workers".into())),
            error("nonsense", None, Layer::Environment("THRONG_NONSENSE".into())),
        ]);
        let expected = "workers = 900 (flag --workers): must be otherwise\n\
                        nonsense (environment variable THRONG_NONSENSE): must be otherwise";
        assert_eq!(errors.to_string(), expected);
    }
}
