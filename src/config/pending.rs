//! Keys that are read and checked but that nothing obeys yet. No setting is silently ignored: whoever sets one of
//! these to something that asks for protection or a service we do not give is told so.

use super::Config;

/// A key that is not in force, or not for every value.
pub(super) struct Pending {
    pub(super) path: &'static str,
    /// True where the tree asks for something it does not get.
    asks: fn(&Config) -> bool,
    /// Completes "`key` …".
    pub(super) note: &'static str,
}

const fn pending(path: &'static str, asks: fn(&Config) -> bool) -> Pending {
    Pending { path, asks, note: "is not in force in this version" }
}

/// The one place: what comes into force leaves this list.
const PENDING: &[Pending] = &[pending("limits.max_request_body", |_| true)];

/// The entry of a key, none for a key in force.
pub(super) fn find(path: &str) -> Option<&'static Pending> {
    PENDING.iter().find(|pending| pending.path == path)
}

/// One sentence per key that was set and is not obeyed.
pub(super) fn warnings(config: &Config) -> impl Iterator<Item = String> {
    PENDING
        .iter()
        .filter(|pending| config.is_set(pending.path) && (pending.asks)(config))
        .map(|pending| format!("`{}` {}", pending.path, pending.note))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_are_pending() {
        for pending in PENDING {
            assert!(crate::config::all().any(|key| key.path == pending.path), "{}", pending.path);
        }
    }
}
