//! Finishes a command that could not be finished at once.

use super::Chat;
use super::pending::{Asking, Joining, Leaving, Pending, Permitting, Renewing, Sending};
use crate::endpoint::peer::Peer;
use crate::node::{Membership, NotPermitted, refusal};
use crate::protocol::close::EndReason;
use crate::protocol::event::{CommandError, v1};
use crate::registry::inquiry::Departure;

impl Chat {
    /// Notes what has to be finished before the next command.
    pub(super) fn wait_for(&mut self, pending: Pending) {
        if let Some(session) = &mut self.v1 {
            debug_assert!(session.pending.is_none(), "no command is taken while something is pending");
            session.pending = Some(Box::new(pending));
        }
    }

    /// Returns true while something has to be finished. No command is taken meanwhile.
    pub(in crate::endpoint) fn is_pending(&self) -> bool {
        self.v1.as_ref().is_some_and(|v1| v1.pending.is_some())
    }

    /// Returns true while what has to be finished waits for another thread, which wakes the connection.
    pub(in crate::endpoint) fn is_waiting(&self) -> bool {
        // The result is not stored: the one wake-up may come while the task is paused for another reason, because the
        // client does not read its answers.
        match self.v1.as_ref().and_then(|v1| v1.pending.as_deref()) {
            None | Some(Pending::Replaying(_)) => false,
            Some(Pending::Leaving(leaving)) => {
                self.rooms.get(leaving.room.as_str()).is_some_and(Membership::awaits_answers)
            }
            Some(Pending::Permitting(permitting)) => permitting.permission.is_waiting(),
            Some(Pending::Renewing(_)) => self.forbidden().any(Membership::awaits_answers),
            Some(Pending::Joining(joining)) => joining.opening.is_waiting(),
            Some(Pending::Asking(asking)) => asking.opening.is_waiting(),
            Some(Pending::Sending(sending)) => sending.delivery.is_waiting(),
        }
    }

    /// Leaves a room, because an operator wants it. A client of `throng.v1` is told by `left`; a plain one, which has
    /// no other room, is ended.
    ///
    /// # Errors
    /// The reason to end the connection.
    pub(in crate::endpoint) fn depart(
        &mut self,
        departure: Departure,
        peer: &mut Peer<'_>,
    ) -> Result<(), EndReason> {
        let Departure { room, answer } = departure;
        let membership = self.rooms.get(room.as_str());
        // The asking side may have given up.
        let _ = answer.send(membership.is_some());
        let Some(membership) = membership else { return Ok(()) };
        let awaits_answers = membership.awaits_answers();
        let Some(session) = &self.v1 else { return Err(EndReason::Kicked) };
        match session.pending.as_deref() {
            Some(Pending::Leaving(leaving)) if leaving.room == room => return Ok(()),
            None if awaits_answers => {
                self.wait_for(Pending::Leaving(Leaving { room, re: None }));
                return Ok(());
            }
            _ => {}
        }
        let left = self.leave(room.as_str(), None, peer);
        debug_assert_eq!(left, Ok(()), "the connection is in the room");
        Ok(())
    }

    /// Goes on with what is pending, as far as it can be done now: queues the next page of missed messages, leaves or
    /// enters the room, or sends the page of history or the answer to a private message.
    ///
    /// # Errors
    /// The reason to end the connection.
    pub(in crate::endpoint) fn go_on(&mut self, peer: &mut Peer<'_>) -> Result<(), EndReason> {
        if self.is_waiting() {
            return Ok(());
        }
        let Some(pending) = self.v1.as_mut().and_then(|v1| v1.pending.take()) else { return Ok(()) };
        let (re, result) = match *pending {
            Pending::Replaying(replaying) => {
                let rest = replaying.next_page(&mut self.rooms, peer.registration)?;
                if let Some(rest) = rest {
                    self.wait_for(Pending::Replaying(rest));
                }
                return Ok(());
            }
            Pending::Leaving(Leaving { room, re }) => {
                let left = self.leave(room.as_str(), re.as_deref(), peer);
                debug_assert_eq!(
                    left,
                    Ok(()),
                    "no command was taken meanwhile that could have left the room"
                );
                return Ok(());
            }
            Pending::Permitting(permitting) => {
                let Permitting { room, resume, re, permission } = permitting;
                let permitted = permission.result().map_err(NotPermitted::command_error);
                let opened = permitted.and_then(|()| self.open_room(room, resume, re.as_deref(), peer));
                (re, opened)
            }
            Pending::Renewing(Renewing { re, until_unix_ms }) => {
                self.leave_forbidden(peer);
                let expires_ms = peer.node.ms_until(until_unix_ms);
                peer.reply(&v1::token_ack(re.as_deref(), expires_ms));
                return Ok(());
            }
            Pending::Joining(joining) => {
                let Joining { room, resume, re, opening } = joining;
                let opened = opening.result().map_err(refusal);
                let entered = opened.and_then(|()| self.enter_room(room, resume, re.as_deref(), peer));
                (re, entered)
            }
            Pending::Asking(asking) => {
                let Asking { room, page, re, opening } = asking;
                let read = opening.result().map_err(refusal);
                let answered = read.and_then(|()| self.recent(room.as_str(), page, re.as_deref(), peer));
                (re, answered)
            }
            Pending::Sending(sending) => {
                let Sending { re, delivery } = sending;
                let delivered = delivery.result();
                let answered = delivered.map(|count| peer.reply(&v1::direct_ack(re.as_deref(), count)));
                (re, answered)
            }
        };
        result.or_else(|error: CommandError| {
            peer.refuse(re.as_deref(), error);
            self.count_error(error, peer)
        })
    }
}
