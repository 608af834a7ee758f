//! Checks that concern more than one key: combinations that contradict each other, and choices that are allowed but
//! unwise.

mod conflicts;
mod engine;
mod mismatches;

use super::listen::Listen;
use super::tree::Config;
use super::unsupported;

pub(super) use conflicts::conflicts;

/// RFC 7518, section 3.2: a key of HS256 has at least as many bytes as the hash.
const SECRET_BYTES: usize = 32;

impl Config {
    /// Returns a sentence for each setting that has no effect or is unwise, to be logged when the server starts.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let notes = self.provenance.notes.iter().cloned();
        let mismatches = mismatches::mismatches(self);
        unsupported::warnings(self)
            .chain(engine::idle(self))
            .chain(advice(self))
            .chain(mismatches)
            .chain(notes)
            .collect()
    }

    /// Returns true where `listen` accepts connections from other machines, not from this one alone.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.listen.iter().any(Listen::is_reachable)
    }

    /// Returns a sentence that explains why other machines cannot connect, where `listen` is not set.
    #[must_use]
    pub fn loopback_notice(&self) -> Option<&'static str> {
        (!self.is_set("listen")).then_some(
            "only this machine can connect, because `listen` is not set: set it to be reached from other machines, and \
             `auth.required` with a key to know who connects",
        )
    }
}

/// Returns a warning for each choice that makes the server less safe than it seems.
fn advice(config: &Config) -> impl Iterator<Item = String> {
    let length = config.auth.secret.iter().map(|secret| secret.expose().len()).min().unwrap_or(SECRET_BYTES);
    let short_secret = (length < SECRET_BYTES).then(|| {
        format!("`auth.secret` has {length} bytes, fewer than the {SECRET_BYTES} that HS256 requires (RFC 7518, 3.2)")
    });
    let listen = Listen::join(config.listen.iter().filter(|address| address.is_reachable()));
    let anonymous = (config.is_reachable() && !config.auth.required).then(|| {
        format!(
            "`listen` {listen} can be reached from other machines and `auth.required` is false: anybody there can chat \
             under any name. Set `auth.required` and a key, or listen on loopback"
        )
    });
    let admission = &config.admission;
    let trusts_all =
        config.is_reachable() && admission.proxy_protocol && admission.trusted_proxies.is_empty();
    let trusting = trusts_all.then(|| {
        format!(
            "`admission.proxy_protocol` trusts every peer that reaches {listen} to name the client's address: name the \
             proxies in `admission.trusted_proxies`"
        )
    });
    [short_secret, anonymous, trusting].into_iter().flatten()
}
