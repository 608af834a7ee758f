//! User → connections, in lock stripes.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::names::{ConnectionId, UserId};

/// Stripes of the map: far more than threads, so that two rarely meet.
const STRIPES: usize = 64;

type Connections = SmallVec<[ConnectionId; 2]>;

/// Who is connected as which user. Locks are held for one look-up or change.
#[derive(Debug)]
pub struct Directory {
    stripes: Box<[Mutex<HashMap<UserId, Connections>>]>,
    hasher: RandomState,
}

impl Default for Directory {
    fn default() -> Self {
        Self { stripes: (0..STRIPES).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}

impl Directory {
    fn stripe(&self, user: &UserId) -> &Mutex<HashMap<UserId, Connections>> {
        &self.stripes[self.hasher.hash_one(user) as usize % STRIPES]
    }

    /// Enters a connection for a user whom nobody holds.
    ///
    /// # Errors
    /// The connection that holds the user.
    pub fn claim(&self, user: &UserId, id: ConnectionId) -> Result<(), ConnectionId> {
        let mut users = self.stripe(user).lock();
        match users.get(user).and_then(|held| held.first()) {
            Some(&incumbent) => Err(incumbent),
            None => {
                users.insert(user.clone(), SmallVec::from_slice(&[id]));
                Ok(())
            }
        }
    }

    /// Enters a connection beside the user's others.
    pub fn add(&self, user: &UserId, id: ConnectionId) {
        self.stripe(user).lock().entry(user.clone()).or_default().push(id);
    }

    /// Enters a connection in place of the user's others, which are returned. They are no longer in the
    /// directory: their own clean-up will find another id and change nothing.
    pub fn replace(&self, user: &UserId, id: ConnectionId) -> SmallVec<[ConnectionId; 2]> {
        let mut users = self.stripe(user).lock();
        std::mem::replace(users.entry(user.clone()).or_default(), SmallVec::from_slice(&[id]))
    }

    /// Enters a connection in place of `incumbent` alone, if that is still who holds the user.
    ///
    /// # Errors
    /// Who holds the user now; `None` when nobody does.
    pub fn replace_if(
        &self,
        user: &UserId,
        incumbent: ConnectionId,
        id: ConnectionId,
    ) -> Result<(), Option<ConnectionId>> {
        let mut users = self.stripe(user).lock();
        let Some(held) = users.get_mut(user) else { return Err(None) };
        match held.iter_mut().find(|held| **held == incumbent) {
            Some(place) => {
                *place = id;
                Ok(())
            }
            None => Err(held.first().copied()),
        }
    }

    /// The connections of a user.
    #[must_use]
    pub fn find(&self, user: &UserId) -> SmallVec<[ConnectionId; 2]> {
        self.stripe(user).lock().get(user).cloned().unwrap_or_default()
    }

    /// Takes a connection out, if it is still the one that is entered.
    pub fn remove(&self, user: &UserId, id: ConnectionId) {
        let mut users = self.stripe(user).lock();
        let Some(held) = users.get_mut(user) else { return };
        held.retain(|known| *known != id);
        if held.is_empty() {
            users.remove(user);
            // A storm that has passed must not keep its memory.
            if users.len() * 4 < users.capacity() {
                let kept = users.len() * 2;
                users.shrink_to(kept);
            }
        }
    }

    /// Number of users.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.lock().len()).sum()
    }

    /// True when nobody is connected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_replaced_cannot_undo_its_successor() {
        let directory = Directory::default();
        let user = "alice".parse().unwrap();
        let [old, new, third] = [1, 2, 3].map(|n| ConnectionId::new(0, n, 0));
        assert_eq!(directory.claim(&user, old), Ok(()));
        assert_eq!(directory.claim(&user, new), Err(old));
        assert_eq!(directory.replace_if(&user, old, new), Ok(()));
        assert_eq!(directory.replace_if(&user, old, third), Err(Some(new)));
        directory.remove(&user, old);
        assert_eq!(directory.find(&user)[..], [new]);
        assert_eq!(directory.claim(&user, third), Err(new));
        directory.remove(&user, new);
        assert!(directory.is_empty() && directory.find(&user).is_empty());
        assert_eq!(directory.replace_if(&user, old, third), Err(None));
    }
}
