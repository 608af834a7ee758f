//! This node's users in a room, and the publications that tell the others of them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::operation::{Operation, Publication};
use super::payload::{Contents, MAX_NAMES_BYTES, Payload, user_len};
use super::pieces::Pieces;
use super::rules::{Rule, is_broken};
use super::snapshot::{Entry, entry_value, piece_value};
use crate::broker::redis::batch::Incarnation;
use crate::chat::presence::{LocalMoves, LocalNews, Name};
use crate::names::{DisplayName, UserId};

/// Most users of this node in a room whose list is written anew when one of them gets another name.
const MAX_RENAMED: usize = 100;

/// This node's users.
#[derive(Debug)]
enum Users {
    /// Their names are told.
    Listed {
        /// As last published.
        published: Pieces,
        /// The users who have come (true) or gone since.
        moved: BTreeMap<UserId, bool>,
    },
    /// Their number is told.
    Counted {
        /// As last published; `None` before the first time.
        published: Option<usize>,
        count: usize,
        /// True when the names are to be told again, as soon as all of them are known.
        awaits_names: bool,
    },
}

/// This node's part in a room.
#[derive(Debug)]
pub(super) struct Own {
    by: Incarnation,
    /// The number of the last publication.
    number: u64,
    users: Users,
    /// The names that people are shown, of those whose ids are told.
    names: BTreeMap<UserId, DisplayName>,
    /// The publication that may not have been carried out yet. It is repeated until that is known.
    unanswered: Option<Publication>,
    /// True when the engine has an entry of this node, or may have one.
    is_written: bool,
    /// True when the stored entry is not the one that was published last.
    writes_all: bool,
    due_ms: Option<u64>,
    /// True when the engine's entry of this node has users, as far as this exchange knows.
    is_occupied: bool,
}

impl Own {
    pub(super) fn new(by: Incarnation, first_number: u64) -> Self {
        let users = Users::Listed { published: Pieces::default(), moved: BTreeMap::new() };
        let number = first_number.max(1) - 1;
        Self {
            by,
            number,
            users,
            names: BTreeMap::new(),
            unanswered: None,
            is_written: false,
            writes_all: false,
            due_ms: None,
            is_occupied: false,
        }
    }

    /// Returns how many users this node has in the room.
    pub(super) fn count(&self) -> usize {
        match &self.users {
            Users::Counted { count, .. } => *count,
            Users::Listed { published, moved } => {
                let joined = moved.values().filter(|joined| **joined).count();
                published.len() + joined - (moved.len() - joined)
            }
        }
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    pub(super) const fn is_counted(&self) -> bool {
        matches!(self.users, Users::Counted { .. })
    }

    pub(super) const fn is_written(&self) -> bool {
        self.is_written
    }

    /// Takes over the moves of this node's users, and their names.
    pub(super) fn take_in(&mut self, news: LocalNews) {
        let LocalNews { moves, names } = news;
        let is_all = matches!(moves, LocalMoves::All(_) | LocalMoves::Count(_));
        let mut before = if is_all { std::mem::take(&mut self.names) } else { BTreeMap::new() };
        // In a larger room, others see the name with which the user came: a list is not written anew for one name.
        let is_renamed = |user: &UserId| match &self.users {
            Users::Listed { published, .. } => published.len() <= MAX_RENAMED && published.contains(user),
            Users::Counted { .. } => false,
        };
        for (user, name) in names {
            // A user who was published comes no second time: the list is written anew with the new name.
            let before = before.remove(&user).or_else(|| self.names.remove(&user));
            self.writes_all |= self.is_written && before.as_ref() != Some(&name) && is_renamed(&user);
            self.names.insert(user, name);
        }
        match (&mut self.users, moves) {
            (Users::Listed { published, moved }, LocalMoves::Moved { joined, left }) => {
                for user in joined {
                    if published.contains(&user) {
                        moved.remove(&user)
                    } else {
                        moved.insert(user, true)
                    };
                }
                for user in left {
                    self.names.remove(&user);
                    if published.contains(&user) {
                        moved.insert(user, false)
                    } else {
                        moved.remove(&user)
                    };
                }
            }
            (Users::Listed { published, moved }, LocalMoves::All(users)) => {
                *moved = difference(published, users)
            }
            (Users::Counted { count, awaits_names, .. }, LocalMoves::All(users)) => {
                *count = users.len();
                if *awaits_names {
                    let moved = users.into_iter().map(|user| (user, true)).collect();
                    self.users = Users::Listed { published: Pieces::default(), moved };
                    self.writes_all = self.is_written;
                }
            }
            (Users::Counted { count, .. }, LocalMoves::Moved { joined, left }) => {
                *count = (*count + joined.len()).saturating_sub(left.len());
            }
            (Users::Counted { count, .. }, LocalMoves::Count(number)) => *count = number,
            // The presence tells names again before this part does, and numbers after it: this cannot be.
            (Users::Listed { .. }, LocalMoves::Count(_)) => {
                debug_assert!(false, "a number where names are told")
            }
        }
    }

    /// Tells the number alone from now on. Returns true when that is a change.
    pub(super) fn tell_number(&mut self) -> bool {
        match &mut self.users {
            Users::Counted { awaits_names, .. } => std::mem::replace(awaits_names, false),
            Users::Listed { .. } => {
                self.users = Users::Counted { published: None, count: self.count(), awaits_names: false };
                self.writes_all = self.is_written;
                true
            }
        }
    }

    /// Tells the names again, as soon as all of them are taken in. Returns true when that is a change.
    pub(super) const fn tell_names(&mut self) -> bool {
        match &mut self.users {
            Users::Counted { awaits_names, .. } => !std::mem::replace(awaits_names, true),
            Users::Listed { .. } => false,
        }
    }

    /// Returns true when there is something to publish.
    fn has_news(&self) -> bool {
        if !self.is_written {
            return self.count() > 0;
        }
        let has_moved = match &self.users {
            Users::Listed { moved, .. } => !moved.is_empty(),
            Users::Counted { published, count, .. } => *published != Some(*count),
        };
        self.writes_all || has_moved
    }

    /// Sets when the next publication is due, if there is something to publish. An earlier time stays.
    pub(super) fn schedule(&mut self, at_ms: u64) {
        self.due_ms = self.has_news().then(|| self.due_ms.unwrap_or(at_ms).min(at_ms));
    }

    /// Returns when the next publication is due.
    pub(super) const fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// Returns the publication that has to be repeated.
    pub(super) const fn unanswered(&self) -> Option<&Publication> {
        self.unanswered.as_ref()
    }

    /// Makes the next publication. It is [`Own::unanswered`] until its answer is known.
    pub(super) fn publish(&mut self) -> Operation {
        let tells_all = self.writes_all || !self.is_written;
        let base = (!tells_all && !is_broken(Rule::CheckTheBase)).then_some(self.number);
        self.number += 1;
        let (contents, count, pieces, changed) = match &mut self.users {
            Users::Counted { published, count, .. } => {
                *published = Some(*count);
                (Contents::Count, *count, 0, Vec::new())
            }
            Users::Listed { published, moved } => {
                let names = &self.names;
                let contents = if tells_all {
                    publish_all(published, moved, names)
                } else {
                    publish_moves(published, moved, names)
                };
                let changed = if tells_all { published.take_all() } else { published.take_changed() };
                let changed: Vec<(usize, Bytes)> = changed
                    .into_iter()
                    .map(|(field, users)| (field, piece_value(users, |user| names.get(user))))
                    .collect();
                (contents, published.len(), published.count(), changed)
            }
        };
        let entry = entry_value(self.number, self.is_counted(), count, pieces);
        let names = self.names_in(&contents);
        let payload = Payload { by: self.by, number: self.number, count, contents, names }.encode();
        let publication =
            Publication { by: self.by, number: self.number, base, entry, pieces, count, changed, payload };
        (self.is_written, self.writes_all, self.due_ms) = (true, false, None);
        self.unanswered = Some(publication.clone());
        Operation::Publish(publication)
    }

    /// Returns the names of the users in a payload who have one, in their order.
    fn names_in(&self, contents: &Contents) -> Vec<Name> {
        let (Contents::Moved { joined: users, .. } | Contents::All(users)) = contents else {
            return Vec::new();
        };
        let name = |user: &UserId| Some((user.clone(), self.names.get(user)?.clone()));
        users.iter().filter_map(name).collect()
    }

    /// Makes the call with which this node leaves the room. It may be made again.
    pub(super) fn close(&mut self) -> Operation {
        self.number += 1;
        let payload = Payload {
            by: self.by,
            number: self.number,
            count: self.count(),
            contents: Contents::Closed,
            names: Vec::new(),
        };
        Operation::Close { by: self.by, number: self.number, payload: payload.encode() }
    }

    /// Notes that the entry of this node was removed. Returns true when it had users.
    pub(super) fn closed(&mut self) -> bool {
        (self.is_written, self.writes_all) = (false, false);
        if let Users::Listed { published, moved } = &mut self.users {
            // The next publication tells everything.
            let users: BTreeSet<UserId> = current(published, moved);
            (*published, *moved) = (Pieces::default(), users.into_iter().map(|user| (user, true)).collect());
        }
        std::mem::replace(&mut self.is_occupied, false)
    }

    /// Returns true when the engine's entry of this node has users.
    pub(super) const fn is_occupied(&self) -> bool {
        self.is_occupied
    }

    /// Notes which number is stored after a publication was tried. If it is another, the stored entry
    /// is not the one that this node published before, and all is written anew. Returns true when the entry has users
    /// now and had none, or the other way round.
    pub(super) fn stored(&mut self, number: u64) -> bool {
        if let Some(publication) = self.unanswered.take().filter(|publication| publication.number == number) {
            let is_occupied = publication.count > 0;
            return std::mem::replace(&mut self.is_occupied, is_occupied) != is_occupied;
        }
        self.number = self.number.max(number);
        self.writes_all = true;
        false
    }

    /// Takes a publication for carried out that may not be: a broken rule.
    pub(super) fn forget_unanswered(&mut self) {
        self.unanswered = None;
    }

    /// Compares this node's entry that was read with what it has published. Returns as [`Own::stored`] does.
    pub(super) fn compare(&mut self, entry: Option<&Entry>) -> bool {
        let stored = entry.map_or(0, |entry| entry.number);
        if is_broken(Rule::WriteAnew) {
            return false;
        }
        // An exchange before this one may have written it.
        self.is_occupied |= !self.is_written && entry.is_some_and(|entry| entry.count > 0);
        if let Some(publication) = &self.unanswered {
            let can_repeat = match publication.base {
                Some(base) => stored == base,
                None => stored < publication.number,
            };
            if !can_repeat {
                return self.stored(stored);
            }
        } else if self.is_written && stored != self.number || !self.is_written && stored > 0 {
            (self.is_written, self.writes_all) = (true, true);
            self.number = self.number.max(stored);
        }
        false
    }
}

/// Returns the users who are there now.
fn current(published: &Pieces, moved: &BTreeMap<UserId, bool>) -> BTreeSet<UserId> {
    let stayed = published.iter().filter(|user| !moved.contains_key(*user));
    let joined = moved.iter().filter(|(_, joined)| **joined).map(|(user, _)| user);
    stayed.chain(joined).cloned().collect()
}

/// Returns the moves that make these users of those who were published.
fn difference(published: &Pieces, users: Vec<UserId>) -> BTreeMap<UserId, bool> {
    let users: BTreeSet<UserId> = users.into_iter().collect();
    let left = published.iter().filter(|user| !users.contains(*user)).map(|user| (user.clone(), false));
    let left: Vec<(UserId, bool)> = left.collect();
    let joined = users.into_iter().filter(|user| !published.contains(user)).map(|user| (user, true));
    joined.chain(left).collect()
}

fn publish_one(published: &mut Pieces, user: &UserId, joined: bool) {
    if joined { published.insert(user) } else { published.remove(user) }
}

/// Publishes all users, in the payload if they fit.
fn publish_all(
    published: &mut Pieces,
    moved: &mut BTreeMap<UserId, bool>,
    names: &BTreeMap<UserId, DisplayName>,
) -> Contents {
    for (user, joined) in std::mem::take(moved) {
        publish_one(published, &user, joined);
    }
    let bytes: usize = published.iter().map(|user| user_len(user, names.get(user))).sum();
    if bytes > MAX_NAMES_BYTES { Contents::Read } else { Contents::All(published.iter().cloned().collect()) }
}

/// Publishes as many moves as fit into a payload.
fn publish_moves(
    published: &mut Pieces,
    moved: &mut BTreeMap<UserId, bool>,
    names: &BTreeMap<UserId, DisplayName>,
) -> Contents {
    let (mut joined, mut left, mut bytes) = (Vec::new(), Vec::new(), 0);
    while let Some(next) = moved.first_entry() {
        bytes += user_len(next.key(), names.get(next.key()));
        if bytes > MAX_NAMES_BYTES {
            break;
        }
        let (user, has_joined) = next.remove_entry();
        publish_one(published, &user, has_joined);
        if has_joined { joined.push(user) } else { left.push(user) }
    }
    Contents::Moved { joined, left }
}
