//! The state of the screen: the connection, the conversations and the notices. Pure: times are arguments, and requests
//! to the server are returned.

mod events;
mod input;

use std::time::{Duration, Instant};

use super::conversation::{Conversation, ConversationName, Severity, TimelineItem};
use crate::escape;
use crate::requests::Request;
use throng_names::{RoomName, UserId};

/// Messages that one request for history fetches.
const HISTORY_PAGE: u16 = 50;
/// Most conversations with one user. Beyond it, a new one replaces the oldest that is not selected.
const MAX_DIRECT: usize = 50;
/// Most rooms that are shown. The server limits the rooms of a user, usually to fewer.
const MAX_ROOMS: usize = 1000;

/// The state of the connection, as the status bar shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    Connecting { attempt: u32 },
    Online,
    Waiting { until: Instant, reason: String },
    Stopped { reason: String },
}

/// Everything that the screen shows, apart from the input line.
#[derive(Debug)]
pub(super) struct View {
    pub(super) me: UserId,
    pub(super) link: Link,
    /// The last notice, which the status bar shows until something is typed.
    pub(super) status: Option<(String, Severity)>,
    pub(super) conversations: Vec<Conversation>,
    /// The index of the selected conversation.
    pub(super) current: usize,
}

/// The action that a typed line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    Request(Request),
    Quit,
}

impl View {
    pub(super) fn new(me: UserId) -> Self {
        let link = Link::Connecting { attempt: 0 };
        Self { me, link, status: None, conversations: Vec::new(), current: 0 }
    }

    /// Returns the selected conversation. There is none before the first welcome, or after the last room was left.
    pub(super) fn selected(&self) -> Option<&Conversation> {
        self.conversations.get(self.current)
    }

    fn selected_mut(&mut self) -> Option<&mut Conversation> {
        self.conversations.get_mut(self.current)
    }

    /// Scrolls up by so many items. Returns a request for older messages when the start is near.
    pub(super) fn scroll_up(&mut self, items: usize) -> Option<Request> {
        let conversation = self.selected_mut()?;
        conversation.scroll_up(items);
        let ConversationName::Room(room) = conversation.name.clone() else { return None };
        let is_near_start = conversation.scrolled + 2 * items >= conversation.timeline.len();
        let before = if is_near_start { conversation.begin_fetching_older()? } else { return None };
        Some(Request::History { room, before, limit: HISTORY_PAGE })
    }

    pub(super) fn scroll_down(&mut self, items: usize) {
        if let Some(conversation) = self.selected_mut() {
            conversation.scroll_down(items);
        }
    }

    /// Selects the conversation that is `by` positions further down the list, which wraps around.
    pub(super) fn select_relative(&mut self, by: isize) {
        if !self.conversations.is_empty() {
            let count = isize::try_from(self.conversations.len()).unwrap_or(isize::MAX);
            let next = (isize::try_from(self.current).unwrap_or(0) + by).rem_euclid(count);
            self.select(usize::try_from(next).unwrap_or(0));
        }
    }

    /// Returns the time at which the screen changes even if nothing happens: each second of a wait, and when a user
    /// stops typing.
    pub(super) fn next_tick(&self, now: Instant) -> Option<Instant> {
        let typing = self.selected().and_then(|conversation| conversation.typing_until(now));
        let waiting = match self.link {
            Link::Waiting { until, .. } if until > now => {
                let rest = (until - now).subsec_nanos();
                let rest = Duration::from_nanos(if rest == 0 { 1_000_000_000 } else { rest.into() });
                Some(now + rest)
            }
            _ => None,
        };
        typing.into_iter().chain(waiting).min()
    }

    /// Shows an error in the selected conversation.
    pub(super) fn show_error(&mut self, text: &str) {
        self.show_notice(text, Severity::Error);
    }

    /// Shows a notice in the selected conversation, or in the status bar when there is none.
    fn show_notice(&mut self, text: &str, severity: Severity) {
        match self.selected_mut() {
            Some(conversation) => conversation.push(TimelineItem::notice(text, severity)),
            None => self.set_status(text, severity),
        }
    }

    /// Shows a notice in the status bar, until something is typed.
    fn set_status(&mut self, text: &str, severity: Severity) {
        self.status = Some((escape::clean(text).into_owned(), severity));
    }

    /// Shows a notice in a room and in the status bar.
    fn show_notice_in(&mut self, room: &RoomName, text: &str, severity: Severity) {
        self.set_status(&format!("{text} in {room}"), severity);
        self.room(room).push(TimelineItem::notice(text, severity));
    }

    /// Appends an item to a conversation, which is added if it does not exist.
    fn push(&mut self, name: &ConversationName, item: TimelineItem) {
        let index = self.index_or_add(name);
        if index != self.current {
            self.conversations[index].unread += 1;
        }
        self.conversations[index].push(item);
    }

    /// Returns the conversation of a room, which is added if it does not exist.
    fn room(&mut self, room: &RoomName) -> &mut Conversation {
        let index = self.index_or_add(&ConversationName::Room(room.clone()));
        &mut self.conversations[index]
    }

    fn find_room(&mut self, room: RoomName) -> Option<&mut Conversation> {
        self.find(&ConversationName::Room(room)).map(|index| &mut self.conversations[index])
    }

    fn find(&self, name: &ConversationName) -> Option<usize> {
        self.conversations.iter().position(|conversation| conversation.name == *name)
    }

    /// Returns the index of a conversation, which is added if it does not exist. May remove the oldest of its kind.
    fn index_or_add(&mut self, name: &ConversationName) -> usize {
        if let Some(index) = self.find(name) {
            return index;
        }
        let is_direct = |name: &ConversationName| matches!(name, ConversationName::User(_));
        let limit = if is_direct(name) { MAX_DIRECT } else { MAX_ROOMS };
        let names = || self.conversations.iter().map(|conversation| &conversation.name);
        let same_kind = || names().filter(|other| is_direct(other) == is_direct(name));
        if same_kind().count() >= limit {
            let selected = self.selected().map(|conversation| &conversation.name);
            let oldest = same_kind().find(|name| Some(*name) != selected).cloned();
            if let Some(oldest) = oldest {
                self.remove(&oldest);
            }
        }
        self.conversations.push(Conversation::new(name.clone()));
        self.conversations.len() - 1
    }

    /// Removes a conversation. When it was selected, a neighbour is selected instead.
    fn remove(&mut self, name: &ConversationName) {
        let Some(index) = self.find(name) else { return };
        self.conversations.remove(index);
        if index < self.current || self.current >= self.conversations.len() {
            self.current = self.current.saturating_sub(1);
        }
        self.select(self.current);
    }

    /// Selects a conversation, which is added if it does not exist.
    fn select_name(&mut self, name: &ConversationName) {
        let index = self.index_or_add(name);
        self.select(index);
    }

    fn select(&mut self, index: usize) {
        self.current = index;
        if let Some(conversation) = self.selected_mut() {
            conversation.unread = 0;
        }
    }
}
