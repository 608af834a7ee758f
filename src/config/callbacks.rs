//! Sections about requests that throng sends to other servers.

use std::path::PathBuf;
use std::time::Duration;

use crate::names::units::{GIB, KIB, MIB, TIB};

use super::kind::{Choice, Count, Size, Time};
use super::list::{Between, List, Optional};
use super::schema::settings;
use super::tables::{Row, Tables};
use super::text::{FilePath, HEADER, HttpUrl, PATTERN};
use super::types::{OnFailure, Secret, WebhookEvent};
use super::url::Url;

const HOUR: u64 = 3_600_000;

settings! {
    /// Requests to other servers over HTTP: webhooks, hooks, and sets of keys.
    Outbound at outbound {
        /// File with the certificates in PEM that may have signed that of another server; without it, those that the
        /// system trusts.
        ca_file: Option<PathBuf> = None, Optional(FilePath), restart;
    }
}

settings! {
    /// Traces for OpenTelemetry.
    Traces at traces {
        /// URL of a collector that takes OTLP over HTTP, `https` or to a loopback or private address. Without a path it
        /// gets `/v1/traces`. Needs a build with the feature `otel`.
        url: Option<Url> = None, Optional(HttpUrl), restart;
        /// One in so many connections and calls becomes a span, and besides each call whose caller follows it; 1 to
        /// 1,000,000. Memory: at most 4,096 spans wait, some 500 bytes each.
        one_in: usize = 1, Count(1, 1_000_000), restart;
    }
}

settings! {
    /// A server that is told events.
    Webhook {
        /// The URL that events are posted to.
        url: Url = Url::default(), HttpUrl, live;
        /// File with the secrets that sign, one per line: `whsec_` and base64. All of them sign, the first one first.
        secret_file: Option<PathBuf> = None, Optional(FilePath), live;
        /// The events; without it all but `message` and `disconnected`.
        events: Vec<WebhookEvent> = usual_events(),
            Between(Choice(WebhookEvent::ALL), 1, WebhookEvent::ALL.len()), live;
        /// Patterns of the rooms whose events are told, at most 256; without any, those of all rooms.
        rooms: Vec<String> = Vec::new(), Between(PATTERN, 0, 256), live;
    } and {
        /// Not a key: the secrets that `secret_file` holds.
        secrets: Vec<Secret>;
    }
}

fn usual_events() -> Vec<WebhookEvent> {
    let all = WebhookEvent::ALL.iter().map(|(_, event)| *event);
    all.filter(|event| !matches!(event, WebhookEvent::Message | WebhookEvent::Disconnected)).collect()
}

impl Row for Webhook {
    const LIST: &'static str = "receivers";
    // Each has eight tasks, and every event is compared with the wishes of all.
    const MOST: usize = 16;
    const REQUIRED: (&'static str, &'static str) = ("url", HttpUrl::ALLOWED);
}

settings! {
    /// Events that other servers are told, at least once each.
    Webhooks at webhooks {
        /// The servers that are told, at most 16: `[[webhooks.receivers]]` with `url`, `secret_file`, and any of
        /// `events` and `rooms`.
        receivers: Vec<Webhook> = Vec::new(), Tables::<Webhook>::new(), live;
        /// Time for which an event waits for others to travel with; 0ms to 10s.
        linger: Duration = Duration::from_millis(100), Time(0, 10_000), live;
        /// Longest time until a receiver has answered; 10ms to 1m.
        timeout: Duration = Duration::from_secs(5), Time(10, 60_000), live;
        /// Time without a connection after which a user is offline, and without a member after which a room is
        /// vacated; 0ms to 1h. Memory: some 100 bytes for each that waits.
        offline_after: Duration = Duration::from_secs(30), Time(0, HOUR), live;
        /// Age at which events that cannot be delivered are dropped; 1s to 7d.
        keep: Duration = Duration::from_secs(3600), Time(1_000, 7 * 24 * HOUR), live;
        /// Events that wait for one receiver in memory; beyond, the newest are dropped, and the receiver is told. With
        /// `webhooks.dir`, those beyond wait on disk alone. 100 to 10,000,000.
        max_events: usize = 10_000, Count(100, 10_000_000), live;
        /// Bytes of the events that wait for one receiver in memory; 256KiB to 16GiB. Memory: this much per receiver.
        max_bytes: usize = 16 * MIB, Size(256 * KIB, 16 * GIB), live;
        /// Folder, used by this process alone, in which events wait, so that they survive the end of the process.
        dir: Option<PathBuf> = None, Optional(FilePath), restart;
        /// Bytes on disk of the events that wait for one receiver in `webhooks.dir`; beyond, the newest are dropped,
        /// and the receiver is told. 1MiB to 1TiB. Disk: this much per receiver.
        max_disk_bytes: usize = GIB, Size(MIB, TIB), live;
    }
}

settings! {
    /// Questions to another server before a client may come in.
    Hooks at hooks {
        /// URL that is asked before a user connects to the chat.
        connect: Option<Url> = None, Optional(HttpUrl), restart;
        /// URL that is asked before a user enters a room.
        join: Option<Url> = None, Optional(HttpUrl), restart;
        /// File with the secrets that sign, one per line: `whsec_` and base64. All of them sign, the first one first.
        secret_file: Option<PathBuf> = None, Optional(FilePath), restart;
        /// Longest time until the other server has answered; 10ms to 10s.
        timeout: Duration = Duration::from_secs(1), Time(10, 10_000), restart;
        /// Headers of the handshake that `hooks.connect` is told, at most 1,024; cookies only if they are named.
        headers: Vec<String> = Vec::new(), List(HEADER), restart;
        /// Answer when the other server gives none: `refuse`, or `allow`.
        on_failure: OnFailure = OnFailure::Refuse, Choice(OnFailure::ALL), restart;
        /// Time for which the answer about a user and a room is remembered; 0ms (not at all) to 1h.
        /// Memory: at most 65,536 answers, some 200 bytes each.
        remember: Duration = Duration::from_secs(30), Time(0, HOUR), restart;
        /// Questions under way at once; one beyond counts as a failure. 1 to 65,536.
        max_in_flight: usize = 256, Count(1, 65_536), restart;
    } and {
        /// Not a key: the secrets that `secret_file` holds.
        secrets: Vec<Secret>;
    }
}
