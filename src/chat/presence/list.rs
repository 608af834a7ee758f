//! The users of a room as a member is shown them: their number, and the list in pages.

use std::ops::Bound::{self, Excluded, Unbounded};

use super::super::announcement::Move;
use super::Presence;
use crate::names::UserId;
use crate::protocol::command::MAX_PRESENCE_LIMIT;

/// Most users in one page: as many as a client may ask for.
pub const MAX_PAGE: usize = MAX_PRESENCE_LIMIT as usize;

/// Most bytes of names in one page. With what stands around them, that makes an event of at most 64 KiB.
pub const PAGE_BYTES: usize = 65_000;

impl Presence {
    /// Returns how many users are in the room as `viewer`, one of them, is shown it: as last announced, and the viewer.
    /// Moves that wait to be announced are left out: the announcement will be applied to this number, and says nothing
    /// of users who come and go in between.
    #[must_use]
    pub fn shown(&self, viewer: &UserId) -> usize {
        let announced = self.members().saturating_add_signed(-self.merged.gain());
        announced + usize::from(self.merged.move_of(viewer) == Some(Move::Joined))
    }

    /// Returns the users behind `after` (from the first without it) that `viewer` is [shown](Presence::shown): at most
    /// `limit` and [`MAX_PAGE`], as many as fit into [`PAGE_BYTES`] with the names that people are shown. Also returns
    /// whether there are more. Copies no id. Paging through a room that changes meets every user who stays in it
    /// exactly once. Where nodes tell each other numbers alone, the users of this node are listed.
    #[must_use]
    pub fn page(&self, viewer: &UserId, after: Option<&UserId>, limit: usize) -> (Vec<UserId>, bool) {
        let behind = (after.map_or(Unbounded, Excluded), Unbounded);
        let here = self.users.range::<UserId, _>(behind).map(|(user, _)| user);
        match &self.remote {
            None => self.page_of(here, viewer, behind, limit),
            Some(remote) => self.page_of(union(here, remote.users_within(behind)), viewer, behind, limit),
        }
    }

    /// Returns a page of `present`, the users who are in the room, and of those whose leaves wait to be announced.
    fn page_of<'a>(
        &'a self,
        present: impl Iterator<Item = &'a UserId>,
        viewer: &UserId,
        behind: (Bound<&'a UserId>, Bound<&'a UserId>),
        limit: usize,
    ) -> (Vec<UserId>, bool) {
        let is_visible = |user: &&UserId| *user == viewer || self.merged.move_of(user) != Some(Move::Joined);
        let page = in_order(present.filter(is_visible), self.merged.left(behind));
        first_of(page, limit, |user| self.name_of(user).map_or(0, |name| name.as_str().len()))
    }

    /// Returns the users who are in the room now, behind `after`, in a page as [`Presence::page`] makes it: for
    /// operators, to whom nothing is announced.
    #[must_use]
    pub fn page_now(&self, after: Option<&UserId>, limit: usize) -> (Vec<UserId>, bool) {
        let behind = (after.map_or(Unbounded, Excluded), Unbounded);
        let here = self.users.range::<UserId, _>(behind).map(|(user, _)| user);
        match &self.remote {
            None => first_of(here, limit, |_| 0),
            Some(remote) => first_of(union(here, remote.users_within(behind)), limit, |_| 0),
        }
    }
}

/// Returns the first users, at most `limit` and [`MAX_PAGE`], as many as fit into [`PAGE_BYTES`], and whether there are
/// more. `name_len` returns the length of the name that is listed with a user, 0 for none.
fn first_of<'a>(
    users: impl Iterator<Item = &'a UserId>,
    limit: usize,
    name_len: impl Fn(&UserId) -> usize,
) -> (Vec<UserId>, bool) {
    let limit = limit.min(MAX_PAGE);
    let mut page = Vec::new();
    let mut bytes = 0;
    for user in users {
        // With quotes and a comma.
        bytes += user.as_str().len() + 3;
        if let len @ 1.. = name_len(user) {
            // Each of its characters may have to be escaped.
            bytes += user.as_str().len() + 2 * len + 6;
        }
        if page.len() == limit || bytes > PAGE_BYTES {
            return (page, true);
        }
        page.push(user.clone());
    }
    (page, false)
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

/// Merges two sorted iterators into one. An item that both have comes once.
fn union<T: Ord>(one: impl Iterator<Item = T>, two: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    let mut both = in_order(one, two).peekable();
    std::iter::from_fn(move || {
        let next = both.next()?;
        both.next_if_eq(&next);
        Some(next)
    })
}
