//! What no key can see alone: combinations that contradict each other, and choices that are allowed but unwise.

mod unwise;

use super::Config;
use super::units::{show_duration, show_size};
use crate::keys::Algorithm;

/// Keys that contradict each other and how; the first is the one to name if nobody set any of them.
pub(super) struct Conflict {
    pub(super) keys: &'static [&'static str],
    pub(super) problem: String,
}

/// A character of a message needs at most this many bytes in JSON (`\u0000`).
const BYTES_PER_CHAR: usize = 6;
/// RFC 7518, section 3.2: a key of HS256 has at least as many bytes as the hash.
const SECRET_BYTES: usize = 32;

pub(super) fn conflicts(config: &Config) -> Vec<Conflict> {
    let mut found = Vec::new();
    let mut demand = |holds: bool, keys, problem: String| {
        if !holds {
            found.push(Conflict { keys, problem });
        }
    };
    let Config { endpoints, queue, history, chat, fanout, rate_limit, .. } = config;

    demand(
        endpoints.timeout <= endpoints.timeout_max,
        &["endpoints.timeout", "endpoints.timeout_max"],
        format!(
            "endpoints.timeout ({}) must not exceed endpoints.timeout_max ({})",
            show_duration(endpoints.timeout),
            show_duration(endpoints.timeout_max)
        ),
    );
    for rule in &config.rooms {
        let bytes = rule.history_bytes.unwrap_or(0);
        demand(
            bytes <= history.total_bytes,
            &["rooms", "history.total_bytes"],
            format!(
                "rooms: the history_bytes of {} ({}) must not exceed history.total_bytes ({})",
                rule.pattern,
                show_size(bytes),
                show_size(history.total_bytes)
            ),
        );
    }
    let mut fits = |less: usize, more: usize, keys: &'static [&'static str], note: &str| {
        let (a, b) = (show_size(less), show_size(more));
        demand(less <= more, keys, format!("{} ({a}{note}) must not exceed {} ({b})", keys[0], keys[1]));
    };
    if queue.total_bytes > 0 {
        fits(queue.max_bytes, queue.total_bytes, &["queue.max_bytes", "queue.total_bytes"], "");
    }
    fits(history.bytes, history.total_bytes, &["history.bytes", "history.total_bytes"], "");
    let message = chat.max_message_chars * BYTES_PER_CHAR;
    let note = " bytes at worst";
    fits(message, queue.max_bytes, &["chat.max_message_chars", "queue.max_bytes"], note);
    fits(message, fanout.max_inbox_bytes, &["chat.max_message_chars", "fanout.max_inbox_bytes"], note);

    // A message is at least one frame: what cannot be reached is a mistake, not a limit.
    let frames = rate_limit.frames_per_second;
    for (keys, messages) in [
        (&["rate_limit.messages_per_second", "rate_limit.frames_per_second"], rate_limit.messages_per_second),
        (&["rate_limit.burst", "rate_limit.frames_per_second"], rate_limit.burst),
    ] {
        let problem = format!("{} ({messages}) must not exceed {} ({frames})", keys[0], keys[1]);
        demand(!rate_limit.enabled || messages <= frames, keys, problem);
    }

    demand(
        config.api.keys.is_empty() || config.api.keys_file.is_none(),
        &["api.keys", "api.keys_file"],
        "only one of api.keys and api.keys_file may be set".into(),
    );

    keys_of_tokens(config, demand);
    found
}

fn keys_of_tokens(config: &Config, mut demand: impl FnMut(bool, &'static [&'static str], String)) {
    let auth = &config.auth;
    let secret = auth.secret.is_some() || auth.secret_file.is_some();
    let public = auth.public_key.is_some() || auth.public_key_file.is_some();
    let hmac = auth.algorithm == Algorithm::Hs256;

    demand(
        auth.secret.is_none() || auth.secret_file.is_none(),
        &["auth.secret", "auth.secret_file"],
        "only one of auth.secret and auth.secret_file may be set".into(),
    );
    demand(
        auth.public_key.is_none() || auth.public_key_file.is_none(),
        &["auth.public_key", "auth.public_key_file"],
        "only one of auth.public_key and auth.public_key_file may be set".into(),
    );
    // A key for another algorithm than the pinned one is how signatures get confused: the public key taken for a
    // secret that everybody knows.
    demand(
        hmac || !secret,
        &["auth.algorithm", "auth.secret", "auth.secret_file"],
        "auth.secret belongs to HS256; the other algorithms take auth.public_key".into(),
    );
    demand(
        !hmac || !public,
        &["auth.algorithm", "auth.public_key", "auth.public_key_file"],
        "auth.public_key belongs to RS256, ES256 and EdDSA; HS256 takes auth.secret".into(),
    );
    demand(
        !auth.required || secret || public,
        &["auth.required", "auth.secret", "auth.secret_file", "auth.public_key", "auth.public_key_file"],
        "nobody could come in: set auth.secret or auth.secret_file (HS256), or auth.public_key".into(),
    );
}

/// What is allowed but unwise.
pub(super) fn advice(config: &Config) -> impl Iterator<Item = String> {
    let length = config.auth.secret.as_ref().map_or(SECRET_BYTES, |secret| secret.expose().len());
    let short = (length < SECRET_BYTES).then(|| {
        format!("`auth.secret` has {length} bytes, fewer than the {SECRET_BYTES} that HS256 asks for (RFC 7518, 3.2)")
    });
    let listen = config.listen;
    let open = (config.is_reachable() && !config.auth.required).then(|| {
        format!(
            "`listen` {listen} can be reached from other machines and `auth.required` is false: whoever gets there \
             can chat under any name. Set `auth.required` and a key, or listen on loopback"
        )
    });
    let admission = &config.admission;
    let believing = config.is_reachable() && admission.proxy_protocol && admission.trusted_proxies.is_empty();
    let believing = believing.then(|| {
        format!(
            "`admission.proxy_protocol` believes everybody who reaches {listen}: name the proxies in \
             `admission.trusted_proxies`"
        )
    });
    [short, open, believing].into_iter().flatten().chain(unwise::pairs(config))
}

impl Config {
    /// True where `listen` is more than this machine's own loopback.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        !self.listen.ip().to_canonical().is_loopback()
    }

    /// What a newcomer who wonders why nobody else can connect should read: `listen` was not set, hence loopback.
    #[must_use]
    pub fn reach(&self) -> Option<&'static str> {
        (!self.is_set("listen")).then_some(
            "on loopback only, as nothing else was asked for: set `listen` to be reached from other machines, and \
             `auth.required` with a key to know who comes",
        )
    }
}
