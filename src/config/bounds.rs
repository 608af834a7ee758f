//! The sections that bound what a client can cost: connections, queues, sockets, deadlines.

use std::time::Duration;

use super::Config;
use super::kind::{Choice, Count, Size, SizeOrZero, Time};
use super::schema::settings;
use super::units::{GIB, KIB, MIB, TIB};
use super::value::QueuePolicy;

/// One hour in milliseconds: no deadline of a connection needs to be longer.
const HOUR: u64 = 3_600_000;

settings! {
    /// What one client, one address and all together may ask for.
    Limits of Config at limits {
        /// Open connections beyond which a newcomer gets 503; 0 (from the descriptor limit, less a reserve) to
        /// 10,000,000. Memory: at most 2 KiB each while idle, the kernel's 4 KiB aside.
        max_connections: usize = 0, Count(0, 10_000_000);
        /// Open connections and sockets not yet upgraded per IPv4 address or IPv6 /64, pages apart, beyond: 429; 0 (no
        /// limit) to 10,000,000.
        /// Memory: an entry of some 64 bytes per address connected.
        max_connections_per_address: usize = 0, Count(0, 10_000_000);
        /// Handshakes, those included that never come to an end, per second and IPv4 address or IPv6 /64, as many at
        /// once, beyond: 429; 0 (no limit) to 1,000,000.
        /// Memory: an entry of some 64 bytes per address seen within the last two seconds, at most 1,048,576 entries.
        handshakes_per_second_per_address: usize = 0, Count(0, 1_000_000);
        /// Sockets not yet upgraded, in all, beyond: of the address with the most the oldest that is waited for makes
        /// way, or else the newcomer gets 503; 1 to 65,536. Memory: up to 16 KiB of request head each.
        max_handshakes: usize = 1024, Count(1, 65_536);
        /// From accept, or from the last response on a kept-alive connection, to the whole request head; 1ms to 1h.
        handshake_timeout: Duration = Duration::from_secs(10), Time(1, HOUR);
        /// One message, its fragments together, beyond: 1009; 1 byte to 1GiB.
        /// Memory: this much per connection with a message under way.
        max_message_bytes: usize = 64 * KIB, Size(1, GIB);
        /// Fragments per message, beyond: 1009; 1 to 1,048,576. Memory: none of its own.
        max_fragments: usize = 64, Count(1, 1_048_576);
        /// First fragment to last, beyond: 3008; 1ms to 1h.
        message_timeout: Duration = Duration::from_secs(30), Time(1, HOUR);
        /// Rooms one connection may be in; 1 to 10,000. Memory: a membership of some 100 bytes each.
        max_rooms_per_connection: usize = 100, Count(1, 10_000);
        /// Rooms in all, beyond: of those that nobody is in one makes way, of whoever opened most of them the one that
        /// was left first, and the default one is opened in any case; 1 to 100,000,000. Memory: some 1 KiB each, and
        /// its history besides.
        max_rooms: usize = 1_000_000, Count(1, 100_000_000);
        /// Malformed commands within a minute, beyond: 4502; 0 (the first one ends the connection) to 1,000,000.
        malformed_per_minute: usize = 20, Count(0, 1_000_000);
        /// Idempotency keys remembered per user, beyond: the oldest of the user is forgotten; 0 (as many as
        /// `rate_limit.*` lets a user say in five minutes, or a million without limit) to 1,000,000.
        /// Memory: within `limits.max_keys_bytes`.
        max_keys_per_user: usize = 0, Count(0, 1_000_000);
        /// Bytes of all idempotency keys together, beyond: the oldest of all is forgotten; 64KiB to 1TiB. A key takes
        /// some 200 bytes. Memory: at most this.
        max_keys_bytes: usize = 256 * MIB, Size(64 * KIB, TIB);
        /// The body of an HTTP request; 1 byte to 1GiB. Memory: this much per request under way.
        max_request_body: usize = MIB, Size(1, GIB);
    }
}

settings! {
    /// The bounds of one client's queue: messages and bytes and age, whichever is first.
    Queue of Config at queue {
        /// Messages waiting; 1 to 1,000,000. Memory: a reference of some 32 bytes each.
        max_messages: usize = 1024, Count(1, 1_000_000);
        /// Bytes waiting; 64KiB to 1GiB. Memory: counted per client, though clients of a room share the bytes.
        max_bytes: usize = MIB, Size(64 * KIB, GIB);
        /// Age of the oldest message waiting; 1ms to 1h.
        max_age: Duration = Duration::from_secs(10), Time(1, HOUR);
        /// What happens then: `disconnect`, `drop_oldest` or `drop_newest`.
        policy: QueuePolicy = QueuePolicy::Disconnect, Choice(QueuePolicy::ALL);
        /// Bytes waiting in all queues together, beyond: the largest queue goes first; 0 (a quarter of memory) or
        /// 64KiB to 1TiB. Memory: at most this.
        total_bytes: usize = 0, SizeOrZero(64 * KIB, TIB);
    }
}

settings! {
    /// The kernel's side of the bound: left alone it hides megabytes of lag per client.
    Socket of Config at socket {
        /// `SO_SNDBUF` of every connection; 4KiB to 64MiB. Memory: the kernel's, up to twice this per slow client.
        send_buffer: usize = 128 * KIB, Size(4 * KIB, 64 * MIB);
        /// `TCP_NOTSENT_LOWAT`: unsent bytes in the kernel below which a socket can take more; 1KiB to 64MiB.
        /// Memory: within the send buffer.
        notsent_lowat: usize = 32 * KIB, Size(KIB, 64 * MIB);
    }
}

settings! {
    /// How messages travel from a room to its members.
    Fanout of Config at fanout {
        /// How long to wait for more before writing; 0ms (not at all) to 1s.
        linger: Duration = Duration::ZERO, Time(0, 1_000);
        /// Bytes waiting in one shard's inbox, beyond: `unavailable`; 64KiB to 4GiB. Memory: this much per worker.
        max_inbox_bytes: usize = 8 * MIB, Size(64 * KIB, 4 * GIB);
    }
}

settings! {
    /// Life signs at the level of WebSocket.
    Heartbeat of Config at heartbeat {
        /// Silence, of a client or towards it, after which it is pinged; 1ms to 1h.
        interval: Duration = Duration::from_secs(25), Time(1, HOUR);
        /// Time to answer the ping, beyond: 3008; 1ms to 1h.
        timeout: Duration = Duration::from_secs(10), Time(1, HOUR);
    }
}

settings! {
    /// The small endpoints beside the chat.
    Endpoints of Config at endpoints {
        /// Inactivity on `/ws/with-timeout` unless the client asks otherwise; 1ms to `endpoints.timeout_max`.
        timeout: Duration = Duration::from_secs(30), Time(1, 24 * HOUR);
        /// The most that a client may ask for with `?timeout=`; 1ms to 1d.
        timeout_max: Duration = Duration::from_secs(300), Time(1, 24 * HOUR);
        /// Time between heartbeats on `/ws/heartbeat`; 1ms to 1h.
        heartbeat_interval: Duration = Duration::from_secs(5), Time(1, HOUR);
        /// Unacknowledged heartbeats that end the connection with 3008; 1 to 1,000.
        heartbeat_misses: usize = 3, Count(1, 1_000);
        /// Characters of a message on `/ws/messages`; 1 to 1,000,000. Memory: within the message's bytes.
        max_message_chars: usize = 200, Count(1, 1_000_000);
    }
}

settings! {
    /// The way out.
    Drain of Config at drain {
        /// Time over which the closes are spread when the server stops; 0ms (all at once) to 1h.
        window: Duration = Duration::from_secs(5), Time(0, HOUR);
    }
}

/// For how many seconds an idempotency key is remembered.
const KEY_SECONDS: usize = 300;
/// The most keys of a user that can be set.
const MAX_KEYS_PER_USER: usize = 1_000_000;

impl Config {
    /// Idempotency keys of a user that are remembered: what `limits.max_keys_per_user` says, or as many as the user can
    /// set in five minutes.
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
