//! The text of `throng --version`: the version, the commit, and the parts of this build.

use std::sync::LazyLock;

/// The features of this build.
const FEATURES: &[(&str, bool)] = &[
    ("bench", cfg!(feature = "bench")),
    ("chat", cfg!(feature = "chat")),
    ("client", cfg!(feature = "client")),
    ("fault-injection", cfg!(feature = "fault-injection")),
    ("terminal", cfg!(feature = "terminal")),
    ("tls", cfg!(feature = "tls")),
];

/// Returns the text of `throng --version`, without the name of the program before it.
pub(super) fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let commit = option_env!("THRONG_BUILD_COMMIT").unwrap_or("unknown");
        let features: Vec<_> = FEATURES.iter().filter(|(_, is_on)| *is_on).map(|(name, _)| *name).collect();
        let features = if features.is_empty() { "none".to_owned() } else { features.join(", ") };
        format!("{}\ncommit: {commit}\nfeatures: {features}", env!("CARGO_PKG_VERSION"))
    });
    &TEXT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_of_the_manifest_is_listed() {
        let manifest = include_str!("../../Cargo.toml");
        let lines = manifest.lines().skip_while(|line| *line != "[features]").skip(1);
        let lines = lines.take_while(|line| !line.starts_with('['));
        let names = lines.filter_map(|line| line.split_once(" = [")).map(|(name, _)| name);
        let mut names: Vec<_> = names.filter(|name| !name.starts_with('#') && *name != "default").collect();
        names.sort_unstable();
        assert_eq!(FEATURES.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
    }

    #[test]
    fn the_text_begins_with_the_version_and_has_a_line_each_for_commit_and_features() {
        let lines: Vec<_> = long().lines().collect();
        assert_eq!(lines[0], env!("CARGO_PKG_VERSION"));
        assert!(lines[1].starts_with("commit: ") && lines[2].starts_with("features: "), "{lines:?}");
        assert_eq!(lines[2].contains("bench"), cfg!(feature = "bench"), "{lines:?}");
    }
}
