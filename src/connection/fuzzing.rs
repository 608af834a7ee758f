//! The scanner as the fuzzer sees it: what it makes of a stream that arrives in parts.

use super::scanner::{FrameLimits, Scanner};
use crate::protocol::close::EndReason;

/// The longest message in the fuzzer's streams.
pub const MAX_MESSAGE_BYTES: usize = 1_000;

/// What was found in a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Where each whole frame ends.
    pub ends: Vec<usize>,
    /// Between two messages at the end of the stream.
    pub is_idle: bool,
    /// Why it may not go on.
    pub wrong: Option<EndReason>,
}

/// Scans a stream as the reader does.
#[must_use]
pub fn scan(parts: &[&[u8]]) -> Found {
    let limits = FrameLimits { message_bytes: MAX_MESSAGE_BYTES, fragments: 3 };
    let (mut scanner, mut found, mut at) = (Scanner::default(), Found::default(), 0);
    for mut part in parts.iter().copied() {
        while !part.is_empty() {
            match scanner.scan(part, &limits) {
                Ok(step) => {
                    at += step.len;
                    part = &part[step.len..];
                    found.ends.extend(step.is_complete.then_some(at));
                }
                Err(reason) => return Found { wrong: Some(reason), ..found },
            }
        }
    }
    Found { is_idle: scanner.is_idle(), ..found }
}
