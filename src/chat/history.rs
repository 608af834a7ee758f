//! The last messages of a room as encoded frames, bounded by number, bytes and age.

use std::collections::VecDeque;

use crate::names::Offset;
use crate::protocol::frame::Frame;

/// The bounds of one room's history.
#[derive(Debug, Clone, Copy)]
pub struct HistoryBounds {
    /// Most messages; 0 keeps none.
    pub messages: usize,
    /// Most bytes of encoded frames.
    pub bytes: usize,
    /// Longest age of a message, in milliseconds.
    pub ttl_ms: u64,
}

#[derive(Debug)]
struct StoredMessage {
    offset: Offset,
    at_ms: u64,
    frame: Frame,
}

/// The history of a room. Its offsets have no hole, and its times never run backwards.
///
/// Memory: the frames, at most [`HistoryBounds::bytes`], and 48 bytes for each slot of the ring buffer, which doubles
/// when it is full.
#[derive(Debug, Default)]
pub struct History {
    entries: VecDeque<StoredMessage>,
    bytes: usize,
    /// The latest time at which a message was appended. Kept here because reading it from the last message would be a
    /// cache miss.
    newest_ms: u64,
}

impl History {
    /// Appends a message, then drops the oldest messages until the history is within the bounds.
    pub fn append(&mut self, offset: Offset, frame: Frame, now_ms: u64, bounds: &HistoryBounds) {
        debug_assert!(
            self.entries.back().is_none_or(|last| last.offset.next() == offset),
            "offsets are without a hole"
        );
        if bounds.messages == 0 {
            return;
        }
        // A thread may have read the clock before the thread whose message was appended first. Such a message gets
        // the later time, so that times in the history never run backwards.
        self.newest_ms = self.newest_ms.max(now_ms);
        self.bytes += frame.len();
        self.entries.push_back(StoredMessage { offset, at_ms: self.newest_ms, frame });
        while self.entries.len() > bounds.messages || self.bytes > bounds.bytes {
            self.pop();
        }
        self.expire(now_ms, bounds);
    }

    /// Puts an older message before the first one. Returns false, and does not keep it, when the bounds are reached.
    /// Its time is cut to that of the message behind it, so that times never run backwards.
    pub fn prepend(
        &mut self,
        offset: Offset,
        frame: Frame,
        at_ms: u64,
        now_ms: u64,
        bounds: &HistoryBounds,
    ) -> bool {
        debug_assert!(
            self.entries.front().is_none_or(|first| offset.next() == first.offset),
            "offsets are without a hole"
        );
        let at_ms = self.entries.front().map_or(now_ms, |first| first.at_ms).min(at_ms);
        let fits = self.entries.len() < bounds.messages && self.bytes + frame.len() <= bounds.bytes;
        if !fits || now_ms.saturating_sub(at_ms) >= bounds.ttl_ms {
            return false;
        }
        self.newest_ms = self.newest_ms.max(at_ms);
        self.bytes += frame.len();
        self.entries.push_front(StoredMessage { offset, at_ms, frame });
        true
    }

    /// Drops the messages that have reached the age [`HistoryBounds::ttl_ms`].
    pub fn expire(&mut self, now_ms: u64, bounds: &HistoryBounds) {
        while self.entries.front().is_some_and(|oldest| now_ms.saturating_sub(oldest.at_ms) >= bounds.ttl_ms)
        {
            self.pop();
        }
        self.release();
    }

    /// Drops the oldest message and returns the length of its frame. The caller calls [`History::release`] after its
    /// last `pop`, because the history may have become empty.
    pub fn pop(&mut self) -> Option<usize> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.frame.len();
        Some(entry.frame.len())
    }

    /// Frees the memory of a history that has become empty.
    pub fn release(&mut self) {
        if self.entries.is_empty() && self.entries.capacity() > 0 {
            self.entries = VecDeque::new();
        }
    }

    /// Returns the messages with offsets above `after`, oldest first. Returns `None` when the first of them are dropped
    /// already, when `after` is above the last offset, and when the history is empty.
    #[must_use]
    pub fn since(&self, after: Offset) -> Option<impl Iterator<Item = (Offset, &Frame)>> {
        let first = self.entries.front()?.offset;
        let skip = usize::try_from(after.0.checked_add(1)?.checked_sub(first.0)?).ok()?;
        if skip > self.entries.len() {
            return None;
        }
        Some(self.entries.range(skip..).map(|entry| (entry.offset, &entry.frame)))
    }

    /// Returns the messages with offsets above `after`, oldest first: as many as fit into `max_bytes`, but at least
    /// one. Returns none when no such message is kept. Starts later than `after.next()` when the first of them are
    /// dropped already.
    #[must_use]
    pub fn page_after(&self, after: Offset, max_bytes: usize) -> Vec<Frame> {
        let Some(oldest) = self.entries.front() else { return Vec::new() };
        let behind = (after.0.saturating_add(1)).saturating_sub(oldest.offset.0);
        let start = usize::try_from(behind).unwrap_or(usize::MAX).min(self.entries.len());
        let mut bytes = 0;
        let fits = |entry: &&StoredMessage| {
            let is_first = bytes == 0;
            bytes += entry.frame.len();
            is_first || bytes <= max_bytes
        };
        self.entries.range(start..).take_while(fits).map(|entry| entry.frame.clone()).collect()
    }

    /// Returns the last messages with offsets below `before`, oldest first; without `before`, the last messages of all.
    /// They are at most `limit`, and as many as fit into `max_bytes`, but at least one. Also returns whether older
    /// messages are kept.
    #[must_use]
    pub fn page_before(&self, before: Option<Offset>, limit: usize, max_bytes: usize) -> (Vec<Frame>, bool) {
        let Some(oldest) = self.entries.front() else { return (Vec::new(), false) };
        let end = before.map_or(u64::MAX, |before| before.0.saturating_sub(oldest.offset.0));
        let end = usize::try_from(end).unwrap_or(usize::MAX).min(self.entries.len());
        let mut bytes = 0;
        let fits = |entry: &&StoredMessage| {
            let is_first = bytes == 0;
            bytes += entry.frame.len();
            is_first || bytes <= max_bytes
        };
        let mut frames: Vec<Frame> =
            self.entries.range(..end).rev().take(limit).take_while(fits).map(|e| e.frame.clone()).collect();
        frames.reverse();
        let has_more = end > frames.len();
        (frames, has_more)
    }

    /// Returns when the oldest message was appended, in milliseconds; `None` when no message is kept.
    #[must_use]
    pub fn oldest_ms(&self) -> Option<u64> {
        self.entries.front().map(|oldest| oldest.at_ms)
    }

    /// Returns how many messages are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns how many bytes of frames are kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns true when no message is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: HistoryBounds = HistoryBounds { messages: 3, bytes: 100, ttl_ms: 1000 };

    fn kept(history: &History, after: u64) -> Option<Vec<u64>> {
        history.since(Offset(after)).map(|entries| entries.map(|(offset, _)| offset.0).collect())
    }

    /// Returns a history of frames of ten bytes that begin with their offset.
    fn filled(offsets: std::ops::RangeInclusive<u64>) -> History {
        let mut history = History::default();
        for offset in offsets {
            let bounds = HistoryBounds { messages: 10, bytes: 1000, ttl_ms: 1000 };
            history.append(Offset(offset), Frame::from(vec![offset as u8; 10]), 0, &bounds);
        }
        history
    }

    fn firsts(frames: &[Frame]) -> Vec<u8> {
        frames.iter().map(|frame| frame[0]).collect()
    }

    #[test]
    fn every_bound_holds_and_dropped_messages_are_reported() {
        let mut history = History::default();
        for offset in 1..=5 {
            history.append(Offset(offset), Frame::from_static(&[0; 10]), offset, &BOUNDS);
        }
        assert_eq!(kept(&history, 2), Some(vec![3, 4, 5]));
        assert_eq!(kept(&history, 4), Some(vec![5]));
        assert_eq!(kept(&history, 5), Some(vec![]));
        assert_eq!(kept(&history, 1), None, "2 is gone");
        assert_eq!(kept(&history, 6), None, "nobody can have seen 6");
        assert_eq!(kept(&history, u64::MAX), None);
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
        let bounds = HistoryBounds { messages: 0, ..BOUNDS };
        history.append(Offset(1), Frame::from_static(b"x"), 0, &bounds);
        assert!(history.is_empty());
    }

    #[test]
    fn times_never_run_backwards() {
        let mut history = History::default();
        for (offset, now_ms) in [(1, 7), (2, 6)] {
            history.append(Offset(offset), Frame::from_static(b"x"), now_ms, &BOUNDS);
        }
        history.pop();
        assert_eq!(history.oldest_ms(), Some(7));
    }

    #[test]
    fn it_is_read_forwards_in_pages() {
        let history = filled(4..=9);
        assert_eq!(firsts(&history.page_after(Offset(5), 30)), [6, 7, 8]);
        assert_eq!(firsts(&history.page_after(Offset(8), 30)), [9]);
        assert_eq!(firsts(&history.page_after(Offset(3), 5)), [4], "at least one");
        assert_eq!(firsts(&history.page_after(Offset(0), 20)), [4, 5], "the rest is gone");
        for after in [9, 10, u64::MAX] {
            assert!(history.page_after(Offset(after), 30).is_empty());
        }
        assert!(History::default().page_after(Offset(0), 30).is_empty());
    }

    #[test]
    fn it_is_read_backwards_in_pages() {
        let history = filled(4..=9);
        let page = |before: Option<u64>, limit, max_bytes| {
            let (frames, has_more) = history.page_before(before.map(Offset), limit, max_bytes);
            (firsts(&frames), has_more)
        };
        assert_eq!(page(None, 2, 1000), (vec![8, 9], true));
        assert_eq!(page(Some(8), 3, 1000), (vec![5, 6, 7], true));
        assert_eq!(page(Some(5), 3, 1000), (vec![4], false));
        assert_eq!(page(Some(7), 100, 20), (vec![5, 6], true));
        assert_eq!(page(Some(7), 100, 1), (vec![6], true), "at least one");
        for before in [0, 4] {
            assert_eq!(page(Some(before), 100, 1000), (vec![], false));
        }
        assert_eq!(page(Some(u64::MAX), 100, 1000), (vec![4, 5, 6, 7, 8, 9], false));
        assert_eq!(History::default().page_before(None, 1, 1), (vec![], false));
    }
}
