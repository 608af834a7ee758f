//! The calls that wait for their answers, and what each is for.

use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use super::super::link::{self, LinkId};
use super::super::script::Call;
use super::links::Links;
use super::pacing::Urgency;
use super::tasks::Answered;
use crate::names::RoomName;

/// The purpose of a call of a room. The numbers are those of the room's state machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Publish(u64),
    Sync(u64),
    Fill(u64),
    /// To read older messages.
    Read,
    /// The exchange of users, with its own number.
    Presence(u64),
    /// For an effect that is not missed when it fails.
    Unanswered,
}

/// The subject of a call.
#[derive(Debug)]
pub(super) enum Subject {
    Room(RoomName, Purpose),
    /// The reading of the map of slots with this number.
    Map(u64),
    /// The work of the task that waits for the answer.
    Task(oneshot::Sender<Answered>),
}

/// The calls under way. The links bound how many of them are on their way, and the rooms how many wait for that.
#[derive(Debug, Default)]
pub(super) struct Calls {
    next_tag: u64,
    open: FxHashMap<u64, (Option<LinkId>, Subject)>,
}

impl Calls {
    /// Sends a call for a room. Its answer is an event in any case.
    pub(super) fn send(
        &mut self,
        links: &mut Links,
        link: Option<LinkId>,
        room: &RoomName,
        purpose: Purpose,
        call: Call,
    ) {
        let urgency = if matches!(purpose, Purpose::Publish(_)) { Urgency::Urgent } else { Urgency::Usual };
        self.send_for(links, link, Subject::Room(room.clone(), purpose), call.into(), urgency);
    }

    /// Sends a call. Its answer is an event in any case.
    pub(super) fn send_for(
        &mut self,
        links: &mut Links,
        link: Option<LinkId>,
        subject: Subject,
        call: link::Call,
        urgency: Urgency,
    ) {
        self.next_tag += 1;
        self.open.insert(self.next_tag, (link, subject));
        links.call(link, self.next_tag, call, urgency);
    }

    /// Returns what an answered call was for, and the link that it was for.
    pub(super) fn take(&mut self, tag: u64) -> Option<(Option<LinkId>, Subject)> {
        self.open.remove(&tag)
    }

    /// Forgets the calls of all rooms: their answers change nothing any more.
    pub(super) fn forget_rooms(&mut self) {
        self.open.retain(|_, (_, subject)| !matches!(subject, Subject::Room(..)));
    }

    /// Returns how many calls are not answered.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}
