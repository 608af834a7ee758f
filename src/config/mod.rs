//! Configuration: a typed tree of settings, its defaults, and a loader that reports every error at once.
//!
//! Layers: defaults < file (TOML) < environment (`THRONG_` + path with `__`) < flags. The fields of [`Config`] *are*
//! the keys; their documentation gives unit, range and what a limit costs in memory. Each key is declared once
//! (`bounds`, `features`, `engine` and the like, and `tree` for the root), and everything that reads, checks and prints
//! it is generated from that declaration (`schema`). This module uses no other module of the crate, and of the leaves
//! `names` alone.

mod address;
mod bounds;
mod callbacks;
mod checks;
mod engine;
mod error;
mod features;
mod finding;
mod kind;
mod list;
mod listen;
mod load;
mod machine;
mod print;
mod reload;
mod room_rules;
mod schema;
mod tables;
mod text;
mod tls;
mod tree;
mod types;
mod unsupported;
mod url;

pub use crate::keys::{Algorithm, KeyError, PublicKey};
pub use crate::names::units::parse_duration;

pub use address::Address;
pub use bounds::{Compression, Drain, Endpoints, Fanout, Heartbeat, Limits, Queue, Socket};
pub use callbacks::{Hooks, Outbound, Traces, Webhook, Webhooks};
pub use engine::Redis;
pub use error::{ConfigError, ConfigErrors, Layer};
pub use features::{Admission, Api, Auth, Chat, History, Log, Metrics, Presence, RateLimit};
pub use finding::{Finding, Level};
pub use listen::{Listen, ListenError};
pub use load::Sources;
pub use machine::Machine;
pub use reload::Reloaded;
pub use room_rules::RoomRule;
pub use tls::{CertificateFiles, Tls};
pub use tree::{Config, KeyInfo, Provenance, keys};
pub use types::WebhookEvent;
pub use types::{
    Duplicate, Engine, HistorySync, LogFormat, OnFailure, QueuePolicy, RedisMode, Refuse, Secret,
};
pub use url::{Url, is_near};

#[cfg(test)]
mod tests;
