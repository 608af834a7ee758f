//! Sends the messages that a client missed, one page at a time and at the client's pace.

use super::rooms::Rooms;
use crate::broker::resume::{NextPage, Page, Replay, Resumed};
use crate::names::RoomName;
use crate::protocol::close::{EndReason, Overflow};
use crate::protocol::event::v1;
use crate::shard::Registration;

/// A resume with pages still to be sent.
#[derive(Debug)]
pub(super) struct Replaying {
    room: RoomName,
    rest: Replay,
}

impl Replaying {
    /// Queues the first page. Returns what is left to send; `None` when the page was the last one.
    pub(super) fn begin(registration: &Registration, room: &RoomName, resumed: Resumed) -> Option<Self> {
        match resumed {
            Resumed::Fresh => None,
            Resumed::NotRecovered => {
                registration.shard().metrics().not_recovered.add(1);
                None
            }
            Resumed::Recovered { page, rest, .. } => {
                registration.shard().metrics().recovered.add(1);
                queue(registration, room, &page);
                rest.map(|rest| Self { room: room.clone(), rest })
            }
        }
    }

    /// Queues the next page. Returns what is left to send; `None` when the page was the last one, and the connection
    /// gets live messages from now on.
    pub(super) fn next_page(
        self,
        rooms: &mut Rooms,
        registration: &Registration,
    ) -> Result<Option<Self>, EndReason> {
        let Self { room, rest } = self;
        // No command is taken during a replay, so the room has not been left.
        let Some(membership) = rooms.get_mut(room.as_str()) else { return Ok(None) };
        match membership.read_on(rest, registration) {
            NextPage::More(page, rest) => {
                queue(registration, &room, &page);
                Ok(Some(Self { room, rest }))
            }
            NextPage::Last(page, members) => {
                queue(registration, &room, &page);
                if let Some(members) = members {
                    registration.reply(&v1::presence_diff(&room, None, members));
                }
                Ok(None)
            }
            NextPage::Lost => Err(EndReason::PositionLost),
            NextPage::TooSlow => Err(EndReason::SlowConsumer(Overflow::Resume)),
        }
    }
}

fn queue(registration: &Registration, room: &RoomName, page: &Page) {
    if let Some(gap) = page.gap {
        registration.reply(&v1::gap(room, gap.from, gap.to));
    }
    for frame in &page.frames {
        registration.reply(frame);
    }
}
