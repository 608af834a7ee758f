//! Takes in what other threads push into a shard's inbox: a frame for a room goes into the room's lanes, a reply into
//! the queue of its client. A lane is the members of one room on one shard that are sent its events in one form.

use std::rc::Rc;

use super::egress::Egress;
use super::lane::Pending;
use super::lane::deflated::DeflatedForm;
use super::lane::id::LaneId;
use super::state::State;
use crate::names::ConnectionId;
use crate::protocol::frame::Frame;
use crate::registry::delivery::{LaneKind, SenderCopy};
use crate::registry::inbox::{Inbox, Publication, Typing};

/// The parts of a shard that taking in items of its inbox needs.
pub(super) struct Intake<'a> {
    pub(super) state: &'a mut State,
    pub(super) egress: &'a Egress,
    pub(super) inbox: &'a Inbox,
}

impl Intake<'_> {
    /// Puts a publication into its lanes. The copy of its sender (the client that sent the message, which is served
    /// first) goes into the lane of the sender's dialect. An ack without such a lane is queued as a plain reply.
    pub(super) fn publish(&mut self, publication: Publication) {
        if publication.lanes.has_deflated() {
            return self.publish_deflated(publication);
        }
        let Publication { topic, seq, lanes, loss, frame, sender, at } = publication;
        let [plain, v1] = [LaneKind::Plain, LaneKind::V1].map(|kind| LaneId::new(topic, kind));
        let pending = |frame, sender| Pending { seq, loss, frame, sender, at, deflated: None };
        if lanes.has(LaneKind::Sse) {
            // Nobody who gets server-sent events says anything, so it has no sender among them.
            self.enqueue(LaneId::new(topic, LaneKind::Sse), pending(frame, None));
            return;
        }
        // A sender gets an ack exactly if it speaks `throng.v1`, so the ack tells its lane.
        let (of_plain, of_v1) = match sender {
            Some(SenderCopy { ack: None, .. }) => (sender, None),
            _ => (None, sender),
        };
        let left_over = match (lanes.has(LaneKind::Plain), lanes.has(LaneKind::V1)) {
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
        self.reply_without_lane(left_over);
    }

    /// Puts a publication into its lanes, some of which have members that get compressed events. These lanes share the
    /// compressed form, which is made when the first of them gathers its batch.
    fn publish_deflated(&mut self, publication: Publication) {
        let Publication { topic, seq, lanes, loss, frame, mut sender, at } = publication;
        let form = (frame.len() >= self.egress.settings.compress_from).then(Rc::<DeflatedForm>::default);
        let own = sender.as_ref().and_then(|copy| Some(self.state.client(copy.to)?.lane()));
        for kind in LaneKind::WEBSOCKET {
            if lanes.has(kind) {
                let copy = sender.take_if(|_| own == Some(kind));
                let deflated = form.as_ref().filter(|_| kind.is_deflated()).cloned();
                let pending = Pending { seq, loss, frame: frame.clone(), sender: copy, at, deflated };
                sender = self.enqueue(LaneId::new(topic, kind), pending).or(sender);
            }
        }
        self.reply_without_lane(sender);
    }

    /// Queues the ack of a sender that is in none of the publication's lanes, or whose lane has just lost its last
    /// member.
    fn reply_without_lane(&mut self, left_over: Option<SenderCopy>) {
        if let Some(SenderCopy { to, ack: Some(ack) }) = left_over {
            self.reply(to, &ack.frame);
        }
    }

    /// Puts a frame into a lane and the lane into the run queue. Returns the sender's copy when the lane no longer
    /// exists, because its last member has left.
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

    /// Queues the reply to a client's own command, at no position of any room's stream.
    pub(super) fn reply(&mut self, to: ConnectionId, frame: &Frame) {
        if let Some(mut client) = self.state.client(to) {
            self.egress.queue_reply(&mut client, frame);
        }
        self.state.mark_dirty(to);
    }

    /// Begins to show a room's members of `throng.v1` that a user is typing, unless their lane has anything else to do.
    pub(super) fn show_typing(&mut self, typing: &Typing) {
        self.inbox.done(typing.frame.len());
        let State { lanes, queue, .. } = &mut *self.state;
        for id in LaneKind::OF_V1.map(|kind| LaneId::new(typing.topic, kind)) {
            if let Some(lane) = lanes.get_mut(&id).filter(|lane| !lane.has_work()) {
                lane.start_typing(typing.typist, &typing.frame);
                queue.ready(id, lane);
            }
        }
    }
}
