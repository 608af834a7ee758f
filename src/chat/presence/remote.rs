//! The users of a room on other nodes.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::super::announcement::Move;
use super::changes::{Name, NodeKey};
use crate::names::{DisplayName, UserId};

/// Most moves of this node's users that wait for the exchange, each some 60 bytes. Beyond it the exchange gets all
/// users of the node instead.
const MAX_MOVES: usize = 1_024;

/// The number of a node's place in [`Remote::parts`].
pub(super) type Slot = u32;

/// The other nodes that have a user.
#[derive(Debug)]
enum Elsewhere {
    One(Slot),
    /// Two or more.
    Several(Box<[Slot]>),
}

/// The part of another node in the room.
#[derive(Debug)]
struct Part {
    node: NodeKey,
    users: usize,
    /// True when the node tells the number of its users alone.
    is_counted: bool,
}

/// The users on other nodes, and what those have not been told yet of the users on this one.
#[derive(Debug)]
pub(super) struct Remote {
    users: BTreeMap<UserId, Elsewhere>,
    /// The names that people are shown, of those among `users` who have one.
    pub(super) names: BTreeMap<UserId, DisplayName>,
    /// How many of `users` are on this node too.
    both: usize,
    /// The other nodes by slot; `None` where a slot is free.
    parts: Vec<Option<Part>>,
    /// The sum of the users of all parts.
    sum: usize,
    /// How many parts tell numbers alone.
    counted_parts: usize,
    /// True when this node tells the number of its users alone.
    pub(super) is_own_counted: bool,
    /// The users of this node who have come or gone since the exchange was told, when their moves are added up.
    pub(super) moves: BTreeMap<UserId, Move>,
    /// The users of this node whose names the exchange was not told.
    pub(super) named: BTreeSet<UserId>,
    /// True when `moves` is not complete, and all users must be told.
    pub(super) tells_all: bool,
    /// True when there is something to tell.
    pub(super) is_changed: bool,
    /// True when the exchange knows that there is something to tell.
    pub(super) is_announced: bool,
}

impl Remote {
    /// Creates the part of the other nodes, of which nothing is known yet.
    pub(super) const fn new() -> Self {
        Self {
            users: BTreeMap::new(),
            names: BTreeMap::new(),
            both: 0,
            parts: Vec::new(),
            sum: 0,
            counted_parts: 0,
            is_own_counted: false,
            moves: BTreeMap::new(),
            named: BTreeSet::new(),
            tells_all: true,
            is_changed: true,
            is_announced: false,
        }
    }

    /// Returns true when at least one node tells the number of its users alone, so that the room has no list.
    pub(super) const fn is_counted(&self) -> bool {
        self.is_own_counted || self.counted_parts > 0
    }

    /// Returns how many users are in the room when `here` are on this node.
    pub(super) fn members(&self, here: usize) -> usize {
        here + if self.is_counted() { self.sum } else { self.users.len() - self.both }
    }

    /// Returns the users of other nodes within these bounds, sorted by name; nothing where the room has no list.
    pub(super) fn users_within(
        &self,
        within: (Bound<&UserId>, Bound<&UserId>),
    ) -> impl Iterator<Item = &UserId> {
        let listed = (!self.is_counted()).then(|| self.users.range::<UserId, _>(within));
        listed.into_iter().flatten().map(|(user, _)| user)
    }

    /// Notes that the first connection of a user came to this node or the last one went. Returns true when nobody is to
    /// be told, because the user is in the room on another node.
    pub(super) fn note_local(&mut self, user: &UserId, what: Move) -> bool {
        let is_elsewhere = self.users.contains_key(user);
        match what {
            Move::Joined => self.both += usize::from(is_elsewhere),
            Move::Left => self.both -= usize::from(is_elsewhere),
        }
        self.is_changed = true;
        if !self.tells_all && !self.is_own_counted {
            if self.moves.get(user).is_some_and(|before| *before != what) {
                self.moves.remove(user);
            } else {
                self.moves.insert(user.clone(), what);
            }
            if self.moves.len() > MAX_MOVES {
                self.tell_all();
            }
        }
        is_elsewhere && !self.is_counted()
    }

    /// Notes that a user of this node has another name.
    pub(super) fn note_name(&mut self, user: &UserId) {
        if !self.tells_all && !self.is_own_counted {
            self.named.insert(user.clone());
            self.is_changed = true;
            if self.named.len() > MAX_MOVES {
                self.tell_all();
            }
        }
    }

    /// Makes the next [`LocalMoves`](super::LocalMoves) tell all users of this node.
    pub(super) fn tell_all(&mut self) {
        (self.moves, self.named) = (BTreeMap::new(), BTreeSet::new());
        self.tells_all = true;
        self.is_changed = true;
    }

    /// Returns the slots of all nodes.
    pub(super) fn slots(&self) -> Vec<Slot> {
        (0..self.parts.len()).filter(|slot| self.parts[*slot].is_some()).map(|slot| slot as Slot).collect()
    }

    /// Returns the slot of a node, which gets one if it has none.
    pub(super) fn slot_of(&mut self, node: NodeKey) -> Slot {
        let is_of = |part: &Option<Part>| part.as_ref().is_some_and(|part| part.node == node);
        if let Some(slot) = self.parts.iter().position(is_of) {
            return slot as Slot;
        }
        let part = Some(Part { node, users: 0, is_counted: false });
        if let Some(slot) = self.parts.iter().position(Option::is_none) {
            self.parts[slot] = part;
            return slot as Slot;
        }
        self.parts.push(part);
        (self.parts.len() - 1) as Slot
    }

    /// Sets the names of users on another node; those without one in `names` have none.
    pub(super) fn name(&mut self, users: &[UserId], names: Vec<Name>) {
        users.iter().for_each(|user| {
            self.names.remove(user);
        });
        self.names.extend(names);
    }

    /// Notes that a node has this user. Returns true when no other node had the user before.
    pub(super) fn add(&mut self, slot: Slot, user: &UserId, is_here: bool) -> bool {
        let is_new = match self.users.entry(user.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Elsewhere::One(slot));
                self.both += usize::from(is_here);
                true
            }
            Entry::Occupied(mut entry) => {
                match entry.get_mut() {
                    Elsewhere::One(first) if *first == slot => return false,
                    Elsewhere::Several(slots) if slots.contains(&slot) => return false,
                    Elsewhere::One(first) => *entry.get_mut() = Elsewhere::Several(Box::new([*first, slot])),
                    Elsewhere::Several(slots) => *slots = slots.iter().copied().chain([slot]).collect(),
                }
                false
            }
        };
        self.count(slot, 1);
        is_new
    }

    /// Notes that a node no longer has this user. Returns true when no other node has the user now.
    pub(super) fn remove(&mut self, slot: Slot, user: &UserId, is_here: bool) -> bool {
        let Entry::Occupied(mut entry) = self.users.entry(user.clone()) else { return false };
        let is_last = match entry.get_mut() {
            Elsewhere::One(only) if *only == slot => {
                entry.remove();
                self.names.remove(user);
                self.both -= usize::from(is_here);
                true
            }
            Elsewhere::Several(slots) if slots.contains(&slot) => {
                let others: Box<[Slot]> = slots.iter().copied().filter(|other| *other != slot).collect();
                *entry.get_mut() =
                    if let [only] = others[..] { Elsewhere::One(only) } else { Elsewhere::Several(others) };
                false
            }
            _ => return false,
        };
        self.count(slot, -1);
        is_last
    }

    /// Returns the users that a node has, sorted by name.
    pub(super) fn users_of(&self, slot: Slot) -> Vec<UserId> {
        let has = |elsewhere: &Elsewhere| match elsewhere {
            Elsewhere::One(only) => *only == slot,
            Elsewhere::Several(slots) => slots.contains(&slot),
        };
        self.users.iter().filter(|(_, elsewhere)| has(elsewhere)).map(|(user, _)| user.clone()).collect()
    }

    fn count(&mut self, slot: Slot, more: isize) {
        if let Some(Some(part)) = self.parts.get_mut(slot as usize) {
            part.users = part.users.saturating_add_signed(more);
            self.sum = self.sum.saturating_add_signed(more);
        }
    }

    /// Sets whether a node tells the number of its users alone, and that number. A node that tells names has none at
    /// first.
    pub(super) fn set_part(&mut self, slot: Slot, is_counted: bool, users: usize) {
        if let Some(Some(part)) = self.parts.get_mut(slot as usize) {
            self.sum = self.sum - part.users + users;
            self.counted_parts = self.counted_parts - usize::from(part.is_counted) + usize::from(is_counted);
            (part.users, part.is_counted) = (users, is_counted);
        }
    }

    /// Returns true when a node tells the number of its users alone.
    pub(super) fn is_part_counted(&self, slot: Slot) -> bool {
        matches!(self.parts.get(slot as usize), Some(Some(part)) if part.is_counted)
    }

    /// Frees the slot of a node that has no users any more.
    pub(super) fn free(&mut self, slot: Slot) {
        self.set_part(slot, false, 0);
        if let Some(part) = self.parts.get_mut(slot as usize) {
            *part = None;
        }
        while matches!(self.parts.last(), Some(None)) {
            self.parts.pop();
        }
    }
}
