//! The changes of a room's users that nodes tell each other: those on other nodes, which are applied here, and those on
//! this node, of which the others are told.

use std::collections::BTreeMap;
use std::mem;

use super::super::announcement::{Announcement, Diff, Move};
use super::remote::{Remote, Slot};
use super::{Outcome, Presence, PresenceRules};
use crate::names::{DisplayName, UserId};

/// A node, by the number of its incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey(pub u64);

/// A user and the name that people are shown.
pub type Name = (UserId, DisplayName);

/// A change of the users on other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The exchange with other nodes begins: nothing is known of them, and they know nothing of this node.
    Begin,
    /// Users came to a node and went from it.
    Moved {
        /// The node.
        node: NodeKey,
        /// The users who came.
        joined: Vec<UserId>,
        /// The users who went.
        left: Vec<UserId>,
        /// The names of those who came and have one.
        names: Vec<Name>,
    },
    /// A node has these users and no others.
    Users {
        /// The node.
        node: NodeKey,
        /// All its users.
        users: Vec<UserId>,
        /// The names of those who have one.
        names: Vec<Name>,
    },
    /// A node has this many users, and tells no names.
    Count {
        /// The node.
        node: NodeKey,
        /// The number of its users.
        users: usize,
    },
    /// A node is no longer in the room.
    Removed {
        /// The node.
        node: NodeKey,
    },
    /// This node tells the others from now on the number of its users alone, or their names again.
    OwnForm {
        /// True for the number alone.
        is_counted: bool,
    },
}

/// The users on this node, as the other nodes are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalMoves {
    /// Users who came and went since the last time; each is in one list at most.
    Moved {
        /// Sorted by name.
        joined: Vec<UserId>,
        /// Sorted by name.
        left: Vec<UserId>,
    },
    /// All users of this node, sorted by name.
    All(Vec<UserId>),
    /// The number of users on this node.
    Count(usize),
}

/// The changes of the users on this node, with the names of those among them who have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalNews {
    /// The users.
    pub moves: LocalMoves,
    /// Their names, and the new names of users who were told before.
    pub names: Vec<Name>,
}

impl From<LocalMoves> for LocalNews {
    fn from(moves: LocalMoves) -> Self {
        Self { moves, names: Vec::new() }
    }
}

/// The users who are in the room and were not before, and those who were and are not.
#[derive(Debug, Default)]
struct Net(BTreeMap<UserId, Move>);

impl Net {
    fn add(&mut self, user: UserId, what: Move) {
        if self.0.get(&user).is_some_and(|before| *before != what) {
            self.0.remove(&user);
        } else {
            self.0.insert(user, what);
        }
    }
}

impl Presence {
    /// Shares the room with other nodes: from now on [`Presence::apply`] adds their users, and
    /// [`Presence::take_local`] returns the moves of this node's users. Does nothing in a room that is shared already.
    pub fn attach(&mut self) {
        self.remote.get_or_insert_with(|| Box::new(Remote::new()));
    }

    /// Forgets the users of other nodes without an announcement. For a room that has no users on this node.
    pub fn detach(&mut self) {
        self.remote = None;
    }

    /// Returns true, once for each [`Presence::take_local`], when the users on this node have changed. To be
    /// asked after each call that may change them; the caller then sees to it that the moves are taken.
    pub fn wants_exchange(&mut self) -> bool {
        self.remote
            .as_mut()
            .is_some_and(|remote| remote.is_changed && !mem::replace(&mut remote.is_announced, true))
    }

    /// Takes what the other nodes have to be told of this node's users; `None` when nothing has changed.
    pub fn take_local(&mut self) -> Option<LocalNews> {
        let remote = self.remote.as_mut()?;
        remote.is_announced = false;
        if !mem::replace(&mut remote.is_changed, false) {
            return None;
        }
        if remote.is_own_counted {
            return Some(LocalMoves::Count(self.users.len()).into());
        }
        let named = mem::take(&mut remote.named);
        let all = self.names.as_deref();
        if mem::replace(&mut remote.tells_all, false) {
            let names = all.into_iter().flatten().map(|(user, name)| (user.clone(), name.clone())).collect();
            return Some(LocalNews { moves: LocalMoves::All(self.users.keys().cloned().collect()), names });
        }
        let name = |user: UserId| Some((user.clone(), all?.get(&user)?.clone()));
        let names = named.into_iter().filter_map(name).collect();
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        for (user, what) in mem::take(&mut remote.moves) {
            match what {
                Move::Joined => joined.push(user),
                Move::Left => left.push(user),
            }
        }
        Some(LocalNews { moves: LocalMoves::Moved { joined, left }, names })
    }

    /// Applies changes on other nodes, and announces them together. A user is in the room while any node has it.
    pub fn apply(&mut self, changes: Vec<Change>, now_ms: u64, rules: &PresenceRules) -> Outcome {
        self.attach();
        let (members, was_counted) = (self.members(), self.is_counted());
        let mut net = Net::default();
        for change in changes {
            self.apply_one(change, &mut net);
        }
        if self.users.is_empty() && self.merged.is_empty() {
            // Nobody is there who could be told.
            return Outcome::Quiet;
        }
        if was_counted || self.is_counted() {
            return self.announce_numbers(members, was_counted != self.is_counted(), now_ms, rules);
        }
        self.announce_all(net, members.max(self.members()), now_ms, rules)
    }

    fn is_counted(&self) -> bool {
        self.remote.as_ref().is_some_and(|remote| remote.is_counted())
    }

    fn apply_one(&mut self, change: Change, net: &mut Net) {
        let Some(remote) = &mut self.remote else { return };
        match change {
            Change::Begin => {
                for slot in remote.slots() {
                    self.clear(slot, net);
                }
                self.remote = Some(Box::new(Remote::new()));
            }
            Change::OwnForm { is_counted } => {
                remote.is_own_counted = is_counted;
                remote.tell_all();
            }
            Change::Moved { node, joined, left, names } => {
                let slot = remote.slot_of(node);
                remote.name(&joined, names);
                joined.iter().for_each(|user| self.came(slot, user, net));
                left.iter().for_each(|user| self.went(slot, user, net));
            }
            Change::Users { node, users, names } => {
                let slot = remote.slot_of(node);
                remote.name(&users, names);
                if remote.is_part_counted(slot) {
                    remote.set_part(slot, false, 0);
                }
                let kept: BTreeMap<&UserId, ()> = users.iter().map(|user| (user, ())).collect();
                let gone = remote.users_of(slot).into_iter().filter(|user| !kept.contains_key(user));
                gone.collect::<Vec<_>>().iter().for_each(|user| self.went(slot, user, net));
                users.iter().for_each(|user| self.came(slot, user, net));
            }
            Change::Count { node, users } => {
                let slot = remote.slot_of(node);
                self.clear(slot, net);
                if let Some(remote) = &mut self.remote {
                    remote.set_part(slot, true, users);
                }
            }
            Change::Removed { node } => {
                let slot = remote.slot_of(node);
                self.clear(slot, net);
                if let Some(remote) = &mut self.remote {
                    remote.free(slot);
                }
            }
        }
    }

    fn came(&mut self, slot: Slot, user: &UserId, net: &mut Net) {
        let Some(remote) = &mut self.remote else { return };
        let is_here = self.users.contains_key(user);
        if remote.add(slot, user, is_here) && !is_here {
            net.add(user.clone(), Move::Joined);
        }
    }

    fn went(&mut self, slot: Slot, user: &UserId, net: &mut Net) {
        let Some(remote) = &mut self.remote else { return };
        let is_here = self.users.contains_key(user);
        if remote.remove(slot, user, is_here) && !is_here {
            net.add(user.clone(), Move::Left);
        }
    }

    /// Removes the users of a node.
    fn clear(&mut self, slot: Slot, net: &mut Net) {
        let users = self.remote.as_ref().map(|remote| remote.users_of(slot)).unwrap_or_default();
        users.iter().for_each(|user| self.went(slot, user, net));
    }

    /// Announces how the number of users has changed from `before`, where there are no names. Clients that keep a list
    /// ask for it anew when names were dropped or are back.
    fn announce_numbers(
        &mut self,
        before: usize,
        drops_names: bool,
        now_ms: u64,
        rules: &PresenceRules,
    ) -> Outcome {
        let (now, is_first) = (self.members(), self.merged.is_empty());
        if !rules.is_announced {
            return Outcome::Quiet;
        }
        if drops_names && !is_first {
            self.merged.drop_names();
        }
        if now == before {
            let diff = Some(Diff { names: None, members: now });
            let announces = drops_names && is_first;
            let notice = String::new();
            return if announces { Outcome::Announce(Announcement { notice, diff }) } else { Outcome::Quiet };
        }
        self.merged.add_unnamed(now.saturating_sub(before), before.saturating_sub(now));
        self.announce_merged(is_first, now.max(before), now_ms, rules)
    }

    /// Announces moves of users. `members` counts the users who leave.
    fn announce_all(&mut self, net: Net, members: usize, now_ms: u64, rules: &PresenceRules) -> Outcome {
        let mut moves = net.0.into_iter();
        match (moves.len(), rules.is_announced) {
            (0, _) | (_, false) => Outcome::Quiet,
            (1, true) => match moves.next() {
                Some((user, what)) => self.announce(&user, what, members, now_ms, rules),
                None => Outcome::Quiet,
            },
            _ => {
                let is_first = self.merged.is_empty();
                moves.for_each(|(user, what)| self.merged.add(&user, what));
                self.announce_merged(is_first, members, now_ms, rules)
            }
        }
    }

    /// Announces what was just added to the merged moves: at once in a small room, unless others wait already.
    fn announce_merged(
        &mut self,
        is_first: bool,
        members: usize,
        now_ms: u64,
        rules: &PresenceRules,
    ) -> Outcome {
        match (is_first, members > rules.notice_limit) {
            (false, _) => Outcome::Quiet,
            (true, true) => Outcome::Due(now_ms + rules.interval_ms),
            (true, false) => self.merged(rules).map_or(Outcome::Quiet, Outcome::Announce),
        }
    }
}
