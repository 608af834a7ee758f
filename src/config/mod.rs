//! Configuration: a typed tree, its defaults, and every mistake reported at once.
//!
//! Layers: defaults < file (TOML) < environment (`THRONG_` + path with `__`) < flags. The fields of [`Config`] *are*
//! the keys; their documentation gives unit, range and what a limit costs in memory. Each key is declared once
//! (`bounds`, `features`, here for the root), and what reads, checks and prints it follows from that (`schema`).
//! This module knows no other of the crate, and of its leaves `names` alone.

mod bounds;
mod checks;
mod features;
mod kind;
mod load;
mod machine;
mod mistake;
mod pending;
mod print;
mod rooms;
mod schema;
mod value;
mod words;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use crate::names::units;

pub use bounds::{Drain, Endpoints, Fanout, Heartbeat, Limits, Queue, Socket};
pub use features::{Admission, Api, Auth, Chat, History, Log, Metrics, Presence, RateLimit};
pub use load::Sources;
pub use machine::Machine;
pub use mistake::{ConfigErrors, Mistake, Origin};
pub use rooms::RoomRule;
pub use units::parse_duration;
pub use value::{Duplicate, HistorySync, LogFormat, QueuePolicy, Refuse, Secret};

use kind::{Address, Count};
use rooms::Rules;
use schema::{Key, settings};
use words::NAME;

settings! {
    /// Everything that can be set. `Default` is the published table; [`Config::load`] reads the layers,
    /// [`Config::resolve`] fills in what only this machine knows.
    Config of Config {
        /// Address and port to listen on; port 0 picks one and the log says which.
        listen: SocketAddr = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 8080), Address;
        /// Worker threads, each with a shard of its own; 0 (one per core) to 255.
        workers: usize = 0, Count(0, 255);
        /// This node's name in `welcome`, logs and metrics, 1 to 64 of `[A-Za-z0-9_.:@-]`; random unless set.
        node: String = String::new(), NAME;
        /// Rules by name pattern, first match wins, at most 256: `[[rooms]] pattern = "live-*"` with any of
        /// `queue_policy`, `history_messages`, `history_bytes`, `history_ttl`, `presence`.
        rooms: Vec<RoomRule> = Vec::new(), Rules;
    } and {
        /// What one client, one address and all together may ask for.
        limits: Limits;
        /// The bounds of one client's queue.
        queue: Queue;
        /// The kernel's side of the bound.
        socket: Socket;
        /// How messages travel from a room to its members.
        fanout: Fanout;
        /// Life signs at the level of WebSocket.
        heartbeat: Heartbeat;
        /// The small endpoints beside the chat.
        endpoints: Endpoints;
        /// The chat.
        chat: Chat;
        /// Who is here, and who is told.
        presence: Presence;
        /// What a room remembers.
        history: History;
        /// How fast one connection and one user may be.
        rate_limit: RateLimit;
        /// Tokens.
        auth: Auth;
        /// Who may come in.
        admission: Admission;
        /// The server API.
        api: Api;
        /// The way out.
        drain: Drain;
        /// What is logged.
        log: Log;
        /// Numbers for Prometheus.
        metrics: Metrics;
        /// No key: who set what, and what came of it.
        provenance: Provenance;
    }
}

/// Who set which key, for messages and warnings. Opaque; `Default` means nobody set anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    origins: BTreeMap<&'static str, Origin>,
    notes: Vec<String>,
}

/// A key as documentation shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// From the root, with dots: `queue.max_bytes`.
    pub path: &'static str,
    /// As one would write it, without quotes; `none` where nothing is set.
    pub default: String,
    /// Unit, range, cost.
    pub meaning: &'static str,
}

const SECTIONS: [&[Key<Config>]; 17] = [
    Config::KEYS,
    Limits::KEYS,
    Queue::KEYS,
    Socket::KEYS,
    Fanout::KEYS,
    Heartbeat::KEYS,
    Endpoints::KEYS,
    Chat::KEYS,
    Presence::KEYS,
    History::KEYS,
    RateLimit::KEYS,
    Auth::KEYS,
    Admission::KEYS,
    Api::KEYS,
    Drain::KEYS,
    Log::KEYS,
    Metrics::KEYS,
];

/// Every key, the root's first, section by section.
fn all() -> impl Iterator<Item = &'static Key<Config>> {
    SECTIONS.into_iter().flatten()
}

/// Every key for documentation, in the order of the published table's sections.
pub fn keys() -> impl Iterator<Item = KeyInfo> {
    let defaults = Config::default();
    all().map(move |key| KeyInfo {
        path: key.path,
        default: (key.show)(&defaults).map_or("none".into(), |value| match value {
            toml::Value::String(text) => text,
            other => other.to_string(),
        }),
        meaning: key.meaning.trim(),
    })
}

impl Config {
    /// What was set and is not obeyed, or is unwise: one sentence each, to be logged when the server starts.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let advice = checks::advice(self);
        pending::warnings(self).chain(advice).chain(self.provenance.notes.iter().cloned()).collect()
    }

    /// True where a layer above the defaults named the key, to whatever value.
    fn is_set(&self, path: &str) -> bool {
        self.provenance.origins.contains_key(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_documented_and_named_once() {
        let paths: Vec<&str> = keys().map(|key| key.path).collect();
        let unique: std::collections::BTreeSet<&str> = paths.iter().copied().collect();
        assert_eq!(paths.len(), unique.len());
        for key in keys() {
            assert!(key.meaning.len() > 10 && !key.default.is_empty(), "{key:?}");
        }
    }

    #[test]
    fn defaults_as_published() {
        let default = |path: &str| keys().find(|key| key.path == path).map(|key| key.default).unwrap();
        for (path, expected) in [
            ("listen", "127.0.0.1:8080"),
            ("node", "none"),
            ("limits.max_message_bytes", "64KiB"),
            ("queue.policy", "disconnect"),
            ("fanout.linger", "0ms"),
            ("endpoints.timeout_max", "5m"),
            ("history.ttl", "10m"),
            ("auth.algorithm", "HS256"),
            ("auth.secret", "none"),
            ("admission.origins", "any"),
            ("rate_limit.enabled", "true"),
            ("drain.window", "5s"),
        ] {
            assert_eq!(default(path), expected, "{path}");
        }
    }

    #[test]
    fn warnings_only_for_what_was_asked_for() {
        let warnings = |env: &[(&str, &str)]| {
            Config::load(Sources::new().environment(env.iter().copied())).unwrap().warnings()
        };
        assert_eq!(warnings(&[]), Vec::<String>::new());
        assert_eq!(warnings(&[("THRONG_RATE_LIMIT__ENABLED", "false")]), Vec::<String>::new());
        assert_eq!(warnings(&[("THRONG_LIMITS__MAX_CONNECTIONS_PER_ADDRESS", "0")]), Vec::<String>::new());
        assert_eq!(warnings(&[("THRONG_RATE_LIMIT__BURST", "5")]), Vec::<String>::new());
        let body = warnings(&[("THRONG_LIMITS__MAX_REQUEST_BODY", "5KiB")]);
        assert_eq!(body, ["`limits.max_request_body` is not in force in this version"]);
        let short = warnings(&[("THRONG_AUTH__SECRET", "hunter2")]);
        assert!(short.len() == 1 && !short[0].contains("hunter2"), "{short:?}");
    }

    #[test]
    fn who_can_be_reached_without_knowing_anybody_is_told_so() {
        let loaded = |pairs: &[&str]| {
            let sources = pairs.iter().fold(Sources::new(), |sources, pair| sources.set(pair));
            Config::load(sources).unwrap()
        };
        let secret = "auth.secret=an-example-key-of-at-least-32-bytes";
        for (pairs, warned) in [
            (&["listen=0.0.0.0:80"][..], "`auth.required` is false"),
            (&["listen=[::]:80", secret], "`auth.required` is false"),
            (&["listen=192.0.2.1:80"], "`auth.required` is false"),
            (&["listen=0.0.0.0:80", secret, "auth.required=true"], ""),
            (&["listen=127.0.0.2:80"], ""),
            (&["listen=[::1]:80"], ""),
            (&["listen=[::ffff:127.0.0.1]:80", "admission.proxy_protocol=true"], ""),
            (
                &["listen=0.0.0.0:80", secret, "auth.required=true", "admission.proxy_protocol=true"],
                "`admission.proxy_protocol` believes everybody",
            ),
            (
                &[
                    "listen=0.0.0.0:80",
                    secret,
                    "auth.required=true",
                    "admission.proxy_protocol=true",
                    "admission.trusted_proxies=10.0.0.0/8",
                ],
                "",
            ),
        ] {
            let warnings = loaded(pairs).warnings();
            assert_eq!(warnings.len(), usize::from(!warned.is_empty()), "{pairs:?}: {warnings:?}");
            assert!(warnings.iter().all(|warning| warning.contains(warned)), "{pairs:?}: {warnings:?}");
        }
        let defaults = loaded(&[]);
        assert!(!defaults.is_reachable() && defaults.reach().is_some());
        assert!(loaded(&["listen=127.0.0.1:8080"]).reach().is_none(), "asked for");
    }
}
