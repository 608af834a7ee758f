//! The guarantees: which messages members are shown, and how messages are answered.

use std::collections::{HashMap, HashSet};

use super::server::{Draft, Sent, Server};
use crate::broker::redis::batch::{Batch, Incarnation};
use crate::broker::redis::room::Outcome;
use crate::names::{Epoch, Offset, Position};

/// The messages that members of a node were shown, or those who came later could read.
#[derive(Debug)]
pub(super) struct View {
    pub(super) position: Position,
    /// By offset: epoch and id. `None` stands for a message that was trimmed, as members were told.
    shown: Vec<Option<(Epoch, u64)>>,
}

impl View {
    pub(super) fn new(position: Position, server: &Server) -> Self {
        let history = &server.histories[&(position.epoch, position.offset)];
        Self { position, shown: history.iter().copied().map(Some).collect() }
    }

    pub(super) fn adopt(&mut self, position: Position) {
        assert_eq!(position.offset, self.position.offset, "a new epoch does not move the room");
        self.position = position;
    }

    pub(super) fn skip(&mut self, from: Offset, to: Offset, server: &Server) {
        assert_eq!(from, self.position.offset.next(), "a gap begins behind the last message");
        assert!(from <= to && to <= server.trimmed, "messages to {to} were never trimmed");
        self.shown.resize(to.0 as usize, None);
        self.position.offset = to;
    }

    /// Returns true when everything that was shown is in the server's history.
    fn has_survived(&self, server: &Server) -> bool {
        let Some(room) = &server.room else { return self.shown.is_empty() };
        let is_same = |(shown, there): (&Option<_>, _)| shown.is_none_or(|shown| shown == there);
        self.shown.len() <= room.history.len()
            && self.shown.iter().zip(room.history.iter().copied()).all(is_same)
    }
}

#[derive(Debug, Default)]
pub(super) struct Checker {
    /// Messages that are not answered.
    waiting: HashMap<u64, Sent>,
    /// Messages that were acknowledged, with their node.
    acked: HashMap<u64, (Incarnation, Position)>,
    /// How often each kind of thing has happened.
    pub(super) counts: std::collections::BTreeMap<&'static str, usize>,
    /// Messages that were refused.
    refused: HashSet<u64>,
}

impl Checker {
    pub(super) fn accept(&mut self, sent: Sent) {
        self.waiting.insert(sent.id, sent);
    }

    pub(super) fn append(
        &mut self,
        view: &mut View,
        batch: &Batch,
        own: &[Draft],
        by: Incarnation,
        server: &Server,
    ) {
        assert_eq!(batch.first, view.position.offset.next(), "a batch follows the last message");
        assert!(own.is_empty() || own.len() == batch.messages.len(), "own messages are all or none");
        for (index, message) in batch.messages.iter().enumerate() {
            let offset = Offset(batch.first.0 + index as u64);
            let recorded = server.recorded.get(&(batch.epoch, offset)).expect("the server appended it");
            assert_eq!(recorded.id, message.at_unix_ms, "one message has the offset {offset}");
            view.shown.push(Some((batch.epoch, message.at_unix_ms)));
            if let Some(draft) = own.get(index) {
                assert_eq!(draft.sent.id, message.at_unix_ms, "own messages are in the batch's order");
                assert_eq!(batch.call.by, by);
                self.ack(draft.sent, by, Position { epoch: batch.epoch, offset });
            }
        }
        view.position.offset = batch.last();
    }

    fn ack(&mut self, sent: Sent, by: Incarnation, position: Position) {
        assert!(self.waiting.remove(&sent.id).is_some(), "{sent:?} is answered twice");
        self.acked.insert(sent.id, (by, position));
    }

    pub(super) fn answer(
        &mut self,
        sent: Sent,
        outcome: Outcome,
        by: Incarnation,
        view: Option<&View>,
        server: &Server,
    ) {
        match outcome {
            Outcome::Appended(position) => {
                assert_eq!(server.recorded.get(&(position.epoch, position.offset)), Some(&sent));
                self.ack(sent, by, position);
            }
            Outcome::Duplicate(position) => {
                let original = server.recorded[&(position.epoch, position.offset)];
                assert!(sent.key.is_some() && original.key == sent.key, "{sent:?} is no duplicate");
                let shown = view.and_then(|view| view.shown.get(position.offset.0 as usize - 1)).copied();
                let is_shown = shown.is_some_and(|shown| shown.is_none_or(|(_, id)| id == original.id));
                assert!(is_shown, "{sent:?} is a duplicate of one that this node has not come to");
                assert!(self.waiting.remove(&sent.id).is_some(), "{sent:?} is answered twice");
            }
            Outcome::Unavailable => {
                assert!(self.waiting.remove(&sent.id).is_some(), "{sent:?} is answered twice");
                self.refused.insert(sent.id);
            }
            Outcome::Unknown => {
                assert!(self.waiting.remove(&sent.id).is_some(), "{sent:?} is answered twice");
            }
        }
    }

    pub(super) fn begin_anew(&self, view: &View, server: &Server) {
        // A message that was trimmed unseen may have been acknowledged here.
        let has_gap = view.shown.contains(&None);
        assert!(has_gap || !view.has_survived(server), "members are disconnected who lost nothing");
    }

    /// Returns how many messages wait for an answer.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Checks a node's view when nothing is on its way.
    pub(super) fn check_view(&self, view: &View, server: &Server) {
        let room = server.room.as_ref().expect("a room");
        assert_eq!(view.position.epoch, room.epoch, "the node is in the room's epoch");
        assert_eq!(view.position.offset, room.last(), "the node has come to the end");
        assert!(view.has_survived(server), "members were shown lost messages and are not told");
    }

    /// Checks the messages when nothing is on its way.
    pub(super) fn check_messages(&self, server: &Server) {
        let room = server.room.as_ref().expect("a room");
        let mut ids = HashSet::new();
        let mut keys = HashSet::new();
        let sent: HashMap<u64, &Sent> = server.recorded.values().map(|sent| (sent.id, sent)).collect();
        let mut last: HashMap<Incarnation, u64> = HashMap::new();
        for (_, id) in &room.history {
            assert!(ids.insert(*id), "message {id} is there twice");
            assert!(sent[id].key.is_none_or(|key| keys.insert(key)), "key of {id} is there twice");
            if let Some((by, _)) = self.acked.get(id) {
                let before = last.insert(*by, *id);
                assert!(before.is_none_or(|before| before < *id), "messages of one node are out of order");
            }
        }
        for sent in server.recorded.values() {
            assert!(!self.refused.contains(&sent.id), "{sent:?} was refused and is appended");
        }
        for (id, (_, Position { epoch, offset })) in &self.acked {
            let is_there = room.history.get(offset.0 as usize - 1) == Some(&(*epoch, *id));
            let may_be_lost = is_lost(room.epoch, &room.lives.0, *epoch, *offset);
            assert!(is_there || may_be_lost, "message {id} was acknowledged and is not in the history");
        }
    }
}

/// Returns true when the tail of an epoch from this offset on did not survive.
fn is_lost(epoch: Epoch, lives: &[(Epoch, Offset)], of: Epoch, offset: Offset) -> bool {
    let survived = lives.iter().find(|(earlier, _)| *earlier == of);
    of != epoch && survived.is_none_or(|(_, last)| offset > *last)
}
