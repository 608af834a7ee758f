//! The directory of users: finds the connections of each user id. A connection in the directory holds its user id.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::few::Few;
use crate::names::{ConnectionId, SessionId, UserId};
use crate::shrink::ShrinkWhenSparse;
use crate::striped::Striped;

/// Number of stripes of the map, each with a lock: far more than threads, so that two rarely want the same.
pub const STRIPES: usize = 64;

/// A connection in the directory.
#[derive(Debug)]
struct Holder {
    id: ConnectionId,
    /// The secret that a client shows to take over this connection of its own. Boxed, because only clients of
    /// `throng.v1` have one.
    session: Option<Box<SessionId>>,
}

impl Holder {
    fn new(id: ConnectionId, session: Option<SessionId>) -> Self {
        Self { id, session: session.map(Box::new) }
    }
}

/// The connections that hold one user id, in 16 bytes: each user has an entry with them.
type Holders = Few<Holder>;

/// Returns the connections' ids.
fn ids<C: FromIterator<ConnectionId>>(holders: &Holders) -> C {
    holders.as_slice().iter().map(|holder| holder.id).collect()
}

/// The connections of each user. A lock is held for one look-up or change only.
#[derive(Debug, Default)]
pub struct Directory {
    users: Striped<Mutex<HashMap<UserId, Holders>>, STRIPES>,
}

impl Directory {
    /// Adds a connection for a user id that no other connection holds.
    ///
    /// # Errors
    /// The first of the connections that hold the user id.
    pub fn claim(
        &self,
        user: &UserId,
        id: ConnectionId,
        session: Option<SessionId>,
    ) -> Result<(), ConnectionId> {
        let mut users = self.users.lock(user);
        match users.get(user).and_then(|holders| holders.as_slice().iter().next()) {
            Some(incumbent) => Err(incumbent.id),
            None => {
                users.insert(user.clone(), Few::One(Holder::new(id, session)));
                Ok(())
            }
        }
    }

    /// Adds a connection beside others of the same user. Returns true when there were none.
    pub fn add(&self, user: &UserId, id: ConnectionId, session: Option<SessionId>) -> bool {
        let mut users = self.users.lock(user);
        let new = Holder::new(id, session);
        match users.entry(user.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Few::One(new));
                true
            }
            Entry::Occupied(mut holders) => {
                holders.get_mut().push(new);
                false
            }
        }
    }

    /// Adds a connection of a user, and takes out those that it has replaced, as [`Directory::replace`] does.
    pub fn add_instead(
        &self,
        user: &UserId,
        id: ConnectionId,
        session: Option<SessionId>,
        replaced: &[ConnectionId],
    ) {
        let mut users = self.users.lock(user);
        let new = Holder::new(id, session);
        match users.entry(user.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Few::One(new));
            }
            Entry::Occupied(mut holders) => {
                match holders.get_mut().retain(|known| !replaced.contains(&known.id)) {
                    true => holders.get_mut().push(new),
                    false => *holders.get_mut() = Few::One(new),
                }
            }
        }
    }

    /// Replaces all connections of a user by one, and returns the old ones. When these end, they call
    /// [`Directory::remove`], which finds them gone and changes nothing.
    pub fn replace(
        &self,
        user: &UserId,
        id: ConnectionId,
        session: Option<SessionId>,
    ) -> SmallVec<[ConnectionId; 2]> {
        let mut users = self.users.lock(user);
        let old = users.insert(user.clone(), Few::One(Holder::new(id, session)));
        old.as_ref().map(ids).unwrap_or_default()
    }

    /// Replaces that connection of a user which has the secret `shown`, and returns the old one. Changes nothing and
    /// returns `None` when there is none.
    #[must_use]
    pub fn replace_session(
        &self,
        user: &UserId,
        shown: &SessionId,
        id: ConnectionId,
        session: Option<SessionId>,
    ) -> Option<ConnectionId> {
        let mut users = self.users.lock(user);
        let holders = users.get_mut(user)?;
        let mut all = holders.as_mut_slice().iter_mut();
        let holder = all.find(|holder| holder.session.as_deref() == Some(shown))?;
        Some(std::mem::replace(holder, Holder::new(id, session)).id)
    }

    /// Replaces the connection `incumbent` of a user, if it still holds the user id.
    ///
    /// # Errors
    /// The first of the connections that hold the user id now; `None` when there is none.
    pub fn replace_if(
        &self,
        user: &UserId,
        incumbent: ConnectionId,
        id: ConnectionId,
        session: Option<SessionId>,
    ) -> Result<(), Option<ConnectionId>> {
        let mut users = self.users.lock(user);
        let Some(holders) = users.get_mut(user) else { return Err(None) };
        match holders.as_mut_slice().iter_mut().find(|holder| holder.id == incumbent) {
            Some(holder) => {
                *holder = Holder::new(id, session);
                Ok(())
            }
            None => Err(holders.as_slice().iter().next().map(|holder| holder.id)),
        }
    }

    /// Returns the connections of a user.
    #[must_use]
    pub fn find(&self, user: &UserId) -> SmallVec<[ConnectionId; 2]> {
        let users = self.users.lock(user);
        users.get(user).map(ids).unwrap_or_default()
    }

    /// Returns the connections of the users in one of the [`STRIPES`], with their session secrets.
    #[must_use]
    pub fn in_stripe(&self, index: usize) -> Vec<(UserId, ConnectionId, Option<SessionId>)> {
        let users = self.users.in_turn(index).lock();
        let all = users
            .iter()
            .flat_map(|(user, holders)| holders.as_slice().iter().map(move |holder| (user, holder)));
        all.map(|(user, holder)| (user.clone(), holder.id, holder.session.as_deref().copied())).collect()
    }

    /// Calls `f` with each user of one of the [`STRIPES`], under the stripe's lock.
    pub fn each_in_stripe(&self, index: usize, f: impl FnMut(&UserId)) {
        self.users.in_turn(index).lock().keys().for_each(f);
    }

    /// True when other connections hold the user id and this one does not any more.
    #[must_use]
    pub fn was_replaced(&self, user: &UserId, id: ConnectionId) -> bool {
        let users = self.users.lock(user);
        users.get(user).is_some_and(|holders| holders.as_slice().iter().all(|holder| holder.id != id))
    }

    /// Removes a connection of a user, if it has not been replaced. Returns true when it was the user's last one.
    pub fn remove(&self, user: &UserId, id: ConnectionId) -> bool {
        let mut users = self.users.lock(user);
        let Some(holders) = users.get_mut(user) else { return false };
        let is_gone = !holders.retain(|known| known.id != id);
        if is_gone {
            users.remove(user);
            users.shrink_when_sparse();
        }
        is_gone
    }

    /// Returns the number of users with a connection.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.sum(HashMap::len)
    }

    /// True when no user has a connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<(UserId, Holders)>(), 24);
    }

    #[test]
    fn a_replaced_connection_cannot_undo_its_successor() {
        let directory = Directory::default();
        let user = "alice".parse().unwrap();
        let [old, new, third] = [1, 2, 3].map(|n| ConnectionId::new(0, n, 0));
        assert_eq!(directory.claim(&user, old, None), Ok(()));
        assert_eq!(directory.claim(&user, new, None), Err(old));
        assert_eq!(directory.replace_if(&user, old, new, None), Ok(()));
        assert_eq!(directory.replace_if(&user, old, third, None), Err(Some(new)));
        assert!(directory.was_replaced(&user, old) && !directory.was_replaced(&user, new));
        assert!(!directory.remove(&user, old));
        assert_eq!(directory.find(&user)[..], [new]);
        assert_eq!(directory.claim(&user, third, None), Err(new));
        assert!(directory.remove(&user, new) && !directory.remove(&user, new));
        assert!(directory.add(&user, new, None) && !directory.add(&user, old, None));
        assert!(!directory.remove(&user, old) && directory.remove(&user, new));
        assert!(directory.is_empty() && directory.find(&user).is_empty());
        assert!(!directory.was_replaced(&user, old), "nobody is there");
        assert_eq!(directory.replace_if(&user, old, third, None), Err(None));
    }

    #[test]
    fn a_connection_is_added_instead_of_those_that_it_has_replaced() {
        let directory = Directory::default();
        let user = "alice".parse().unwrap();
        let [old, other, new] = [1, 2, 3].map(|n| ConnectionId::new(0, n, 0));
        directory.add_instead(&user, old, None, &[]);
        directory.add_instead(&user, other, None, &[new]);
        directory.add_instead(&user, new, None, &[old]);
        assert_eq!(directory.find(&user)[..], [other, new]);
        assert!(directory.was_replaced(&user, old));
        let all: Vec<_> = (0..STRIPES).flat_map(|index| directory.in_stripe(index)).collect();
        assert_eq!(
            all.iter().map(|(user, id, _)| (user.as_str(), *id)).collect::<Vec<_>>(),
            [("alice", other), ("alice", new)]
        );
    }
}
