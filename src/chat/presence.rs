//! Who is in a room, and the notices about it: one for each who joins or leaves in a small room; in a large one a
//! single merged notice per interval, so that a storm of joins costs O(members) and not its square.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::mem;

use crate::names::UserId;

/// When notices are merged.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Above this many users notices are merged.
    pub notice_limit: usize,
    /// Into one per this many milliseconds.
    pub interval_ms: u64,
}

/// What to tell the room.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: the user is, or was, there with another connection, or a notice is due already.
    Quiet,
    /// This, now.
    Notice(String),
    /// Something, when [`Presence::merged`] is asked at this time.
    Due(u64),
}

/// What happened since the last merged notice.
#[derive(Debug, Default)]
struct Merged {
    joined: usize,
    left: usize,
    /// The only user concerned, while there is one.
    name: Option<UserId>,
}

impl Merged {
    fn is_empty(&self) -> bool {
        self.joined + self.left == 0
    }

    fn text(&self) -> String {
        let users = |n: usize| match n {
            1 => "1 user has".to_owned(),
            n => format!("{n} users have"),
        };
        match (self.joined, self.left, &self.name) {
            (1, 0, Some(user)) => joined(user),
            (0, 1, Some(user)) => left(user),
            (n, 0, _) => format!("{} joined the chat", users(n)),
            (0, n, _) => format!("{} left the chat", users(n)),
            (n, m, _) => format!("{} joined and {} left the chat", users(n), users(m)),
        }
    }
}

fn joined(user: &UserId) -> String {
    format!("User {user} has joined the chat")
}

fn left(user: &UserId) -> String {
    format!("User {user} has left the chat")
}

/// The users of a room with the number of their connections.
///
/// Memory: about 40 bytes a user.
#[derive(Debug, Default)]
pub struct Presence {
    users: HashMap<UserId, u32>,
    merged: Merged,
}

impl Presence {
    /// Number of users.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// True when nobody is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// A connection of `user` comes in.
    pub fn join(&mut self, user: &UserId, now_ms: u64, rules: &Rules) -> Outcome {
        let connections = self.users.entry(user.clone()).or_insert(0);
        *connections += 1;
        if *connections > 1 {
            return Outcome::Quiet;
        }
        self.tell(user, true, self.users.len(), now_ms, rules)
    }

    /// A connection of `user` goes.
    pub fn leave(&mut self, user: &UserId, now_ms: u64, rules: &Rules) -> Outcome {
        let Entry::Occupied(mut place) = self.users.entry(user.clone()) else { return Outcome::Quiet };
        *place.get_mut() -= 1;
        if *place.get() > 0 {
            return Outcome::Quiet;
        }
        place.remove();
        if self.users.len() * 4 < self.users.capacity() {
            let kept = self.users.len() * 2;
            self.users.shrink_to(kept);
        }
        self.tell(user, false, self.users.len() + 1, now_ms, rules)
    }

    fn tell(
        &mut self,
        user: &UserId,
        has_joined: bool,
        members: usize,
        now_ms: u64,
        rules: &Rules,
    ) -> Outcome {
        if members <= rules.notice_limit {
            return Outcome::Notice(if has_joined { joined(user) } else { left(user) });
        }
        let is_first = self.merged.is_empty();
        self.merged.name = is_first.then(|| user.clone());
        if has_joined {
            self.merged.joined += 1;
        } else {
            self.merged.left += 1;
        }
        if is_first { Outcome::Due(now_ms + rules.interval_ms) } else { Outcome::Quiet }
    }

    /// The merged notice, once it is due.
    pub fn merged(&mut self) -> Option<String> {
        let merged = mem::take(&mut self.merged);
        (!merged.is_empty()).then(|| merged.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { notice_limit: 2, interval_ms: 1000 };

    fn user(name: &str) -> UserId {
        name.parse().unwrap()
    }

    #[test]
    fn a_user_joins_with_the_first_connection_and_leaves_with_the_last() {
        let mut room = Presence::default();
        let bob = user("bob");
        assert_eq!(room.join(&bob, 0, &RULES), Outcome::Notice("User bob has joined the chat".into()));
        assert_eq!(room.join(&bob, 0, &RULES), Outcome::Quiet);
        assert_eq!(room.leave(&bob, 0, &RULES), Outcome::Quiet);
        assert_eq!(room.leave(&bob, 0, &RULES), Outcome::Notice("User bob has left the chat".into()));
        assert_eq!(room.leave(&bob, 0, &RULES), Outcome::Quiet);
        assert!(room.is_empty());
    }

    #[test]
    fn above_the_limit_notices_are_merged() {
        let mut room = Presence::default();
        for name in ["u-1", "u-2"] {
            assert!(matches!(room.join(&user(name), 0, &RULES), Outcome::Notice(_)));
        }
        assert_eq!(room.join(&user("u-3"), 5, &RULES), Outcome::Due(1005));
        assert_eq!(room.merged(), Some("User u-3 has joined the chat".into()));
        assert_eq!(room.merged(), None);
        assert_eq!(room.join(&user("u-4"), 2000, &RULES), Outcome::Due(3000));
        assert_eq!(room.join(&user("u-5"), 2000, &RULES), Outcome::Quiet);
        assert_eq!(room.merged(), Some("2 users have joined the chat".into()));
        assert_eq!(room.leave(&user("u-5"), 4000, &RULES), Outcome::Due(5000));
        assert_eq!(room.join(&user("u-6"), 4000, &RULES), Outcome::Quiet);
        assert_eq!(room.join(&user("u-7"), 4000, &RULES), Outcome::Quiet);
        assert_eq!(room.merged(), Some("2 users have joined and 1 user has left the chat".into()));
    }
}
