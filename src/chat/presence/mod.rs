//! Who is in a room, and the news about it: one piece for each who joins or leaves in a small room; in a large one a
//! single merged piece per interval, so that a storm of joins costs O(members) and not its square.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound::{Excluded, Unbounded};

use super::news::{Diff, Merged, Move, News};
use crate::names::UserId;
use crate::protocol::command::MAX_PRESENCE_LIMIT;

/// Most users in one page: what a client may ask for.
pub const MAX_PAGE: usize = MAX_PRESENCE_LIMIT as usize;

/// Most bytes of the names in one page: with what stands around them, an event of at most 64 KiB.
pub const PAGE_BYTES: usize = 65_000;

/// When news are merged, and what they leave out.
#[derive(Debug, Clone, Copy)]
pub struct PresenceRules {
    /// False: nobody is told anything.
    pub is_announced: bool,
    /// Above this many users news are merged.
    pub notice_limit: usize,
    /// Above this many users a difference has no names.
    pub count_only_above: usize,
    /// Merged into one per this many milliseconds.
    pub interval_ms: u64,
}

/// What to do about an entry or exit.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: the user is, or was, there with another connection, or news are due already.
    Quiet,
    /// Tell this, now.
    Announce(News),
    /// Tell something, when [`Presence::merged`] is asked at this time.
    Due(u64),
}

/// How a user is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    /// With so many connections, at least one.
    Connected(u32),
    /// With none: the last one was taken over by another, which is expected. Under this number.
    Held(u32),
}

/// The users of a room, in the order of their names, with the number of their connections.
///
/// Memory: about 45 bytes a user, and what waits to be told of up to [`MAX_NAMES`](super::news::MAX_NAMES).
#[derive(Debug, Default)]
pub struct Presence {
    users: BTreeMap<UserId, Stay>,
    /// Counts those that were held.
    held: u32,
    merged: Merged,
}

impl Presence {
    /// Number of users who are there now; what a client is told of them is [`Presence::shown`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// True when nobody is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// A connection of `user` comes in. Nobody is told of a user who is held.
    pub fn join(&mut self, user: &UserId, now_ms: u64, rules: &PresenceRules) -> Outcome {
        match self.users.entry(user.clone()) {
            Entry::Vacant(place) => {
                place.insert(Stay::Connected(1));
                self.announce(user, Move::Joined, self.users.len(), now_ms, rules)
            }
            Entry::Occupied(mut place) => {
                *place.get_mut() = match *place.get() {
                    Stay::Connected(connections) => Stay::Connected(connections + 1),
                    Stay::Held(_) => Stay::Connected(1),
                };
                Outcome::Quiet
            }
        }
    }

    /// A connection of `user` goes.
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

    /// A connection of `user` goes, in whose place another one is expected: the user stays until [`Presence::release`]
    /// with the number that is returned, if it was the last one.
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

    /// The connection that was expected has not come, unless it has, or is expected anew.
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

    /// `members` counts the user who leaves: both moves of one user are treated alike.
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
            self.merged.add_unsaid(user, what);
            return Outcome::Announce(News { notice, diff: None });
        }
        let names = (members <= rules.count_only_above).then(|| what.names(user));
        Outcome::Announce(News { notice, diff: Some(Diff { names, members: self.users.len() }) })
    }

    /// The merged news, once they are due.
    pub fn merged(&mut self, rules: &PresenceRules) -> Option<News> {
        self.merged.take(self.users.len(), rules.count_only_above)
    }

    /// Users in the room as `viewer`, one of them, is shown it: as the news told it last, and the viewer besides. What
    /// waits to be told is left out, or it would be missing from what a client makes of both: the news say
    /// nothing of who comes and goes again between two of them.
    #[must_use]
    pub fn shown(&self, viewer: &UserId) -> usize {
        let announced = self.users.len().saturating_add_signed(-self.merged.gain());
        announced + usize::from(self.merged.move_of(viewer) == Some(Move::Joined))
    }

    /// The users behind `after` (from the first without it) that `viewer` is [shown](Presence::shown), at most `limit`
    /// and [`MAX_PAGE`], as many as fit into [`PAGE_BYTES`]; and whether there are more. Copies no name. Who pages
    /// through a room that changes meets everybody who was there all the time, once.
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

/// What two iterators have, both of which are in order, in order.
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
