//! The users of rooms over nodes: brings the exchange of each room together with its calls, its pushes and the room's
//! presence on this node.

use std::time::Duration;

use bytes::Bytes;

use super::super::host::Host;
use super::super::presence::occupied::Step;
use super::super::presence::{Command, Exchange, ExchangeSettings};
use super::super::script::Reply;
use super::calls::{Purpose, Subject};
use super::followed::Followed;
use super::pacing::Urgency;
use super::sharing::{SeenNodes, Sharing};
use super::state::Engine;
use crate::names::RoomName;

/// Longest wait of newcomers for the users of other nodes, in milliseconds. After it they are let in, and the users are
/// announced when they are known.
const READY_MS: u64 = 1_000;

impl<L: Host> Engine<L> {
    /// Begins to exchange the users of a room that is open on this node, or goes on with it.
    pub(super) fn share(&mut self, name: &RoomName) {
        let now = self.clock.now_ms();
        let read_every_ms = self.settings.room_ttl_ms / 3;
        let (by, first_number) = (self.by, self.next_presence);
        let Some(followed) = self.rooms.get_mut(name) else { return };
        let Some(room) = followed.room.clone().filter(|_| followed.sharing.is_none()) else { return };
        let (rules, moves) = room.with(|state| {
            state.presence.attach();
            (state.settings().presence, state.presence.take_local())
        });
        let settings = ExchangeSettings {
            lists_up_to: rules.count_only_above,
            notice_limit: rules.notice_limit,
            interval_ms: rules.interval_ms,
            read_every_ms,
        };
        let mut exchange = Exchange::new(by, first_number, settings);
        let mut commands = moves.map(|moves| exchange.moved(moves, now)).unwrap_or_default();
        commands.extend(exchange.link_up(now));
        followed.sharing = Some(Box::new(Sharing { exchange, ready_by_ms: Some(now + READY_MS) }));
        self.follow_exchange(name, commands);
    }

    /// Gives the exchange of a room an input, and carries out what it says.
    pub(super) fn with_exchange(
        &mut self,
        name: &RoomName,
        input: impl FnOnce(&mut Exchange, &SeenNodes<'_>) -> Vec<Command>,
    ) {
        self.tell_exchange(name, input);
        self.settle(name);
    }

    /// Does as [`Engine::with_exchange`] for a room whose state machine gets an input next, which settles both.
    pub(super) fn tell_exchange(
        &mut self,
        name: &RoomName,
        input: impl FnOnce(&mut Exchange, &SeenNodes<'_>) -> Vec<Command>,
    ) {
        let Some(Followed { sharing: Some(sharing), .. }) = self.rooms.get_mut(name) else { return };
        let (commands, is_stale) = self.tasks.with_nodes(|nodes| {
            let commands = input(&mut sharing.exchange, &nodes);
            (commands, sharing.exchange.asks_for_nodes(&nodes))
        });
        if is_stale {
            self.tasks.hurry_table();
        }
        self.follow_exchange(name, commands);
    }

    /// Takes the moves of this node's users to the exchange.
    pub(super) fn users_moved(&mut self, name: &RoomName) {
        let now = self.clock.now_ms();
        let Some(room) = self.rooms.get(name).and_then(|followed| followed.room.as_ref()) else { return };
        if let Some(moves) = room.with(|state| state.presence.take_local()) {
            self.with_exchange(name, |exchange, _| exchange.moved(moves, now));
        }
    }

    /// Takes the answer to a call of an exchange.
    pub(super) fn exchange_answered(&mut self, name: &RoomName, tag: u64, reply: Option<&Reply>) {
        let now = self.clock.now_ms();
        self.with_exchange(name, |exchange, nodes| exchange.answered(tag, reply, nodes, now));
    }

    /// Takes a push of another node's exchange.
    pub(super) fn exchange_pushed(&mut self, name: &RoomName, payload: &Bytes) {
        let now = self.clock.now_ms();
        self.with_exchange(name, |exchange, nodes| exchange.pushed(payload, nodes, now));
    }

    /// Tells the exchanges that the table of nodes has changed. Those that know all nodes in it are told of deaths
    /// only.
    pub(super) fn nodes_changed(&mut self) {
        let Some(has_died) = self.tasks.take_nodes_change() else { return };
        let now = self.clock.now_ms();
        let awaits = |followed: &Followed<L>| {
            followed.sharing.as_ref().is_some_and(|sharing| has_died || sharing.exchange.awaits_nodes())
        };
        for name in self.names_of(awaits) {
            self.with_exchange(&name, |exchange, nodes| exchange.nodes_changed(nodes, now));
        }
    }

    fn follow_exchange(&mut self, name: &RoomName, commands: Vec<Command>) {
        let now = self.clock.now_ms();
        let mut waiting = commands;
        while !waiting.is_empty() {
            for command in std::mem::take(&mut waiting) {
                let Some(followed) = self.rooms.get_mut(name) else { return };
                match command {
                    Command::Call { tag, operation } => {
                        let life = Duration::from_millis(self.settings.room_ttl_ms);
                        let call = operation.call(&followed.keys, life);
                        let subject = Subject::Room(name.clone(), Purpose::Presence(tag));
                        let link = followed.link;
                        self.calls.send_for(&mut self.links, link, subject, call.into(), Urgency::Usual);
                    }
                    Command::Apply(changes) => {
                        let Some(room) = followed.room.clone() else { continue };
                        let moves = self.broker.local().apply_presence(&room, changes, now);
                        if let (Some(moves), Some(sharing)) = (moves, &mut followed.sharing) {
                            waiting.extend(sharing.exchange.moved(moves, now));
                        }
                    }
                    Command::Ready => {
                        if let Some(sharing) = &mut followed.sharing {
                            sharing.ready_by_ms = None;
                        }
                    }
                    Command::Occupied(is_occupied) => {
                        let step = if is_occupied { Step::Occupied } else { Step::Left };
                        self.tasks.tell_room(name.clone(), followed.keys.clone(), step);
                    }
                    Command::Closed => self.exchange_closed(name),
                }
            }
        }
    }

    /// Forgets an exchange that is over, and with it the room, if nothing else is left of it.
    fn exchange_closed(&mut self, name: &RoomName) {
        self.stop_sharing(name);
        let Some(followed) = self.rooms.get(name) else { return };
        if followed.room.is_some() {
            self.share(name);
        } else {
            self.forget(name);
        }
    }

    /// Drops the exchange of a room. The next exchange tells the other nodes everything anew.
    pub(super) fn stop_sharing(&mut self, name: &RoomName) {
        let Some(followed) = self.rooms.get_mut(name) else { return };
        if let Some(sharing) = followed.sharing.take() {
            self.next_presence = self.next_presence.max(sharing.exchange.number() + 1);
        }
    }
}
