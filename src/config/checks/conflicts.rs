//! Combinations of settings that contradict each other, with which the server does not start.

use crate::names::units::{show_duration, show_size};

use super::super::error::ConfigError;
use super::super::kind::Raw;
use super::super::tree::{Config, find};
use super::engine;
use super::mismatches::JSON_BYTES_PER_CHAR;
use crate::keys::Algorithm;

/// Keys that contradict each other.
pub(in crate::config) struct Conflict {
    /// The keys.
    pub(in crate::config) keys: &'static [&'static str],
    /// The contradiction in words.
    pub(in crate::config) problem: String,
}

impl Conflict {
    /// Returns the error that names the first key that was set, or the first of all.
    pub(in crate::config) fn error(self, config: &Config) -> ConfigError {
        let named = *self.keys.iter().find(|key| config.is_set(key)).unwrap_or(&self.keys[0]);
        let value = find(named).and_then(|key| (key.show)(config));
        ConfigError {
            key: named.into(),
            given: value.map(|value| Raw::Toml(&value).shown()),
            problem: self.problem,
            layer: config.layer(named),
        }
    }
}

/// Returns every contradiction.
pub(in crate::config) fn conflicts(config: &Config) -> Vec<Conflict> {
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
    let message = chat.max_message_chars * JSON_BYTES_PER_CHAR + chat.max_data_bytes;
    let note = " bytes at worst, with chat.max_data_bytes";
    fits(message, queue.max_bytes, &["chat.max_message_chars", "queue.max_bytes"], note);
    fits(message, fanout.max_inbox_bytes, &["chat.max_message_chars", "fanout.max_inbox_bytes"], note);

    // A message is at least one frame: a limit on messages above that on frames would never be reached.
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

    callbacks(config, &mut demand);
    tls(config, &mut demand);
    token_keys(config, &mut demand);
    engine::conflicts(config, &mut demand);
    found
}

/// Demands the secrets that sign requests to other servers.
fn callbacks(config: &Config, demand: &mut impl FnMut(bool, &'static [&'static str], String)) {
    let hooks = &config.hooks;
    demand(
        hooks.secret_file.is_some() || (hooks.connect.is_none() && hooks.join.is_none()),
        &["hooks.connect", "hooks.join", "hooks.secret_file"],
        "hooks.connect and hooks.join need hooks.secret_file, which signs the questions".into(),
    );
    for (index, receiver) in config.webhooks.receivers.iter().enumerate() {
        demand(
            receiver.secret_file.is_some(),
            &["webhooks.receivers"],
            format!("webhooks.receivers[{index}] needs a secret_file, which signs the events"),
        );
    }
}

/// Demands that certificates have keys, and that settings which need a certificate have one.
fn tls(config: &Config, demand: &mut impl FnMut(bool, &'static [&'static str], String)) {
    let tls = &config.tls;
    let has_certificate = tls.cert_file.is_some();
    demand(
        has_certificate == tls.key_file.is_some(),
        &["tls.cert_file", "tls.key_file"],
        "tls.cert_file and tls.key_file need each other: a certificate is worth nothing without its private key".into(),
    );
    demand(
        has_certificate || tls.listen.is_none(),
        &["tls.listen", "tls.cert_file"],
        "tls.listen needs a certificate: set tls.cert_file and tls.key_file".into(),
    );
    demand(
        has_certificate || tls.certificates.is_empty(),
        &["tls.certificates", "tls.cert_file"],
        "tls.certificates are beside that of tls.cert_file, for clients that ask for no known name: set it"
            .into(),
    );
    for (index, files) in tls.certificates.iter().enumerate() {
        let problem =
            format!("tls.certificates[{index}] needs a key_file with the certificate's private key");
        demand(files.key_file.is_some(), &["tls.certificates"], problem);
    }
    demand(
        tls.client_ca_file.is_none() || has_certificate && config.api.listen.is_some(),
        &["tls.client_ca_file", "tls.cert_file", "api.listen"],
        "tls.client_ca_file is for the callers at api.listen: it needs that address, and tls.cert_file"
            .into(),
    );
}

/// Demands the keys that `auth.algorithm` needs, and no others.
fn token_keys(config: &Config, demand: &mut impl FnMut(bool, &'static [&'static str], String)) {
    let auth = &config.auth;
    let secret = !auth.secret.is_empty() || auth.secret_file.is_some();
    let public = !auth.public_key.is_empty() || auth.public_key_file.is_some();
    let sets = [auth.jwks.is_some(), auth.jwks_file.is_some(), auth.jwks_url.is_some()];
    let has_set = sets.contains(&true);
    demand(
        sets.into_iter().filter(|is_set| *is_set).count() + usize::from(public) <= 1,
        &["auth.jwks_url", "auth.jwks_file", "auth.jwks", "auth.public_key", "auth.public_key_file"],
        "only one of auth.jwks_url, auth.jwks_file, auth.jwks and auth.public_key may be set".into(),
    );
    let hmac = auth.algorithm == Algorithm::Hs256;

    demand(
        auth.secret.is_empty() || auth.secret_file.is_none(),
        &["auth.secret", "auth.secret_file"],
        "only one of auth.secret and auth.secret_file may be set".into(),
    );
    demand(
        auth.public_key.is_empty() || auth.public_key_file.is_none(),
        &["auth.public_key", "auth.public_key_file"],
        "only one of auth.public_key and auth.public_key_file may be set".into(),
    );
    // A key of another algorithm invites confusion: a public key taken for the secret lets everybody sign.
    demand(
        hmac || !secret,
        &["auth.algorithm", "auth.secret", "auth.secret_file"],
        "auth.secret belongs to HS256; the other algorithms take auth.public_key".into(),
    );
    demand(
        !hmac || !public && !has_set,
        &["auth.algorithm", "auth.public_key", "auth.public_key_file", "auth.jwks_url", "auth.jwks_file"],
        "auth.public_key and auth.jwks belong to RS256, ES256 and EdDSA; HS256 takes auth.secret".into(),
    );
    demand(
        !auth.required || secret || public || has_set,
        &["auth.required", "auth.secret", "auth.secret_file", "auth.public_key", "auth.public_key_file"],
        "no key could verify a token: set auth.secret or auth.secret_file (HS256), or auth.public_key or auth.jwks_url"
            .into(),
    );
}
