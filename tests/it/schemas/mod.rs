//! Tests that the machine-readable protocol in `docs/` is true: the JSON Schemas in `docs/schemas/`, and the AsyncAPI
//! and OpenAPI documents that refer to them.
//!
//! Every schema of a message has to accept at least one message that was really sent, in `snapshots/` or by a live
//! server, and to refuse that message when it is changed.

mod asyncapi;
mod book;
mod kept;
mod keywords;
mod live;
mod mutants;
mod openapi;
mod words;
mod yaml;
