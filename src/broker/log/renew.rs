//! Writes the entries that a log needs before it continues: the positions of the rooms that had messages in the last
//! segment, and what is left of rooms that begin a new epoch.

use super::format::Batch;
use super::rooms::Repairs;
use super::{Log, LogError, Recovered};
use crate::names::{Epoch, Offset, RoomName};

impl Log {
    /// Begins the next segment, which repeats the positions of all rooms with messages in this one.
    pub(super) fn roll(&mut self) -> Result<(), LogError> {
        let before = self.files.youngest();
        self.files.roll()?;
        self.write_positions(before, Vec::new())
    }

    /// Writes the positions of the rooms with messages in a segment, and which rooms are gone; behind that, that the
    /// `forgotten` rooms are gone too.
    fn write_positions(&mut self, segment: u32, forgotten: Vec<(RoomName, Epoch)>) -> Result<(), LogError> {
        let mut batch = Batch::default();
        for (room, epoch) in &self.gone {
            batch.forget(room, *epoch);
        }
        for (room, position, first) in self.index.rooms_positioned_in(segment) {
            batch.position(room, position, first);
        }
        batch.positions_done(segment);
        for (room, epoch) in &forgotten {
            batch.forget(room, *epoch);
        }
        self.files.write(batch, false)?;
        self.gone = forgotten;
        Ok(())
    }

    /// Writes what a recovered log needs before it continues. No end mark covers this: if it is cut short, it is done
    /// again. `before` is the number of the last segment that was there, 0 if there was none.
    pub(super) fn put_in_order(
        &mut self,
        before: u32,
        recovered: &Recovered,
        repairs: Repairs,
    ) -> Result<(), LogError> {
        let Repairs { renewed, gone, forgotten, trimmed } = repairs;
        let mut batch = Batch::default();
        for room in &trimmed {
            if let Some((position, first)) = self.index.range(room) {
                batch.position(room, position, first);
            }
        }
        self.files.write(batch, false)?;
        for (index, old) in renewed {
            self.renew(recovered, index, old)?;
        }
        if before == 0 {
            return Ok(());
        }
        self.gone.extend(gone);
        self.write_positions(before, forgotten)
    }

    /// Writes what is left of a room in its new epoch.
    fn renew(&mut self, recovered: &Recovered, index: usize, old: Epoch) -> Result<(), LogError> {
        let found = &recovered.rooms[index];
        let mut batch = Batch::default();
        batch.forget(&found.room, old);
        let first = found.messages.first().map_or(Offset(0), |message| message.position.offset);
        let lens: Vec<usize> = found.messages.iter().map(|message| batch.message(message, true)).collect();
        let mut keyed_until_ms = 0;
        for (offset, sent) in &found.keys {
            if *offset < first {
                batch.key(&found.room, found.position.epoch, *offset, sent);
            }
            keyed_until_ms = sent.until_ms(sent.at_unix_ms).max(keyed_until_ms);
        }
        batch.position(&found.room, found.position, first);
        let (segment, _) = self.write(batch, false)?;
        for (message, len) in found.messages.iter().zip(lens) {
            self.index.append(&found.room, message.position, first, (segment, len));
        }
        self.index.set_position(&found.room, found.position, segment);
        if keyed_until_ms > 0 {
            self.index.note_key(segment, keyed_until_ms);
        }
        Ok(())
    }
}
