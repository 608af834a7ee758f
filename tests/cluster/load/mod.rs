//! The load: many clients in a thread of their own, spread at random over the nodes, which come back elsewhere by
//! themselves. They [record](record) everything for the [checker](crate::checker).

mod client;
pub(crate) mod observer;
pub(crate) mod record;
mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use record::{Client, Entry, Loss, Name, Position, Record};

/// The number of the clients and the way they behave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct World {
    pub(crate) clients: usize,
    pub(crate) rooms: usize,
    /// Rooms of each client.
    pub(crate) rooms_each: usize,
    /// Mean time between two messages of one client.
    pub(crate) talk_every: Duration,
    /// Mean time between two changes of the node of one client.
    pub(crate) move_every: Duration,
}

impl World {
    /// Returns the load of the short form, or the full one with `THRONG_LONG=1`.
    pub(crate) fn usual() -> Self {
        if crate::support::sized(0, 1) == 1 {
            Self {
                clients: 200,
                rooms: 50,
                rooms_each: 3,
                talk_every: Duration::from_secs(1),
                move_every: Duration::from_secs(20),
            }
        } else {
            Self {
                clients: 48,
                rooms: 12,
                rooms_each: 3,
                talk_every: Duration::from_millis(500),
                move_every: Duration::from_secs(8),
            }
        }
    }

    /// Returns the name of every room.
    pub(crate) fn room_names(&self) -> Vec<Name> {
        (0..self.rooms).map(|n| format!("room-{n}").into()).collect()
    }
}

/// The present duty of all clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// They publish, move between nodes, ask.
    Talk,
    /// They publish nothing new, and do what is needed to be in all their rooms with every message answered.
    Settle,
    /// They close and end.
    Leave,
}

/// The state of a client, as the rest of the rig sees it.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// It is in all of its rooms, and every command is answered.
    pub(crate) is_settled: bool,
    pub(crate) positions: BTreeMap<Name, Position>,
}

/// The part of the load that the rig and the clients share.
pub(crate) struct Shared {
    pub(crate) world: World,
    nodes: Mutex<Vec<SocketAddr>>,
    phase: watch::Sender<Phase>,
    pub(crate) record: Arc<Record>,
    states: Mutex<Vec<State>>,
}

/// The running clients. Dropping it ends them.
pub(crate) struct Crowd {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Returns the name of the user of a client.
pub(crate) fn user(client: Client) -> Name {
    format!("user-{}", client.0).into()
}

/// Returns the rooms of a client: the same ones in every run.
pub(crate) fn rooms_of(client: Client, world: &World) -> Vec<Name> {
    let rooms = (0..world.rooms_each).map(|n| (client.0 * (n + 1) + n * n) % world.rooms);
    let rooms: BTreeSet<usize> = rooms.collect();
    rooms.into_iter().map(|n| format!("room-{n}").into()).collect()
}

impl Crowd {
    /// Starts the clients, which connect to the nodes at these addresses.
    pub(crate) fn start(world: World, nodes: Vec<SocketAddr>, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            world,
            nodes: Mutex::new(nodes),
            phase: watch::Sender::new(Phase::Talk),
            record: Record::new(),
            states: Mutex::new(vec![State::default(); world.clients]),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            tokio::task::LocalSet::new().block_on(&runtime, async move {
                let mut tasks = tokio::task::JoinSet::new();
                for n in 0..world.clients {
                    tasks.spawn_local(client::live(Client(n), Arc::clone(&own), seed.wrapping_add(n as u64)));
                }
                while let Some(ended) = tasks.join_next().await {
                    ended.expect("a client does not panic");
                }
            });
        });
        Self { shared, thread: Some(thread) }
    }

    /// Notes the address of a node that was started again.
    pub(crate) fn set_node(&self, index: usize, address: SocketAddr) {
        self.shared.nodes.lock()[index] = address;
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.shared.phase.send_replace(phase);
    }

    /// Notes in the record that a fault begins.
    pub(crate) fn fault(&self, name: &str, loss: Loss) {
        self.shared.record.add(Entry::Fault { name: name.to_owned(), loss });
    }

    /// Notes that something else has happened since the last fault, which may take messages.
    pub(crate) fn allow_loss(&self) {
        self.shared.record.allow_loss();
    }

    /// Returns the users that should be in a room when everybody is settled.
    pub(crate) fn members(&self, room: &Name) -> BTreeSet<String> {
        let all = (0..self.shared.world.clients).map(Client);
        let there = all.filter(|client| rooms_of(*client, &self.shared.world).contains(room));
        there.map(|client| user(client).to_string()).collect()
    }

    /// Lets the clients settle and waits until all of them are: in all of their rooms, every message answered, and all
    /// members of a room at the same position. Returns the reason when that does not happen within `limit`.
    pub(crate) fn settle(&self, limit: Duration) -> Result<(), String> {
        self.set_phase(Phase::Settle);
        let deadline = Instant::now() + limit;
        loop {
            let Some(problem) = unsettled(&self.shared.states.lock()) else { break };
            if Instant::now() > deadline {
                return Err(format!("not settled within {limit:?}: {problem}"));
            }
            // The interval between two looks, not the length of the wait.
            std::thread::sleep(Duration::from_millis(50));
        }
        self.shared.record.add(Entry::Settled);
        Ok(())
    }

    /// Returns the record so far, and leaves an empty one: for the report of a run that has failed.
    pub(crate) fn recorded(&self) -> Vec<(u64, Entry)> {
        self.shared.record.take()
    }

    /// Lets the clients leave, waits for the last one, and returns the record.
    pub(crate) fn leave(mut self) -> Vec<(u64, Entry)> {
        self.set_phase(Phase::Leave);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a client has failed: see above");
        }
        self.shared.record.take()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.set_phase(Phase::Leave);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Returns a reason why the clients are not settled, if there is one.
fn unsettled(states: &[State]) -> Option<String> {
    let mut rooms: BTreeMap<&Name, (usize, &Position)> = BTreeMap::new();
    for (n, state) in states.iter().enumerate() {
        if !state.is_settled {
            return Some(format!(
                "client {n} is not in all of its rooms with everything answered: {state:?}"
            ));
        }
        for (room, position) in &state.positions {
            let (first, other) = rooms.entry(room).or_insert((n, position));
            if *other != position {
                return Some(format!("{room}: client {first} is at {other:?}, client {n} at {position:?}"));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_settled_when_all_are_in_and_at_the_same_position() {
        let at = |offset| {
            let position = Position { epoch: "e".into(), offset };
            State { is_settled: true, positions: BTreeMap::from([("a".into(), position)]) }
        };
        assert_eq!(unsettled(&[at(1), at(1)]), None);
        assert!(unsettled(&[at(1), at(2)]).is_some_and(|problem| problem.contains("client 1")));
        assert!(unsettled(&[at(1), State { is_settled: false, ..at(1) }]).is_some());
    }

    #[test]
    fn every_room_has_members_and_every_client_its_rooms() {
        let world = World::usual();
        let rooms: BTreeSet<Name> = (0..world.clients).flat_map(|n| rooms_of(Client(n), &world)).collect();
        assert_eq!(rooms.len(), world.rooms);
        assert!((0..world.clients).any(|n| rooms_of(Client(n), &world).len() == world.rooms_each));
    }
}
