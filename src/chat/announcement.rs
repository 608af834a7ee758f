//! The announcements of joins and leaves: a notice in words for people, a list of changes for programs. In a large room
//! they are merged for a while.

use std::collections::BTreeMap;
use std::mem;
use std::ops::Bound;

use crate::names::UserId;

/// Most names in one list of changes. Beyond it only the number of users is announced, and clients have to ask for the
/// names. Bounds what a storm of joins costs each member to some 32 KiB an interval.
pub const MAX_NAMES: usize = 500;

/// An announcement to a room.
#[derive(Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The notice in words, for the plain dialect; empty where no user has moved and clients ask for the
    /// list anew.
    pub notice: String,
    /// The changes, for `throng.v1`; `None` where nothing has changed in the end, or where they are announced later.
    pub diff: Option<Diff>,
}

/// The changes since the last announcement.
#[derive(Debug, PartialEq, Eq)]
pub struct Diff {
    /// The users who joined and left; `None` where there are too many.
    pub names: Option<Names>,
    /// Users in the room now.
    pub members: usize,
}

/// The users who are in the room now and were not before, and those who were and are not. Each user is in one list at
/// most.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Sorted by name.
    pub joined: Vec<UserId>,
    /// Sorted by name.
    pub left: Vec<UserId>,
}

/// A join or leave of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    Joined,
    Left,
}

impl Move {
    pub(super) fn notice(self, user: &UserId) -> String {
        match self {
            Self::Joined => format!("User {user} has joined the chat"),
            Self::Left => format!("User {user} has left the chat"),
        }
    }

    /// Returns by how many users the room grows.
    const fn gain(self) -> isize {
        match self {
            Self::Joined => 1,
            Self::Left => -1,
        }
    }

    pub(super) fn names(self, user: &UserId) -> Names {
        match self {
            Self::Joined => Names { joined: vec![user.clone()], left: Vec::new() },
            Self::Left => Names { joined: Vec::new(), left: vec![user.clone()] },
        }
    }
}

/// The joins and leaves since the last merged announcement.
#[derive(Debug, Default)]
pub(super) struct MergedMoves {
    joined: usize,
    left: usize,
    /// The only user who moved, while there is just one.
    name: Option<UserId>,
    /// The users who have joined or left when their moves are added up.
    net: BTreeMap<UserId, Move>,
    /// How many more users in `net` have joined than left.
    gain: isize,
    /// True when there were more users than fit into `net`, which has been empty since.
    has_overflowed: bool,
}

impl MergedMoves {
    /// Returns true when no notice is due.
    pub(super) fn is_empty(&self) -> bool {
        self.joined + self.left == 0
    }

    /// Adds a move that is to be announced both in words and in the list of changes.
    pub(super) fn add(&mut self, user: &UserId, what: Move) {
        self.name = self.is_empty().then(|| user.clone());
        match what {
            Move::Joined => self.joined += 1,
            Move::Left => self.left += 1,
        }
        self.add_to_diff(user, what);
    }

    /// Adds a move that is announced in words at once. The list of changes must wait, because what is merged may say
    /// the opposite of the same user.
    pub(super) fn add_to_diff(&mut self, user: &UserId, what: Move) {
        if self.has_overflowed {
            return;
        }
        match self.net.get(user) {
            // The user has moved to and fro: the second move undoes the first.
            Some(before) => {
                debug_assert_ne!(*before, what, "nobody joins or leaves twice");
                self.net.remove(user);
            }
            None if self.net.len() < MAX_NAMES => {
                self.net.insert(user.clone(), what);
            }
            None => {
                self.drop_names();
                return;
            }
        }
        self.gain += what.gain();
    }

    /// Adds moves of users whose names are not known. The next list of changes has no names.
    pub(super) fn add_unnamed(&mut self, joined: usize, left: usize) {
        self.name = None;
        self.joined += joined;
        self.left += left;
        self.drop_names();
    }

    /// Forgets the names of those who moved: the next list of changes has none, so that clients ask anew.
    pub(super) fn drop_names(&mut self) {
        self.has_overflowed = true;
        self.net = BTreeMap::new();
        self.gain = 0;
    }

    /// Returns by how many users the room has grown since the last announcement, as far as names are kept. Where they
    /// are not, the next announcement has none either, so that clients ask anew.
    pub(super) const fn gain(&self) -> isize {
        self.gain
    }

    /// Returns how a user has moved since the last announcement, as far as names are kept.
    pub(super) fn move_of(&self, user: &UserId) -> Option<Move> {
        self.net.get(user).copied()
    }

    /// Returns the users within these bounds who were in the room as last announced and are not now, sorted by name.
    pub(super) fn left(&self, within: (Bound<&UserId>, Bound<&UserId>)) -> impl Iterator<Item = &UserId> {
        let moves = self.net.range::<UserId, _>(within);
        moves.filter(|(_, what)| **what == Move::Left).map(|(user, _)| user)
    }

    /// Takes what was merged, and begins anew. The names are announced in rooms of up to `names_up_to` members.
    pub(super) fn take(&mut self, members: usize, names_up_to: usize) -> Option<Announcement> {
        let merged = mem::take(self);
        if merged.is_empty() {
            return None;
        }
        let notice = merged.text();
        let has_changed = merged.has_overflowed || !merged.net.is_empty();
        let is_counted_only = merged.has_overflowed || members > names_up_to;
        let diff =
            has_changed.then(|| Diff { names: (!is_counted_only).then(|| merged.into_names()), members });
        Some(Announcement { notice, diff })
    }

    fn into_names(self) -> Names {
        let mut names = Names::default();
        for (user, what) in self.net {
            match what {
                Move::Joined => names.joined.push(user),
                Move::Left => names.left.push(user),
            }
        }
        names
    }

    fn text(&self) -> String {
        let users = |n: usize| match n {
            1 => "1 user has".to_owned(),
            n => format!("{n} users have"),
        };
        match (self.joined, self.left, &self.name) {
            (1, 0, Some(user)) => Move::Joined.notice(user),
            (0, 1, Some(user)) => Move::Left.notice(user),
            (n, 0, _) => format!("{} joined the chat", users(n)),
            (0, n, _) => format!("{} left the chat", users(n)),
            (n, m, _) => format!("{} joined and {} left the chat", users(n), users(m)),
        }
    }
}
