//! Resuming: reads the missed messages page by page, and then switches to the live ones.
//!
//! A resuming connection becomes a member under the same lock that found nothing more to read. So a message published
//! before is in a page, one published afterwards is delivered, and none is both or neither.

use super::Position;
use super::room::{PAGE_BYTES, Room, RoomState};
use crate::faults::{self, Fault};
use crate::names::Offset;
use crate::protocol::frame::Frame;

/// The result of resuming from a position.
#[derive(Debug)]
pub enum Resumed {
    /// No position was given: live messages follow.
    Fresh,
    /// Every missed message is there: they follow the position that was given.
    Recovered {
        /// The last message that the client has seen.
        after: Offset,
        /// The first of the missed messages, without a gap.
        page: Page,
        /// The rest; `None` when the page has all of them and live messages follow.
        rest: Option<Replay>,
    },
    /// The position is of another epoch or ahead of the room, or some of the missed messages are gone: live messages
    /// follow, from the room's position on.
    NotRecovered,
}

impl Resumed {
    /// Returns true when live messages follow: the time to become a member.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !matches!(self, Self::Recovered { rest: Some(_), .. })
    }
}

/// A page of missed messages.
#[derive(Debug, Default)]
pub struct Page {
    /// Messages that were forgotten before they could be read. They stood before the page's messages.
    pub gap: Option<Gap>,
    /// Encoded messages, without a hole among them. Empty only when nothing is left to read.
    pub frames: Vec<Frame>,
}

/// A range of messages that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first of them.
    pub from: Offset,
    /// The last of them.
    pub to: Offset,
}

/// A reader's progress through the missed messages. Does not keep the room from being forgotten; the reader's presence
/// in the room does.
#[derive(Debug)]
#[must_use = "a resuming connection is no member before the last page"]
pub struct Replay {
    after: Offset,
    pages_left: usize,
}

impl Replay {
    /// Returns the last message that was read, or reported gone.
    #[must_use]
    pub fn after(&self) -> Offset {
        self.after
    }
}

/// The result of reading the next page.
#[derive(Debug)]
pub enum NextPage<R> {
    /// A page, with more to come.
    More(Page, Replay),
    /// The last page, and what `f` returned.
    Last(Page, R),
    /// The room was closed under its members, because messages that they were shown are lost.
    Lost,
    /// The room is faster than the reader, which has read twice as much as the history holds: a slow consumer.
    TooSlow,
}

impl<R> NextPage<R> {
    /// Turns what comes with the last page into something else.
    pub fn map_last<S>(self, f: impl FnOnce(R) -> S) -> NextPage<S> {
        match self {
            Self::More(page, replay) => NextPage::More(page, replay),
            Self::Last(page, last) => NextPage::Last(page, f(last)),
            Self::Lost => NextPage::Lost,
            Self::TooSlow => NextPage::TooSlow,
        }
    }
}

impl<T> Room<T> {
    /// Reads the next page. If it is the last one, `f` runs under the same lock, to make the reader a member.
    pub fn read_on<R>(&self, replay: Replay, f: impl FnOnce(&mut RoomState<T>) -> R) -> NextPage<R> {
        let Replay { after, pages_left } = replay;
        let Some(pages_left) = pages_left.checked_sub(1) else { return NextPage::TooSlow };
        let mut state = self.lock();
        if state.is_lost() {
            return NextPage::Lost;
        }
        let (page, after) = state.page_after(after);
        if after == state.last {
            NextPage::Last(page, f(&mut state))
        } else {
            NextPage::More(page, Replay { after, pages_left })
        }
    }
}

impl<T> RoomState<T> {
    /// Returns what can be read from position `wish` on.
    pub(super) fn resume(&self, wish: Option<Position>) -> Resumed {
        let Some(wish) = wish else { return Resumed::Fresh };
        let is_ignored = faults::is_on(Fault::IgnoreEpoch);
        let Some(offset) = self.in_this_epoch(wish).or(is_ignored.then_some(wish.offset)) else {
            return Resumed::NotRecovered;
        };
        if offset > self.last || offset < self.floor() {
            return Resumed::NotRecovered;
        }
        let (page, end) = self.page_after(offset);
        // Two pages in a row hold more than PAGE_BYTES, so these are the whole history twice.
        let pages_left = self.settings().history.bytes.div_ceil(PAGE_BYTES) * 4 + 2;
        let rest = (end != self.last).then_some(Replay { after: end, pages_left });
        Resumed::Recovered { after: offset, page, rest }
    }

    /// Returns the offset before the oldest message that is kept. Resuming from an earlier one fails.
    #[must_use]
    pub fn floor(&self) -> Offset {
        Offset(self.last.0 - self.history.len() as u64)
    }

    /// Returns the page behind `after`, and the offset where it ends.
    fn page_after(&self, after: Offset) -> (Page, Offset) {
        debug_assert!(after <= self.last, "nobody has read what is not there");
        let floor = self.floor();
        let gap = (after < floor).then(|| Gap { from: after.next(), to: floor });
        let start = after.max(floor);
        let frames = self.history.page_after(start, PAGE_BYTES);
        let end = Offset(start.0 + frames.len() as u64);
        (Page { gap, frames }, end)
    }
}
