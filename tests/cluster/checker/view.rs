//! The view of one client of one room: the messages that it believes to be the room's, over all of its connections
//! since it was told the last time that it has lost some.

use std::collections::BTreeMap;

use super::{Checker, Rule};
use crate::load::record::{Client, Name, Position};

#[derive(Debug)]
pub(super) struct View {
    /// The number of the view among all of the run.
    pub(super) number: usize,
    pub(super) epoch: Name,
    /// The offset behind which the view begins.
    pub(super) start: u64,
    /// The last offset that was seen or that a `gap` named.
    pub(super) last: u64,
    /// By offset, the epoch in the message's id.
    pub(super) ids: BTreeMap<u64, Name>,
    pub(super) gaps: Vec<(u64, u64)>,
    /// The client is in the room at present.
    pub(super) is_open: bool,
    /// Nothing has come since the room was recovered: the first missed message must be next.
    is_recovering: bool,
}

impl View {
    fn new(number: usize, epoch: &Name, start: u64) -> Self {
        Self {
            number,
            epoch: epoch.clone(),
            start,
            last: start,
            ids: BTreeMap::new(),
            gaps: Vec::new(),
            is_open: true,
            is_recovering: false,
        }
    }

    pub(super) fn is_in_gap(&self, offset: u64) -> bool {
        self.gaps.iter().any(|(from, to)| (*from..=*to).contains(&offset))
    }
}

impl Checker {
    pub(super) fn entered(
        &mut self,
        client: Client,
        room: &Name,
        asked: Option<&Position>,
        epoch: &Name,
        offset: u64,
        recovered: bool,
    ) {
        let key = (client, room.clone());
        let known = self.views.get(&key).map(|view| (view.is_open, view.epoch.clone(), view.last));
        if known.as_ref().is_some_and(|(is_open, ..)| *is_open) {
            self.blame(Rule::Protocol, client, room, "entered, but the client is in the room");
        }
        let at_once = || Position { epoch: epoch.clone(), offset };
        match (recovered, asked) {
            (true, None) => {
                self.blame(Rule::Resume, client, room, "recovered, but no position was asked for")
            }
            (true, Some(asked)) if asked.offset > offset => {
                let what = format!("recovered from {asked:?} to {:?}, which is earlier", at_once());
                self.blame(Rule::Resume, client, room, &what);
            }
            _ => {}
        }
        if let (true, Some(asked)) = (recovered, asked) {
            self.verdict.counts.recovered += 1;
            if !self.views.contains_key(&key) {
                self.views_made += 1;
                self.views.insert(key.clone(), View::new(self.views_made, &asked.epoch, asked.offset));
            }
            self.adopt(client, room, epoch);
            if let Some(view) = self.views.get_mut(&key) {
                (view.is_open, view.is_recovering) = (true, true);
            }
            return;
        }
        if let Some(asked) = asked {
            self.verdict.counts.not_recovered += 1;
            self.told(client, room, &format!("not recovered from {asked:?}"));
        }
        if let Some((_, known, last)) = known.filter(|(_, known, last)| known == epoch && *last > offset) {
            let what = format!("served from {:?}, behind {known}:{last}, which it has seen", at_once());
            self.blame(Rule::Resume, client, room, &what);
        }
        self.views_made += 1;
        self.views.insert(key, View::new(self.views_made, epoch, offset));
    }

    /// Lets a view go on under another epoch: all that it contains must be what that epoch has there.
    fn adopt(&mut self, client: Client, room: &Name, epoch: &Name) {
        let Some(view) = self.views.get_mut(&(client, room.clone())) else { return };
        if view.epoch == *epoch {
            return;
        }
        view.epoch = epoch.clone();
        let ids: Vec<Position> = view
            .ids
            .iter()
            .map(|(offset, epoch)| Position { epoch: epoch.clone(), offset: *offset })
            .collect();
        for id in ids {
            self.place(Rule::Order, client, room, epoch, &id);
        }
    }

    /// Returns the view of a room that the client is in; blames an event of any other room.
    fn open_view(&mut self, client: Client, room: &Name) -> Option<&mut View> {
        let is_open = self.views.get(&(client, room.clone())).is_some_and(|view| view.is_open);
        if !is_open {
            self.blame(Rule::Delivery, client, room, "an event of a room that the client is not in");
            return None;
        }
        self.views.get_mut(&(client, room.clone()))
    }

    /// Notes that the client sees a message at its place in the stream.
    pub(super) fn message(&mut self, client: Client, room: &Name, id: &Position) {
        let Some(view) = self.open_view(client, room) else { return };
        let (last, epoch, offset) = (view.last, view.epoch.clone(), id.offset);
        let was_recovering = std::mem::take(&mut view.is_recovering);
        view.last = last.max(offset);
        if offset > last {
            view.ids.insert(offset, id.epoch.clone());
        }
        if offset != last + 1 {
            let (rule, what) = match () {
                () if was_recovering => (Rule::Resume, "not exactly what was missed"),
                () if offset <= last => (Rule::Delivery, "seen already"),
                () => (Rule::NoSilentGap, "a hole"),
            };
            self.blame(
                rule,
                client,
                room,
                &format!("{what}: offset {offset} behind {last} in epoch {epoch}"),
            );
        }
        if !self.claims.allow(room, &epoch, &id.epoch) {
            let what =
                format!("{}-{offset}, but the room is in epoch {epoch}, which never was in that", id.epoch);
            self.blame(Rule::Order, client, room, &what);
        }
        self.place(Rule::Order, client, room, &epoch, id);
    }

    pub(super) fn gap(&mut self, client: Client, room: &Name, from: u64, to: u64) {
        self.verdict.counts.gaps += 1;
        let Some(view) = self.open_view(client, room) else { return };
        let last = view.last;
        view.is_recovering = false;
        view.last = last.max(to);
        view.gaps.push((from, to));
        if from != last + 1 || to < from {
            let what = format!("a gap from {from} to {to} behind {last}");
            self.blame(Rule::NoSilentGap, client, room, &what);
        }
    }

    pub(super) fn epoch(&mut self, client: Client, room: &Name, epoch: &Name, offset: u64) {
        self.verdict.counts.epochs += 1;
        let Some(view) = self.open_view(client, room) else { return };
        let (last, before) = (view.last, view.epoch.clone());
        if before == *epoch {
            self.blame(Rule::Protocol, client, room, &format!("epoch {epoch} anew"));
        }
        if last > offset {
            let what =
                format!("epoch {epoch} begins behind {offset}, but the client has seen {before}:{last}");
            self.blame(Rule::Order, client, room, &what);
        }
        self.adopt(client, room, epoch);
    }
}
