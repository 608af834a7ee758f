//! The steps of a room towards being occupied or vacated, on a real engine.

use super::super::occupied::{Occupation, Step, reply};
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::directory::tests::server::Server;
use crate::broker::redis::keys::Keys;
use crate::broker::redis::nodes::{LiveNodes, Outcome};

const HOUR_MS: u64 = 3_600_000;

/// A room in an engine, and the nodes that are live.
struct Room {
    server: Server,
    live: Vec<u64>,
}

impl Room {
    fn new(live: &[u64]) -> Self {
        Self { server: Server::start(), live: live.to_vec() }
    }

    /// Writes how many users a node has.
    fn holds(&mut self, by: u64, users: usize) {
        let entry = format!("1 l {users} 0");
        self.server.admin(&["HSET", "throng:{den}:w", &Incarnation(by).to_string(), &entry]);
    }

    fn step(&mut self, by: u64, step: Step, number: u64) -> Outcome {
        let live: String = self.live.iter().map(|by| format!("{},", Incarnation(*by))).collect();
        let live = LiveNodes { as_of_ms: 0, list: format!(",{live}").into() };
        let by = Incarnation(by);
        let occupation = Occupation { step, by, number, wait_ms: HOUR_MS, room_ttl_ms: 60_000 };
        let keys = Keys::new("throng").room(&"den".parse().unwrap());
        reply(&self.server.call(&occupation.call(&keys, &live)).unwrap()).unwrap()
    }
}

#[test]
fn a_room_is_told_to_be_occupied_and_vacated_once() {
    let mut room = Room::new(&[1, 2]);
    room.holds(1, 1);
    assert_eq!(room.step(1, Step::Occupied, 1), Outcome::Yes);
    assert_eq!(room.step(1, Step::Occupied, 1), Outcome::Yes, "a repeated call answers the same");
    room.holds(2, 3);
    assert_eq!(room.step(2, Step::Occupied, 1), Outcome::No);
    assert_eq!(room.step(1, Step::Occupied, 1), Outcome::Yes, "its answer may have been lost");
    room.holds(1, 0);
    assert_eq!(room.step(1, Step::Left, 2), Outcome::No, "the other node has members");
    room.holds(2, 0);
    assert_eq!(room.step(2, Step::Left, 2), Outcome::Yes);
    assert_eq!(room.step(2, Step::Vacated(HOUR_MS), 3), Outcome::TooEarly);
    assert!(room.server.life("throng:{den}:o") > 3_600, "the mark lives until the time is over");
    assert_eq!(room.step(2, Step::Vacated(0), 4), Outcome::Yes);
    assert_eq!(room.step(2, Step::Vacated(0), 4), Outcome::Yes);
    assert_eq!(room.step(1, Step::Vacated(0), 5), Outcome::No, "told already");
    assert_eq!(room.step(1, Step::Left, 6), Outcome::No, "told already");
    room.holds(1, 1);
    assert_eq!(room.step(1, Step::Occupied, 7), Outcome::Yes);
}

#[test]
fn a_room_that_somebody_enters_meanwhile_is_not_vacated() {
    let mut room = Room::new(&[1, 2]);
    room.holds(1, 1);
    assert_eq!(room.step(1, Step::Occupied, 1), Outcome::Yes);
    room.holds(1, 0);
    assert_eq!(room.step(1, Step::Left, 2), Outcome::Yes);
    // This node has not told that it has members, because it knew that the room was occupied.
    room.holds(2, 1);
    assert_eq!(room.step(1, Step::Vacated(0), 3), Outcome::No);
    room.holds(2, 0);
    assert_eq!(room.step(2, Step::Left, 1), Outcome::Yes);
    assert_eq!(room.step(2, Step::Vacated(0), 2), Outcome::Yes);
}

#[test]
fn the_members_of_a_dead_node_count_no_more() {
    let mut room = Room::new(&[1, 2]);
    room.holds(1, 1);
    assert_eq!(room.step(1, Step::Occupied, 1), Outcome::Yes);
    room.live = vec![2, 3];
    // Nobody has told that the room is vacated, and another node has members: it was occupied all the time.
    room.holds(3, 1);
    room.holds(2, 1);
    assert_eq!(room.step(2, Step::Occupied, 1), Outcome::No);
    room.holds(3, 0);
    room.holds(2, 0);
    assert_eq!(room.step(2, Step::Left, 2), Outcome::Yes, "the entry of the dead node is still there");
    room.live = vec![3];
    room.holds(3, 1);
    assert_eq!(room.step(3, Step::Occupied, 1), Outcome::No, "the time was not over");
    room.live = vec![4];
    room.holds(4, 1);
    assert_eq!(room.step(4, Step::Occupied, 1), Outcome::Yes, "the node that knew the room is dead");
}
