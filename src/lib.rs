//! **throng**: a chat backend for very many WebSocket connections.
//!
//! hyper parses HTTP, and this crate performs the WebSocket upgrade itself. fastwebsockets parses the frames of each
//! connection. Every worker thread owns a shard: the clients whose sockets it has accepted. A room's messages go to
//! the inbox of each shard that has members, and the shard writes them to its clients through bounded queues. A client
//! that cannot keep up is disconnected or loses messages, as its room's policy says; nobody waits for it. The tenets,
//! in this order: correct, bounded, fast, friendly.
//!
//! The README and `docs/` say what throng does for its users. This page is for programs that embed a server. The map
//! for people who change it is in the source, at the head of `src/lib.rs`.
//!
//! # Embedding a server
//!
//! The binary is a thin layer over [`Server`]: load a [`Config`](config::Config), bind, and run until a future
//! resolves. `examples/embedded.rs` is a whole program.
//!
//! ```no_run
//! use throng::config::{Config, Sources};
//! use throng::{Server, StopReason};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The keys of a configuration file; `Sources::file` and `Sources::environment` add the layers of the binary.
//! let config = Config::load(Sources::new().set("listen=127.0.0.1:0"))?;
//! let server = Server::bind(config)?;
//! let address = server.local_addr().expect("`listen` has an IP address");
//!
//! // `run` blocks its thread until every client has its close frame, or `drain.window` is over.
//! let (stop, stopped) = tokio::sync::oneshot::channel();
//! let running = std::thread::spawn(move || server.run(async { stopped.await.unwrap_or(StopReason::GoingAway) }));
//!
//! // Clients connect to `address` …
//! # let _ = address;
//! let _ = stop.send(StopReason::Restarting);
//! running.join().expect("the server does not panic")?;
//! # Ok(())
//! # }
//! ```
//!
//! The server writes its log with `tracing`, and none of it is seen until the program installs a subscriber.
//! [`Config::warnings`](config::Config::warnings) returns what is unwise in a configuration. It takes
//! no signals and sets no allocator: both are decisions of the program. [`Server::reload_from`] returns a handle that
//! reads the settings again while the server runs. Several servers can run in one process.

// # The map
//
// From top to bottom, in the order in which a connection meets the modules.
//
// ```text
// src/
//   main.rs      the story: arguments, logging, bind, serve, drain; the exit codes
//   cli/         mod (subcommands, check-config) · settings (flags that are keys) · failure (exit codes) · output ·
//                doctor (checks: kernel and machine, memory at worst, files, certificates, engine; size, report) ·
//                history (checks a folder of history) · api (the calls of the server API: calls; batch; access, the
//                address and the key; session, which makes them; output, table, views; error) · logging · signals ·
//                notify (tells a service manager how the server is) · token · health (of a running server) · documents
//                (completions, man pages) · version · demo (a server with people in it) · traces (span, export)
//   server/      mod (bind, run) · listener (sockets and their options) · unix_socket (its file) · acceptor ·
//                handshakes (permits: their table, and how one is revoked for another socket) · address_check (a socket
//                against the limits of its address) · listed (the rooms for everybody) · policy (the admission rules) ·
//                shared (by all threads) · worker (its handle; its thread, runtime and shard; the handshake of a
//                socket; opening, the steps before it) · encryption (certificates and TLS of a running server) ·
//                tls_handshake · before_http (its time, and the header's) · transport (plain or TLS) · stream (the
//                bytes of a connection that speaks HTTP) · proxy_header (the PROXY protocol's, read) · jwks (keys of
//                tokens from a URL) · request_handler (page, call, refusal or endpoint) · api (calls of other servers:
//                limits, log) · keys (of the operator and of other servers) · endpoint_setup (token, user id, room) ·
//                denial (how a request is denied) · door (the addresses, and what each serves) · reload (of the
//                settings) · dashboard (its feed, snapshots and past; counters for other nodes and their rows; info;
//                CPU and memory) · drain
//   http/        mod · app (the application behind it) · first (the short way of a handshake that comes whole) · serve
//                (a connection until it is upgraded) · limits (of one connection) · service (one request) · request
//                (its head) · received (its body) · body (of a response: whole, or in parts) · upgrade (the 101 by
//                hand) · extensions (compression is negotiated) · host (the syntax of `Host`) · respond (refusals
//                become responses) · pages · lingering (closes that arrive) · tests
//   connection/  mod (one connection) · active (the part that an idle one lacks) · table (those of a worker, and their
//                turns) · turn (its result) · poller (waits for their sockets) · readiness (of one socket) · encrypted
//                (TLS on one) · context (what they share) · socket (until the handshake is answered) · reader (bytes,
//                frames, messages) · scanner (every frame's header) · parser (frames) · handle (what came in) ·
//                deadlines (pure) · due (acts on them) · closing · fuzzing (the scanner for the fuzzer)
//   admission/   mod (refusals) · origin · token · address (the client's, behind proxies) · limits (per address) ·
//                proxy (the format of the PROXY protocol's header)
//   endpoint/    mod (an endpoint) · route (path to endpoint) · peer (what an endpoint works with) · echo · secure ·
//                messages · with_timeout · heartbeat · chat (both dialects; rooms of a connection; v1: its commands;
//                replay of what was missed) · stream (a room as server-sent events)
//   api/         mod (the calls of the server API) · method (their kinds and paths) · object (JSON objects, field by
//                field) · call (the calls, parsed) · fields, read_fields (checks their fields) · written (what is
//                passed on as it was written) · run, read (carry them out) · slice (their turns) · answer (as JSON)
//                · error
//   node/        mod (what endpoints and pages talk to) · shared (joins chat, broker and registry) · engine (memory,
//                log or cluster) · fanout (from the broker to the members) · permit (how many connections) · claim
//                (holding a user id) · reach (connections, for others) · membership (being in a room) · subscription
//                (reading one unseen) · announcer (says who came and went) · presence (tells other nodes) · held (users
//                who stay after a takeover) · telling (webhooks) · publish (saying something) · server_post (the same
//                for other servers) · outgoing (a message with its ack) · pending (a message that waits) · unanswered
//                (how many wait) · waiter, opening (waiting for a room or its history) · permission (waiting for a
//                hook) · direct (private messages) · survey (questions and orders of operators, to all nodes) ·
//                listing (the rooms for everybody that were found last) · revoke (tokens) · typing
//   shard/       mod (one worker's share of the connections) · registration (the hold of a connection on its client) ·
//                intake (from the inbox into the lanes) · lane (a room's members who are sent its events in one form,
//                and their sweep; deflated, compressed frames) · fanout (slices, senders, writes, supplies) · egress
//                (queues, flushes, evictions) · outbox (a client's queue) · batch (frames that are sent together) ·
//                bounds (of a queue, and what happens beyond) · status (of a client) · clients (what a delivery reads,
//                densely) · client (the rest) · slots · state (all of these) · backlog (the longest queues) · laggards,
//                inquiry (for the operator) · probe (is a client alive?) · sink (the socket) · wakes (clients that get
//                a turn) · tokens (of the clients) · revoked (ends those whose tokens are) · farewell (the last frames)
//                · time · wheel (timers) · tests
//   registry/    mod (the way from any thread to every shard) · topic (a room as all shards see it) · delivery (a
//                frame and its audience) · inbox (of a shard) · directory (the connections of each user) · probe,
//                inquiry (questions about one connection) · share (of a queue, for each sender of private messages) ·
//                revoked (tells a shard which tokens are)
//   broker/      mod (the contract) · memory (one node's rooms) · room (one room's data) · publish (in one step, or in
//                two around a log) · resume (what was missed) · history on disk: log (its folder, segments and end
//                marks; recovery, renewed rooms, cleaning, checking; the thread that writes) · durable (publishing
//                through it) · trim (what it hears of rooms that keep less) · what goes first when there is too much:
//                budget (bytes of histories) · idle, forget (rooms that nobody is in) · retained, positions (what is
//                left of rooms that are gone) · quota (idempotency keys) · eviction_order · job (a message that is
//                published later) · several nodes: engine_room (what only rooms of an engine have) · followed (rooms
//                whose positions an engine assigns) · redis (the engine: batch and keys, what is stored; script; link,
//                the connections to a server, and wire, the bytes on them; topology, the slots of a cluster; room, the
//                state machine of one room; presence, the users on other nodes; requests and users, what workers ask;
//                engine, the thread that does all this, its loop, and its tasks, which need several calls; host, the
//                connections of its own node; nodes, which are alive; directory, the connections of each user; control,
//                messages between nodes; revocations; inspect, what is wrong with the servers)
//   chat/        the rules, pure, the time is an argument: presence · announcement (of joins and leaves) · history ·
//                keys (what is sent twice is published once) · rooms (settings by name) · validate
//   protocol/    the dialects on the wire, no I/O: command (of clients: parser, normalize, raw, v1) · event (of the
//                server: plain ones; v1, those of throng.v1; content; preview of a message) · sse (server-sent events)
//                · close (reasons, codes, advice) · frame
//   web/         what browsers load. The chat page: index.html · style.css · manifest.webmanifest · icon.svg,
//                icon-unread.svg · app.js (joins the parts) · state.js (conversations and their lines) · what is
//                shown: log.js (the list of messages), messages.js (a line), text.js (links and code), lists.js (the
//                panels) · where one is: rooms.js, route.js (the address), switcher.js (Ctrl+K),
//                browse.js (the listed rooms) · what comes: events.js, history.js (older messages, members), alerts.js
//                (title, notifications, sound) · what goes: composer.js, field.js, send.js, commands.js, complete.js
//                (suggestions), listbox.js, emoji.js · who one is: entry.js (the form, the way out), session.js (kept
//                over a reload), tabs.js (other tabs), handover.js (other devices), settings.js · page.js (errors and
//                words) · dom.js (elements) · client.js (speaks throng.v1, for other pages and for Node too). The
//                dashboard: dashboard.html · dashboard.css · dashboard.js (joins the parts) · feed.js (its connection
//                and key) · control.js (its calls of the API) · figures.js (which curves and facts there are) · plot.js
//                (a curve) · tables.js (the rest that is shown) · states.js (thresholds, and what to do) · export.js
//                (as JSON) · stats.js (its calculations) · nodes.js (those for several nodes) · countdown.js (to the
//                next attempt, of both pages)
//   config/      mod · tree (all settings, the list of keys) · bounds, features, engine (the sections) · room_rules
//                (settings for rooms by pattern) · tls (the section) · schema (a key is declared once) · kind, text,
//                list, tables (kinds of values) · types (policies, secrets) · address (host and port) · url ·
//                listen (addresses to listen on) · callbacks (requests to other servers) · load (the layers; files:
//                keys and passwords) · error · checks (conflicts; mismatches: warnings; engine: both) · machine
//                (resources) · reload (live keys) · unsupported (keys without effect) · print · finding (of a check) ·
//                tests
//   rate_limit/  mod (the limits of a node; what one connection has used) · bucket · strikes · users (the buckets that
//                outlive a connection)
//   webhooks/    mod (the events that other servers are told; users and rooms that are gone) · event · leavers (may
//                come back) · receivers (of a configuration) · receiver · queue (of one; stored: with its rest on disk)
//                · disk (format, of files; lane, a chain of them; progress, of the deliveries; store, the folder of a
//                receiver; recovery; error) · shared (by all threads) · sender (the thread that delivers) · tests
//   hooks/       mod (questions to another server before a client comes in) · answer · circuit (pauses after
//                failures) · memory (of answers)
//   revocation/  mod (tokens that hold no longer, and how a connection's token is recognised) · table (of them)
//                · journal (them on disk)
//   outbound/    mod (requests to other servers) · connector (opens connections) · local (at a Unix socket) ·
//                trust (authorities for TLS) · signature (of a request) · thread (for such requests) · tests
//   tls/         mod (TLS of connections that come in, without a socket) · session (one connection) · records (the
//                library's state machine) · outgoing (ciphertext on its way out) · server_config · identity (a
//                certificate and its key, from files) · certificate (names and validity) · certificates (of a running
//                server, by name) · chain (to an authority) · changes (of files) · error · tests
//   keys/        mod (public keys in PEM, and the algorithms that they belong to) · jwks (sets of keys)
//   metrics/     mod (counters of each shard, summed for a scrape) · build (its features) · counter (and histograms) ·
//                engine (of several nodes) · webhooks, hooks · page, render (Prometheus' text format)
//   clock.rs     the time, which a test can move
//   deflate/     mod (messages of permessage-deflate, each by itself) · deflater · inflater · file (files for
//                browsers) · tests
//   shrink.rs    shrinks collections that are mostly empty
//   few.rs       a list that mostly has one entry
//   striped.rs   a table in stripes, each with a lock of its own
//   prefetch.rs  loads memory into the cache before it is needed
//   live.rs      a value that is read often and replaced seldom
//   framed.rs    entries on disk with checksums
//   locked.rs    a folder that one process alone uses
//   faults.rs    breaks guarantees on purpose, in builds for tests
// crates/        each has its own map in its `src/lib.rs`
//   names/       throng-names: what users, rooms, positions and secrets are, and units; here as `names`
//   client/      throng-client: the Rust client, for other programs; here as `client`
//   terminal/    throng-terminal: `throng chat`, on the client
//   bench/       throng-bench: `throng bench`, the load generator
// ```
//
// # Layers
//
// A module may use the modules in its own row and in the rows below it, never one above. The crates have their places
// in the same rows, and cargo lets each of them use no more than its manifest names. `tests/tidy.rs` enforces the
// rows, and also that a foreign crate is named only in the modules that are listed with it.
//
// ```text
// main, cli                  clap_complete and clap_mangen only in cli::documents
// server      bench  client  terminal    crates, which use nothing of the server
// http                       hyper also in server and outbound, httparse nowhere else
// connection  admission      fastwebsockets and mio only in connection
// endpoint  api
// node
// shard
// registry    broker         do not know each other; nor do shard and broker
// chat
// protocol
// webhooks  hooks
// rate_limit  revocation  outbound  tls  hyper-rustls only in outbound
// config  keys  metrics  clock  shrink  striped  prefetch  live  deflate  few  faults  use no module of the crate
// names                                              a crate; it depends on nothing of ours
// ```
//
// Calls upwards go through four interfaces that the upper layer hands down: `http` asks `server::request_handler`
// through `http::App`, `endpoint` has tokens verified through `endpoint::TokenRenewal`, which `server` implements,
// `broker` reaches the members of a room through `broker::Local`, which `node` implements, and `shard` writes to
// sockets through a `shard::sink::Sink`.
//
// # The life of a message
//
// 1. **Accept.** `server::acceptor` accepts the socket and assigns it to a worker: the one that got the previous
//    socket, as long as that has few more connections than the worker with the fewest. The socket never leaves this
//    thread.
// 2. **Handshake.** `http` reads the request. `server::request_handler` checks origin, limits, token and names,
//    registers the connection and joins its room. Messages of the room wait behind the response 101. Then all state of
//    HTTP is dropped, and `connection` takes the socket. A request that comes whole is parsed at the first read
//    (`http::first`); hyper has all others, and every refusal.
// 3. **Read.** `connection::reader` reads into a buffer that all connections of the worker share. The scanner checks
//    each frame's header before the parser sees the frame. A complete text message is checked to be UTF-8, after it was
//    decompressed if it came compressed.
// 4. **Command.** `endpoint::chat` parses the message in place into typed fields, validates it, and takes a token from
//    the rate limit buckets of the connection and of its user.
// 5. **Publish.** `broker::publish` does one step under the room's lock: it checks that every inbox has space, assigns
//    the next offset, encodes the frame once, pushes it into the inbox of each shard that has members, and appends it
//    to the history. The sender's ack travels with the message to the sender's shard. After that, if all histories
//    together exceed their limit, the oldest messages of the node are dropped.
// 6. **Fan-out.** `shard::fanout` runs on each of these shards. It takes the inbox and makes one batch for each room
//    and form: the dialect, and whether events are compressed. A compressed form is made once for each message and
//    shard, and only if a member there wants it. Senders are served first; then each member gets the batch with one
//    non-blocking write. A client that is in several rooms gets the batches of all of them in one write. Before a
//    fan-out of many writes, the shard polls its sockets once more, because messages that arrive meanwhile join the
//    batch and need no writes of their own.
// 7. **Backlog.** Data that a socket does not accept stays in the client's outbox, as a reference to the batch. The
//    connection continues to write when the socket is writable.
// 8. **Overload.** An outbox that exceeds its bounds ends the connection with 4001 or drops messages, as the room's
//    policy says. In `throng.v1` a `gap` event stands for dropped messages.
//
// With history on disk (`history.dir`), step 5 has two parts, because the disk must not be waited for under the room's
// lock: the log's thread assigns the offset, writes the record, and only then commits the message to the room.
//
// With an engine (`engine = "redis"`), step 5 has three. `node::publish` queues the message for the engine's thread,
// which sends it with others of the room in one call. A script on the server assigns the offsets, stores the messages
// and pushes them to every node with members. Each node appends them with `broker::Memory::append_at` in the order of
// their offsets, which encodes the frames and pushes them into the inboxes. The sender's ack is made there, too.
//
// # Invariants
//
// 1. A room's messages enter every shard's inbox in the order of their offsets: assigning the offset, pushing and
//    appending to the history are one step under the room's lock.
// 2. No lock is held across an `.await` or across a write to a socket.
// 3. Nothing that a client does makes another client or a publisher wait. The acceptor waits at most a quarter of a
//    second, and only for a handshake permit.
// 4. A pending `read_frame` is never dropped in the middle of a frame. Nothing but the outbox writes to a WebSocket.
// 5. Every registration is undone by the `Drop` of a guard, which compares the
//    `ConnectionId` so that it never removes a newer registration. A panic in an endpoint ends that
//    connection alone, and its client still gets close code 1011.
// 6. Every buffer, queue, map and loop has a limit: a key in `config`, or a constant with its reason.
// 7. A delivery takes no lock, formats nothing, and allocates nothing once its queue has grown to its first capacity.
//    The fan-out reads the clock only every 64 writes.
// 8. Where there is an engine, only `append_at` moves a room's last offset, on the engine's thread. So a node shows
//    messages in the engine's order, its own clients' messages included.

#![forbid(unsafe_code)]

mod admission;
mod api;
mod broker;
mod chat;
#[doc(hidden)]
pub mod cli;
mod clock;
pub mod config;
mod connection;
mod deflate;
mod endpoint;
mod faults;
mod few;
mod framed;
mod hooks;
mod http;
mod keys;
mod live;
mod locked;
mod metrics;
mod node;
mod outbound;
mod prefetch;
mod protocol;
mod rate_limit;
mod registry;
mod revocation;
mod server;
mod shard;
mod shrink;
mod striped;
mod tls;
mod webhooks;

pub use server::{BindError, EncryptionError, ReloadError, Reloader, Server, StopReason};

/// The Rust client, a crate of its own: `throng-client`.
#[cfg(feature = "client")]
#[doc(no_inline)]
pub use throng_client as client;
#[doc(no_inline)]
pub use throng_names as names;

/// The inside of the server, for its own tests, benches and fuzzers. Nothing here is promised to stay.
#[doc(hidden)]
pub mod testing {
    pub mod admission {
        pub use crate::admission::*;
    }
    pub mod api {
        pub use crate::api::*;
    }
    pub mod broker {
        pub use crate::broker::*;
    }
    pub mod chat {
        pub use crate::chat::*;
    }
    pub mod clock {
        pub use crate::clock::*;
    }
    pub mod connection {
        pub use crate::connection::*;
    }
    pub mod deflate {
        pub use crate::deflate::*;
    }
    pub mod endpoint {
        pub use crate::endpoint::*;
    }
    pub mod faults {
        pub use crate::faults::*;
    }
    pub mod hooks {
        pub use crate::hooks::*;
    }
    pub mod http {
        pub use crate::http::*;
    }
    pub mod live {
        pub use crate::live::*;
    }
    pub mod few {
        pub use crate::few::*;
    }
    pub mod framed {
        pub use crate::framed::*;
    }
    pub mod locked {
        pub use crate::locked::*;
    }
    pub mod metrics {
        pub use crate::metrics::*;
    }
    pub mod node {
        pub use crate::node::*;
    }
    pub mod outbound {
        pub use crate::outbound::*;
    }
    pub mod prefetch {
        pub use crate::prefetch::*;
    }
    pub mod protocol {
        pub use crate::protocol::*;
    }
    pub mod rate_limit {
        pub use crate::rate_limit::*;
    }
    pub mod registry {
        pub use crate::registry::*;
    }
    pub mod revocation {
        pub use crate::revocation::*;
    }
    pub mod shard {
        pub use crate::shard::*;
    }
    pub mod shrink {
        pub use crate::shrink::*;
    }
    pub mod striped {
        pub use crate::striped::*;
    }
    pub mod tls {
        pub use crate::tls::*;
    }
    pub mod webhooks {
        pub use crate::webhooks::*;
    }
}
