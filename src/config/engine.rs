//! The section of the engine: the servers of Redis or Valkey that several nodes share.

use std::path::PathBuf;
use std::time::Duration;

use crate::names::units::{GIB, MIB};

use super::address::Address;
use super::kind::{Choice, Flag, Size, Time};
use super::list::{Between, Optional};
use super::schema::settings;
use super::text::{FilePath, HostPort, LABEL, PREFIX, SecretText};
use super::types::{RedisMode, Secret};

/// Time for which an idempotency key is kept by the engine: longer than the five minutes that are promised, because
/// keys are kept in intervals of five minutes. A room must outlive its keys.
pub(super) const KEYS_TTL: Duration = Duration::from_secs(660);

settings! {
    /// The servers of Redis or Valkey (version 7 or later) through which several nodes share rooms, with `engine =
    /// "redis"`. All nodes of one chat have the same `redis.prefix`, and no other program may write its keys.
    Redis at redis {
        /// Servers, 1 to 16 of `host:port`: the one of `single`, all Sentinels of `sentinel`, or some masters of
        /// `cluster`, from which the others are learnt. An IPv6 address stands in brackets. In the environment, commas
        /// separate them.
        addresses: Vec<Address> = vec![Address { host: "127.0.0.1".into(), port: 6379 }],
            Between(HostPort, 1, 16), restart;
        /// How the servers belong together: `single` (one server), `sentinel` (a master and replicas, which Sentinels
        /// watch) or `cluster` (Redis Cluster).
        mode: RedisMode = RedisMode::Single, Choice(RedisMode::ALL), restart;
        /// Name of the master that the Sentinels are asked for; needed with `redis.mode = "sentinel"`.
        master_name: Option<String> = None, Optional(LABEL), restart;
        /// User of the servers' access list; without it, the password is that of the user `default`.
        username: Option<String> = None, Optional(LABEL), restart;
        /// Password of the servers, 1 to 4,096 bytes.
        password: Option<Secret> = None, Optional(SecretText(1, 4096)), restart;
        /// File with the password; white space at its end is ignored. After loading, `redis.password` holds it.
        password_file: Option<PathBuf> = None, Optional(FilePath), restart;
        /// User of the Sentinels' access list; they do not take that of the servers.
        sentinel_username: Option<String> = None, Optional(LABEL), restart;
        /// Password of the Sentinels, 1 to 4,096 bytes; they do not take that of the servers.
        sentinel_password: Option<Secret> = None, Optional(SecretText(1, 4096)), restart;
        /// File with the password of the Sentinels; white space at its end is ignored. After loading,
        /// `redis.sentinel_password` holds it.
        sentinel_password_file: Option<PathBuf> = None, Optional(FilePath), restart;
        /// Whether every connection to a server or Sentinel is encrypted with TLS, and its certificate checked.
        tls: bool = false, Flag, restart;
        /// File with the certificates in PEM that may have signed that of a server; without it, those that the system
        /// trusts.
        ca_file: Option<PathBuf> = None, Optional(FilePath), restart;
        /// File with the certificate in PEM that this node shows to the servers; needs `redis.key_file`.
        cert_file: Option<PathBuf> = None, Optional(FilePath), restart;
        /// File with the private key in PEM that belongs to `redis.cert_file`.
        key_file: Option<PathBuf> = None, Optional(FilePath), restart;
        /// First part of the name of every key and channel, 1 to 32 of `[A-Za-z0-9_.:@-]`. Two chats on the same
        /// servers need different ones.
        prefix: String = "throng".into(), PREFIX, restart;
        /// Time without an answer of a server after which new messages of its rooms get `unavailable` at once; 100ms
        /// to 1m. At the start, the server waits fifteen times as long for the engine.
        patience: Duration = Duration::from_secs(2), Time(100, 60_000), restart;
        /// Bytes of all messages that wait to be sent to the engine; beyond, publishing answers `unavailable`. 1MiB to
        /// 4GiB. Memory: at most this much.
        max_waiting_bytes: usize = 32 * MIB, Size(MIB, 4 * GIB), restart;
        /// Time for which the engine keeps a room that no node has members in; 11m to 31d, and at least `history.ttl`
        /// (that of each rule in `rooms`, too) and 11 minutes.
        room_ttl: Duration = Duration::from_secs(3600), Time(660_000, 31 * 86_400_000), restart;
    }
}
