//! The details that a node tells about itself with each beat.

use bytes::Bytes;

use crate::broker::redis::batch::{Incarnation, decimal};

/// Most bytes of the version.
const MAX_VERSION: usize = 64;
/// Most bytes of the addresses.
const MAX_ADDRESSES: usize = 512;
/// Most bytes of the counters. All nodes get them with each beat.
const MAX_COUNTERS: usize = 4_096;

/// The details that a node tells about itself. They are shown on the dashboard, and nothing depends on them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Details {
    version: Bytes,
    addresses: Bytes,
    counters: Bytes,
}

/// Details that are longer than allowed, or not of one line each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{part} of a node must be one line of at most {most} bytes of UTF-8")]
pub struct BadDetails {
    part: &'static str,
    most: usize,
}

impl Details {
    /// Checks the node's version, the addresses that it listens at, and its counters as a JSON object on one line.
    ///
    /// # Errors
    /// One of them is too long, or not one line of UTF-8.
    pub fn new(version: Bytes, addresses: Bytes, counters: Bytes) -> Result<Self, BadDetails> {
        let parts = [
            ("the version", &version, MAX_VERSION),
            ("the addresses", &addresses, MAX_ADDRESSES),
            ("the counters", &counters, MAX_COUNTERS),
        ];
        for (part, text, most) in parts {
            if text.len() > most || text.contains(&b'\n') || std::str::from_utf8(text).is_err() {
                return Err(BadDetails { part, most });
            }
        }
        Ok(Self { version, addresses, counters })
    }

    /// Returns the version.
    #[must_use]
    pub fn version(&self) -> &str {
        std::str::from_utf8(&self.version).unwrap_or_default()
    }

    /// Returns the addresses, as the node wrote them.
    #[must_use]
    pub fn addresses(&self) -> &str {
        std::str::from_utf8(&self.addresses).unwrap_or_default()
    }

    /// Returns the counters: a JSON object, unless the node is broken.
    #[must_use]
    pub fn counters(&self) -> &str {
        std::str::from_utf8(&self.counters).unwrap_or_default()
    }

    pub(super) fn encode(&self) -> Bytes {
        [&self.version[..], &self.addresses, &self.counters].join(&b'\n').into()
    }

    /// Parses the three lines of a node; further lines are those of a later version.
    pub(super) fn parse(text: &Bytes) -> Option<Self> {
        let mut lines = text.split(|byte| *byte == b'\n').map(|line| text.slice_ref(line));
        Self::new(lines.next()?, lines.next()?, lines.next()?).ok()
    }
}

/// The first line of a node's entry in the table. Every version has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) incarnation: Incarnation,
    pub(super) joined_ms: u64,
    pub(super) beat_ms: u64,
    pub(super) is_live: bool,
}

impl Head {
    /// Parses `INCARNATION JOINED AT STATE`.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(line).ok()?.split(' ');
        let head = Self {
            incarnation: words.next()?.parse().ok()?,
            joined_ms: decimal(words.next()?)?,
            beat_ms: decimal(words.next()?)?,
            is_live: match words.next()? {
                "l" => true,
                "d" => false,
                _ => return None,
            },
        };
        words.next().is_none().then_some(head)
    }
}
