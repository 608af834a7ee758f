//! A room, or a conversation with one user: what was said, who is there. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use crate::escape;
use throng_client::{History, Presence};
use throng_names::{RoomName, UserId};

/// So many messages and remarks of each place are kept; older ones can be fetched while there are fewer.
pub(super) const MAX_ENTRIES: usize = 500;
/// So many names of users are kept; of more only the number is known.
const MAX_USERS: usize = 1000;
/// So many who write are shown.
const MAX_TYPING: usize = 3;
/// Who writes says so at most twice a second; after this without a word, they have stopped.
const TYPING: Duration = Duration::from_secs(4);

/// What a place is called by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    Room(RoomName),
    Person(UserId),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room(room) => room.fmt(f),
            Self::Person(user) => write!(f, "@{user}"),
        }
    }
}

/// How a remark is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Plain,
    Good,
    Bad,
}

/// Something to be shown. Texts are harmless for a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Said { user: String, text: String, ts_ms: u64, offset: Option<u64> },
    Remark { text: String, mood: Mood },
}

impl Entry {
    pub(super) fn said(user: &UserId, text: &str, ts_ms: u64, offset: Option<u64>) -> Self {
        let text = escape::clean(text).into_owned();
        Self::Said { user: user.to_string(), text, ts_ms, offset }
    }

    pub(super) fn remark(text: &str, mood: Mood) -> Self {
        Self::Remark { text: escape::clean(text).into_owned(), mood }
    }

    const fn offset(&self) -> Option<u64> {
        match self {
            Self::Said { offset, .. } => *offset,
            Self::Remark { .. } => None,
        }
    }
}

/// Whether there is something before the first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Older {
    Perhaps,
    Asked,
    Nothing,
    /// The room's offsets have begun anew: those of the first message mean nothing any more.
    OutOfReach,
}

/// What a user did.
#[derive(Debug, Clone, Copy)]
enum Move {
    Came,
    Went,
}

#[derive(Debug)]
pub(super) struct Place {
    pub(super) name: Name,
    pub(super) entries: VecDeque<Entry>,
    pub(super) unread: u64,
    pub(super) users: BTreeSet<UserId>,
    /// Users in the room, also where their names are not known.
    pub(super) members: u64,
    /// Who was last heard to come, or to go, since we came in or were last not told: lists and news come by different
    /// ways, and may pass each other.
    moved: BTreeMap<UserId, Move>,
    /// `members` is what the news say, which no list knows better.
    is_counted: bool,
    /// Entries below the last one shown.
    pub(super) scrolled: usize,
    /// `/who` was typed: the next answer is told, too.
    pub(super) shows_users: bool,
    typing: Vec<(UserId, Instant)>,
    older: Older,
}

impl Place {
    pub(super) fn new(name: Name) -> Self {
        let older = if matches!(name, Name::Room(_)) { Older::Perhaps } else { Older::Nothing };
        Self {
            name,
            entries: VecDeque::new(),
            unread: 0,
            users: BTreeSet::new(),
            members: 0,
            moved: BTreeMap::new(),
            is_counted: false,
            scrolled: 0,
            shows_users: false,
            typing: Vec::new(),
            older,
        }
    }

    /// Something new, at the end. Who reads further up stays there.
    pub(super) fn push(&mut self, entry: Entry) {
        if let Entry::Said { user, .. } = &entry {
            self.typing.retain(|(typing, _)| typing.as_str() != user);
        }
        if self.entries.len() == MAX_ENTRIES {
            self.entries.pop_front();
            if self.older == Older::Nothing && matches!(self.name, Name::Room(_)) {
                self.older = Older::Perhaps;
            }
        }
        self.entries.push_back(entry);
        if self.scrolled > 0 {
            self.scroll_up(1);
        }
    }

    pub(super) fn scroll_up(&mut self, entries: usize) {
        self.scrolled = (self.scrolled + entries).min(self.entries.len().saturating_sub(1));
    }

    pub(super) const fn scroll_down(&mut self, entries: usize) {
        self.scrolled = self.scrolled.saturating_sub(entries);
    }

    /// Asks for what was said before the first message, unless there is nothing, no space, or it is asked for:
    /// the offset before which, if there is one.
    pub(super) fn ask_for_older(&mut self) -> Option<Option<u64>> {
        if self.older != Older::Perhaps || self.entries.len() >= MAX_ENTRIES {
            return None;
        }
        self.older = Older::Asked;
        Some(self.first_offset())
    }

    /// What was asked for has come, or will not.
    pub(super) fn older(&mut self, page: Option<&History>) {
        if self.older == Older::OutOfReach {
            return;
        }
        let Some(page) = page else {
            self.older = Older::Perhaps;
            return;
        };
        self.older = if page.more { Older::Perhaps } else { Older::Nothing };
        // What was said meanwhile is here already.
        let first = self.first_offset().unwrap_or(u64::MAX);
        let space = MAX_ENTRIES - self.entries.len().min(MAX_ENTRIES);
        for message in page.messages.iter().rev().filter(|message| message.offset < first).take(space) {
            let (text, ts_ms) = (&message.text, message.ts_ms);
            self.entries.push_front(Entry::said(&message.user, text, ts_ms, Some(message.offset)));
        }
    }

    /// The room has begun anew.
    pub(super) const fn forget_offsets(&mut self) {
        self.older = Older::OutOfReach;
    }

    /// We came in, perhaps again: of who came and went until now we know nothing.
    pub(super) fn enter(&mut self) {
        self.moved.clear();
        self.is_counted = false;
    }

    /// Takes news in; true when it is to be asked who is here.
    pub(super) fn presence(&mut self, joined: Vec<UserId>, left: &[UserId], members: u64) -> bool {
        self.members = members;
        self.is_counted = true;
        for user in left {
            self.users.remove(user);
            self.typing.retain(|(typing, _)| typing != user);
            self.moved.insert(user.clone(), Move::Went);
        }
        self.moved.extend(joined.iter().map(|user| (user.clone(), Move::Came)));
        let space = MAX_USERS - self.users.len().min(MAX_USERS);
        let is_untold = joined.is_empty() && left.is_empty();
        self.users.extend(joined.into_iter().take(space));
        if !is_untold && self.moved.len() <= MAX_USERS {
            return false;
        }
        self.moved.clear();
        let has_names = members <= MAX_USERS as u64;
        if is_untold && !has_names {
            // Rather none than those of people who have long gone; and each time to ask for so many is too much.
            self.users.clear();
        }
        has_names
    }

    /// Takes the list in. What was heard is not undone by it: either the list knows of it, or it came later.
    pub(super) fn are_here(&mut self, page: Presence) {
        if !self.is_counted {
            self.members = page.members;
        }
        self.users = page.users.into_iter().collect();
        for (user, what) in &self.moved {
            match what {
                Move::Came => self.users.insert(user.clone()),
                Move::Went => self.users.remove(user),
            };
        }
        while self.users.len() > MAX_USERS {
            self.users.pop_last();
        }
    }

    pub(super) fn types(&mut self, user: UserId, now: Instant) {
        self.typing.retain(|(typing, until)| *typing != user && *until > now);
        if self.typing.len() < MAX_TYPING {
            self.typing.push((user, now + TYPING));
        }
    }

    /// Who writes now.
    pub(super) fn typing(&self, now: Instant) -> impl Iterator<Item = &UserId> {
        self.typing.iter().filter(move |(_, until)| *until > now).map(|(user, _)| user)
    }

    /// When the first of those who write now will be taken to have stopped.
    pub(super) fn typing_until(&self, now: Instant) -> Option<Instant> {
        self.typing.iter().map(|(_, until)| *until).filter(|until| *until > now).min()
    }

    fn first_offset(&self) -> Option<u64> {
        self.entries.iter().find_map(Entry::offset)
    }
}
