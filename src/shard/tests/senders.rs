//! A sender gets its copy before its room's turn, so its next message can reach the others in the same batch.

use super::hall::{Hall, ack, seen};
use super::*;
use crate::registry::delivery::SenderCopy;
use crate::shard::fanout::slice;

/// Queues `count` rooms for their turns, each with a message for its one member, and makes a new room the current one.
/// A slice serves at least a few of these rooms, because it does some writes before it first reads the clock.
fn small_rooms(hall: &mut Hall, count: usize) -> Vec<(Registration, Rc<Wire>)> {
    let rooms = (0..count).map(|_| {
        hall.next_room();
        let member = hall.member(Dialect::Plain);
        hall.say(None);
        member
    });
    let members = rooms.collect();
    hall.next_room();
    hall.take_in();
    members
}

/// Rooms that keep a shard busy for several slices, and behind them a room with a sender and a listener.
struct BusyShard {
    hall: Hall,
    crowd: Vec<(Registration, Rc<Wire>)>,
    sender: (Registration, Rc<Wire>),
    listener: (Registration, Rc<Wire>),
}

impl BusyShard {
    fn new(dialect: Dialect) -> Self {
        let mut hall = Hall::new(Overload::Disconnect);
        let crowd = small_rooms(&mut hall, 3 * slice::WRITES);
        let sender = hall.member(dialect);
        let listener = hall.member(dialect);
        Self { hall, crowd, sender, listener }
    }

    /// Publishes a message of the sender, with an ack in `throng.v1`, and runs one slice.
    fn say(&mut self) {
        let sender = &self.sender.0;
        let plain = SenderCopy { to: sender.id(), ack: None };
        let copy = ack(sender, false).filter(|_| sender.dialect() == Dialect::V1).unwrap_or(plain);
        self.hall.say(Some(copy));
        self.hall.take_in();
        self.hall.shard.slice();
    }

    /// Returns the length of each write to the listener.
    fn heard(&self) -> Vec<usize> {
        self.listener.1.writes.borrow().clone()
    }
}

/// Bytes of a frame with a text of one digit.
const FRAME: usize = 3;

#[test]
fn a_sender_is_served_before_its_rooms_turn_and_others_get_all_messages_in_one_write() {
    for (dialect, expected) in [(Dialect::Plain, "1 2"), (Dialect::V1, "1 ack 2 ack")] {
        let mut queue = BusyShard::new(dialect);
        queue.say();
        queue.say();
        assert_eq!(seen(&queue.sender.1).join(" "), expected);
        assert_eq!(queue.heard(), [0; 0], "the room's turn has not come");
        assert!(
            !queue.hall.shard.inbox.has_space(1 << 20),
            "bytes of a message that waits for its turn do not count"
        );
        queue.hall.run();
        assert_eq!((seen(&queue.sender.1).join(" "), queue.heard()), (expected.to_owned(), vec![2 * FRAME]));
        assert!(queue.crowd.iter().all(|(_, wire)| seen(wire) == ["1"]));
    }
}

#[test]
fn a_sender_that_does_not_read_loses_nothing_and_delays_nobody() {
    let mut queue = BusyShard::new(Dialect::V1);
    queue.sender.1.is_stuck.set(true);
    queue.say();
    queue.say();
    queue.hall.run();
    assert_eq!(queue.heard(), [FRAME, FRAME], "a batch that a queue holds cannot grow");
    queue.sender.1.is_stuck.set(false);
    queue.sender.0.flush();
    assert_eq!(seen(&queue.sender.1).join(" "), "1 ack 2 ack");
}

#[test]
fn clients_that_leave_or_join_before_the_turn_get_exactly_their_part() {
    let mut queue = BusyShard::new(Dialect::V1);
    queue.say();
    let late = queue.hall.member(Dialect::V1);
    queue.say();
    queue.hall.leave(&queue.sender.0);
    assert_eq!(seen(&queue.sender.1).join(" "), "1 ack 2 ack left");
    queue.hall.run();
    assert_eq!((queue.heard(), seen(&late.1)), (vec![3 * FRAME], vec!["2".to_owned(), "3".to_owned()]));
}

#[test]
fn no_bytes_count_after_the_last_member_left() {
    let mut queue = BusyShard::new(Dialect::V1);
    queue.say();
    drop(queue.listener);
    queue.hall.leave(&queue.sender.0);
    assert_eq!(seen(&queue.sender.1).join(" "), "1 ack left");
    queue.hall.run();
}

#[test]
fn many_senders_do_not_keep_rooms_from_their_turns() {
    let mut hall = Hall::new(Overload::Disconnect);
    let mut rooms = Vec::new();
    for _ in 0..2 * slice::WRITES {
        hall.next_room();
        let sender = hall.member(Dialect::V1);
        let listener = hall.member(Dialect::V1);
        hall.say(ack(&sender.0, false));
        rooms.push([sender, listener]);
    }
    hall.take_in();
    hall.shard.slice();
    let [spoken, heard] =
        [0, 1].map(|index| rooms.iter().filter(|room| !seen(&room[index].1).is_empty()).count());
    assert!(
        heard > 0 && spoken <= 4 * heard,
        "{heard} rooms had their turn, {spoken} had their senders served"
    );
}

#[test]
fn a_message_does_not_move_a_sweep_out_of_turn() {
    let mut hall = Hall::new(Overload::Disconnect);
    let room: Vec<_> = (0..slice::WRITES + 50).map(|_| hall.member(Dialect::Plain)).collect();
    let reached = || room.iter().filter(|(_, wire)| !seen(wire).is_empty()).count();
    hall.say(None);
    let topic = std::mem::replace(&mut hall.topic, hall.registry.topic());
    let _others = small_rooms(&mut hall, 2 * slice::WRITES);
    hall.shard.slice();
    let before = reached();
    assert!((1..room.len()).contains(&before), "the turn of the room is over, its sweep is not");
    (hall.topic, hall.last) = (topic, Offset(1));
    hall.say(Some(SenderCopy { to: room[0].0.id(), ack: None }));
    hall.take_in();
    hall.shard.slice();
    assert_eq!(reached(), before, "the turn belongs to other rooms");
    hall.run();
    assert!(room.iter().all(|(_, wire)| seen(wire) == ["1", "2"]));
}

#[test]
fn many_senders_do_not_shorten_a_large_rooms_turn() {
    let mut hall = Hall::with_batches_of(slice::WRITES, Overload::Disconnect);
    let large: Vec<_> = (0..2 * slice::WRITES).map(|_| hall.member(Dialect::Plain)).collect();
    hall.say(None);
    let mut crowds = Vec::new();
    for _ in 0..2 {
        hall.next_room();
        let crowd: Vec<_> = (0..slice::WRITES).map(|_| hall.member(Dialect::V1)).collect();
        crowd.iter().for_each(|(sender, _)| hall.say(ack(sender, false)));
        crowds.push(crowd);
    }
    hall.take_in();
    hall.shard.slice();
    let reached = |room: &[(Registration, Rc<Wire>)]| {
        room.iter().filter(|(_, wire)| !wire.taken.borrow().is_empty()).count()
    };
    assert!(reached(&large) >= slice::WRITES_PER_LOOK, "the large room had only {} writes", reached(&large));
    hall.run();
    assert_eq!(crowds.iter().map(|crowd| reached(crowd)).sum::<usize>(), 2 * slice::WRITES);
}

#[test]
fn a_sender_with_more_messages_than_a_batch_is_served_again_after_each_turn() {
    let mut hall = Hall::new(Overload::Disconnect);
    let (sender, wire) = hall.member(Dialect::V1);
    let _listener = hall.member(Dialect::V1);
    (0..10).for_each(|_| hall.say(ack(&sender, false)));
    let acks = |count: u64| (1..=count).map(|n| format!("{n} ack")).collect::<Vec<_>>().join(" ");
    let _next = small_rooms(&mut hall, 1);
    hall.shard.slice();
    assert_eq!(seen(&wire).join(" "), acks(8), "one batch in the turn, and one after it");
    let others = small_rooms(&mut hall, 2 * slice::WRITES);
    hall.shard.slice();
    assert_eq!(seen(&wire).join(" "), acks(10));
    assert!(others.iter().any(|(_, wire)| seen(wire).is_empty()), "the next turn of the room has not come");
}
