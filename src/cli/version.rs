//! The text of `throng --version`: the version, the commit, and the parts of this build.

use std::sync::LazyLock;

use crate::metrics::build;

/// Returns the text of `throng --version`, without the name of the program before it.
pub(super) fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let commit = option_env!("BUILD_COMMIT").unwrap_or("unknown");
        let features = build::features();
        let features = if features.is_empty() { "none".to_owned() } else { features.join(", ") };
        format!("{}\ncommit: {commit}\nfeatures: {features}", env!("CARGO_PKG_VERSION"))
    });
    &TEXT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_begins_with_the_version_and_has_a_line_each_for_commit_and_features() {
        let lines: Vec<_> = long().lines().collect();
        assert_eq!(lines[0], env!("CARGO_PKG_VERSION"));
        assert!(lines[1].starts_with("commit: ") && lines[2].starts_with("features: "), "{lines:?}");
        assert_eq!(lines[2].contains("bench"), cfg!(feature = "bench"), "{lines:?}");
    }
}
