//! Commands that were sent and wait for their answers.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::command::Reply;
use super::error::SendError;
use super::event::{History, Presence};
use throng_names::RoomName;

/// A command that was sent and is not answered yet, with the channel to the caller if the caller waits for its answer
/// here.
#[derive(Debug)]
pub(super) enum PendingCommand {
    /// The first message of the outbox.
    Message,
    /// A join. The number is `Room::serial`, which tells the room from an earlier one of the same name that was left
    /// meanwhile.
    Join(u64),
    Leave(RoomName, Reply<()>),
    History(Reply<History>),
    Presence(Reply<Presence>),
    /// A ping that was sent behind a join: its answer marks the end of the replayed messages.
    Ping,
    /// A token in place of the one that will expire.
    Token,
}

impl PendingCommand {
    /// Fails the command. Does nothing for messages and joins, which the outbox and the rooms send again and answer
    /// themselves, nor for pings and tokens, for which no caller waits.
    pub(super) fn fail(self, error: SendError) {
        match self {
            Self::Message | Self::Join(_) | Self::Ping | Self::Token => {}
            // With the connection gone the client is no longer in the room, as the caller wanted.
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

    /// Removes and returns the command that an answer belongs to. `re` is the field in which the answer repeats the id
    /// of its command; a missing or unknown id gives `None`.
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

    /// Fails leaves and requests with `error`, and removes the message in flight, which the outbox answers. Joins,
    /// tokens and pings stay, because the core still has to handle their answers; the rooms answer callers that wait
    /// for a join.
    pub(super) fn fail_all(&mut self, error: &SendError) {
        let is_internal = |command: &PendingCommand| {
            matches!(command, PendingCommand::Join(_) | PendingCommand::Ping | PendingCommand::Token)
        };
        let (internal, others) =
            std::mem::take(&mut self.by_id).into_iter().partition(|(_, (command, _))| is_internal(command));
        self.by_id = internal;
        BTreeMap::into_values(others).for_each(|(command, _)| command.fail(error.clone()));
    }
}
