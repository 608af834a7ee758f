//! Tests of the server from the outside: the binary runs as a child process, and tests look at the wire.
//!
//! These modules alone link against the library: `manual`, `schemas`, `security` and `wire`, which compare words with
//! declarations, `snapshots`, which compares encoded events with files, `moved` and `embedded`, which run a server in
//! this process, and the tests of the Rust client. The tables come from the protocol's description. A test that waits,
//! waits for an event, with a generous bound. `THRONG_LONG=1` runs the same tests at full size.

mod support;

mod addresses;
mod api;
mod api_cli;
mod backends;
mod bench;
mod bench_compare;
mod bench_conditions;
mod bench_plots;
mod bench_ramp;
mod bench_rounds;
mod bench_tls;
mod canary;
mod carried;
mod chat;
mod checker;
mod churn;
mod claims;
mod client;
mod client_storm;
mod deflate;
mod demo;
mod doctor;
mod duplicates;
mod edges;
mod embedded;
mod endpoints;
mod engines;
mod epochs;
mod examples;
mod faults;
mod fragments;
mod frames;
mod handshake;
mod heartbeat;
mod history_damage;
mod history_dir;
mod hooks;
mod installed;
mod json;
mod jwks;
mod lifecycle;
mod listed;
mod listen;
mod logs;
mod manual;
mod metrics;
mod moved;
mod newcomer;
mod notices;
mod pauses;
mod places;
mod proxy;
mod rate_limit;
mod refusals;
mod reload;
mod renewal;
mod revoke;
mod schemas;
mod scripts;
mod secure;
mod security;
mod settings;
mod shell;
mod slow;
mod snapshots;
mod soak;
mod sse;
mod stats;
mod terminal;
mod tls;
mod tls_hostile;
mod tls_websocket;
#[cfg(feature = "tls")]
#[cfg(feature = "otel")]
mod traces;
mod trust;
mod v1_dialects;
mod v1_direct;
mod v1_ends;
mod v1_entry;
mod v1_gaps;
mod v1_heartbeat;
mod v1_history;
mod v1_messages;
mod v1_presence;
mod v1_resume;
mod v1_rooms;
mod v1_takeover;
mod vanish;
mod watching;
mod web;
mod webhooks;
mod webhooks_dir;
mod wire;
