//! Brings the answers of the server to the rooms that they are for.

use super::super::host::Host;
use super::super::link::{CallError, LinkId};
use super::super::room::Failure;
use super::super::script::{BadReply, Reply, page, publish, sync};
use super::super::topology::{Obstacle, obstacle};
use super::calls::{Purpose, Subject};
use super::state::Engine;
use crate::names::RoomName;

impl<L: Host> Engine<L> {
    /// Takes the answer to a call.
    pub(super) fn answered(&mut self, tag: u64, result: Result<Reply, CallError>) {
        match self.calls.take(tag) {
            Some((link, Subject::Room(name, purpose))) => self.room_answered(link, &name, purpose, result),
            Some((link, Subject::Map(number))) => self.map_answered(number, link, result),
            Some((link, Subject::Task(answer))) => {
                if let Err(CallError::Server(error)) = &result
                    && obstacle(error) == Some(Obstacle::Elsewhere)
                {
                    self.refresh.want(link);
                }
                // The task may have been dropped.
                let _ = answer.send(result);
            }
            None => {}
        }
    }

    fn room_answered(
        &mut self,
        link: Option<LinkId>,
        name: &RoomName,
        purpose: Purpose,
        result: Result<Reply, CallError>,
    ) {
        let now = self.clock.now_ms();
        let result = result.map_err(|error| self.failure(link, name, error));
        match purpose {
            Purpose::Publish(number) => {
                let result = self.read_reply(result, publish::reply);
                self.with(name, |followed| followed.machine.published(number, result, now));
            }
            Purpose::Sync(number) => {
                let result = self.read_reply(result, sync::reply);
                self.with(name, |followed| followed.machine.synced(number, result, now));
            }
            Purpose::Fill(number) => {
                let result = self.read_reply(result, page::reply);
                if let Ok(page) = &result {
                    self.health.filled(page.iter().map(|batch| batch.messages.len()).sum());
                }
                self.with(name, |followed| followed.machine.filled(number, result, now));
            }
            Purpose::Read => {
                let result = self.read_reply(result, page::reply);
                self.take_page(name, result);
            }
            Purpose::Presence(tag) => self.exchange_answered(name, tag, result.as_ref().ok()),
            // Fields that are left are forgotten with the room.
            Purpose::Unanswered => {}
        }
    }

    /// Returns how a call of a room failed. An answer that only says that another server has the room, or that this
    /// one cannot carry out the call yet, is no refusal: the call was not carried out, and is repeated.
    fn failure(&mut self, link: Option<LinkId>, name: &RoomName, error: CallError) -> Failure {
        let error = match error {
            CallError::Full | CallError::NotSent => return Failure::NotSent,
            CallError::Lost => return Failure::Lost,
            CallError::Server(error) => error,
        };
        match obstacle(&error) {
            Some(Obstacle::Elsewhere) => {
                self.refresh.want(link);
                Failure::NotSent
            }
            Some(Obstacle::Later) => Failure::NotSent,
            None => {
                self.health.refused(name, &error);
                Failure::Refused
            }
        }
    }

    fn read_reply<T>(
        &self,
        reply: Result<Reply, Failure>,
        read: impl FnOnce(&Reply) -> Result<T, BadReply>,
    ) -> Result<T, Failure> {
        read(&reply?).map_err(|error| {
            self.health.unreadable(&error);
            Failure::Unreadable
        })
    }
}
