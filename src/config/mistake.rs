//! What was wrong with a configuration: one [`Mistake`] each, all of them together in [`ConfigErrors`].

use std::fmt;

/// Where a value came from, later layers winning over earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file of this name.
    File(String),
    /// The environment variable of this name.
    Environment(String),
    /// The flag of this name.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(name) => write!(f, "file {name}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One thing that is wrong, in the words of whoever has to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The key's path (`queue.max_bytes`), or what stood in its place.
    pub key: String,
    /// The value given, as TOML; secrets redacted; absent where it must not or cannot be shown.
    pub given: Option<String>,
    /// What is wrong and what is allowed.
    pub problem: String,
    /// Who said so.
    pub origin: Origin,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(given) = &self.given {
            write!(f, " = {given}")?;
        }
        write!(f, " ({}): {}", self.origin, self.problem)
    }
}

/// Every mistake of a configuration at once, in the order of the layers; displayed one per line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Mistake>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The known path that `path` was probably meant to be: the same last word in another section, or a slip or two.
pub(super) fn nearest<'a>(path: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A slip in each third letter is still recognisable; more is another word.
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

/// Levenshtein's distance in bytes: insertions, deletions and replacements.
fn distance(from: &str, to: &str) -> usize {
    // Unknown keys come from outside: an absurdly long one is near to nothing and not worth the quadratic work.
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
    fn one_line_per_mistake() {
        let mistake = |key: &str, given: Option<&str>, origin| Mistake {
            key: key.into(),
            given: given.map(Into::into),
            problem: "must be otherwise".into(),
            origin,
        };
        let errors = ConfigErrors(vec![
            mistake("workers", Some("900"), Origin::Flag("--workers".into())),
            mistake("nonsense", None, Origin::Environment("THRONG_NONSENSE".into())),
        ]);
        let expected = "workers = 900 (flag --workers): must be otherwise\n\
                        nonsense (environment variable THRONG_NONSENSE): must be otherwise";
        assert_eq!(errors.to_string(), expected);
    }
}
