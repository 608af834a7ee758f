//! The loop of the engine's thread: it takes the requests of workers and the events of links, and does what is due.

use std::time::Duration;

use bytes::Bytes;

use super::super::batch::{Batch, Record, content};
use super::super::host::Host;
use super::super::link::{Event, LinkId};
use super::super::requests::{Preparation, QueuedJob, Request};
use super::super::room::{Room, Settings};
use super::super::topology::{Obstacle, obstacle, slot_of};
use super::followed::{Draft, Followed};
use super::links::Up;
use super::sharing::is_presence;
use super::state::Engine;
use crate::broker::BrokerError;
use crate::names::RoomName;

/// Most events of the link that are handled before requests get their turn.
const EVENTS_PER_TURN: usize = 512;
/// Longest sleep of a thread with nothing to do.
const IDLE: Duration = Duration::from_secs(1);
/// Longest wait at the end for messages that are not answered and rooms that are not closed, in milliseconds.
const STOP_MS: u64 = 3_000;

impl<L: Host> Engine<L> {
    /// Runs until the node stops.
    pub(super) async fn run(mut self) {
        let mut requests = Vec::new();
        let mut events = Vec::new();
        let mut stop_at_ms = None;
        loop {
            let now = self.clock.now_ms();
            if self.requests.is_stopping() {
                let until = *stop_at_ms.get_or_insert_with(|| self.begin_stop(now));
                if now >= until || (self.rooms.is_empty() && self.tasks.has_left(self.calls.is_empty())) {
                    return;
                }
            }
            let sleep = self.sleep(now);
            tokio::select! {
                () = self.requests.wait() => {}
                () = self.events.receive(&mut events, EVENTS_PER_TURN) => {}
                () = self.tasks.outbox.wait() => {}
                (number, answer) = self.seeds.answered() => self.take_map(number, answer),
                () = tokio::time::sleep(sleep) => {}
            }
            self.requests.take(&mut requests);
            for request in requests.drain(..) {
                self.request(request);
            }
            self.events.try_receive(&mut events, EVENTS_PER_TURN);
            for (link, event) in events.drain(..) {
                self.event(link, event);
            }
            self.run_due();
            self.attend_tasks(self.clock.now_ms());
            self.nodes_changed();
            self.links.send_waiting();
            self.read_map(self.clock.now_ms());
            self.health.rooms(self.rooms.len());
            self.health.calls(self.calls.len());
        }
    }

    fn sleep(&self, now: u64) -> Duration {
        let room_due = self.due.first().map(|(at, _)| *at);
        let due = [room_due, self.map_due(), self.tasks.next_ms(now)].into_iter().flatten().min();
        due.map_or(IDLE, |at| Duration::from_millis(at.saturating_sub(now).max(1)).min(IDLE))
    }

    /// Waits no longer for those who have left, and closes all rooms, as soon as their messages are answered. Returns
    /// when the thread gives up waiting for that.
    fn begin_stop(&mut self, now: u64) -> u64 {
        self.tasks.wait_no_longer();
        for name in self.names_of(|_| true) {
            self.leave_room(&name, now);
        }
        now + STOP_MS
    }

    fn request(&mut self, request: Request<L>) {
        match request {
            Request::Publish(job) => self.publish(job),
            Request::Prepare(preparation) => self.prepare(preparation),
            Request::ReadHistory(room, answer) => match self.rooms.get_mut(&room) {
                Some(followed) if followed.room.is_some() => {
                    followed.readers.push(answer);
                    self.read_on(&room);
                }
                _ => answer(Err(BrokerError::NoEngine)),
            },
            Request::UsersMoved(room) => self.users_moved(&room),
            Request::Typing(room, user) => self.push_typing(&room, &user),
            Request::Closed(room) => {
                // The news may be late, and of a room before the one that is open now.
                let ours = self.rooms.get(&room).and_then(|followed| followed.room.as_ref());
                if ours.is_none_or(|ours| ours.with(|state| state.is_closed)) {
                    let now = self.clock.now_ms();
                    self.leave_room(&room, now);
                }
            }
            Request::User(request) => self.tasks.request(request),
        }
    }

    /// Follows a room no more, which was closed on this node, once its messages are answered and the other nodes know.
    fn leave_room(&mut self, name: &RoomName, now: u64) {
        if let Some(followed) = self.rooms.get_mut(name) {
            followed.room = None;
        }
        self.tell_exchange(name, |exchange, _| exchange.close(now));
        self.with(name, |followed| followed.machine.close(now));
    }

    /// Gives a message to its room.
    fn publish(&mut self, QueuedJob { job, since, charge }: QueuedJob<L>) {
        let now = self.clock.now_ms();
        let local = self.broker.local();
        let name = job.room.name().clone();
        let followed = self.rooms.get_mut(&name);
        let followed = followed.filter(|followed| followed.is(&job.room));
        let Some(followed) = followed else {
            // The room was closed under its members, who are being ended.
            return local.answer(job.message, &name, Err(BrokerError::Gone));
        };
        if !job.room.with(|state| local.has_space(&state.topic, job.max_len)) {
            return local.answer(job.message, &name, Err(BrokerError::Full));
        }
        let contents = content::encode(&local.content(&job.message));
        let record = Record::encode(&job.user, job.at_unix_ms, &contents);
        let Ok(record) = record else {
            return local.answer(job.message, &name, Err(BrokerError::Full));
        };
        let key = job.key.map(|key| (job.user, key));
        let draft = Draft { message: job.message, entry: (key, record), since, _charge: charge };
        match followed.machine.publish(draft, now) {
            Ok(commands) => self.carry_out(&name, commands),
            Err(draft) => local.answer(draft.message, &name, Err(BrokerError::NoEngine)),
        }
    }

    /// Makes a room ready for a connection, or lets the connection wait until it is.
    fn prepare(&mut self, preparation: Preparation) {
        let now = self.clock.now_ms();
        let name = preparation.room.clone();
        if self.requests.is_stopping() {
            return Request::<L>::Prepare(preparation).refuse();
        }
        let (next_number, by, patience_ms) = (self.next_number, self.by, self.settings.patience_ms);
        let followed = self.rooms.entry(name.clone()).or_insert_with(|| {
            let keys = self.keys.room(&name);
            let slot = slot_of(&keys.channel());
            let link = self.links.of_slot(slot);
            if link.is_none() {
                self.unplaced.insert(name.clone());
            }
            let settings = Settings { by, first_number: next_number, hash: fastrand::u64(..), patience_ms };
            let machine = Room::new(settings, self.links.is_up(link), now);
            Followed::new(machine, keys, link, slot, preparation.opener)
        });
        followed.waiters.push(preparation);
        self.with(&name, |followed| followed.machine.open(now));
    }

    fn event(&mut self, link: LinkId, event: Event) {
        let now = self.clock.now_ms();
        match event {
            Event::Up(facts) => {
                let up = self.links.up(link, &facts.replication_id);
                let Some(Up { was_up, is_other_data }) = up else { return };
                self.health.up(self.links.name(link).unwrap_or_default(), &facts, was_up);
                self.note_availability(now);
                self.tasks.link_changed(link);
                if is_other_data {
                    self.tasks.data_changed();
                }
                for name in self.names_of(|followed| followed.link == Some(link)) {
                    self.link_up(&name, now);
                }
            }
            Event::Down(reason) => {
                let Some(name) = self.links.name(link) else { return };
                self.health.down(name, &reason);
                self.links.down(link);
                self.note_availability(now);
                self.refresh.want(None);
                self.tasks.link_changed(link);
                for name in self.names_of(|followed| followed.link == Some(link)) {
                    self.with(&name, |followed| followed.link_down(now));
                }
            }
            Event::Answer { tag, result } => self.answered(tag, result),
            Event::Push { channel, payload } => self.pushed(link, &channel, &payload),
            Event::Subscribed { channel } => {
                self.tasks.subscribed(link, &channel);
                if let Some(name) = self.keys.room_of_channel(&channel).filter(|name| self.is_at(name, link))
                {
                    self.with(&name, |followed| followed.machine.subscribed(now));
                    self.with_exchange(&name, |exchange, _| exchange.link_up(now));
                }
            }
            Event::Unsubscribed { channel, is_asked } => self.unsubscribed(link, &channel, !is_asked),
            Event::SubscribeRefused { channel, error } => {
                self.unsubscribed(link, &channel, obstacle(&error) == Some(Obstacle::Elsewhere));
            }
        }
    }

    /// Takes a push, which is for a room or for the node.
    fn pushed(&mut self, link: LinkId, channel: &Bytes, payload: &Bytes) {
        let Some(name) = self.keys.room_of_channel(channel) else {
            return self.tasks.pushed(channel, payload);
        };
        if self.take_typing(&name, payload) || !self.is_at(&name, link) {
            return;
        }
        if is_presence(payload) {
            self.exchange_pushed(&name, payload);
        } else if Batch::is_batch(payload) {
            let now = self.clock.now_ms();
            match Batch::parse(payload) {
                Ok(batch) => self.with(&name, |followed| followed.machine.pushed(batch, now)),
                Err(error) => self.health.malformed(&name, &error),
            }
        }
    }

    /// Takes the end of a subscription. With `is_elsewhere` the server has ended it, because it has the slot no longer;
    /// the channel can be that of probes then.
    fn unsubscribed(&mut self, link: LinkId, channel: &[u8], is_elsewhere: bool) {
        let now = self.clock.now_ms();
        let is_elsewhere = is_elsewhere && self.links.servers().is_cluster;
        if is_elsewhere {
            self.refresh.want(Some(link));
        }
        self.tasks.unsubscribed(link, channel, now);
        let Some(name) = self.keys.room_of_channel(channel).filter(|name| self.is_at(name, link)) else {
            return;
        };
        if is_elsewhere {
            self.displace(&name, link, now);
        } else {
            self.with(&name, |followed| {
                // A room that is being left needs no subscription for its exchange.
                if let (Some(sharing), true) = (&mut followed.sharing, followed.room.is_some()) {
                    sharing.exchange.link_down();
                }
                followed.machine.unsubscribed(now)
            });
        }
    }

    /// Returns true when the server of this link has the room, as far as this node knows.
    fn is_at(&self, name: &RoomName, link: LinkId) -> bool {
        self.rooms.get(name).is_some_and(|followed| followed.link == Some(link))
    }

    /// Lets the rooms work whose time has come.
    fn run_due(&mut self) {
        let now = self.clock.now_ms();
        while let Some((at, name)) = self.due.first().cloned()
            && at <= now
        {
            self.due.pop_first();
            if let Some(followed) = self.rooms.get_mut(&name) {
                followed.due = None;
                // Newcomers wait no longer for the users of other nodes.
                if let Some(sharing) = &mut followed.sharing {
                    sharing.ready_by_ms.take_if(|until| *until <= now);
                }
            }
            self.tell_exchange(&name, |exchange, _| exchange.tick(now));
            self.with(&name, |followed| followed.machine.tick(now));
        }
    }
}
