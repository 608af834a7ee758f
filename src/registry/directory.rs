//! User → connections, in lock stripes.

use std::collections::HashMap;

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::names::{ConnectionId, SessionId, UserId};
use crate::shrink::ShrinkWhenSparse;
use crate::striped::Striped;

/// Stripes of the map: far more than threads, so that two rarely meet.
const STRIPES: usize = 64;

/// A connection, and the secret by which its user proves that it is theirs.
#[derive(Debug)]
struct Held {
    id: ConnectionId,
    /// Boxed: only clients of `throng.v1` have one.
    session: Option<Box<SessionId>>,
}

impl Held {
    fn new(id: ConnectionId, session: Option<SessionId>) -> Self {
        Self { id, session: session.map(Box::new) }
    }
}

type Connections = SmallVec<[Held; 1]>;

/// The connections of each user. Locks are held for one look-up or change.
#[derive(Debug, Default)]
pub struct Directory {
    users: Striped<Mutex<HashMap<UserId, Connections>>, STRIPES>,
}

impl Directory {
    /// Enters a connection for a user whom nobody holds.
    ///
    /// # Errors
    /// The connection that holds the user.
    pub fn claim(
        &self,
        user: &UserId,
        id: ConnectionId,
        session: Option<SessionId>,
    ) -> Result<(), ConnectionId> {
        let mut users = self.users.lock(user);
        match users.get(user).and_then(|held| held.first()) {
            Some(incumbent) => Err(incumbent.id),
            None => {
                users.insert(user.clone(), SmallVec::from_buf([Held::new(id, session)]));
                Ok(())
            }
        }
    }

    /// Enters a connection beside the user's others.
    pub fn add(&self, user: &UserId, id: ConnectionId, session: Option<SessionId>) {
        self.users.lock(user).entry(user.clone()).or_default().push(Held::new(id, session));
    }

    /// Enters a connection in place of the user's others, which are returned. They are no longer in the
    /// directory: their own clean-up will find another id and change nothing.
    pub fn replace(
        &self,
        user: &UserId,
        id: ConnectionId,
        session: Option<SessionId>,
    ) -> SmallVec<[ConnectionId; 2]> {
        let mut users = self.users.lock(user);
        let new = SmallVec::from_buf([Held::new(id, session)]);
        let old = std::mem::replace(users.entry(user.clone()).or_default(), new);
        old.iter().map(|held| held.id).collect()
    }

    /// Enters a connection in place of that one of the user's which has the secret `shown`; returns which that was.
    #[must_use]
    pub fn replace_session(
        &self,
        user: &UserId,
        shown: &SessionId,
        id: ConnectionId,
        session: Option<SessionId>,
    ) -> Option<ConnectionId> {
        let mut users = self.users.lock(user);
        let held = users.get_mut(user)?;
        let entry = held.iter_mut().find(|held| held.session.as_deref() == Some(shown))?;
        Some(std::mem::replace(entry, Held::new(id, session)).id)
    }

    /// Enters a connection in place of `incumbent` alone, if that is still who holds the user.
    ///
    /// # Errors
    /// The connection that holds the user now; `None` when there is none.
    pub fn replace_if(
        &self,
        user: &UserId,
        incumbent: ConnectionId,
        id: ConnectionId,
        session: Option<SessionId>,
    ) -> Result<(), Option<ConnectionId>> {
        let mut users = self.users.lock(user);
        let Some(held) = users.get_mut(user) else { return Err(None) };
        match held.iter_mut().find(|held| held.id == incumbent) {
            Some(entry) => {
                *entry = Held::new(id, session);
                Ok(())
            }
            None => Err(held.first().map(|held| held.id)),
        }
    }

    /// Returns the connections of a user.
    #[must_use]
    pub fn find(&self, user: &UserId) -> SmallVec<[ConnectionId; 2]> {
        let users = self.users.lock(user);
        users.get(user).map(|held| held.iter().map(|held| held.id).collect()).unwrap_or_default()
    }

    /// True when the user is held by others and no longer by this connection.
    #[must_use]
    pub fn was_replaced(&self, user: &UserId, id: ConnectionId) -> bool {
        let users = self.users.lock(user);
        users.get(user).is_some_and(|held| held.iter().all(|known| known.id != id))
    }

    /// Takes a connection out, if it is still the one that is entered.
    pub fn remove(&self, user: &UserId, id: ConnectionId) {
        let mut users = self.users.lock(user);
        let Some(held) = users.get_mut(user) else { return };
        held.retain(|known| known.id != id);
        if held.is_empty() {
            users.remove(user);
            users.shrink_when_sparse();
        }
    }

    /// Returns the number of users.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.sum(HashMap::len)
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
    fn a_replaced_connection_cannot_undo_its_successor() {
        let directory = Directory::default();
        let user = "alice".parse().unwrap();
        let [old, new, third] = [1, 2, 3].map(|n| ConnectionId::new(0, n, 0));
        assert_eq!(directory.claim(&user, old, None), Ok(()));
        assert_eq!(directory.claim(&user, new, None), Err(old));
        assert_eq!(directory.replace_if(&user, old, new, None), Ok(()));
        assert_eq!(directory.replace_if(&user, old, third, None), Err(Some(new)));
        assert!(directory.was_replaced(&user, old) && !directory.was_replaced(&user, new));
        directory.remove(&user, old);
        assert_eq!(directory.find(&user)[..], [new]);
        assert_eq!(directory.claim(&user, third, None), Err(new));
        directory.remove(&user, new);
        assert!(directory.is_empty() && directory.find(&user).is_empty());
        assert!(!directory.was_replaced(&user, old), "nobody is there");
        assert_eq!(directory.replace_if(&user, old, third, None), Err(None));
    }
}
