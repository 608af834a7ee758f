//! Who is in a room, and the news about it: one piece for each who joins or leaves in a small room; in a large one a
//! single merged piece per interval, so that a storm of joins costs O(members) and not its square.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound::{Excluded, Unbounded};

use super::news::{Diff, Merged, Move, News};
use crate::names::UserId;
use crate::protocol::command::MAX_PRESENCE_LIMIT;

/// Most users in one page: what a client may ask for.
pub const MAX_PAGE: usize = MAX_PRESENCE_LIMIT as usize;

/// Most bytes of the names in one page: with what stands around them, an event of at most 64 KiB.
pub const PAGE_BYTES: usize = 65_000;

/// When news are merged, and what they leave out.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// False: nobody is told anything.
    pub is_announced: bool,
    /// Above this many users news are merged.
    pub notice_limit: usize,
    /// Above this many users a difference has no names.
    pub count_only_above: usize,
    /// Merged into one per this many milliseconds.
    pub interval_ms: u64,
}

/// What to do about an entry or exit.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: the user is, or was, there with another connection, or news are due already.
    Quiet,
    /// Tell this, now.
    Tell(News),
    /// Tell something, when [`Presence::merged`] is asked at this time.
    Due(u64),
}

/// How a user is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    /// With so many connections, at least one.
    Connected(u32),
    /// With none: the last one was taken over by another, which is expected. Under this number.
    Held(u32),
}

/// The users of a room, in the order of their names, with the number of their connections.
///
/// Memory: about 45 bytes a user, and what waits to be told of up to [`MAX_NAMES`](super::news::MAX_NAMES).
#[derive(Debug, Default)]
pub struct Presence {
    users: BTreeMap<UserId, Stay>,
    /// Counts those that were held.
    held: u32,
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

    /// A connection of `user` comes in. Nobody is told of a user who is held.
    pub fn join(&mut self, user: &UserId, now_ms: u64, rules: &Rules) -> Outcome {
        match self.users.entry(user.clone()) {
            Entry::Vacant(place) => {
                place.insert(Stay::Connected(1));
                self.tell(user, Move::Joined, self.users.len(), now_ms, rules)
            }
            Entry::Occupied(mut place) => {
                *place.get_mut() = match *place.get() {
                    Stay::Connected(connections) => Stay::Connected(connections + 1),
                    Stay::Held(_) => Stay::Connected(1),
                };
                Outcome::Quiet
            }
        }
    }

    /// A connection of `user` goes.
    pub fn leave(&mut self, user: &UserId, now_ms: u64, rules: &Rules) -> Outcome {
        match self.users.get_mut(user) {
            Some(Stay::Connected(connections)) if *connections > 1 => {
                *connections -= 1;
                Outcome::Quiet
            }
            Some(Stay::Connected(_)) => self.remove(user, now_ms, rules),
            None | Some(Stay::Held(_)) => Outcome::Quiet,
        }
    }

    /// A connection of `user` goes, in whose place another one is expected: the user stays until [`Presence::release`]
    /// with the number that is returned, if it was the last one.
    #[must_use]
    pub fn hold(&mut self, user: &UserId) -> Option<u32> {
        match self.users.get_mut(user)? {
            Stay::Connected(connections) if *connections > 1 => {
                *connections -= 1;
                None
            }
            Stay::Held(_) => None,
            last => {
                self.held = self.held.wrapping_add(1);
                *last = Stay::Held(self.held);
                Some(self.held)
            }
        }
    }

    /// The connection that was expected has not come, unless it has, or is expected anew.
    pub fn release(&mut self, user: &UserId, number: u32, now_ms: u64, rules: &Rules) -> Outcome {
        match self.users.get(user) {
            Some(Stay::Held(held)) if *held == number => self.remove(user, now_ms, rules),
            _ => Outcome::Quiet,
        }
    }

    fn remove(&mut self, user: &UserId, now_ms: u64, rules: &Rules) -> Outcome {
        self.users.remove(user);
        self.tell(user, Move::Left, self.users.len() + 1, now_ms, rules)
    }

    /// `members` counts the user who leaves: both moves of one user are treated alike.
    fn tell(&mut self, user: &UserId, what: Move, members: usize, now_ms: u64, rules: &Rules) -> Outcome {
        if !rules.is_announced {
            return Outcome::Quiet;
        }
        let is_first = self.merged.is_empty();
        if members > rules.notice_limit {
            self.merged.add(user, what);
            return if is_first { Outcome::Due(now_ms + rules.interval_ms) } else { Outcome::Quiet };
        }
        let notice = what.notice(user);
        if !is_first {
            self.merged.add_unsaid(user, what);
            return Outcome::Tell(News { notice, diff: None });
        }
        let names = (members <= rules.count_only_above).then(|| what.names(user));
        Outcome::Tell(News { notice, diff: Some(Diff { names, members: self.users.len() }) })
    }

    /// The merged news, once they are due.
    pub fn merged(&mut self, rules: &Rules) -> Option<News> {
        self.merged.take(self.users.len(), rules.count_only_above)
    }

    /// The users behind `after` (from the first without it), at most `limit` and [`MAX_PAGE`], and as many as fit into
    /// [`PAGE_BYTES`]; and whether there are more. Copies no name. Who pages through a room that changes meets
    /// everybody who was there all the time, once.
    #[must_use]
    pub fn page(&self, after: Option<&UserId>, limit: usize) -> (Vec<UserId>, bool) {
        let limit = limit.min(MAX_PAGE);
        let mut page = Vec::with_capacity(limit.min(self.users.len()));
        let mut bytes = 0;
        for user in self
            .users
            .range::<UserId, _>((after.map_or(Unbounded, Excluded), Unbounded))
            .map(|(user, _)| user)
        {
            // With quotes and a comma.
            bytes += user.as_str().len() + 3;
            if page.len() == limit || bytes > PAGE_BYTES {
                return (page, true);
            }
            page.push(user.clone());
        }
        (page, false)
    }
}

#[cfg(test)]
mod tests {
    use super::super::news::{MAX_NAMES, Names};
    use super::*;

    const RULES: Rules =
        Rules { is_announced: true, notice_limit: 2, count_only_above: 4, interval_ms: 1000 };

    fn user(name: &str) -> UserId {
        name.parse().unwrap()
    }

    fn notice(outcome: Outcome) -> Option<String> {
        if let Outcome::Tell(news) = outcome { Some(news.notice) } else { None }
    }

    fn names(joined: &[&str], left: &[&str]) -> Option<Names> {
        let users = |names: &[&str]| names.iter().map(|name| user(name)).collect();
        Some(Names { joined: users(joined), left: users(left) })
    }

    fn room(users: usize) -> Presence {
        let mut room = Presence::default();
        for n in 0..users {
            room.join(&user(&format!("old-{n}")), 0, &RULES);
        }
        room.merged(&RULES);
        room
    }

    #[test]
    fn a_user_joins_with_the_first_connection_and_leaves_with_the_last() {
        let mut room = Presence::default();
        let bob = user("bob");
        assert_eq!(notice(room.join(&bob, 0, &RULES)).unwrap(), "User bob has joined the chat");
        assert_eq!(room.join(&bob, 0, &RULES), Outcome::Quiet);
        assert_eq!(room.leave(&bob, 0, &RULES), Outcome::Quiet);
        assert_eq!(notice(room.leave(&bob, 0, &RULES)).unwrap(), "User bob has left the chat");
        assert_eq!(room.leave(&bob, 0, &RULES), Outcome::Quiet);
        assert!(room.is_empty());
    }

    #[test]
    fn who_is_expected_back_is_there_until_it_comes_or_the_time_is_over() {
        let mut room = Presence::default();
        let bob = user("bob");
        room.join(&bob, 0, &RULES);
        room.join(&bob, 0, &RULES);
        assert_eq!(room.hold(&bob), None, "another connection is there");
        let first = room.hold(&bob).expect("the last one");
        assert_eq!((room.len(), room.hold(&bob)), (1, None));
        assert_eq!(room.leave(&bob, 0, &RULES), Outcome::Quiet, "nobody leaves twice");
        assert_eq!(room.join(&bob, 0, &RULES), Outcome::Quiet, "nobody is told");
        assert_eq!(room.release(&bob, first, 0, &RULES), Outcome::Quiet, "it has come");
        let second = room.hold(&bob).expect("it goes again");
        assert_eq!(room.release(&bob, first, 0, &RULES), Outcome::Quiet, "it is expected anew");
        let told = notice(room.release(&bob, second, 0, &RULES));
        assert_eq!(told.unwrap(), "User bob has left the chat");
        assert!(room.is_empty() && room.hold(&bob).is_none());
        assert_eq!(room.release(&bob, second, 0, &RULES), Outcome::Quiet);
    }

    #[test]
    fn above_the_limit_notices_are_merged() {
        let mut room = Presence::default();
        let merged = |room: &mut Presence| room.merged(&RULES).map(|news| news.notice);
        for name in ["u-1", "u-2"] {
            assert!(notice(room.join(&user(name), 0, &RULES)).is_some());
        }
        assert_eq!(room.join(&user("u-3"), 5, &RULES), Outcome::Due(1005));
        assert_eq!(merged(&mut room), Some("User u-3 has joined the chat".into()));
        assert_eq!(merged(&mut room), None);
        assert_eq!(room.join(&user("u-4"), 2000, &RULES), Outcome::Due(3000));
        assert_eq!(room.join(&user("u-5"), 2000, &RULES), Outcome::Quiet);
        assert_eq!(merged(&mut room), Some("2 users have joined the chat".into()));
        assert_eq!(room.leave(&user("u-5"), 4000, &RULES), Outcome::Due(5000));
        assert_eq!(room.join(&user("u-6"), 4000, &RULES), Outcome::Quiet);
        assert_eq!(room.join(&user("u-7"), 4000, &RULES), Outcome::Quiet);
        assert_eq!(merged(&mut room), Some("2 users have joined and 1 user has left the chat".into()));
    }

    #[test]
    fn in_a_small_room_every_move_is_a_difference() {
        let mut room = Presence::default();
        let Outcome::Tell(news) = room.join(&user("ann"), 0, &RULES) else { panic!("quiet") };
        assert_eq!(news.diff, Some(Diff { names: names(&["ann"], &[]), members: 1 }));
        let Outcome::Tell(news) = room.leave(&user("ann"), 0, &RULES) else { panic!("quiet") };
        assert_eq!(news.diff, Some(Diff { names: names(&[], &["ann"]), members: 0 }));
        let counted = Rules { count_only_above: 0, ..RULES };
        let Outcome::Tell(news) = room.join(&user("ann"), 0, &counted) else { panic!("quiet") };
        assert_eq!(news.diff, Some(Diff { names: None, members: 1 }));
    }

    #[test]
    fn who_came_and_went_within_the_interval_is_in_neither_list() {
        let mut room = room(3);
        room.join(&user("new"), 0, &RULES);
        room.join(&user("guest"), 0, &RULES);
        room.leave(&user("guest"), 0, &RULES);
        room.leave(&user("old-1"), 0, &RULES);
        room.leave(&user("old-2"), 0, &RULES);
        room.join(&user("old-2"), 0, &RULES);
        let news = room.merged(&RULES).unwrap();
        assert_eq!(news.diff, Some(Diff { names: names(&["new"], &["old-1"]), members: 3 }));
        assert_eq!(news.notice, "3 users have joined and 3 users have left the chat");

        room.join(&user("guest"), 0, &RULES);
        room.leave(&user("guest"), 0, &RULES);
        assert_eq!(room.merged(&RULES).unwrap().diff, None, "nothing has changed in the end");
    }

    /// 1. A room above the limit collects that Zoe joined.
    /// 2. It shrinks below the limit.
    /// 3. Zoe leaves, which is told at once.
    /// 4. The merged difference comes due: it must not say that she is there.
    #[test]
    fn a_difference_never_overtakes_the_one_that_waits() {
        let mut room = room(2);
        assert_eq!(room.join(&user("zoe"), 0, &RULES), Outcome::Due(1000));
        assert_eq!(room.leave(&user("old-0"), 1, &RULES), Outcome::Quiet);
        let outcome = room.leave(&user("zoe"), 2, &RULES);
        let notice = "User zoe has left the chat".to_owned();
        assert_eq!(outcome, Outcome::Tell(News { notice, diff: None }));
        let news = room.merged(&RULES).unwrap();
        assert_eq!(news.diff, Some(Diff { names: names(&[], &["old-0"]), members: 1 }));
    }

    #[test]
    fn large_rooms_and_storms_are_counted_only() {
        let mut large = room(4);
        large.join(&user("new"), 0, &RULES);
        assert_eq!(large.merged(&RULES).unwrap().diff, Some(Diff { names: None, members: 5 }));

        let rules = Rules { count_only_above: 10_000, ..RULES };
        for (joins, has_names) in [(MAX_NAMES, true), (MAX_NAMES + 1, false)] {
            let mut storm = room(3);
            for n in 0..joins {
                storm.join(&user(&format!("new-{n}")), 0, &rules);
            }
            let diff = storm.merged(&rules).unwrap().diff.unwrap();
            assert_eq!((diff.names.is_some(), diff.members), (has_names, 3 + joins));
        }
    }

    #[test]
    fn where_nothing_is_announced_users_are_counted_all_the_same() {
        let mut room = Presence::default();
        let rules = Rules { is_announced: false, ..RULES };
        for n in 0..5 {
            assert_eq!(room.join(&user(&format!("u-{n}")), 0, &rules), Outcome::Quiet);
        }
        assert_eq!((room.len(), room.merged(&rules)), (5, None));
    }

    #[test]
    fn users_are_listed_in_pages() {
        let room = room(5);
        let (page, has_more) = room.page(None, 2);
        assert_eq!((page.as_slice(), has_more), (&[user("old-0"), user("old-1")][..], true));
        let (page, has_more) = room.page(page.last(), 3);
        assert_eq!((page.len(), has_more), (3, false));
        assert_eq!(room.page(page.last(), 3), (vec![], false));
        assert_eq!(room.page(Some(&user("old-0a")), 1), (vec![user("old-1")], true), "who has left since");
        assert_eq!(room.page(None, 0), (vec![], true));
        let (page, has_more) = self::room(MAX_PAGE + 1).page(None, usize::MAX);
        assert_eq!((page.len(), has_more), (1000, true), "as many as a command may ask for");
        let mut long = Presence::default();
        for n in 0..MAX_PAGE {
            long.join(&user(&format!("{n:064}")), 0, &RULES);
        }
        let (first, has_more) = long.page(None, MAX_PAGE);
        assert_eq!((first.len(), has_more), (PAGE_BYTES / 67, true), "as many as fit");
        let (rest, has_more) = long.page(first.last(), MAX_PAGE);
        assert_eq!((first.len() + rest.len(), has_more), (MAX_PAGE, false));
    }
}
