//! The sections that say what the server does: chat, presence, history, who may come in, what is logged.

use std::path::PathBuf;
use std::time::Duration;

use super::Config;
use super::kind::{Choice, Count, Flag, Size, Time};
use super::schema::settings;
use super::units::{GIB, KIB, MIB, TIB};
use super::value::{Duplicate, HistorySync, LogFormat, Refuse, Secret};
use super::words::{ADDRESS_BLOCK, CLAIM, FILTER, HeaderKey, Hidden, List, Maybe, NAME, Origins, Pem, Place};
use crate::keys::Algorithm;

settings! {
    /// The chat.
    Chat of Config at chat {
        /// The room entered without `?room=`.
        default_room: String = "lobby".into(), NAME;
        /// Characters (Unicode scalar values) of one message; 1 to 1,000,000.
        /// Memory: up to six bytes each, which must fit into `queue.max_bytes` and `fanout.max_inbox_bytes`.
        max_message_chars: usize = 500, Count(1, 1_000_000);
        /// A taken user id: `reject` the newcomer, `replace` the incumbent, or `allow` both.
        duplicate: Duplicate = Duplicate::Reject, Choice(Duplicate::ALL);
    }
}

settings! {
    /// Who is here, and who is told.
    Presence of Config at presence {
        /// Members above which notices are merged into one per interval; 0 (always merged) to 10,000,000.
        notice_limit: usize = 100, Count(0, 10_000_000);
        /// Members above which only their number is told; 0 (always) to 10,000,000.
        count_only_above: usize = 5000, Count(0, 10_000_000);
        /// Time between merged notices; 1ms to 1h.
        interval: Duration = Duration::from_secs(1), Time(1, 3_600_000);
    }
}

settings! {
    /// What a room remembers for those who come back.
    History of Config at history {
        /// Messages per room; 0 (nothing is kept) to 1,000,000.
        messages: usize = 256, Count(0, 1_000_000);
        /// Bytes per room; 1KiB to 1GiB. Memory: this much per busy room, within `history.total_bytes`.
        bytes: usize = 256 * KIB, Size(KIB, GIB);
        /// Age of a message beyond which it is forgotten; 1ms to 30d.
        ttl: Duration = Duration::from_secs(600), Time(1, 30 * 86_400_000);
        /// Rooms without members and messages whose positions (and idempotency keys) are remembered, so that whoever
        /// comes back and has missed nothing is told so; beyond: one of whoever opened most of them goes. 1 to
        /// 100,000,000. Memory: some 200 bytes each, with `history.dir` some 400, and as much on disk.
        positions: usize = 1_000_000, Count(1, 100_000_000);
        /// For how long they are; 0ms (not at all) to 30d.
        position_ttl: Duration = Duration::from_secs(86_400), Time(0, 30 * 86_400_000);
        /// Bytes of all histories together, beyond: the oldest messages of all go first; 64KiB to 1TiB. Memory: at most
        /// this.
        total_bytes: usize = 256 * MIB, Size(64 * KIB, TIB);
        /// A folder, of this process alone, that makes history survive the end of the process (for that of the machine
        /// see `history.sync`). Disk: some three times the histories, and 40MiB. Memory: 24MiB at most of what waits
        /// to be written.
        dir: Option<PathBuf> = None, Maybe(Place);
        /// When `history.dir` is told to reach the disk, to survive the end of the machine: `off` (as the system
        /// likes), `1s` (at most so long after a message was written), or `batch` (before it is acknowledged).
        sync: HistorySync = HistorySync::Off, Choice(HistorySync::ALL);
    }
}

settings! {
    /// How fast one connection and one user may be.
    RateLimit of Config at rate_limit {
        /// Whether there is a limit at all.
        enabled: bool = true, Flag;
        /// Chat messages per second in the long run, of a connection and of a user; 1 to 1,000,000.
        /// Memory: some 40 bytes per user who has not all tokens, of whom a million are remembered.
        messages_per_second: usize = 10, Count(1, 1_000_000);
        /// Chat messages at once after a silence; 1 to 1,000,000.
        burst: usize = 40, Count(1, 1_000_000);
        /// Frames per second and connection, control frames and fragments included, and as many at once, or
        /// `limits.max_rooms_per_connection` if that is more; 1 to 10,000,000.
        frames_per_second: usize = 200, Count(1, 10_000_000);
        /// Refusals within a minute, beyond: 4002; 1 to 1,000,000.
        strikes: usize = 50, Count(1, 1_000_000);
    }
}

settings! {
    /// Tokens. At most one of a key and the file it stands in; which key is needed follows from the algorithm.
    Auth of Config at auth {
        /// Whether the chat demands a token whose `sub` is the user id.
        required: bool = false, Flag;
        /// The one algorithm that tokens may have: `HS256`, `RS256`, `ES256` or `EdDSA`.
        algorithm: Algorithm = Algorithm::Hs256, Choice(Algorithm::ALL);
        /// The key of HS256, 1 to 4,096 bytes; should have at least 32 (RFC 7518, section 3.2).
        secret: Option<Secret> = None, Maybe(Hidden(1, 4096));
        /// A file with the key of HS256; blanks at its end do not count. After loading, `auth.secret` holds the key.
        secret_file: Option<PathBuf> = None, Maybe(Place);
        /// The public key in PEM: RSA of 2,048 to 4,096 bits for RS256, P-256 for ES256, Ed25519 for EdDSA.
        public_key: Option<String> = None, Maybe(Pem);
        /// A file with the public key. After loading, `auth.public_key` holds the key.
        public_key_file: Option<PathBuf> = None, Maybe(Place);
        /// What `aud` must be, 1 to 256 bytes.
        audience: Option<String> = None, Maybe(CLAIM);
        /// What `iss` must be, 1 to 256 bytes.
        issuer: Option<String> = None, Maybe(CLAIM);
        /// By how much the clock of whoever makes the tokens may differ, for `exp`, `nbf` and `iat`; 0ms to 5m.
        leeway: Duration = Duration::from_secs(10), Time(0, 300_000);
    }
}

settings! {
    /// Who may come in, and how others are turned away.
    Admission of Config at admission {
        /// Pages that may connect, as browsers send `Origin` (`https://chat.example`), or `any` (an empty list here).
        origins: Vec<String> = Vec::new(), Origins;
        /// How a bad token or user id is answered: `close` after the upgrade, or `http`.
        refuse: Refuse = Refuse::Close, Choice(Refuse::ALL);
        /// Proxies whose word on the client's address is taken: addresses or blocks like `10.0.0.0/8`, at most 1,024.
        trusted_proxies: Vec<String> = Vec::new(), List(ADDRESS_BLOCK);
        /// Whether every connection begins with a PROXY protocol header, version 2; others are closed.
        proxy_protocol: bool = false, Flag;
    }
}

settings! {
    /// The server API.
    Api of Config at api {
        /// Keys that open what is the operator's, each 16 to 256 visible ASCII characters; none: one is made at each
        /// start, and the log says it.
        keys: Vec<Secret> = Vec::new(), List(HeaderKey);
        /// A file with the keys, one per line. After loading, `api.keys` holds them.
        keys_file: Option<PathBuf> = None, Maybe(Place);
    }
}

settings! {
    /// What is logged, to standard error.
    Log of Config at log {
        /// A level (off, error, warn, info, debug, trace) or directives like `info,throng::registry=debug`.
        level: String = "info".into(), FILTER;
        /// `text` for people or `json`, one object per line.
        format: LogFormat = LogFormat::Text, Choice(LogFormat::ALL);
    }
}

settings! {
    /// Numbers for Prometheus.
    Metrics of Config at metrics {
        /// Whether `/metrics` answers.
        enabled: bool = true, Flag;
    }
}
