//! The rooms that one connection is in.

use smallvec::SmallVec;

use crate::node::Membership;

/// The memberships of one connection; at most `limits.max_rooms_per_connection`. Most connections are in one room and
/// few in more than some tens, so a list is as fast as a map, and one membership takes no memory outside it.
#[derive(Debug)]
pub(super) struct Rooms(SmallVec<[Membership; 1]>);

impl Rooms {
    pub(super) fn new(first: Membership) -> Self {
        Self(SmallVec::from_buf([first]))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn first(&self) -> Option<&Membership> {
        self.0.first()
    }

    pub(super) fn get(&self, room: &str) -> Option<&Membership> {
        self.0.iter().find(|membership| membership.room().as_str() == room)
    }

    pub(super) fn get_mut(&mut self, room: &str) -> Option<&mut Membership> {
        self.0.iter_mut().find(|membership| membership.room().as_str() == room)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Membership> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Membership> {
        self.0.iter_mut()
    }

    pub(super) fn add(&mut self, membership: Membership) {
        debug_assert!(self.get(membership.room().as_str()).is_none(), "a room is joined once");
        self.0.push(membership);
    }

    pub(super) fn take(&mut self, room: &str) -> Option<Membership> {
        let at = self.0.iter().position(|membership| membership.room().as_str() == room)?;
        let membership = self.0.swap_remove(at);
        if self.0.len() * 4 < self.0.capacity() {
            self.0.shrink_to_fit();
        }
        Some(membership)
    }
}
