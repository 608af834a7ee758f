//! How a server is reached, and how long each step may take.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::config::Secret;

/// How a link reaches its server.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// A host name, which is resolved anew for each attempt to connect, or an IP address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The Sentinels that name the server at each attempt to connect, whatever host and port are then.
    pub sentinels: Option<Arc<Sentinels>>,
    /// Whether the server must be part of a Redis Cluster, or must not.
    pub is_cluster: bool,
    /// The user of the server's access control list. None: the user `default`.
    pub username: Option<String>,
    /// The user's password. None: the server is not told any.
    pub password: Option<Secret>,
    /// TLS. None: plain TCP.
    pub tls: Option<TlsSettings>,
    /// The name that `CLIENT LIST` shows for the connections of this node. Without spaces.
    pub client_name: String,
    /// A channel of this link alone. The link publishes to it, and must see what it has published. In a cluster its
    /// slot must be one of this server's; when that slot moves away, the owner starts another link.
    pub probe_channel: Bytes,
    /// How long each step may take.
    pub timings: Timings,
}

impl ServerSettings {
    /// Describes a server that is reached over plain TCP without a password, with the usual deadlines.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16, probe_channel: impl Into<Bytes>) -> Self {
        Self {
            host: host.into(),
            port,
            sentinels: None,
            is_cluster: false,
            username: None,
            password: None,
            tls: None,
            client_name: "throng".into(),
            probe_channel: probe_channel.into(),
            timings: Timings::default(),
        }
    }
}

/// The Sentinels of one master.
#[derive(Debug)]
pub struct Sentinels {
    /// In the order in which they are asked.
    pub(super) servers: Mutex<Vec<ServerSettings>>,
    pub(super) master_name: String,
}

impl Sentinels {
    /// Describes the Sentinels that watch the master with this name. They need not be reachable.
    #[must_use]
    pub fn new(servers: Vec<ServerSettings>, master_name: &str) -> Self {
        Self { servers: Mutex::new(servers), master_name: master_name.to_owned() }
    }
}

impl fmt::Display for ServerSettings {
    /// Writes `host:port`, with brackets around an IPv6 address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// The files of a TLS connection, all in PEM. They are read anew for each attempt to connect, so that renewed
/// certificates need no restart.
#[derive(Debug, Clone, Default)]
pub struct TlsSettings {
    /// The authorities that may have signed the server's certificate. None: those that the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// The certificate that this node shows, and its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// How long the steps of a link may take. The defaults suit a server in the same region.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// Until a connection is there: name, TCP, TLS and the greeting of the protocol.
    pub connect: Duration,
    /// Until a call is answered, or a subscription confirmed. After it both connections are dropped.
    pub answer: Duration,
    /// Until the peer has acknowledged bytes that were sent (`TCP_USER_TIMEOUT`).
    pub user_timeout: Duration,
    /// Between two probes.
    pub probe_every: Duration,
    /// Without a probe for this long, both connections are dropped.
    pub probe_lost: Duration,
    /// The longest wait before the first attempt to connect again. It doubles with each attempt, and the wait is a
    /// random part of it, so that nodes do not come back in step.
    pub first_retry: Duration,
    /// The longest wait before any attempt.
    pub last_retry: Duration,
    /// After this long without a break the waits begin with `first_retry` again.
    pub steady: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            answer: Duration::from_secs(2),
            user_timeout: Duration::from_secs(5),
            probe_every: Duration::from_secs(1),
            probe_lost: Duration::from_secs(3),
            first_retry: Duration::from_millis(50),
            last_retry: Duration::from_secs(2),
            steady: Duration::from_secs(5),
        }
    }
}
