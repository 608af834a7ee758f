//! Distributes what other threads have put into a shard's inbox: a publication goes into the lanes of its room, a reply
//! into its client's queue.
//!
//! A lane has the members of one room on this shard that speak one dialect, and the frames that wait for them. The
//! inbox counts the bytes of a frame until its delivery begins or it is dropped; [`Inbox::done`] subtracts them.

use super::egress::Egress;
use super::lane::Pending;
use super::lane::id::LaneId;
use super::state::State;
use crate::names::ConnectionId;
use crate::protocol::Dialect;
use crate::protocol::frame::Frame;
use crate::registry::delivery::SenderCopy;
use crate::registry::inbox::{Inbox, Publication, Typing};

/// The parts of a shard that items of its inbox go to.
pub(super) struct Intake<'a> {
    pub(super) state: &'a mut State,
    pub(super) egress: &'a Egress,
    pub(super) inbox: &'a Inbox,
}

impl Intake<'_> {
    /// Puts a publication into the lanes that it names. The sender's own copy goes into the lane of the sender's
    /// dialect.
    pub(super) fn publish(&mut self, publication: Publication) {
        let Publication { topic, seq, lanes, loss, frame, sender, at } = publication;
        let [plain, v1] = [Dialect::Plain, Dialect::V1].map(|dialect| LaneId::new(topic, dialect));
        let pending = |frame, sender| Pending { seq, loss, frame, sender, at };
        // Only a copy for a sender that speaks `throng.v1` has an ack.
        let (of_plain, of_v1) = match sender {
            Some(SenderCopy { ack: None, .. }) => (sender, None),
            _ => (None, sender),
        };
        let left_over = match (lanes.has(Dialect::Plain), lanes.has(Dialect::V1)) {
            (true, true) => {
                self.enqueue(plain, pending(frame.clone(), of_plain));
                self.enqueue(v1, pending(frame, of_v1))
            }
            (true, false) => {
                self.enqueue(plain, pending(frame, of_plain));
                of_v1
            }
            (false, true) => self.enqueue(v1, pending(frame, of_v1)),
            (false, false) => of_v1,
        };
        // The sender gets its ack even if its dialect has no lane here, or the publication is not for that lane.
        if let Some(SenderCopy { to, ack: Some(ack) }) = left_over {
            self.reply(to, &ack.frame);
        }
    }

    /// Puts a frame into a lane. When the lane has no members here, drops the frame and returns the sender's copy.
    fn enqueue(&mut self, id: LaneId, pending: Pending) -> Option<SenderCopy> {
        let State { lanes, queue, .. } = &mut *self.state;
        let Some(lane) = lanes.get_mut(&id) else {
            self.inbox.done(pending.frame.len());
            return pending.sender;
        };
        queue.expected += lane.len();
        let has_sender = pending.sender.is_some();
        lane.push(pending);
        queue.ready(id, lane);
        if has_sender {
            queue.serve_senders_of(id, lane);
        }
        None
    }

    /// Queues the reply to a client's own command. It has no position in a room's stream.
    pub(super) fn reply(&mut self, to: ConnectionId, frame: &Frame) {
        if let Some(mut client) = self.state.client(to) {
            self.egress.queue_reply(&mut client, frame);
        }
        self.state.mark_dirty(to);
    }

    /// Begins to show the members that speak `throng.v1` that a user is typing, unless their lane has other work. The
    /// event is dropped then.
    pub(super) fn show_typing(&mut self, typing: &Typing) {
        self.inbox.done(typing.frame.len());
        let State { lanes, queue, .. } = &mut *self.state;
        let id = LaneId::new(typing.topic, Dialect::V1);
        if let Some(lane) = lanes.get_mut(&id).filter(|lane| !lane.has_work()) {
            lane.start_typing(typing.except, &typing.frame);
            queue.ready(id, lane);
        }
    }
}
