//! Whoever said something gets it before its room's turn, and what it says next comes to the others with it.

use super::hall::{Hall, ack, seen};
use super::*;
use crate::registry::delivery::Aside;

/// What a client was sent, write by write.
#[derive(Default)]
struct Writes {
    all: RefCell<Vec<usize>>,
    is_stuck: Cell<bool>,
}

impl Simulated for Writes {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_stuck.get() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.all.borrow_mut().push(bytes.len());
        Ok(bytes.len())
    }
}

/// Two rooms that keep a shard busy for a slice each, and behind them one where a speaker is heard by somebody.
struct Queue {
    hall: Hall,
    crowd: Vec<(Registration, Rc<Wire>)>,
    speaker: (Registration, Rc<Wire>),
    listener: (Registration, Rc<Writes>),
}

impl Queue {
    fn new(dialect: Dialect) -> Self {
        let mut hall = Hall::new(Overload::Disconnect);
        let mut crowd = Vec::new();
        for _ in 0..2 {
            crowd.extend((0..SLICE_WRITES + 50).map(|_| hall.member(Dialect::Plain)));
            hall.say(None);
            (hall.topic, hall.last) = (hall.registry.topic(), Offset(0));
        }
        hall.take_in();
        let speaker = hall.member(dialect);
        let writes = Rc::<Writes>::default();
        let listener = hall.connect(dialect, writes.clone());
        hall.enter(&listener);
        Self { hall, crowd, speaker, listener: (listener, writes) }
    }

    /// Says something, with an ack in `throng.v1`, and lets the shard go on for a slice.
    fn say(&mut self) {
        let speaker = &self.speaker.0;
        let aside = Aside { to: speaker.id(), ack: None };
        let aside = ack(speaker, false).filter(|_| speaker.dialect() == Dialect::V1).unwrap_or(aside);
        self.hall.say(Some(aside));
        self.hall.take_in();
        self.hall.shard.slice();
    }

    fn heard(&self) -> Vec<usize> {
        self.listener.1.all.borrow().clone()
    }
}

const FRAME: usize = 3;

#[test]
fn who_speaks_goes_on_before_its_rooms_turn_and_the_others_get_all_of_it_in_one_write() {
    for (dialect, expected) in [(Dialect::Plain, "1 2"), (Dialect::V1, "1 ack 2 ack")] {
        let mut queue = Queue::new(dialect);
        queue.say();
        queue.say();
        assert_eq!(seen(&queue.speaker.1).join(" "), expected);
        assert_eq!(queue.heard(), [0; 0], "the room's turn has not come");
        assert!(!queue.hall.shard.inbox.has_space(1 << 20), "what waits for its turn counts as waiting");
        queue.hall.run();
        assert_eq!((seen(&queue.speaker.1).join(" "), queue.heard()), (expected.to_owned(), vec![2 * FRAME]));
        assert!(queue.crowd.iter().all(|(_, wire)| seen(wire) == ["1"]));
    }
}

#[test]
fn a_speaker_who_does_not_read_loses_nothing_and_keeps_nobody() {
    let mut queue = Queue::new(Dialect::V1);
    queue.speaker.1.is_stuck.set(true);
    queue.say();
    queue.say();
    queue.hall.run();
    assert_eq!(queue.heard(), [FRAME, FRAME], "a batch that is in its queue cannot grow");
    queue.speaker.1.is_stuck.set(false);
    queue.speaker.0.flush();
    assert_eq!(seen(&queue.speaker.1).join(" "), "1 ack 2 ack");
}

#[test]
fn who_leaves_or_comes_between_gets_exactly_its_part() {
    let mut queue = Queue::new(Dialect::V1);
    queue.say();
    let late = queue.hall.member(Dialect::V1);
    queue.say();
    queue.hall.leave(&queue.speaker.0);
    assert_eq!(seen(&queue.speaker.1).join(" "), "1 ack 2 ack left");
    queue.hall.run();
    assert_eq!((queue.heard(), seen(&late.1)), (vec![3 * FRAME], vec!["2".to_owned(), "3".to_owned()]));
}

#[test]
fn the_last_to_leave_leaves_nothing_counted() {
    let mut queue = Queue::new(Dialect::V1);
    queue.say();
    drop(queue.listener);
    queue.hall.leave(&queue.speaker.0);
    assert_eq!(seen(&queue.speaker.1).join(" "), "1 ack left");
    queue.hall.run();
}

#[test]
fn speakers_without_end_keep_no_room_from_its_turn() {
    let mut hall = Hall::new(Overload::Disconnect);
    let mut rooms = Vec::new();
    for _ in 0..2 * SLICE_WRITES {
        (hall.topic, hall.last) = (hall.registry.topic(), Offset(0));
        let (speaker, _) = hall.member(Dialect::V1);
        let listener = hall.member(Dialect::V1);
        hall.say(ack(&speaker, false));
        rooms.push((speaker, listener));
    }
    hall.take_in();
    hall.shard.slice();
    let heard = rooms.iter().filter(|(_, listener)| !seen(&listener.1).is_empty()).count();
    assert!(heard * 4 > SLICE_WRITES, "{heard} had their turn in the time of {SLICE_WRITES} writes");
}

#[test]
fn a_sweep_does_not_go_on_out_of_turn_because_somebody_speaks() {
    let mut hall = Hall::new(Overload::Disconnect);
    let other: Vec<_> = (0..SLICE_WRITES + 50).map(|_| hall.member(Dialect::Plain)).collect();
    let mut topic = std::mem::replace(&mut hall.topic, hall.registry.topic());
    let room: Vec<_> = (0..SLICE_WRITES + 50).map(|_| hall.member(Dialect::Plain)).collect();
    let reached = || room.iter().filter(|(_, wire)| !seen(wire).is_empty()).count();
    hall.say(None);
    std::mem::swap(&mut hall.topic, &mut topic);
    hall.last = Offset(0);
    hall.say(None);
    hall.take_in();
    hall.shard.slice();
    let before = reached();
    assert!((1..room.len()).contains(&before), "its turn is over, its sweep is not");
    std::mem::swap(&mut hall.topic, &mut topic);
    hall.say(Some(Aside { to: room[0].0.id(), ack: None }));
    hall.take_in();
    hall.shard.slice();
    assert_eq!(reached(), before, "it is the turn of the other {}", other.len());
    hall.run();
    assert!(room.iter().all(|(_, wire)| seen(wire) == ["1", "2"]));
}
