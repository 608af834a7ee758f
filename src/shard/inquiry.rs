//! Answers what operators ask about one connection, and keeps what they order until it takes that.

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::Shard;
use super::lane::id::LaneId;
use super::registration::Registration;
use super::state::State;
use crate::names::ConnectionId;
use crate::registry::inquiry::{Departure, Described};

impl Shard {
    /// Describes a client. Drops the sender when the client is gone.
    pub(super) fn describe(&self, id: ConnectionId, answer: oneshot::Sender<Described>) {
        let now_ms = self.tick();
        let mut state = self.state.borrow_mut();
        let State { clients, lanes, .. } = &mut *state;
        let Some(client) = clients.of(id) else { return };
        let topics = client.topics().iter();
        let names = topics.filter_map(|&topic| lanes.get(&LaneId::new(topic, client.lane())));
        let rooms = names.filter_map(|lane| lane.name().cloned()).collect();
        let age_ms = client.age_ms(now_ms);
        // The asking side may have given up.
        let _ = answer.send(Described { dialect: client.dialect, rooms, age_ms });
    }

    /// Keeps an order to leave a room for the client's connection, and wakes it.
    pub(super) fn order_departure(&self, id: ConnectionId, departure: Departure) {
        let mut state = self.state.borrow_mut();
        let Some(mut client) = state.client(id).filter(|client| client.end().is_none()) else { return };
        self.egress.wakes.add(&mut client);
        drop(client);
        state.departures.entry(id).or_default().push(departure);
    }
}

impl Registration {
    /// Takes the orders to leave rooms that an operator has given for this client.
    #[must_use]
    pub fn take_departures(&self) -> SmallVec<[Departure; 1]> {
        let mut state = self.shard().state.borrow_mut();
        if state.departures.is_empty() {
            return SmallVec::new();
        }
        state.departures.remove(&self.id()).unwrap_or_default()
    }
}
