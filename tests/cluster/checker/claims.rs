//! The order of a room's epochs, as the servers claim it: which epoch goes on from which.

use std::collections::{HashMap, HashSet};

use crate::load::record::{Client, Entry, Event, Name};

/// All claims of a record that an epoch goes on from another: by an `epoch` event, or by a resume that was recovered
/// under another epoch than it asked for.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// By room and epoch: the epochs right before it.
    earlier: HashMap<(Name, Name), HashSet<Name>>,
}

impl Claims {
    /// Collects the claims of a record.
    pub(super) fn of(entries: &[(u64, Entry)]) -> Self {
        let mut claims = Self::default();
        let mut epochs: HashMap<(Client, &Name), &Name> = HashMap::new();
        for (_, entry) in entries {
            let Entry::Client(client, event) = entry else { continue };
            match event {
                Event::Entered { room, asked, epoch, recovered, .. } => {
                    if let Some(asked) = asked.as_ref().filter(|_| *recovered) {
                        claims.add(room, &asked.epoch, epoch);
                    }
                    epochs.insert((*client, room), epoch);
                }
                Event::Epoch { room, epoch, .. } => {
                    if let Some(before) = epochs.insert((*client, room), epoch) {
                        claims.add(room, before, epoch);
                    }
                }
                _ => {}
            }
        }
        claims
    }

    fn add(&mut self, room: &Name, before: &Name, epoch: &Name) {
        if before != epoch {
            self.earlier.entry((room.clone(), epoch.clone())).or_default().insert(before.clone());
        }
    }

    /// True when messages of epoch `id` may be part of a room that is in `epoch` now.
    pub(super) fn allow(&self, room: &Name, epoch: &Name, id: &Name) -> bool {
        let mut seen = HashSet::new();
        let mut open = vec![epoch];
        while let Some(next) = open.pop() {
            if next == id {
                return true;
            }
            if seen.insert(next) {
                open.extend(self.earlier.get(&(room.clone(), next.clone())).into_iter().flatten());
            }
        }
        false
    }
}
