//! A conversation on the screen: a room, or the direct messages with one user. Holds its messages, notices and users.
//! Pure: times are arguments.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use crate::escape;
use throng_client::{History, Presence};
use throng_names::{DisplayName, RoomName, UserId};

/// Most messages and notices of a conversation that are kept. Older messages can be fetched while there are fewer.
pub(super) const MAX_ITEMS: usize = 500;
/// Most users of a room whose names are kept. Beyond it only their number is known.
const MAX_USERS: usize = 1000;
/// Most typing users that are shown.
const MAX_TYPING: usize = 3;
/// How long a user counts as typing after the last event about it. This client, for one, repeats it every two seconds.
const TYPING_TIMEOUT: Duration = Duration::from_secs(4);

/// The name of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ConversationName {
    Room(RoomName),
    User(UserId),
}

impl fmt::Display for ConversationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Room(room) => room.fmt(f),
            Self::User(user) => write!(f, "@{user}"),
        }
    }
}

/// The severity of a notice, which decides its color.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    Info,
    Success,
    Error,
}

/// A message or a notice in a conversation. Its texts are harmless for a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TimelineItem {
    /// `user` is the user id, and `name` the name of the user that people are shown.
    Message {
        user: String,
        name: Option<String>,
        text: String,
        ts_ms: u64,
        offset: Option<u64>,
    },
    Notice {
        text: String,
        severity: Severity,
    },
}

impl TimelineItem {
    pub(super) fn message(user: &UserId, text: &str, ts_ms: u64, offset: Option<u64>) -> Self {
        let text = escape::clean(text).into_owned();
        Self::Message { user: user.to_string(), name: None, text, ts_ms, offset }
    }

    /// Adds the name of the user to a message.
    pub(super) fn named(mut self, shown: Option<&DisplayName>) -> Self {
        if let Self::Message { name, .. } = &mut self {
            *name = shown.map(|shown| escape::clean(shown.as_str()).into_owned());
        }
        self
    }

    pub(super) fn notice(text: &str, severity: Severity) -> Self {
        Self::Notice { text: escape::clean(text).into_owned(), severity }
    }

    const fn offset(&self) -> Option<u64> {
        match self {
            Self::Message { offset, .. } => *offset,
            Self::Notice { .. } => None,
        }
    }
}

/// Whether messages before the first one can be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OlderMessages {
    /// There may be some.
    Possible,
    /// A request for them is under way.
    Requested,
    /// There are none.
    None,
    /// The room has begun a new epoch: the offset of the first message means nothing there.
    OutOfReach,
}

/// The last change of a user's presence.
#[derive(Debug, Clone, Copy)]
enum PresenceChange {
    Joined,
    Left,
}

/// A room or the direct messages with one user, as the screen shows it.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) name: ConversationName,
    pub(super) timeline: VecDeque<TimelineItem>,
    pub(super) unread: u64,
    pub(super) users: BTreeSet<UserId>,
    /// Number of users in the room, which is known even when their names are not.
    pub(super) members: u64,
    /// The changes of presence since the room was entered, or since the last event without names. A requested list and
    /// the events may overtake each other, so that these changes are applied to each list.
    changes: BTreeMap<UserId, PresenceChange>,
    /// True when `members` is from an event, which is never older than a requested list.
    has_event_count: bool,
    /// Number of items below the last one shown.
    pub(super) scrolled: usize,
    /// True after `/who`: the next list of users becomes a notice, too.
    pub(super) shows_users: bool,
    typing: Vec<(UserId, Instant)>,
    older: OlderMessages,
}

impl Conversation {
    pub(super) fn new(name: ConversationName) -> Self {
        let older = if matches!(name, ConversationName::Room(_)) {
            OlderMessages::Possible
        } else {
            OlderMessages::None
        };
        Self {
            name,
            timeline: VecDeque::new(),
            unread: 0,
            users: BTreeSet::new(),
            members: 0,
            changes: BTreeMap::new(),
            has_event_count: false,
            scrolled: 0,
            shows_users: false,
            typing: Vec::new(),
            older,
        }
    }

    /// Appends an item. A view that is scrolled up stays where it is.
    pub(super) fn push(&mut self, item: TimelineItem) {
        if let TimelineItem::Message { user, .. } = &item {
            self.typing.retain(|(typing, _)| typing.as_str() != user);
        }
        if self.timeline.len() == MAX_ITEMS {
            self.timeline.pop_front();
            if self.older == OlderMessages::None && matches!(self.name, ConversationName::Room(_)) {
                self.older = OlderMessages::Possible;
            }
        }
        self.timeline.push_back(item);
        if self.scrolled > 0 {
            self.scroll_up(1);
        }
    }

    pub(super) fn scroll_up(&mut self, items: usize) {
        self.scrolled = (self.scrolled + items).min(self.timeline.len().saturating_sub(1));
    }

    pub(super) const fn scroll_down(&mut self, items: usize) {
        self.scrolled = self.scrolled.saturating_sub(items);
    }

    /// Begins to fetch older messages and returns the offset before which they are, if the first message has one.
    /// Returns `None` when there are none, when there is no space for them, or when a request is under way.
    pub(super) fn begin_fetching_older(&mut self) -> Option<Option<u64>> {
        if self.older != OlderMessages::Possible || self.timeline.len() >= MAX_ITEMS {
            return None;
        }
        self.older = OlderMessages::Requested;
        Some(self.first_offset())
    }

    /// Prepends a fetched page of older messages; `None` when the request failed.
    pub(super) fn finish_fetching_older(&mut self, page: Option<&History>) {
        if self.older == OlderMessages::OutOfReach {
            return;
        }
        let Some(page) = page else {
            self.older = OlderMessages::Possible;
            return;
        };
        self.older = if page.more { OlderMessages::Possible } else { OlderMessages::None };
        // Messages that arrived during the request may be part of the page.
        let first = self.first_offset().unwrap_or(u64::MAX);
        let space = MAX_ITEMS - self.timeline.len().min(MAX_ITEMS);
        for message in page.messages.iter().rev().filter(|message| message.offset < first).take(space) {
            let (text, ts_ms) = (&message.text, message.ts_ms);
            let item = TimelineItem::message(&message.user, text, ts_ms, Some(message.offset));
            self.timeline.push_front(item.named(message.name.as_ref()));
        }
    }

    /// Notes that the room has begun a new epoch, so that older messages cannot be fetched by offset.
    pub(super) const fn forget_offsets(&mut self) {
        self.older = OlderMessages::OutOfReach;
    }

    /// Notes that the room was entered, perhaps again. Earlier changes of presence mean nothing then.
    pub(super) fn entered(&mut self) {
        self.changes.clear();
        self.has_event_count = false;
    }

    /// Applies an event of presence. Returns true when the list of users has to be requested.
    pub(super) fn apply_presence(&mut self, joined: Vec<UserId>, left: &[UserId], members: u64) -> bool {
        self.members = members;
        self.has_event_count = true;
        for user in left {
            self.users.remove(user);
            self.typing.retain(|(typing, _)| typing != user);
            self.changes.insert(user.clone(), PresenceChange::Left);
        }
        self.changes.extend(joined.iter().map(|user| (user.clone(), PresenceChange::Joined)));
        let space = MAX_USERS - self.users.len().min(MAX_USERS);
        let is_without_names = joined.is_empty() && left.is_empty();
        self.users.extend(joined.into_iter().take(space));
        if !is_without_names && self.changes.len() <= MAX_USERS {
            return false;
        }
        self.changes.clear();
        let is_small = members <= MAX_USERS as u64;
        if is_without_names && !is_small {
            // No names are better than outdated ones. Requesting the list of so large a room each time costs too much.
            self.users.clear();
        }
        is_small
    }

    /// Replaces the list of users by a requested one. Changes from events are applied to it: either the list contains
    /// them already, or they are newer.
    pub(super) fn set_users(&mut self, page: Presence) {
        if !self.has_event_count {
            self.members = page.members;
        }
        self.users = page.users.into_iter().collect();
        for (user, change) in &self.changes {
            match change {
                PresenceChange::Joined => self.users.insert(user.clone()),
                PresenceChange::Left => self.users.remove(user),
            };
        }
        while self.users.len() > MAX_USERS {
            self.users.pop_last();
        }
    }

    /// Notes that a user is typing.
    pub(super) fn set_typing(&mut self, user: UserId, now: Instant) {
        self.typing.retain(|(typing, until)| *typing != user && *until > now);
        if self.typing.len() < MAX_TYPING {
            self.typing.push((user, now + TYPING_TIMEOUT));
        }
    }

    /// Returns the users who are typing now.
    pub(super) fn typing(&self, now: Instant) -> impl Iterator<Item = &UserId> {
        self.typing.iter().filter(move |(_, until)| *until > now).map(|(user, _)| user)
    }

    /// Returns the time at which the first of the typing users stops counting as typing.
    pub(super) fn typing_until(&self, now: Instant) -> Option<Instant> {
        self.typing.iter().map(|(_, until)| *until).filter(|until| *until > now).min()
    }

    fn first_offset(&self) -> Option<u64> {
        self.timeline.iter().find_map(TimelineItem::offset)
    }
}
