//! Coming back: the messages that were missed, page after page, and then the live ones.
//!
//! Whoever resumes becomes a member under the same lock that found nothing more to read: what is published before is
//! in a page, what is published afterwards is delivered, and nothing is both or neither.

use super::Position;
use super::room::{PAGE_BYTES, Room, RoomState};
use crate::faults::{self, Fault};
use crate::names::Offset;
use crate::protocol::frame::Frame;

/// What came of the wish to go on where one was.
#[derive(Debug)]
pub enum Resumed {
    /// There was no such wish: live messages follow.
    Fresh,
    /// Every missed message is there. The client stands where it said it stood.
    Recovered {
        /// The last message that the client has seen.
        after: Offset,
        /// The first of them, without a gap.
        page: Page,
        /// How to get the rest; none when this is all of them and live messages follow.
        rest: Option<Replay>,
    },
    /// Another life of the room, a place it has not reached, or something missed is gone: live messages follow, from
    /// the room's position on.
    NotRecovered,
}

impl Resumed {
    /// True when live messages follow: the time to become a member.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !matches!(self, Self::Recovered { rest: Some(_), .. })
    }
}

/// Some of the missed messages.
#[derive(Debug, Default)]
pub struct Page {
    /// What was let go before it could be read; stands before the messages.
    pub gap: Option<Gap>,
    /// Encoded messages, without a hole among them. Empty only where nothing is left to read.
    pub frames: Vec<Frame>,
}

/// Messages that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first.
    pub from: Offset,
    /// The last.
    pub to: Offset,
}

/// Somebody on the way through the missed messages. Does not keep the room from being forgotten: whoever holds it is
/// present there.
#[derive(Debug)]
#[must_use = "who resumes is no member before the last page"]
pub struct Replay {
    after: Offset,
    pages_left: usize,
}

impl Replay {
    /// The last message that was read, or that was reported gone.
    #[must_use]
    pub fn after(&self) -> Offset {
        self.after
    }
}

/// The next page.
#[derive(Debug)]
pub enum NextPage<R> {
    /// There is more.
    More(Page, Replay),
    /// The last page, and what `f` returned.
    Last(Page, R),
    /// The room is faster than the reader, who has read as much as its history holds twice over: a slow consumer.
    TooSlow,
}

impl<T> Room<T> {
    /// Reads on. When the page is the last one, `f` runs under the same lock, to make the reader a member.
    pub fn read_on<R>(&self, replay: Replay, f: impl FnOnce(&mut RoomState<T>) -> R) -> NextPage<R> {
        let Replay { after, pages_left } = replay;
        let Some(pages_left) = pages_left.checked_sub(1) else { return NextPage::TooSlow };
        let mut state = self.lock();
        let (page, after) = state.page_after(after);
        if after == state.last {
            NextPage::Last(page, f(&mut state))
        } else {
            NextPage::More(page, Replay { after, pages_left })
        }
    }
}

impl<T> RoomState<T> {
    /// What there is for someone who stands at `wish`.
    pub(super) fn resume(&self, wish: Option<Position>) -> Resumed {
        let Some(Position { epoch, offset }) = wish else { return Resumed::Fresh };
        let is_other = epoch != self.epoch && !faults::is_on(Fault::IgnoreEpoch);
        if is_other || offset > self.last || offset < self.floor() {
            return Resumed::NotRecovered;
        }
        let (page, end) = self.page_after(offset);
        // Two pages in a row hold more than PAGE_BYTES: so many pages are the whole history twice.
        let pages_left = self.settings().history.bytes.div_ceil(PAGE_BYTES) * 4 + 2;
        let rest = (end != self.last).then_some(Replay { after: end, pages_left });
        Resumed::Recovered { after: offset, page, rest }
    }

    /// The place before the oldest message that is kept: whoever has seen less cannot go on.
    #[must_use]
    pub fn floor(&self) -> Offset {
        Offset(self.last.0 - self.history.len() as u64)
    }

    /// The next page for someone who stands at `after`, and where it ends.
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
