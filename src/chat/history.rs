//! The last messages of a room, bounded by number, bytes and age.

use std::collections::VecDeque;

use crate::names::Offset;
use crate::protocol::frame::Frame;

/// The bounds of one room's history.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Messages; 0 keeps none.
    pub messages: usize,
    /// Bytes of encoded frames.
    pub bytes: usize,
    /// Age in milliseconds.
    pub ttl_ms: u64,
}

#[derive(Debug)]
struct Entry {
    offset: Offset,
    at_ms: u64,
    frame: Frame,
}

/// A room's history. Offsets in it are without a hole.
///
/// Memory: at most `bytes` of frames and 56 bytes for each of `messages`.
#[derive(Debug, Default)]
pub struct History {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl History {
    /// Appends a message and lets go of what is beyond the bounds.
    pub fn append(&mut self, offset: Offset, frame: Frame, now_ms: u64, bounds: &Bounds) {
        debug_assert!(
            self.entries.back().is_none_or(|last| last.offset.next() == offset),
            "offsets are without a hole"
        );
        self.bytes += frame.len();
        self.entries.push_back(Entry { offset, at_ms: now_ms, frame });
        while self.entries.len() > bounds.messages || self.bytes > bounds.bytes {
            self.pop();
        }
        self.expire(now_ms, bounds);
    }

    /// Lets go of what is too old.
    pub fn expire(&mut self, now_ms: u64, bounds: &Bounds) {
        while self.entries.front().is_some_and(|oldest| now_ms.saturating_sub(oldest.at_ms) >= bounds.ttl_ms)
        {
            self.pop();
        }
        if self.entries.is_empty() && self.entries.capacity() > 0 {
            self.entries = VecDeque::new();
        }
    }

    /// Lets go of the oldest message; returns its bytes.
    pub fn pop(&mut self) -> Option<usize> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.frame.len();
        Some(entry.frame.len())
    }

    /// The messages behind `after`, oldest first; `None` when some of them are gone.
    #[must_use]
    pub fn since(&self, after: Offset) -> Option<impl Iterator<Item = (Offset, &Frame)>> {
        let first = self.entries.front()?.offset;
        let skip = usize::try_from(after.next().0.checked_sub(first.0)?).ok()?;
        if skip > self.entries.len() {
            return None;
        }
        Some(self.entries.range(skip..).map(|entry| (entry.offset, &entry.frame)))
    }

    /// Bytes of frames kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// True when nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { messages: 3, bytes: 100, ttl_ms: 1000 };

    fn kept(history: &History, after: u64) -> Option<Vec<u64>> {
        history.since(Offset(after)).map(|entries| entries.map(|(offset, _)| offset.0).collect())
    }

    #[test]
    fn every_bound_holds_and_what_is_gone_is_said_to_be_gone() {
        let mut history = History::default();
        for offset in 1..=5 {
            history.append(Offset(offset), Frame::from_static(&[0; 10]), offset, &BOUNDS);
        }
        assert_eq!(kept(&history, 2), Some(vec![3, 4, 5]));
        assert_eq!(kept(&history, 4), Some(vec![5]));
        assert_eq!(kept(&history, 5), Some(vec![]));
        assert_eq!(kept(&history, 1), None, "2 is gone");
        assert_eq!(kept(&history, 6), None, "nobody can have seen 6");
        history.append(Offset(6), Frame::from_static(&[0; 95]), 6, &BOUNDS);
        assert_eq!((kept(&history, 5), history.bytes()), (Some(vec![6]), 95));
        history.expire(1005, &BOUNDS);
        assert!(!history.is_empty());
        history.expire(1006, &BOUNDS);
        assert!(history.is_empty());
        assert_eq!(history.bytes(), 0);
    }

    #[test]
    fn a_history_of_nothing_keeps_nothing() {
        let mut history = History::default();
        let bounds = Bounds { messages: 0, ..BOUNDS };
        history.append(Offset(1), Frame::from_static(b"x"), 0, &bounds);
        assert!(history.is_empty());
    }
}
