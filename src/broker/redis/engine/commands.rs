//! Carries out what the state machine of a room says.

use std::thread;
use std::time::{Duration, Instant};

use super::super::batch::Batch;
use super::super::host::Host;
use super::super::requests::Preparation;
use super::super::room::{Command, Commands, Outcome};
use super::super::script::{Lives, forget, page, publish, sync};
use super::calls::Purpose;
use super::followed::Draft;
use super::positioned::{PAGE, positioned, positions};
use super::state::Engine;
use crate::broker::engine_room::EarlierEpochs;
use crate::broker::followed::Readiness;
use crate::broker::room::SharedRoom;
use crate::broker::{BrokerError, Published};
use crate::names::{Position, RoomName};

/// How long a batch waits for space in the inboxes of its members' shards, at most. A shard that takes longer stands
/// still, and holds up the others for this long with each batch: so its inbox grows slowly.
const SPACE_TRIES: u32 = 200;
const SPACE_PAUSE: Duration = Duration::from_millis(1);

/// Longest wait for the check of a room's position, in milliseconds.
const CHECK_MS: u64 = 5_000;

/// Whether the server was asked for the room's position on behalf of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IsChecked {
    NotYet,
    Done,
}

impl<L: Host> Engine<L> {
    /// Carries out commands in their order, and those that follow from them.
    pub(super) fn carry_out(&mut self, name: &RoomName, commands: Commands<Draft<L>>) {
        for command in commands {
            self.run_command(name, command);
        }
        self.settle(name);
    }

    fn run_command(&mut self, name: &RoomName, command: Command<Draft<L>>) {
        let Some(followed) = self.rooms.get_mut(name) else { return };
        let ttl_ms = self.settings.room_ttl_ms;
        match command {
            Command::Subscribe => self.links.subscribe(followed.link, followed.keys.channel()),
            Command::Unsubscribe => self.links.unsubscribe(followed.link, followed.keys.channel()),
            Command::Sync { number } => {
                let call = sync::call(&followed.keys, followed.epoch_seed, ttl_ms);
                self.calls.send(&mut self.links, followed.link, name, Purpose::Sync(number), call);
            }
            Command::Fill { number, from } => {
                let call = page::from(&followed.keys, from, PAGE);
                self.calls.send(&mut self.links, followed.link, name, Purpose::Fill(number), call);
            }
            Command::Publish { number } => self.send_publish(name, number),
            Command::Append { batch, own } => self.append(name, &batch, own),
            Command::Answer { draft, outcome } => {
                if let Outcome::Appended(position) = outcome {
                    self.broker.local().appended(&draft.message, name, position);
                }
                let answer = match outcome {
                    Outcome::Appended(position) | Outcome::Duplicate(position) => {
                        Ok(Published { position, is_duplicate: true })
                    }
                    Outcome::Unavailable => Err(BrokerError::NoEngine),
                    // The connection ends with 4003.
                    Outcome::Unknown => return,
                };
                self.broker.local().answer(draft.message, name, answer);
            }
            Command::Adopt { position, lives } => {
                if let Some(room) = &followed.room {
                    self.broker.adopt(room, position.epoch, earlier(&lives));
                    self.health.fork(name, false);
                }
            }
            Command::BeginAnew { position, lives } => self.begin_anew(name, position, &lives),
            Command::Gap { from, to } => {
                if let Some(room) = &followed.room {
                    self.broker.skip(room, to);
                    self.health.gap(name, from, to);
                }
            }
            Command::Opened { position, lives } => self.opened(name, position, &lives),
            Command::NotOpened => self.refuse_waiters(name, BrokerError::NoEngine),
            Command::Closed => self.forget(name),
        }
    }

    fn send_publish(&mut self, name: &RoomName, number: u64) {
        let Some(followed) = self.rooms.get_mut(name) else { return };
        let Some((_, drafts)) = followed.machine.call() else { return };
        let keep = followed.room.as_ref().map_or(1, |room| room.with(|state| state.kept_with(drafts.len())));
        let args = publish::PublishArgs {
            by: self.by,
            number,
            keep,
            epoch_seed: followed.epoch_seed,
            room_ttl_ms: self.settings.room_ttl_ms,
        };
        self.health.sent(drafts.len());
        let call = publish::call(&followed.keys, &args, drafts.iter().map(|draft| &draft.entry));
        self.calls.send(&mut self.links, followed.link, name, Purpose::Publish(number), call);
    }

    /// Appends a batch to the room on this node. Members get the frames, the senders among them their acks. Then the
    /// senders are answered.
    fn append(&mut self, name: &RoomName, batch: &Batch, own: Vec<Draft<L>>) {
        let local = self.broker.local();
        if let Some(room) = self.rooms.get(name).and_then(|followed| followed.room.clone()) {
            self.wait_for_space(&room, batch);
            let now = Instant::now();
            let mut senders = own.iter();
            let messages = positions(batch).map(|(at, index)| {
                let sender_copy = senders.next().and_then(|draft| {
                    self.health.metrics.count_publish(now.duration_since(draft.since));
                    local.sender_copy(&draft.message, name, at)
                });
                positioned::<L>(name, batch, at, index, sender_copy)
            });
            self.broker.append_at(&room, self.clock.unix_ms(), messages);
        }
        // A room that was closed meanwhile has nobody to deliver to. The engine has the messages nevertheless.
        for (draft, (position, _)) in own.into_iter().zip(positions(batch)) {
            local.answer(draft.message, name, Ok(Published { position, is_duplicate: false }));
        }
    }

    fn wait_for_space(&self, room: &SharedRoom<L>, batch: &Batch) {
        let local = self.broker.local();
        let bytes = batch.messages.iter().map(|message| message.text.len() + 300).sum();
        for _ in 0..SPACE_TRIES {
            if room.with(|state| local.has_space(&state.topic, bytes)) {
                return;
            }
            thread::sleep(SPACE_PAUSE);
        }
    }

    /// Lets in those who wait for a room.
    fn opened(&mut self, name: &RoomName, position: Position, lives: &Lives) {
        let Some(followed) = self.rooms.get_mut(name) else { return };
        if followed.room.is_none() {
            match self.broker.open_at(name, followed.opener, position, earlier(lives)) {
                Ok(room) => {
                    followed.room = Some(room);
                    // The exchange of the room before has told its changes to that one.
                    self.stop_sharing(name);
                }
                Err(error) => {
                    self.refuse_waiters(name, error);
                    let now = self.clock.now_ms();
                    return self.with(name, |followed| followed.machine.close(now));
                }
            }
        }
        self.share(name);
        self.let_in_waiting(name);
    }

    /// Lets in the connections that wait for a room, once it is open and the users of other nodes are known.
    pub(super) fn let_in_waiting(&mut self, name: &RoomName) {
        let Some(followed) = self.rooms.get_mut(name).filter(|followed| !followed.waiters.is_empty()) else {
            return;
        };
        let is_ready = followed.sharing.as_ref().is_some_and(|sharing| sharing.ready_by_ms.is_none());
        if followed.room.is_some() && followed.machine.is_open() && is_ready {
            let waiters = std::mem::take(&mut followed.waiters);
            waiters.into_iter().for_each(|waiter| self.let_in(name, waiter, IsChecked::NotYet));
            self.read_on(name);
        }
    }

    /// Lets a connection into a room that is open, as soon as the room has what the connection needs.
    fn let_in(&mut self, name: &RoomName, waiter: Preparation, is_checked: IsChecked) {
        let Some(followed) = self.rooms.get_mut(name) else { return };
        match self.broker.readiness(name, waiter.resume) {
            Readiness::Behind if is_checked == IsChecked::NotYet => {
                let now = self.clock.now_ms();
                let (mark, commands) = followed.machine.check(now);
                followed.behind.push((mark, now + CHECK_MS, waiter));
                self.carry_out(name, commands);
            }
            Readiness::Ready | Readiness::Behind => (waiter.answer)(Ok(())),
            Readiness::MissesHistory => followed.readers.push(waiter.answer),
            // It was evicted at once: there are too many rooms.
            Readiness::NotOpen => (waiter.answer)(Err(BrokerError::TooManyRooms)),
        }
    }

    /// Lets in the connections for which the room's position was checked.
    pub(super) fn let_in_checked(&mut self, name: &RoomName) {
        let Some(followed) = self.rooms.get_mut(name).filter(|followed| !followed.behind.is_empty()) else {
            return;
        };
        let now = self.clock.now_ms();
        let (mut checked, mut late) = (Vec::new(), Vec::new());
        for (mark, until, waiter) in std::mem::take(&mut followed.behind) {
            if followed.machine.is_checked(mark) {
                checked.push(waiter);
            } else if now >= until {
                late.push(waiter);
            } else {
                followed.behind.push((mark, until, waiter));
            }
        }
        late.into_iter().for_each(|waiter| (waiter.answer)(Err(BrokerError::NoEngine)));
        checked.into_iter().for_each(|waiter| self.let_in(name, waiter, IsChecked::Done));
        self.read_on(name);
    }

    /// Ends the members of a room, who were shown messages that are lost, and opens the room anew.
    fn begin_anew(&mut self, name: &RoomName, position: Position, lives: &Lives) {
        let Some(followed) = self.rooms.get_mut(name) else { return };
        followed.reading = None;
        for reader in std::mem::take(&mut followed.readers) {
            reader(Err(BrokerError::NoEngine));
        }
        if let Some(room) = followed.room.take() {
            self.broker.abandon_room(&room);
            self.stop_sharing(name);
            self.health.fork(name, true);
            let Some(followed) = self.rooms.get_mut(name) else { return };
            if let Ok(room) = self.broker.open_at(name, followed.opener, position, earlier(lives)) {
                followed.room = Some(room);
                self.share(name);
            }
        }
    }

    fn refuse_waiters(&mut self, name: &RoomName, error: BrokerError) {
        let Some(followed) = self.rooms.get_mut(name) else { return };
        for waiter in std::mem::take(&mut followed.waiters) {
            (waiter.answer)(Err(error));
        }
        // A closing exchange stays until the other nodes know that the users here are gone.
        if followed.machine.is_closed() && followed.sharing.is_none() {
            self.remove(name);
        }
    }

    /// Forgets a room that is closed, and lets the server forget this node's last call in it.
    pub(super) fn forget(&mut self, name: &RoomName) {
        let Some(followed) = self.rooms.get(name) else { return };
        if followed.machine.is_closed() && followed.sharing.is_none() {
            for call in forget::calls(&followed.keys, &[self.by]) {
                self.calls.send(&mut self.links, followed.link, name, Purpose::Unanswered, call);
            }
            self.remove(name);
        }
    }

    pub(super) fn remove(&mut self, name: &RoomName) {
        let Some(followed) = self.rooms.remove(name) else { return };
        self.next_number = self.next_number.max(followed.machine.next_number());
        if let Some(at) = followed.due {
            self.due.remove(&(at, name.clone()));
        }
        let waiters =
            followed.waiters.into_iter().chain(followed.behind.into_iter().map(|(.., waiter)| waiter));
        for answer in followed.readers.into_iter().chain(waiters.map(|waiter| waiter.answer)) {
            answer(Err(BrokerError::NoEngine));
        }
    }
}

/// Returns the earlier epochs of a room as the broker keeps them.
fn earlier(lives: &Lives) -> EarlierEpochs {
    lives.0.iter().copied().collect()
}
