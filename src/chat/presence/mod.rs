//! Keeps the users of a room, and decides what is announced about them. In a small room each join and leave is
//! announced by itself. In a large one they are merged into one announcement per interval, so that a storm of joins
//! costs O(members) and not its square.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound::{Excluded, Unbounded};

use super::announcement::{Announcement, Diff, MergedMoves, Move};
use crate::names::UserId;
use crate::protocol::command::MAX_PRESENCE_LIMIT;

/// Most users in one page: as many as a client may ask for.
pub const MAX_PAGE: usize = MAX_PRESENCE_LIMIT as usize;

/// Most bytes of names in one page. With what stands around them, that makes an event of at most 64 KiB.
pub const PAGE_BYTES: usize = 65_000;

/// When announcements are merged, and what they leave out.
#[derive(Debug, Clone, Copy)]
pub struct PresenceRules {
    /// False when nothing is announced at all.
    pub is_announced: bool,
    /// Most users in a room whose announcements are not merged.
    pub notice_limit: usize,
    /// Most users in a room whose announcements have names.
    pub count_only_above: usize,
    /// Time over which announcements are merged, in milliseconds.
    pub interval_ms: u64,
}

/// The announcement that a join or leave calls for.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: the user is in the room with another connection, or an announcement is due already.
    Quiet,
    /// Announcing this, now.
    Announce(Announcement),
    /// Announcing what [`Presence::merged`] returns at this time.
    Due(u64),
}

/// How a user is in the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    /// With this many connections, at least one.
    Connected(u32),
    /// Without a connection: the last one was taken over by another, which is expected to join. The number tells this
    /// hold from others.
    Held(u32),
}

/// The users of a room, sorted by name, with the number of their connections.
///
/// Memory: about 45 bytes a user, and what waits to be announced of up to [`MAX_NAMES`](super::announcement::MAX_NAMES)
/// users.
#[derive(Debug, Default)]
pub struct Presence {
    users: BTreeMap<UserId, Stay>,
    /// Counts the holds so far.
    held: u32,
    merged: MergedMoves,
}

impl Presence {
    /// Returns how many users are in the room now. Clients are shown [`Presence::shown`] instead.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Returns true when no user is in the room.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Adds a connection of `user`. The return of a user who is held is not announced.
    pub fn join(&mut self, user: &UserId, now_ms: u64, rules: &PresenceRules) -> Outcome {
        match self.users.entry(user.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Stay::Connected(1));
                self.announce(user, Move::Joined, self.users.len(), now_ms, rules)
            }
            Entry::Occupied(mut stay) => {
                *stay.get_mut() = match *stay.get() {
                    Stay::Connected(connections) => Stay::Connected(connections + 1),
                    Stay::Held(_) => Stay::Connected(1),
                };
                Outcome::Quiet
            }
        }
    }

    /// Removes a connection of `user`.
    pub fn leave(&mut self, user: &UserId, now_ms: u64, rules: &PresenceRules) -> Outcome {
        match self.users.get_mut(user) {
            Some(Stay::Connected(connections)) if *connections > 1 => {
                *connections -= 1;
                Outcome::Quiet
            }
            Some(Stay::Connected(_)) => self.remove(user, now_ms, rules),
            None | Some(Stay::Held(_)) => Outcome::Quiet,
        }
    }

    /// Removes a connection of `user` that was taken over by another, which is expected to join. If it was the last
    /// one, the user stays until [`Presence::release`] is called with the returned number.
    #[must_use]
    pub fn hold(&mut self, user: &UserId) -> Option<u32> {
        match self.users.get_mut(user)? {
            Stay::Connected(connections) if *connections > 1 => {
                *connections -= 1;
                None
            }
            Stay::Held(_) => None,
            last => {
                self.held = self.held.wrapping_add(1);
                *last = Stay::Held(self.held);
                Some(self.held)
            }
        }
    }

    /// Removes a held user whose expected connection has not joined. Does nothing if it has joined, or if the user is
    /// held under another number now.
    pub fn release(&mut self, user: &UserId, number: u32, now_ms: u64, rules: &PresenceRules) -> Outcome {
        match self.users.get(user) {
            Some(Stay::Held(held)) if *held == number => self.remove(user, now_ms, rules),
            _ => Outcome::Quiet,
        }
    }

    fn remove(&mut self, user: &UserId, now_ms: u64, rules: &PresenceRules) -> Outcome {
        self.users.remove(user);
        self.announce(user, Move::Left, self.users.len() + 1, now_ms, rules)
    }

    /// Decides how a move is announced. `members` counts the user who leaves, so that a user's join and leave are
    /// treated alike.
    fn announce(
        &mut self,
        user: &UserId,
        what: Move,
        members: usize,
        now_ms: u64,
        rules: &PresenceRules,
    ) -> Outcome {
        if !rules.is_announced {
            return Outcome::Quiet;
        }
        let is_first = self.merged.is_empty();
        if members > rules.notice_limit {
            self.merged.add(user, what);
            return if is_first { Outcome::Due(now_ms + rules.interval_ms) } else { Outcome::Quiet };
        }
        let notice = what.notice(user);
        if !is_first {
            self.merged.add_to_diff(user, what);
            return Outcome::Announce(Announcement { notice, diff: None });
        }
        let names = (members <= rules.count_only_above).then(|| what.names(user));
        Outcome::Announce(Announcement { notice, diff: Some(Diff { names, members: self.users.len() }) })
    }

    /// Returns the merged announcement, once it is due.
    pub fn merged(&mut self, rules: &PresenceRules) -> Option<Announcement> {
        self.merged.take(self.users.len(), rules.count_only_above)
    }

    /// Returns how many users are in the room as `viewer`, one of them, is shown it: as last announced, and the viewer.
    /// Moves that wait to be announced are left out: the announcement will be applied to this number, and says nothing
    /// of users who come and go in between.
    #[must_use]
    pub fn shown(&self, viewer: &UserId) -> usize {
        let announced = self.users.len().saturating_add_signed(-self.merged.gain());
        announced + usize::from(self.merged.move_of(viewer) == Some(Move::Joined))
    }

    /// Returns the users behind `after` (from the first without it) that `viewer` is [shown](Presence::shown): at most
    /// `limit` and [`MAX_PAGE`], as many as fit into [`PAGE_BYTES`]. Also returns whether there are more. Copies no
    /// name. Paging through a room that changes meets every user who stays in it exactly once.
    #[must_use]
    pub fn page(&self, viewer: &UserId, after: Option<&UserId>, limit: usize) -> (Vec<UserId>, bool) {
        let limit = limit.min(MAX_PAGE);
        let mut page = Vec::with_capacity(limit.min(self.users.len()));
        let mut bytes = 0;
        let behind = (after.map_or(Unbounded, Excluded), Unbounded);
        let here = self.users.range::<UserId, _>(behind).map(|(user, _)| user);
        let is_visible = |user: &&UserId| *user == viewer || self.merged.move_of(user) != Some(Move::Joined);
        for user in in_order(here.filter(is_visible), self.merged.left(behind)) {
            // With quotes and a comma.
            bytes += user.as_str().len() + 3;
            if page.len() == limit || bytes > PAGE_BYTES {
                return (page, true);
            }
            page.push(user.clone());
        }
        (page, false)
    }
}

/// Merges two sorted iterators into one.
fn in_order<T: Ord>(one: impl Iterator<Item = T>, two: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    let (mut one, mut two) = (one.peekable(), two.peekable());
    std::iter::from_fn(move || match (one.peek(), two.peek()) {
        (Some(first), Some(second)) if first > second => two.next(),
        (Some(_), _) => one.next(),
        (None, _) => two.next(),
    })
}

#[cfg(test)]
mod tests;
