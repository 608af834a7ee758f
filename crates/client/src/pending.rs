//! Commands that were sent and wait for their answer.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::command::Reply;
use super::error::SendError;
use super::event::{History, Presence};
use throng_names::RoomName;

/// What an answer is for.
#[derive(Debug)]
pub(super) enum Asked {
    /// The message under way.
    Said,
    /// The room with this serial.
    Join(u64),
    Leave(RoomName, Reply<()>),
    History(Reply<History>),
    Presence(Reply<Presence>),
    /// Its answer ends the replay before it.
    Ping,
}

impl Asked {
    pub(super) fn fail(self, error: SendError) {
        match self {
            // These live on in the messages and the rooms.
            Self::Said | Self::Join(_) | Self::Ping => {}
            // Gone with the connection, as was wished; by then nothing else is in question.
            Self::Leave(_, reply) => {
                drop(reply.send(if error == SendError::Disconnected { Ok(()) } else { Err(error) }))
            }
            Self::History(reply) => drop(reply.send(Err(error))),
            Self::Presence(reply) => drop(reply.send(Err(error))),
        }
    }
}

/// By id, in the order of asking.
#[derive(Debug, Default)]
pub(super) struct Pending {
    by_id: BTreeMap<u64, (Asked, Instant)>,
    last_id: u64,
}

impl Pending {
    /// The id that the next [`Pending::add`] gives.
    pub(super) fn next_id(&self) -> String {
        (self.last_id + 1).to_string()
    }

    /// Waits for an answer with the id of [`Pending::next_id`].
    pub(super) fn add(&mut self, asked: Asked, now: Instant) {
        self.last_id += 1;
        self.by_id.insert(self.last_id, (asked, now));
    }

    /// What the answer with this `re` is for.
    pub(super) fn take(&mut self, re: Option<&str>) -> Option<Asked> {
        self.by_id.remove(&re?.parse().ok()?).map(|(asked, _)| asked)
    }

    /// What waits for longest: an error that names no command is taken to be its answer, so that none waits for ever.
    pub(super) fn take_oldest(&mut self) -> Option<Asked> {
        self.by_id.pop_first().map(|(_, (asked, _))| asked)
    }

    /// When the first of them was sent.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.by_id.first_key_value().map(|(_, (_, at))| *at)
    }

    /// Whether this room is being left.
    pub(super) fn is_leaving(&self, name: &RoomName) -> bool {
        self.by_id.values().any(|(asked, _)| matches!(asked, Asked::Leave(room, _) if room == name))
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The connection is gone.
    pub(super) fn disconnected(&mut self) {
        std::mem::take(&mut self.by_id)
            .into_values()
            .for_each(|(asked, _)| asked.fail(SendError::Disconnected));
    }

    /// Fails what somebody waits for; the rest goes on.
    pub(super) fn fail_all(&mut self, error: &SendError) {
        let is_ours = |asked: &Asked| matches!(asked, Asked::Join(_) | Asked::Ping);
        let (ours, others) =
            std::mem::take(&mut self.by_id).into_iter().partition(|(_, (asked, _))| is_ours(asked));
        self.by_id = ours;
        BTreeMap::into_values(others).for_each(|(asked, _)| asked.fail(error.clone()));
    }
}
