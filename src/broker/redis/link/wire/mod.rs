//! The protocol of the servers, RESP3: commands as bytes, and bytes as values. Pure.
//!
//! Source: <https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md>

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::{Decoder, Frame, Malformed, Push};
pub(super) use encode::command;
