//! Commands that were sent and wait for their answers.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::command::Reply;
use super::error::SendError;
use super::event::{History, Presence};
use throng_names::RoomName;

/// A command that was sent, with the receiver of its answer where there is one.
#[derive(Debug)]
pub(super) enum PendingCommand {
    /// The first message of the outbox.
    Message,
    /// The join of the room with this serial number.
    Join(u64),
    Leave(RoomName, Reply<()>),
    History(Reply<History>),
    Presence(Reply<Presence>),
    /// A ping that was sent behind a join: its answer marks the end of the replayed messages.
    Ping,
}

impl PendingCommand {
    /// Answers the command with an error. Messages and joins are not answered: the outbox and the rooms hold their
    /// replies, and send them again.
    pub(super) fn fail(self, error: SendError) {
        match self {
            Self::Message | Self::Join(_) | Self::Ping => {}
            // The end of the connection has left the room, as the caller wanted.
            Self::Leave(_, reply) => {
                drop(reply.send(if error == SendError::Disconnected { Ok(()) } else { Err(error) }))
            }
            Self::History(reply) => drop(reply.send(Err(error))),
            Self::Presence(reply) => drop(reply.send(Err(error))),
        }
    }
}

/// The commands that wait for their answers, by id. Ids count upwards, so that the first command is the oldest.
#[derive(Debug, Default)]
pub(super) struct PendingCommands {
    by_id: BTreeMap<u64, (PendingCommand, Instant)>,
    last_id: u64,
}

impl PendingCommands {
    /// Returns the id that the next [`PendingCommands::add`] assigns.
    pub(super) fn next_id(&self) -> String {
        (self.last_id + 1).to_string()
    }

    /// Adds a command that was sent at `now` with the id of [`PendingCommands::next_id`].
    pub(super) fn add(&mut self, command: PendingCommand, now: Instant) {
        self.last_id += 1;
        self.by_id.insert(self.last_id, (command, now));
    }

    /// Removes and returns the command that the answer with this `re` belongs to.
    pub(super) fn take(&mut self, re: Option<&str>) -> Option<PendingCommand> {
        self.by_id.remove(&re?.parse().ok()?).map(|(command, _)| command)
    }

    /// Removes and returns the oldest command. An error that names no command is taken as its answer, because otherwise
    /// the command could wait for ever.
    pub(super) fn take_oldest(&mut self) -> Option<PendingCommand> {
        self.by_id.pop_first().map(|(_, (command, _))| command)
    }

    /// Returns the time at which the oldest command was sent.
    pub(super) fn oldest_sent_at(&self) -> Option<Instant> {
        self.by_id.first_key_value().map(|(_, (_, sent_at))| *sent_at)
    }

    /// Returns true while a `leave` of this room waits for its answer.
    pub(super) fn is_leaving(&self, name: &RoomName) -> bool {
        let leaves =
            |command: &PendingCommand| matches!(command, PendingCommand::Leave(room, _) if room == name);
        self.by_id.values().any(|(command, _)| leaves(command))
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Fails every command, because the connection has ended.
    pub(super) fn disconnected(&mut self) {
        std::mem::take(&mut self.by_id)
            .into_values()
            .for_each(|(command, _)| command.fail(SendError::Disconnected));
    }

    /// Fails every command that a caller waits for. Joins and pings, which the client sends on its own account, stay.
    pub(super) fn fail_all(&mut self, error: &SendError) {
        let is_internal =
            |command: &PendingCommand| matches!(command, PendingCommand::Join(_) | PendingCommand::Ping);
        let (internal, others) =
            std::mem::take(&mut self.by_id).into_iter().partition(|(_, (command, _))| is_internal(command));
        self.by_id = internal;
        BTreeMap::into_values(others).for_each(|(command, _)| command.fail(error.clone()));
    }
}
