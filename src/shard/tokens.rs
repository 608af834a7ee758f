//! The tokens of a shard's clients, and the search for those that are revoked. They lie densely, apart from the
//! clients, so that a search through all of them is short; and there are none as long as no client has one.

use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;

use crate::registry::revoked::Sweep;
use crate::revocation::{Revocation, Subject, TokenMark};

/// Marks looked at before other tasks get their turn, 96 KiB of memory.
pub(super) const SLICE_MARKS: usize = 4096;

/// The mark of each client's token, by slot.
#[derive(Debug, Default)]
pub(super) struct Tokens(Vec<TokenMark>);

impl Tokens {
    /// Notes the token of a client.
    pub(super) fn set(&mut self, slot: usize, mark: TokenMark) {
        if slot >= self.0.len() {
            if slot >= self.0.capacity() {
                // By a quarter and not by half: the table is a part of what an idle connection costs.
                let more = slot + 1 - self.0.len();
                self.0.reserve_exact(more.max(self.0.len() / 4));
            }
            self.0.resize(slot + 1, TokenMark::NONE);
        }
        self.0[slot] = mark;
    }

    /// Forgets the token of a client that is gone. `end` is behind the last slot in use.
    pub(super) fn remove(&mut self, slot: usize, end: usize) {
        if let Some(mark) = self.0.get_mut(slot) {
            *mark = TokenMark::NONE;
        }
        if end < self.0.len() {
            self.0.truncate(end);
            if self.0.len() <= self.0.capacity() / 2 {
                self.0.shrink_to_fit();
            }
        }
    }

    /// Returns the marks of some slots; `None` behind the last one.
    pub(super) fn slice(&self, from: usize) -> Option<&[TokenMark]> {
        let rest = self.0.get(from..).filter(|rest| !rest.is_empty())?;
        Some(&rest[..rest.len().min(SLICE_MARKS)])
    }
}

/// The subjects of several sweeps, each with the index of the first sweep that has it.
#[derive(Debug, Default)]
pub(super) struct Wanted(FxHashMap<Subject, (Revocation, usize)>);

impl Wanted {
    pub(super) fn of(sweeps: &[Sweep]) -> Self {
        let mut wanted = Self::default();
        for (index, sweep) in sweeps.iter().enumerate() {
            for revocation in sweep.revocations.iter() {
                match wanted.0.entry(revocation.subject) {
                    Entry::Vacant(new) => {
                        new.insert((*revocation, index));
                    }
                    Entry::Occupied(mut known) => {
                        let (known, _) = known.get_mut();
                        known.before_s = known.before_s.max(revocation.before_s);
                    }
                }
            }
        }
        wanted
    }

    /// Returns the index of the sweep that ends a client with this mark.
    pub(super) fn find(&self, mark: &TokenMark) -> Option<usize> {
        let found = mark.subjects().into_iter().filter_map(|subject| self.0.get(&subject));
        found.filter(|(revocation, _)| revocation.covers(mark)).map(|(_, index)| *index).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_take_at_most_32_bytes_for_each_client() {
        let mut tokens = Tokens::default();
        let mark = TokenMark::new("alice", Some("7"), None);
        assert_eq!(tokens.0.capacity(), 0);
        for slot in 0..100_000 {
            tokens.set(slot, mark);
            let bytes = tokens.0.capacity() * size_of::<TokenMark>();
            assert!(slot < 64 || bytes <= 32 * (slot + 1), "{bytes} bytes for {} clients", slot + 1);
        }
        (0..100_000).rev().for_each(|slot| tokens.remove(slot, slot));
        assert_eq!(tokens.0.capacity(), 0);
    }
}
