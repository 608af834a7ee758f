//! HTTP before the WebSocket: answers requests with pages and refusals, and upgrades handshakes.
//!
//! hyper parses and answers; the 101 is written by hand ([`upgrade`]). [`serve`] runs one connection and, after a
//! handshake, returns the socket with all HTTP state dropped. The [`App`] decides which requests are admitted. A
//! handshake that comes in one piece takes a shorter way: [`FirstRequest`].

mod app;
mod body;
pub mod extensions;
mod first;
mod host;
mod limits;
mod lingering;
pub mod pages;
mod received;
mod request;
pub mod respond;
mod serve;
mod service;
pub mod upgrade;

pub use app::{App, Route, Upgrade};
pub use body::{Body, Response};
pub use first::{Accepted, FirstRequest};
pub use limits::HttpLimits;
pub use lingering::{linger, unless_revoked};
pub use received::{BodyError, RequestBody};
pub use request::{Request, segment_after, segments_after};
pub use serve::{Served, grace, serve};

#[cfg(test)]
mod tests;
