//! The parts of this build, for the metrics and for `throng --version`.

/// The features of the crate, each with whether this build has it.
const FEATURES: &[(&str, bool)] = &[
    ("bench", cfg!(feature = "bench")),
    ("chat", cfg!(feature = "chat")),
    ("client", cfg!(feature = "client")),
    ("fault-injection", cfg!(feature = "fault-injection")),
    ("otel", cfg!(feature = "otel")),
    ("terminal", cfg!(feature = "terminal")),
    ("tls", cfg!(feature = "tls")),
];

/// Returns the names of the features that this build has, in alphabetical order.
#[must_use]
pub fn features() -> Vec<&'static str> {
    FEATURES.iter().filter(|(_, is_in)| *is_in).map(|(name, _)| *name).collect()
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
}
