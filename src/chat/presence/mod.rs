//! Keeps the users of a room, and decides what is announced about them. In a small room each join and leave is
//! announced by itself. In a large one they are merged into one announcement per interval, so that a storm of joins
//! costs O(members) and not its square.
//!
//! In a cluster the other nodes' users count too: see [`Presence::attach`].

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::announcement::{Announcement, Diff, MergedMoves, Move};
use crate::names::{DisplayName, UserId};

mod changes;
mod list;
mod remote;

pub use changes::{Change, LocalMoves, LocalNews, Name, NodeKey};
pub use list::{MAX_PAGE, PAGE_BYTES};
use remote::Remote;

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
/// users. In a cluster, some 60 bytes and the name for each user on other nodes.
#[derive(Debug, Default)]
pub struct Presence {
    /// The users on this node.
    users: BTreeMap<UserId, Stay>,
    /// Counts the holds so far.
    held: u32,
    merged: MergedMoves,
    /// The names that people are shown, of the users on this node who have one; `None` where nobody has.
    #[expect(clippy::box_collection, reason = "most rooms have no names, and pay for a pointer alone")]
    names: Option<Box<BTreeMap<UserId, DisplayName>>>,
    /// The users on other nodes; `None` where the room is not shared with any.
    remote: Option<Box<Remote>>,
}

impl Presence {
    /// Returns how many users are in the room now, on all nodes. Clients are shown [`Presence::shown`] instead.
    #[must_use]
    pub fn members(&self) -> usize {
        self.remote.as_ref().map_or(self.users.len(), |remote| remote.members(self.users.len()))
    }

    /// Sets the name that people are shown for a user, until the user leaves. To be called right before
    /// [`Presence::join`].
    pub fn set_name(&mut self, user: &UserId, name: &DisplayName) {
        let before = self.names.get_or_insert_default().insert(user.clone(), name.clone());
        if before.as_ref() != Some(name)
            && let Some(remote) = &mut self.remote
        {
            remote.note_name(user);
        }
    }

    /// Returns the names of those among `users` who have one.
    pub fn names_of<'u>(&self, users: &'u [UserId]) -> impl Iterator<Item = (&'u UserId, &DisplayName)> {
        users.iter().filter_map(|user| Some((user, self.name_of(user)?)))
    }

    /// Returns the name of a user; that on this node, if nodes have several.
    fn name_of(&self, user: &UserId) -> Option<&DisplayName> {
        let here = self.names.as_ref().and_then(|names| names.get(user));
        here.or_else(|| self.remote.as_ref()?.names.get(user))
    }

    /// Returns true when no user is in the room on this node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Adds a connection of `user`. The return of a user who is held is not announced, nor is the join of one who is in
    /// the room on another node.
    pub fn join(&mut self, user: &UserId, now_ms: u64, rules: &PresenceRules) -> Outcome {
        match self.users.entry(user.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Stay::Connected(1));
                if self.remote.as_mut().is_some_and(|remote| remote.note_local(user, Move::Joined)) {
                    return Outcome::Quiet;
                }
                self.announce(user, Move::Joined, self.members(), now_ms, rules)
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
    /// one, the user stays until [`Presence::release`] is called with the returned number, on whichever node the other
    /// connection joins: two nodes that each rely on the other would lose a user who moves twice.
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
        if let Some(names) = &mut self.names {
            names.remove(user);
            self.names.take_if(|names| names.is_empty());
        }
        if self.remote.as_mut().is_some_and(|remote| remote.note_local(user, Move::Left)) {
            return Outcome::Quiet;
        }
        self.announce(user, Move::Left, self.members() + 1, now_ms, rules)
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
        let names = (members <= self.names_up_to(rules)).then(|| what.names(user));
        Outcome::Announce(Announcement { notice, diff: Some(Diff { names, members: self.members() }) })
    }

    /// Returns up to how many members the announcements of the room have names now.
    fn names_up_to(&self, rules: &PresenceRules) -> usize {
        if self.remote.as_ref().is_some_and(|remote| remote.is_counted()) {
            0
        } else {
            rules.count_only_above
        }
    }

    /// Returns the merged announcement, once it is due.
    pub fn merged(&mut self, rules: &PresenceRules) -> Option<Announcement> {
        let (members, names_up_to) = (self.members(), self.names_up_to(rules));
        self.merged.take(members, names_up_to)
    }
}

#[cfg(test)]
mod tests;
