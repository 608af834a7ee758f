//! Keys that are read and checked but have no effect in this build. No setting is silently ignored: setting one of
//! these keys gives a warning.

use super::tree::Config;

/// A key without effect.
pub(super) struct Unsupported {
    pub(super) path: &'static str,
    /// The remark on the key, as the end of a sentence that begins with its path.
    pub(super) note: &'static str,
}

/// Every key without effect in this build.
const UNSUPPORTED: &[Unsupported] = &[
    #[cfg(not(feature = "otel"))]
    Unsupported { path: "traces.url", note: "needs a build with the feature otel, which this one is not" },
];

/// Returns the entry of a key, `None` for a key that has an effect.
pub(super) fn find(path: &str) -> Option<&'static Unsupported> {
    UNSUPPORTED.iter().find(|key| key.path == path)
}

/// Returns a warning for each key that was set although it has no effect.
pub(super) fn warnings(config: &Config) -> impl Iterator<Item = String> {
    let set = UNSUPPORTED.iter().filter(|key| config.is_set(key.path));
    set.map(|key| format!("`{}` {}", key.path, key.note))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_a_key() {
        for key in UNSUPPORTED {
            assert!(crate::config::tree::find(key.path).is_some(), "{}", key.path);
        }
    }
}
