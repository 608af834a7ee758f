//! Tests of the state machine of a room: single rules here, all of them together in the model.

mod following;
mod model;
mod publishing;

use bytes::Bytes;

use super::super::batch::{Batch, BatchMessage, CallId, Incarnation};
use super::super::script::Lives;
use super::super::script::publish::PublishReply;
use super::super::script::sync::SyncReply;
use super::{Command, Outcome, Room, Settings, Waiting};
use crate::names::{Epoch, Offset, Position};

/// A message with a name and a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Draft(u64, usize);

impl Waiting for Draft {
    fn bytes(&self) -> usize {
        self.1
    }
}

const BY: Incarnation = Incarnation(7);

fn epoch(number: u64) -> Epoch {
    format!("{number:013}").parse().unwrap()
}

fn position(number: u64, offset: u64) -> Position {
    Position { epoch: epoch(number), offset: Offset(offset) }
}

fn lives(all: &[(u64, u64)]) -> Lives {
    Lives(all.iter().map(|(number, last)| (epoch(*number), Offset(*last))).collect())
}

/// Returns a batch of another node with this many messages.
fn batch(number: u64, first: u64, count: u64) -> Batch {
    own_batch(number, first, count, CallId { by: Incarnation(8), number: 1 })
}

fn own_batch(number: u64, first: u64, count: u64, call: CallId) -> Batch {
    let message = |offset| BatchMessage {
        user: "bob".parse().unwrap(),
        at_unix_ms: offset,
        text: Bytes::from_static(b"\"x\""),
        more: None,
    };
    Batch {
        epoch: epoch(number),
        first: Offset(first),
        call,
        messages: (first..first + count).map(message).collect(),
    }
}

fn appended(batch: Batch) -> Command<Draft> {
    Command::Append { batch, own: Vec::new() }
}

fn answered(draft: Draft, outcome: Outcome) -> Command<Draft> {
    Command::Answer { draft, outcome }
}

fn synced(number: u64, last: u64, earlier: &[(u64, u64)]) -> SyncReply {
    SyncReply { epoch: epoch(number), last: Offset(last), lives: lives(earlier) }
}

fn published(number: u64, first: u64, last: u64, duplicates: &[(usize, Position)]) -> PublishReply {
    PublishReply {
        epoch: epoch(number),
        first: Offset(first),
        last: Offset(last),
        duplicates: duplicates.to_vec(),
        lives: Lives::default(),
    }
}

/// Returns a room that is open in epoch 1 at offset 10. Its next number is 2.
fn open_room() -> Room<Draft> {
    let mut room = Room::new(Settings::new(BY), true, 0);
    assert_eq!(room.open(0)[..], [Command::Subscribe]);
    assert_eq!(room.subscribed(0)[..], [Command::Sync { number: 1 }]);
    let opened = Command::Opened { position: position(1, 10), lives: lives(&[]) };
    assert_eq!(room.synced(1, Ok(synced(1, 10, &[])), 0)[..], [opened]);
    room
}
