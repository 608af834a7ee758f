//! The revocations that hold now. All threads read them at each handshake.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::hash_map::Entry;

use parking_lot::RwLock;
use rustc_hash::FxHashMap;

use super::{Revocation, Seconds, Subject, TokenMark};

/// Most revocations at once. With its place in the order of their ends, one takes some 64 bytes.
const MOST: usize = 1_000_000;
/// Most revocations that are forgotten in one go, so that handshakes do not wait for long.
const FORGOTTEN_AT_ONCE: usize = 1_000;

/// There are as many revocations as can be remembered. None is forgotten before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

#[derive(Debug, Clone, Copy)]
struct Held {
    before_s: Seconds,
    until_s: Seconds,
}

#[derive(Debug, Default)]
struct Table {
    held: FxHashMap<Subject, Held>,
    /// The subjects in the order in which they can be forgotten. Entries whose moment is not that of the table are
    /// stale: the revocation was renewed.
    ends: BinaryHeap<Reverse<(Seconds, Subject)>>,
}

/// The revocations that hold now.
#[derive(Debug)]
pub struct Revocations {
    table: RwLock<Table>,
    most: usize,
}

impl Default for Revocations {
    fn default() -> Self {
        Self::with_most(MOST)
    }
}

impl Revocations {
    fn with_most(most: usize) -> Self {
        Self { table: RwLock::default(), most }
    }

    /// Adds a revocation. One for the same subject is renewed, and never becomes weaker. Returns false when nothing has
    /// changed.
    ///
    /// # Errors
    /// [`Full`].
    pub fn add(&self, revocation: Revocation, now_s: Seconds) -> Result<bool, Full> {
        let Revocation { subject, before_s, until_s } = revocation;
        let mut table = self.table.write();
        let Table { held, ends } = &mut *table;
        if until_s <= now_s {
            return Ok(false);
        }
        let is_full = held.len() >= self.most;
        match held.entry(subject) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                let old = *known;
                *known = Held { before_s: old.before_s.max(before_s), until_s: old.until_s.max(until_s) };
                if known.until_s == old.until_s {
                    return Ok(known.before_s > old.before_s);
                }
            }
            Entry::Vacant(_) if is_full => return Err(Full),
            Entry::Vacant(new) => {
                new.insert(Held { before_s, until_s });
            }
        }
        ends.push(Reverse((until_s, subject)));
        if ends.len() > 2 * held.len() + FORGOTTEN_AT_ONCE {
            *ends = held.iter().map(|(subject, held)| Reverse((held.until_s, *subject))).collect();
        }
        Ok(true)
    }

    /// Returns true when the token with this mark is revoked.
    #[must_use]
    pub fn has(&self, mark: &TokenMark) -> bool {
        let table = self.table.read();
        mark.subjects().into_iter().any(|subject| {
            let held = table.held.get(&subject);
            held.is_some_and(|held| {
                Revocation { subject, before_s: held.before_s, until_s: held.until_s }.covers(mark)
            })
        })
    }

    /// Forgets revocations whose tokens have all expired. To be called often: one call forgets a bounded number.
    pub fn forget(&self, now_s: Seconds) {
        if self.table.read().ends.peek().is_none_or(|Reverse((until_s, _))| *until_s > now_s) {
            return;
        }
        let mut table = self.table.write();
        let Table { held, ends } = &mut *table;
        for _ in 0..FORGOTTEN_AT_ONCE {
            let Some(end) = ends.peek_mut().filter(|end| end.0.0 <= now_s) else { break };
            let Reverse((until_s, subject)) = std::collections::binary_heap::PeekMut::pop(end);
            if held.get(&subject).is_some_and(|held| held.until_s == until_s) {
                held.remove(&subject);
            }
        }
        if held.len() * 4 < held.capacity() {
            held.shrink_to_fit();
            ends.shrink_to_fit();
        }
    }

    /// Returns the revocation of a subject, if there is one.
    #[must_use]
    pub fn find(&self, subject: Subject) -> Option<Revocation> {
        let Held { before_s, until_s } = *self.table.read().held.get(&subject)?;
        Some(Revocation { subject, before_s, until_s })
    }

    /// Returns how many revocations there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.table.read().held.len()
    }

    /// Returns all revocations, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<Revocation> {
        let table = self.table.read();
        let revocation = |(subject, held): (&Subject, &Held)| {
            let (subject, before_s, until_s) = (*subject, held.before_s, held.until_s);
            Revocation { subject, before_s, until_s }
        };
        table.held.iter().map(revocation).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_holds_until_its_tokens_have_expired() {
        let all = Revocations::default();
        let mark = TokenMark::new("alice", Some("7"), Some(50_000));
        assert!(!all.has(&mark));
        assert_eq!(all.add(Revocation::of_token("7", 100), 10), Ok(true));
        assert!(all.has(&mark) && !all.has(&TokenMark::new("alice", Some("8"), None)));
        all.forget(99);
        assert!(all.has(&mark));
        all.forget(100);
        assert!(!all.has(&mark) && all.count() == 0);
        assert_eq!(all.add(Revocation::of_token("7", 100), 100), Ok(false), "the token has expired");
    }

    #[test]
    fn a_renewed_revocation_never_becomes_weaker() {
        let all = Revocations::default();
        let issued = |s: i64| TokenMark::new("alice", None, Some(s * 1000));
        assert_eq!(all.add(Revocation::of_user("alice", 50, 1_000), 10), Ok(true));
        assert_eq!(all.add(Revocation::of_user("alice", 40, 500), 10), Ok(false));
        assert!(all.has(&issued(49)) && !all.has(&issued(50)));
        assert_eq!(all.add(Revocation::of_user("alice", 60, 900), 10), Ok(true));
        assert_eq!(all.add(Revocation::of_user("alice", 60, 2_000), 10), Ok(true));
        all.forget(1_999);
        assert!(all.has(&issued(59)) && !all.has(&issued(60)));
        all.forget(2_000);
        assert_eq!(all.count(), 0);
    }

    #[test]
    fn a_full_table_refuses_and_forgets_nothing_early() {
        let all = Revocations::with_most(2);
        assert_eq!(all.add(Revocation::of_token("1", 100), 10), Ok(true));
        assert_eq!(all.add(Revocation::of_token("2", 200), 10), Ok(true));
        assert_eq!(all.add(Revocation::of_token("3", 300), 10), Err(Full));
        assert_eq!(all.add(Revocation::of_token("2", 300), 10), Ok(true), "it has its place");
        assert!(all.has(&TokenMark::new("a", Some("1"), None)));
        all.forget(100);
        assert_eq!(all.add(Revocation::of_token("3", 300), 100), Ok(true));
    }

    #[test]
    fn revoking_the_same_again_and_again_takes_no_more_memory() {
        let all = Revocations::default();
        for until_s in 100..100_000 {
            assert_eq!(all.add(Revocation::of_user("alice", 50, until_s), 10), Ok(true));
        }
        let table = all.table.read();
        assert!(table.held.len() == 1 && table.ends.len() <= 2 + FORGOTTEN_AT_ONCE, "{}", table.ends.len());
    }
}
