//! The tree of all settings, [`Config`], the list of its keys, and which layer set which of them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::bounds::{Compression, Drain, Endpoints, Fanout, Heartbeat, Limits, Queue, Socket};
use super::callbacks::{Hooks, Outbound, Traces, Webhooks};
use super::engine::Redis;
use super::error::Layer;
use super::features::{Admission, Api, Auth, Chat, History, Log, Metrics, Presence, RateLimit};
use super::kind::{Choice, Count};
use super::listen::{Listen, ListenAddresses};
use super::room_rules::RoomRule;
use super::schema::{Key, Section, settings};
use super::tables::Tables;
use super::text::NAME;
use super::tls::Tls;
use super::types::Engine;

/// The default of `history.ttl` where the history is on disk. People who come back after a week-end read what was said;
/// `history.messages` and `history.bytes` bound what that costs.
const TTL_ON_DISK: Duration = Duration::from_secs(7 * 86_400);
/// Seconds for which an idempotency key is remembered.
const KEY_SECONDS: usize = 300;
/// Most idempotency keys that `limits.max_keys_per_user` can allow a user.
const MAX_KEYS_PER_USER: usize = 1_000_000;

settings! {
    /// Every setting of the server. `Default` gives the published defaults, [`Config::load`] reads the layers over
    /// them, and [`Config::resolve`] fills in the values that depend on the machine.
    Config {
        /// Address and port to listen on, or a list of up to 8 (in the environment with commas): an IP address; a name,
        /// of which all addresses count; `:8080` for all addresses, IPv6 and IPv4; or a Unix socket,
        /// `unix:/run/throng/throng.sock`. With port 0 the system picks a port, which is logged.
        listen: Vec<Listen> = vec![Listen::DEFAULT], ListenAddresses, restart;
        /// Worker threads, each with a shard of its own; 0 (one per core) to 255.
        workers: usize = 0, Count(0, 255), restart;
        /// This node's name in `welcome`, logs and metrics, 1 to 64 of `[A-Za-z0-9_.:@-]`; random unless set. No two
        /// nodes of one chat may have the same.
        node: String = String::new(), NAME, restart;
        /// Engine that holds positions, history and presence: `memory` (this process, which is the only node) or
        /// `redis` (servers of Redis or Valkey, which several nodes share; see `redis.*`).
        engine: Engine = Engine::Memory, Choice(Engine::ALL), restart;
        /// Rules for rooms by name pattern, of which the first match applies, at most 256: `[[rooms]] pattern =
        /// "live-*"` with any of `queue_policy`, `history_messages`, `history_bytes`, `history_ttl`, `presence`.
        rooms: Vec<RoomRule> = Vec::new(), Tables::<RoomRule>::new(), live;
    } and {
        /// Limits for one client, for one address and for the whole node.
        limits: Limits;
        /// Bounds of one client's queue.
        queue: Queue;
        /// The kernel's side of the sockets.
        socket: Socket;
        /// How messages travel from a room to its members.
        fanout: Fanout;
        /// Compression of messages (permessage-deflate) for clients that offer it.
        compression: Compression;
        /// WebSocket pings that find connections whose peer is gone.
        heartbeat: Heartbeat;
        /// The small endpoints beside the chat.
        endpoints: Endpoints;
        /// The chat.
        chat: Chat;
        /// How members of a room learn who else is in it.
        presence: Presence;
        /// Messages that a room keeps for clients that reconnect.
        history: History;
        /// The servers of Redis or Valkey that several nodes share.
        redis: Redis;
        /// How fast one connection and one user may send.
        rate_limit: RateLimit;
        /// Tokens that prove who a user is.
        auth: Auth;
        /// Which handshakes are accepted, and how the others are refused.
        admission: Admission;
        /// TLS for connections that come in.
        tls: Tls;
        /// The HTTP interface for operators and for other servers.
        api: Api;
        /// Requests to other servers over HTTP.
        outbound: Outbound;
        /// Events that other servers are told.
        webhooks: Webhooks;
        /// Questions to another server before a client may come in.
        hooks: Hooks;
        /// How the server stops.
        drain: Drain;
        /// Log lines on standard error.
        log: Log;
        /// Metrics for Prometheus.
        metrics: Metrics;
        /// Traces for OpenTelemetry.
        traces: Traces;
        /// Not a key: which layer set which key, and notes on what was made of them.
        provenance: Provenance;
    }
}

/// The layer that set each key, for error messages and warnings. `Default` means that every key has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// By path; a key with its default has no entry.
    pub(super) layers: BTreeMap<&'static str, Layer>,
    /// Warnings that arose while values were resolved for this machine.
    pub(super) notes: Vec<String>,
}

impl Provenance {
    /// Takes the layer of one key from another provenance.
    pub(super) fn take_layer(&mut self, path: &'static str, other: &Self) {
        match other.layers.get(path) {
            Some(layer) => self.layers.insert(path, layer.clone()),
            None => self.layers.remove(path),
        };
    }
}

/// One key as the documentation shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Path from the root, with dots: `queue.max_bytes`.
    pub path: &'static str,
    /// Default as a user would write it, without quotes; `none` where nothing is set.
    pub default: String,
    /// True where a reload can change the value in a running server; otherwise a change needs a restart.
    pub is_live: bool,
    /// Meaning, unit, range and cost.
    pub meaning: &'static str,
}

const SECTIONS: [&[Key<Config>]; 24] = [
    Config::KEYS,
    Limits::KEYS,
    Queue::KEYS,
    Socket::KEYS,
    Fanout::KEYS,
    Compression::KEYS,
    Heartbeat::KEYS,
    Endpoints::KEYS,
    Chat::KEYS,
    Presence::KEYS,
    History::KEYS,
    Redis::KEYS,
    RateLimit::KEYS,
    Auth::KEYS,
    Admission::KEYS,
    Tls::KEYS,
    Api::KEYS,
    Outbound::KEYS,
    Webhooks::KEYS,
    Hooks::KEYS,
    Drain::KEYS,
    Log::KEYS,
    Metrics::KEYS,
    Traces::KEYS,
];

/// Lists every key: those of the root, then section by section.
pub(super) fn all() -> impl Iterator<Item = &'static Key<Config>> {
    SECTIONS.into_iter().flatten()
}

/// Returns true for a key whose value was read from the file that its `_file` key names.
pub(super) fn is_from_file(key: &Key<Config>, config: &Config) -> bool {
    all().any(|other| other.path.strip_suffix("_file") == Some(key.path) && (other.show)(config).is_some())
}

/// Returns the key of this path.
pub(super) fn find(path: &str) -> Option<&'static Key<Config>> {
    all().find(|key| key.path == path)
}

/// Lists every key with its default and meaning, in the order in which the documentation shows them.
pub fn keys() -> impl Iterator<Item = KeyInfo> {
    let defaults = Config::default();
    all().map(move |key| KeyInfo {
        path: key.path,
        default: (key.show)(&defaults).map_or("none".into(), |value| match value {
            toml::Value::String(text) => text,
            other => other.to_string(),
        }),
        is_live: key.is_live,
        meaning: key.meaning.trim(),
    })
}

impl Config {
    /// Returns true where a layer above the defaults set the key, to whatever value.
    pub(crate) fn is_set(&self, path: &str) -> bool {
        self.provenance.layers.contains_key(path)
    }

    /// Returns the layer that the value of this key came from.
    pub(super) fn layer(&self, path: &str) -> Layer {
        self.provenance.layers.get(path).cloned().unwrap_or(Layer::Default)
    }

    /// Returns the default of `history.ttl`, which depends on where the history is.
    pub(super) fn default_ttl(&self) -> Duration {
        let is_on_disk = self.history.dir.is_some() && self.engine == Engine::Memory;
        if is_on_disk { TTL_ON_DISK } else { Self::default().history.ttl }
    }

    /// Sets `history.ttl`, unless a value was given for it.
    pub(super) fn set_default_ttl(&mut self, ttl: Duration) {
        if self.layer("history.ttl") == Layer::Default {
            self.history.ttl = ttl;
        }
    }

    /// Returns how many idempotency keys are remembered per user: `limits.max_keys_per_user`, or if that is 0, as many
    /// as the rate limit lets a user send in the five minutes for which a key is remembered.
    #[must_use]
    pub fn keys_per_user(&self) -> usize {
        let rate = &self.rate_limit;
        match self.limits.max_keys_per_user {
            0 if !rate.enabled => MAX_KEYS_PER_USER,
            0 => (rate.messages_per_second * KEY_SECONDS + rate.burst).min(MAX_KEYS_PER_USER),
            set => set,
        }
    }
}
