//! **throng**: a chat backend for very many WebSocket connections.
//!
//! hyper accepts HTTP and the upgrade is performed by hand; fastwebsockets parses each connection's frames; a
//! sharded, lock-striped registry fans every message out through bounded per-client queues; whoever cannot keep up
//! is dropped, never waited for. Tenets, in this order: correct, bounded, fast, friendly.

#![forbid(unsafe_code)]

pub mod admission;
pub mod broker;
pub mod chat;
pub mod cli;
pub mod config;
pub mod connection;
pub mod endpoint;
pub mod http;
pub mod metrics;
pub mod names;
pub mod node;
pub mod protocol;
pub mod registry;
pub mod server;
