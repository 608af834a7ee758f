//! What a room is told about who came and went: a notice for people, a difference for programs; and what of it
//! waits in a large room.

use std::collections::BTreeMap;
use std::mem;
use std::ops::Bound;

use crate::names::UserId;

/// Most names in one difference: beyond it only the count is told, and who wants the names asks for them. Keeps a
/// storm of joins from costing each member more than some 32 KiB an interval.
pub const MAX_NAMES: usize = 500;

/// What to tell the room.
#[derive(Debug, PartialEq, Eq)]
pub struct News {
    /// In words, for the plain dialect.
    pub notice: String,
    /// For `throng.v1`; none where nothing has changed in the end, or where it is told later.
    pub diff: Option<Diff>,
}

/// Who came and who went since the last one.
#[derive(Debug, PartialEq, Eq)]
pub struct Diff {
    /// The names; none where there are too many.
    pub names: Option<Names>,
    /// Users in the room now.
    pub members: usize,
}

/// The users that are there now and were not before, and the other way round; each in one list at most.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// In the order of their names.
    pub joined: Vec<UserId>,
    /// In the order of their names.
    pub left: Vec<UserId>,
}

/// What a user did.
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

    /// By how many users the room grows with it.
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

/// What happened since the last merged notice.
#[derive(Debug, Default)]
pub(super) struct Merged {
    joined: usize,
    left: usize,
    /// The only user concerned, while there is one.
    name: Option<UserId>,
    /// Who is there now and was not, or the other way round.
    net: BTreeMap<UserId, Move>,
    /// By how many those in `net` who are there now are more than the others.
    gain: isize,
    /// There were more than fit into `net`, which is empty since.
    has_overflowed: bool,
}

impl Merged {
    /// True when no notice is due.
    pub(super) fn is_empty(&self) -> bool {
        self.joined + self.left == 0
    }

    /// Adds a move that is to be told in words and in the difference.
    pub(super) fn add(&mut self, user: &UserId, what: Move) {
        self.name = self.is_empty().then(|| user.clone());
        match what {
            Move::Joined => self.joined += 1,
            Move::Left => self.left += 1,
        }
        self.add_unsaid(user, what);
    }

    /// Adds a move that is told in words at once, but that a difference may not overtake: what waits might say the
    /// opposite of the same user.
    pub(super) fn add_unsaid(&mut self, user: &UserId, what: Move) {
        if self.has_overflowed {
            return;
        }
        match self.net.get(user) {
            // A user moves to and fro: the second move undoes the first.
            Some(before) => {
                debug_assert_ne!(*before, what, "nobody joins or leaves twice");
                self.net.remove(user);
            }
            None if self.net.len() < MAX_NAMES => {
                self.net.insert(user.clone(), what);
            }
            None => {
                self.has_overflowed = true;
                self.net = BTreeMap::new();
                self.gain = 0;
                return;
            }
        }
        self.gain += what.gain();
    }

    /// By how many users the room has grown since the last news, as far as names are kept. Where they are not, the next
    /// news have none either, and say so that everybody asks anew.
    pub(super) const fn gain(&self) -> isize {
        self.gain
    }

    /// How a user has moved since the last news, as far as names are kept.
    pub(super) fn move_of(&self, user: &UserId) -> Option<Move> {
        self.net.get(user).copied()
    }

    /// Those within these bounds who were there when the news were last told and are not now, in the order of their
    /// names.
    pub(super) fn left(&self, within: (Bound<&UserId>, Bound<&UserId>)) -> impl Iterator<Item = &UserId> {
        let moves = self.net.range::<UserId, _>(within);
        moves.filter(|(_, what)| **what == Move::Left).map(|(user, _)| user)
    }

    /// What was collected, and begins anew; `names_up_to` members their names are told.
    pub(super) fn take(&mut self, members: usize, names_up_to: usize) -> Option<News> {
        let merged = mem::take(self);
        if merged.is_empty() {
            return None;
        }
        let notice = merged.text();
        let has_changed = merged.has_overflowed || !merged.net.is_empty();
        let is_counted_only = merged.has_overflowed || members > names_up_to;
        let diff =
            has_changed.then(|| Diff { names: (!is_counted_only).then(|| merged.into_names()), members });
        Some(News { notice, diff })
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
