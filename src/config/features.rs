//! Sections that select what the server does: chat, presence, history, authentication, admission, logging.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::names::units::{GIB, KIB, MIB, TIB};

use super::kind::{Choice, Count, Flag, ListenAddress, Size, Time};
use super::list::{Between, List, Optional, Origins};
use super::schema::settings;
use super::text::{
    ADDRESS_BLOCK, CLAIM, FILTER, FilePath, HeaderSecret, HttpUrl, KEY_SET, NAME, PATTERN, PEMS, SECRETS,
    USER,
};
use super::types::{Duplicate, HistorySync, LogFormat, Refuse, Secret};
use super::url::Url;
use crate::keys::Algorithm;

settings! {
    /// The chat.
    Chat at chat {
        /// Room that a connection enters when its request has no `?room=`.
        default_room: String = "lobby".into(), NAME, restart;
        /// Characters (Unicode scalar values) of one message; 1 to 1,000,000.
        /// Memory: up to six bytes each, which must fit into `queue.max_bytes` and `fanout.max_inbox_bytes`.
        max_message_chars: usize = 500, Count(1, 1_000_000), live;
        /// Bytes of the JSON that a message may carry as `data` beside its text; 0B (none) to 1MiB.
        /// Memory: as much again for each message.
        max_data_bytes: usize = 4 * KIB, Size(0, MIB), live;
        /// Policy for a connection that asks for a user id held by another one: `reject` the newer, `replace` the
        /// older, or `allow` both.
        duplicate: Duplicate = Duplicate::Reject, Choice(Duplicate::ALL), restart;
        /// Patterns of the rooms that everybody may find, at most 256: `GET /rooms` lists them with the number of their
        /// members and the beginning of their last message, and the page at `/` shows the list. Without any, no room is
        /// listed, because the name of a room may be its only secret.
        listed_rooms: Vec<String> = Vec::new(), Between(PATTERN, 0, 256), live;
    }
}

settings! {
    /// How members of a room learn who else is in it.
    Presence at presence {
        /// Members of a room above which notices of joins and leaves are merged into one per interval; 0 (always
        /// merged) to 10,000,000.
        notice_limit: usize = 100, Count(0, 10_000_000), live;
        /// Members of a room above which notices contain their number alone and no names; 0 (always) to 10,000,000.
        count_only_above: usize = 5000, Count(0, 10_000_000), live;
        /// Time between merged notices; 1ms to 1h.
        interval: Duration = Duration::from_secs(1), Time(1, 3_600_000), live;
    }
}

settings! {
    /// Messages that a room keeps for clients that reconnect.
    History at history {
        /// Messages kept per room; 0 (none) to 1,000,000.
        messages: usize = 256, Count(0, 1_000_000), live;
        /// Bytes kept per room; 1KiB to 1GiB. Memory: this much per busy room, within `history.total_bytes`.
        bytes: usize = 256 * KIB, Size(KIB, GIB), live;
        /// Age at which a message is dropped from the history; 1ms to 30d. With `history.dir` the default is 7d.
        ttl: Duration = Duration::from_secs(600), Time(1, 30 * 86_400_000), live;
        /// Rooms without members and messages whose positions (and idempotency keys) are remembered, so that a client
        /// that returns and has missed nothing is told so; beyond, the client that opened most of these rooms loses
        /// one. 1 to 100,000,000. Memory: some 200 bytes each, with `history.dir` some 400, and as much on disk.
        positions: usize = 1_000_000, Count(1, 100_000_000), restart;
        /// Time for which the position of a room without members and messages is remembered; 0ms (not at all) to 30d.
        position_ttl: Duration = Duration::from_secs(86_400), Time(0, 30 * 86_400_000), restart;
        /// Bytes of all histories together; beyond, the oldest messages of all are dropped. 64KiB to 1TiB.
        /// Memory: at most this much.
        total_bytes: usize = 256 * MIB, Size(64 * KIB, TIB), restart;
        /// Folder, used by this process alone, that makes history survive the end of the process (to survive the end of
        /// the machine, see `history.sync`). Disk: some three times the histories, plus 40MiB.
        /// Memory: at most 24MiB of messages that wait to be written.
        dir: Option<PathBuf> = None, Optional(FilePath), restart;
        /// When messages in `history.dir` are flushed to the disk, to survive the end of the machine: `off` (when the
        /// operating system does), `1s` (at most one second after they were written), or `batch` (before they are
        /// acknowledged).
        sync: HistorySync = HistorySync::Off, Choice(HistorySync::ALL), restart;
    }
}

settings! {
    /// How fast one connection and one user may send.
    RateLimit at rate_limit {
        /// Whether the limits of this section apply.
        enabled: bool = true, Flag, live;
        /// Chat messages per second in the long run, of one connection and of one user; 1 to 1,000,000.
        /// Memory: some 40 bytes per user whose bucket is not full, for at most a million users.
        messages_per_second: usize = 10, Count(1, 1_000_000), live;
        /// Chat messages that may be sent at once after a silence; 1 to 1,000,000.
        burst: usize = 40, Count(1, 1_000_000), live;
        /// Frames per second and connection, control frames and fragments included. The burst is as many, or
        /// `limits.max_rooms_per_connection` if that is more. 1 to 10,000,000.
        frames_per_second: usize = 200, Count(1, 10_000_000), live;
        /// Messages of one connection refused for their rate within a minute; more end it with 4002. 1 to 1,000,000.
        strikes: usize = 50, Count(1, 1_000_000), live;
    }
}

settings! {
    /// Tokens that prove who a user is. The algorithm decides which key is needed; it is given either as such or as the
    /// file that contains it.
    Auth at auth {
        /// Whether the chat demands a token whose `sub` is the user id.
        required: bool = false, Flag, live;
        /// The one algorithm that tokens may have: `HS256`, `RS256`, `ES256` or `EdDSA`.
        algorithm: Algorithm = Algorithm::Hs256, Choice(Algorithm::ALL), live;
        /// Key of HS256, 1 to 4,096 bytes; should have at least 32 (RFC 7518, section 3.2). Or a list of up to 8 (in
        /// the environment one per line): the first one signs, and all verify.
        secret: Vec<Secret> = Vec::new(), SECRETS, live;
        /// File with the keys of HS256, one per line; white space at the end of a line is ignored. After loading,
        /// `auth.secret` holds them.
        secret_file: Option<PathBuf> = None, Optional(FilePath), live;
        /// Public key in PEM: RSA of 2,048 to 4,096 bits for RS256, P-256 for ES256, Ed25519 for EdDSA. Or a list of
        /// up to 8 (in the environment one behind the other): all verify.
        public_key: Vec<String> = Vec::new(), PEMS, live;
        /// File with the public keys, one PEM block behind the other. After loading, `auth.public_key` holds them.
        public_key_file: Option<PathBuf> = None, Optional(FilePath), live;
        /// Public keys as a JSON Web Key Set (RFC 7517), of which a token names one by its `kid`: at most 64 in 256KiB.
        /// Keys of another algorithm are left out.
        jwks: Option<String> = None, Optional(KEY_SET), live;
        /// File with such a set. After loading, `auth.jwks` holds it.
        jwks_file: Option<PathBuf> = None, Optional(FilePath), live;
        /// URL of such a set, `https` or to a loopback or private address, which is fetched again when its `max-age` is
        /// over (1m to 1h; without one 10m), and for a `kid` that it lacks, at most once in 30s.
        jwks_url: Option<Url> = None, Optional(HttpUrl), restart;
        /// Time for which a set holds while its URL gives none; then no token is good. 1m to 30d.
        jwks_stale: Duration = Duration::from_secs(86_400), Time(60_000, 2_592_000_000), live;
        /// Value that the claim `aud` must have or contain, 1 to 256 bytes.
        audience: Option<String> = None, Optional(CLAIM), live;
        /// Value that the claim `iss` must have, 1 to 256 bytes.
        issuer: Option<String> = None, Optional(CLAIM), live;
        /// Longest life of a token, from `iat` to `exp`; 1m to 3650d. A token that lives longer is refused, and so is
        /// one without `iat`. Also how long the revocation of a user is remembered; without it, 30d.
        max_token_life: Option<Duration> = None, Optional(Time(60_000, 315_360_000_000)), live;
        /// Difference allowed between this clock and that of the tokens' issuer, for `exp`, `nbf` and `iat`; 0ms to 5m.
        leeway: Duration = Duration::from_secs(10), Time(0, 300_000), live;
    }
}

settings! {
    /// Which handshakes are accepted, and how the others are refused.
    Admission at admission {
        /// Origins of web pages that may connect, as browsers send them (`https://chat.example`), or `any` (an empty
        /// list in code).
        origins: Vec<String> = Vec::new(), Origins, live;
        /// How a bad token or user id is answered: `close` (after the upgrade) or `http` (an error status).
        refuse: Refuse = Refuse::Close, Choice(Refuse::ALL), live;
        /// Proxies that are trusted to name the client's address: addresses or blocks like `10.0.0.0/8`, at most 1,024.
        trusted_proxies: Vec<String> = Vec::new(), List(ADDRESS_BLOCK), live;
        /// Whether every connection must begin with a PROXY protocol header, version 2; without one it is closed.
        proxy_protocol: bool = false, Flag, restart;
    }
}

settings! {
    /// The HTTP interface for operators and for other servers.
    Api at api {
        /// Address and port of its own for the API, `/metrics` and the dashboard, which are then gone from `listen`.
        listen: Option<SocketAddr> = None, Optional(ListenAddress), restart;
        /// Keys that open the server API and the operator's pages, each 16 to 256 visible ASCII characters.
        /// `NAME=KEY` gives a key a name for the log. Without any, the API refuses everything, and a key for the
        /// operator's pages is made at each start and logged.
        keys: Vec<Secret> = Vec::new(), List(HeaderSecret), live;
        /// File with the keys, one per line. After loading, `api.keys` holds them.
        keys_file: Option<PathBuf> = None, Optional(FilePath), live;
        /// Keys as in `api.keys` that open only what reads: `GET` in the API, and the operator's pages.
        read_keys: Vec<Secret> = Vec::new(), List(HeaderSecret), live;
        /// User who speaks in a message of the API that names no `user`; 3 to 64 of `[A-Za-z0-9_.:@-]`.
        user: String = "server".into(), USER, live;
        /// Calls of the API that are under way at once; a call beyond gets 503. 1 to 65,536.
        /// Memory: a body of at most `limits.max_request_body` each, and what is parsed of it.
        max_in_flight: usize = 256, Count(1, 65_536), live;
        /// Calls per second for each key of the API, and as many in one burst; a call beyond gets 429. 0 (no limit) to
        /// 1,000,000.
        requests_per_second: usize = 0, Count(0, 1_000_000), live;
        /// Idempotency keys remembered for each user on whose behalf the API speaks, in place of
        /// `limits.max_keys_per_user`; 1 to 10,000,000. Memory: within `limits.max_keys_bytes`.
        max_keys: usize = 1_000_000, Count(1, 10_000_000), live;
    }
}

settings! {
    /// Log lines on standard error.
    Log at log {
        /// Level (off, error, warn, info, debug, trace) or directives like `info,throng::server=debug`.
        level: String = "info".into(), FILTER, live;
        /// Format of log lines: `text` for people, or `json` with one object per line.
        format: LogFormat = LogFormat::Text, Choice(LogFormat::ALL), restart;
    }
}

settings! {
    /// Metrics for Prometheus.
    Metrics at metrics {
        /// Whether `/metrics` is served.
        enabled: bool = true, Flag, live;
    }
}
