//! Sections that bound what clients can cost: connections, queues, sockets and deadlines.

use std::time::Duration;

use crate::names::units::{GIB, KIB, MIB, TIB};

use super::kind::{Choice, Count, Flag, Size, SizeOrZero, Time};
use super::listen::FileMode;
use super::schema::settings;
use super::types::QueuePolicy;

/// One hour in milliseconds: no deadline of a connection needs to be longer.
const HOUR: u64 = 3_600_000;

settings! {
    /// Limits for one client, for one address and for the whole node.
    Limits at limits {
        /// Open connections on this node; a handshake beyond gets 503. 0 (derived from the descriptor limit, less a
        /// reserve) to 10,000,000. Memory: about 0.6 KiB each while idle, with TLS 4.2 KiB, plus the kernel's 4 KiB.
        max_connections: usize = 0, Count(0, 10_000_000), live;
        /// Open connections and sockets not yet upgraded (those that load pages do not count) per IPv4 address or IPv6
        /// /64; a handshake beyond gets 429. 0 (no limit) to 10,000,000.
        /// Memory: an entry of some 64 bytes per connected address.
        max_connections_per_address: usize = 0, Count(0, 10_000_000), live;
        /// Handshakes per second, finished or not, per IPv4 address or IPv6 /64, and as many in one burst; a handshake
        /// beyond gets 429. 0 (no limit) to 1,000,000.
        /// Memory: an entry of some 64 bytes per address seen within the last two seconds, at most 1,048,576 entries.
        handshakes_per_second_per_address: usize = 0, Count(0, 1_000_000), live;
        /// Sockets not yet upgraded on this node; beyond, the address that has most of them loses its oldest idle one,
        /// or, while all are being served, the new socket gets 503. 1 to 65,536.
        /// Memory: up to 16 KiB of request head each.
        max_handshakes: usize = 1024, Count(1, 65_536), restart;
        /// Time to receive a whole request head, counted from accept or from the last response on a kept-alive
        /// connection; 1ms to 1h.
        handshake_timeout: Duration = Duration::from_secs(10), Time(1, HOUR), live;
        /// Bytes of one message, all its fragments together; a longer one ends the connection with 1009. 1 byte to
        /// 1GiB. Memory: this much per connection that is receiving a message.
        max_message_bytes: usize = 64 * KIB, Size(1, GIB), restart;
        /// Fragments of one message; more end the connection with 1009. 1 to 1,048,576. Memory: none of its own.
        max_fragments: usize = 64, Count(1, 1_048_576), restart;
        /// Time from the first fragment of a message to its last; beyond, the connection ends with 3008. 1ms to 1h.
        message_timeout: Duration = Duration::from_secs(30), Time(1, HOUR), restart;
        /// Rooms that one connection may be in; 1 to 10,000. Memory: a membership of some 100 bytes each.
        max_rooms_per_connection: usize = 100, Count(1, 10_000), live;
        /// Rooms on this node; beyond, a new room replaces an empty one: of the client that opened most of the empty
        /// rooms, the one that was left first. The default room can always be opened. 1 to 100,000,000.
        /// Memory: some 1 KiB each, plus the room's history.
        max_rooms: usize = 1_000_000, Count(1, 100_000_000), restart;
        /// Malformed commands of one connection within a minute; more end it with 4502. 0 (the first one ends it) to
        /// 1,000,000.
        malformed_per_minute: usize = 20, Count(0, 1_000_000), live;
        /// Idempotency keys remembered per user; beyond, the user's oldest key is forgotten. 0 (one for each
        /// message that `rate_limit.*` lets a user send in five minutes, or a million without a rate limit) to
        /// 1,000,000.
        /// Memory: within `limits.max_keys_bytes`.
        max_keys_per_user: usize = 0, Count(0, 1_000_000), live;
        /// Bytes of all idempotency keys together; beyond, the oldest key of all is forgotten. 64KiB to 1TiB. One key
        /// takes some 200 bytes. Memory: at most this much.
        max_keys_bytes: usize = 256 * MIB, Size(64 * KIB, TIB), restart;
        /// Bytes of an HTTP request's body; 1 byte to 1GiB. Memory: this much per request that is being received.
        max_request_body: usize = MIB, Size(1, GIB), live;
    }
}

settings! {
    /// Bounds of one client's queue; the first one that is reached applies `queue.policy`.
    Queue at queue {
        /// Messages queued for one client; 1 to 1,000,000. Memory: a reference of some 32 bytes each.
        max_messages: usize = 1024, Count(1, 1_000_000), restart;
        /// Bytes queued for one client; 64KiB to 1GiB. Memory: counted for each client, although clients of a room
        /// share the bytes.
        max_bytes: usize = MIB, Size(64 * KIB, GIB), restart;
        /// Age of the oldest message queued for one client; 1ms to 1h.
        max_age: Duration = Duration::from_secs(10), Time(1, HOUR), restart;
        /// Policy for a client whose queue reaches a bound: `disconnect`, `drop_oldest` or `drop_newest`.
        policy: QueuePolicy = QueuePolicy::Disconnect, Choice(QueuePolicy::ALL), restart;
        /// Bytes in all queues together; beyond, a client with one of the largest queues gets 4001. 0 (a quarter of
        /// memory) or 64KiB to 1TiB. Memory: at most this much.
        total_bytes: usize = 0, SizeOrZero(64 * KIB, TIB), restart;
    }
}

settings! {
    /// The kernel's side of the sockets: bounds of its buffers, which would hide megabytes of lag per client, and the
    /// permissions of Unix sockets.
    Socket at socket {
        /// `SO_SNDBUF` of every connection; 4KiB to 64MiB. Memory: the kernel's, up to twice this per slow client.
        send_buffer: usize = 128 * KIB, Size(4 * KIB, 64 * MIB), restart;
        /// `TCP_NOTSENT_LOWAT`: a socket accepts more data while fewer unsent bytes than this wait in the kernel; 1KiB
        /// to 64MiB. Memory: within the send buffer.
        notsent_lowat: usize = 32 * KIB, Size(KIB, 64 * MIB), restart;
        /// Permissions of the Unix sockets in `listen`, in octal digits; "0000" to "0777". To connect, a process needs
        /// the permission to write.
        unix_mode: u32 = 0o660, FileMode, restart;
    }
}

settings! {
    /// How messages travel from a room to its members.
    Fanout at fanout {
        /// Time a worker waits for further messages before it writes a batch; 0ms (no wait) to 1s.
        linger: Duration = Duration::ZERO, Time(0, 1_000), restart;
        /// Bytes in the inbox of one shard; beyond, publishing answers `unavailable`. 64KiB to 4GiB.
        /// Memory: this much per worker.
        max_inbox_bytes: usize = 8 * MIB, Size(64 * KIB, 4 * GIB), restart;
    }
}

settings! {
    /// Compression of messages (permessage-deflate) for clients that offer it.
    Compression at compression {
        /// Accept the offer of a client to compress messages: events to it take about half the bytes, once for all
        /// clients of a room, and it may compress what it sends. Memory: some 400KiB per worker that has such clients.
        enabled: bool = false, Flag, live;
        /// Bytes of an event from which it is compressed, if that saves a tenth; 0B (all) to 1GiB.
        min_bytes: usize = 256, Size(0, GIB), restart;
    }
}

settings! {
    /// WebSocket pings that find connections whose peer is gone.
    Heartbeat at heartbeat {
        /// Silence in either direction after which a client is pinged; 1ms to 1h.
        interval: Duration = Duration::from_secs(25), Time(1, HOUR), restart;
        /// Time to answer a ping; beyond, the connection ends with 3008. 1ms to 1h.
        timeout: Duration = Duration::from_secs(10), Time(1, HOUR), restart;
    }
}

settings! {
    /// The small endpoints beside the chat.
    Endpoints at endpoints {
        /// Inactivity that ends a connection to `/ws/with-timeout`, unless the client asks for another time; 1ms to
        /// `endpoints.timeout_max`.
        timeout: Duration = Duration::from_secs(30), Time(1, 24 * HOUR), live;
        /// Longest inactivity that a client may ask for with `?timeout=`; 1ms to 1d.
        timeout_max: Duration = Duration::from_secs(300), Time(1, 24 * HOUR), live;
        /// Time between heartbeats on `/ws/heartbeat`; 1ms to 1h.
        heartbeat_interval: Duration = Duration::from_secs(5), Time(1, HOUR), live;
        /// Unacknowledged heartbeats that end a connection to `/ws/heartbeat` with 3008; 1 to 1,000.
        heartbeat_misses: usize = 3, Count(1, 1_000), live;
        /// Characters of one message on `/ws/messages`; 1 to 1,000,000. Memory: within `limits.max_message_bytes`.
        max_message_chars: usize = 200, Count(1, 1_000_000), live;
    }
}

settings! {
    /// How the server stops.
    Drain at drain {
        /// Time over which closing the connections is spread when the server stops; 0ms (all at once) to 1h.
        window: Duration = Duration::from_secs(5), Time(0, HOUR), live;
    }
}
