//! Removes from disk what is no longer kept.

use super::format::{Batch, LogEntry, Step, reader};
use super::{Log, LogError};
use crate::broker::Position;

/// Longest time that something which is no longer kept waits until the oldest segment is cleaned. Expired messages are
/// gone from the disk within this time for each segment of the log: a minute on a quiet server, an hour at the default
/// of `history.total_bytes`.
const MAX_DEAD_MS: u64 = 60_000;
/// Bytes that a room's position takes on disk, roughly.
const POSITION_BYTES: u64 = 80;

impl Log {
    /// Deletes the oldest segments while nothing in them is kept. Cleans one if something has not been kept for long
    /// enough, or if the disk holds too much. To be called after each batch, and now and then when there is none.
    ///
    /// # Errors
    /// The disk is full or broken. Nothing that is kept was lost.
    pub fn clean_up(&mut self, now_unix_ms: u64) -> Result<(), LogError> {
        self.remove_dead(now_unix_ms)?;
        if !self.index.has_dead() {
            self.cleaned_unix_ms = now_unix_ms;
        } else if now_unix_ms.saturating_sub(self.cleaned_unix_ms) >= MAX_DEAD_MS {
            self.cleaned_unix_ms = now_unix_ms;
            if self.files.oldest().is_none() {
                self.roll()?;
            }
            self.clean_oldest(now_unix_ms)?;
        }
        // For each byte that is appended two are cleaned, and no more at once. So the log grows by half at most while
        // all of it is cleaned once.
        while self.files.disk_bytes() > self.bound() {
            match self.files.oldest() {
                Some((_, len)) if len <= self.credit => self.credit -= len,
                _ => return Ok(()),
            }
            self.clean_oldest(now_unix_ms)?;
        }
        self.credit = 0;
        Ok(())
    }

    fn bound(&self) -> u64 {
        let positions = self.index.len() as u64 * POSITION_BYTES;
        2 * (self.index.live_bytes() + positions) + 4 * self.files.segment_bytes()
    }

    fn remove_dead(&mut self, now_unix_ms: u64) -> Result<(), LogError> {
        while let Some((number, _)) = self.files.oldest() {
            let usage = self.index.usage(number);
            if usage.live > 0 || usage.positions > 0 || usage.keyed_until_ms > now_unix_ms {
                break;
            }
            self.files.remove_oldest()?;
            self.index.remove_segment(number);
        }
        Ok(())
    }

    /// Copies what is kept of the oldest segment to the youngest, and deletes the oldest.
    fn clean_oldest(&mut self, now_unix_ms: u64) -> Result<(), LogError> {
        let Some((number, len)) = self.files.oldest() else { return Ok(()) };
        let mut batch = Batch::default();
        let mut copied = Vec::new();
        let mut keyed_until_ms = 0;
        let usage = self.index.usage(number);
        if usage.live > 0 || usage.keyed_until_ms > now_unix_ms {
            let bytes = self.files.read(number)?;
            let mut reader = reader(&bytes[..bytes.len().min(len as usize)]);
            loop {
                let entry = match reader.step() {
                    Step::Entry(entry, ..) => entry,
                    Step::Damaged(_) => continue,
                    Step::End | Step::Torn => break,
                };
                let (room, Position { epoch, offset }, sent) = match entry {
                    LogEntry::Message(record) | LogEntry::Copy(record) => {
                        let (position, sent) = (record.position, record.sent_key());
                        if self.index.is_in(number, &record.room, position) {
                            copied.push((record.room.clone(), position.offset, batch.message(&record, true)));
                            keyed_until_ms =
                                sent.map_or(0, |sent| sent.until_ms(now_unix_ms)).max(keyed_until_ms);
                            continue;
                        }
                        (record.room, position, sent)
                    }
                    LogEntry::Key(room, offset, epoch, sent) => {
                        (room, Position { epoch, offset }, Some(sent))
                    }
                    // Entries about the segment itself, or about the positions of rooms, which are written anew below.
                    // Listed one by one, so that a new entry is not lost with its segment.
                    LogEntry::Segment(_) | LogEntry::OldSegment | LogEntry::Close => continue,
                    LogEntry::Position { .. } | LogEntry::Forget { .. } | LogEntry::PositionsDone(_) => {
                        continue;
                    }
                };
                let young = sent.filter(|sent| {
                    sent.until_ms(now_unix_ms) > now_unix_ms && self.index.is_current(&room, epoch)
                });
                if let Some(mut sent) = young {
                    sent.at_unix_ms = sent.at_unix_ms.min(now_unix_ms);
                    batch.key(&room, epoch, offset, &sent);
                    keyed_until_ms = sent.until_ms(now_unix_ms).max(keyed_until_ms);
                }
            }
        }
        let mut positions = Vec::new();
        for (room, position, first) in self.index.rooms_positioned_in(number) {
            batch.position(room, position, first);
            positions.push((room.clone(), position));
        }
        let (segment, _) = self.write(batch, false)?;
        for (room, offset, size) in copied {
            self.index.relocate(&room, offset, (segment, size));
        }
        for (room, position) in positions {
            self.index.set_position(&room, position, segment);
        }
        if keyed_until_ms > 0 {
            self.index.note_key(segment, keyed_until_ms);
        }
        let rooms = self.index.drop_unreadable(number);
        if rooms > 0 {
            tracing::error!(
                segment = number,
                rooms,
                "messages in history.dir cannot be read and are dropped"
            );
        }
        self.files.remove_oldest()?;
        self.index.remove_segment(number);
        Ok(())
    }
}
