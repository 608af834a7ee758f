//! The entry point of the fuzzer for the scanner: scans a stream that arrives in parts.

use super::scanner::{FrameLimits, Scanner};
use crate::protocol::close::EndReason;

/// Longest message that is allowed in the fuzzer's streams.
pub const MAX_MESSAGE_BYTES: usize = 1_000;

/// The result of scanning a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The offset after each whole frame.
    pub ends: Vec<usize>,
    /// True when the stream ends between two messages.
    pub is_idle: bool,
    /// The reason to end the connection, if there is one.
    pub wrong: Option<EndReason>,
}

/// Scans a stream in the same way as the reader. With `deflates` messages may be compressed.
#[must_use]
pub fn scan(parts: &[&[u8]], deflates: bool) -> Found {
    let limits = FrameLimits { message_bytes: MAX_MESSAGE_BYTES, fragments: 3 };
    let (mut scanner, mut found, mut at) = (Scanner::new(deflates), Found::default(), 0);
    for part in parts {
        let mut part = &mut part.to_vec()[..];
        while !part.is_empty() {
            match scanner.scan(part, &limits) {
                Ok(step) => {
                    at += step.len;
                    part = &mut part[step.len..];
                    found.ends.extend(step.is_complete.then_some(at));
                }
                Err(reason) => return Found { wrong: Some(reason), ..found },
            }
        }
    }
    Found { is_idle: scanner.is_idle(), ..found }
}
