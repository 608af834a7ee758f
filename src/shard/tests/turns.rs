//! Rooms take turns. A room does not wait for the whole sweep of a much larger one, and loses nothing when a slice ends
//! during its turn. Other tasks get their turn while messages keep coming.

use std::pin::pin;
use std::task::Context;

use super::hall::{Hall, seen};
use super::*;
use crate::shard::fanout::slice;

/// Rooms of given sizes, each with one message for all its members.
struct SizedRooms {
    shard: Rc<Shard>,
    rooms: Vec<Vec<(Registration, Rc<Wire>)>>,
}

impl SizedRooms {
    fn new(sizes: &[usize]) -> Self {
        let mut hall = Hall::new(Overload::Disconnect);
        let mut rooms = Vec::new();
        for &size in sizes {
            hall.next_room();
            rooms.push((0..size).map(|_| hall.member(Dialect::Plain)).collect());
            hall.say(None);
        }
        hall.take_in();
        Self { shard: hall.shard, rooms }
    }

    /// Returns the number of members of each room that have got the message.
    fn reached(&self) -> Vec<usize> {
        let count = |members: &Vec<(Registration, Rc<Wire>)>| {
            members.iter().filter(|(_, wire)| !wire.taken.borrow().is_empty()).count()
        };
        self.rooms.iter().map(count).collect()
    }
}

#[test]
fn a_room_goes_on_where_the_end_of_a_slice_cut_its_turn_short() {
    let rooms = SizedRooms::new(&[10, slice::WRITES, slice::WRITES]);
    assert!(rooms.shard.slice());
    let first = rooms.reached();
    assert!(first[0] == 10 && (1..slice::WRITES).contains(&first[1]) && first[2] == 0, "{first:?}");
    assert!(rooms.shard.slice());
    assert!(rooms.reached()[1] > first[1], "the second room does not go on before the third");
}

#[test]
fn every_room_gets_a_turn_before_any_gets_a_second() {
    let rooms = SizedRooms::new(&[2, 10_000, 10_000, 2]);
    assert!(rooms.shard.slice());
    let first = rooms.reached();
    assert!(first[0] == 2 && first[1] > 0 && first[2..] == [0, 0], "{first:?}");
    assert!(rooms.shard.slice() && rooms.shard.slice() && rooms.shard.slice());
    assert_eq!(rooms.reached()[3], 2, "two large rooms hold up a small one");
}

#[test]
fn a_member_of_several_rooms_may_get_a_full_batch_of_each_at_once() {
    let mut hall = Hall::new(Overload::Disconnect);
    let (client, wire) = hall.client(Dialect::Plain);
    for _ in 0..5 {
        hall.next_room();
        hall.enter(&client);
        (0..hall.shard.egress.settings.batch.frames).for_each(|_| hall.say(None));
    }
    hall.run();
    assert_eq!(client.status().end, None, "a full queue within one slice is no sign of slowness");
    assert_eq!(seen(&wire).len(), 20);
}

/// A simulated socket that publishes the next message at each write, as another thread might.
struct Busy {
    shard: Rc<Shard>,
    last: Cell<u64>,
}

impl Busy {
    /// Number of messages after which it publishes no more.
    const ENOUGH: u64 = 10_000;

    fn next(&self) {
        if self.last.get() < Self::ENOUGH {
            self.last.set(self.last.get() + 1);
            publish(&self.shard, self.last.get(), "hi");
        }
    }
}

impl ByteStream for Busy {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.next();
        Ok(bytes.len())
    }
}

#[test]
fn other_tasks_get_their_turn_however_fast_messages_come() {
    let shard = shard(Overload::Disconnect);
    let busy = Rc::new(Busy { shard: shard.clone(), last: Cell::new(0) });
    let client = shard.register();
    client.attach(Sink::Stream(busy.clone()));
    client.open();
    client.subscribe(TOPIC, 0, &"lobby".parse().unwrap(), shard.overload());
    busy.next();
    let task = pin!(fanout::run(shard));
    assert!(task.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let so_far = busy.last.get();
    assert!((2..Busy::ENOUGH).contains(&so_far), "after {so_far} messages");
}

/// Publishes a message before each of the first `bursts` polls of the fan-out, and polls it once more. Returns the
/// number of messages that the first of `count` members has got after each poll.
fn seen_in_a_burst(count: usize, bursts: usize) -> Vec<usize> {
    let mut hall = Hall::new(Overload::Disconnect);
    let members: Vec<_> = (0..count).map(|_| hall.member(Dialect::Plain)).collect();
    let mut fanout = pin!(fanout::run(Rc::clone(&hall.shard)));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(fanout.as_mut().poll(&mut cx).is_pending(), "it sleeps");
    (0..bursts + 1)
        .map(|burst| {
            if burst < bursts {
                hall.say(None);
            }
            assert!(fanout.as_mut().poll(&mut cx).is_pending());
            seen(&members[0].1).len()
        })
        .collect()
}

#[test]
fn a_burst_is_sent_together_when_that_saves_many_writes() {
    assert_eq!(seen_in_a_burst(fanout::WRITES_WORTH_A_LOOK, 3), [0, 0, 0, 3]);
    assert_eq!(seen_in_a_burst(fanout::WRITES_WORTH_A_LOOK - 1, 3), [1, 2, 3, 3], "too few to wait for");
    let endless = seen_in_a_burst(fanout::WRITES_WORTH_A_LOOK, 2 * fanout::LOOKS_IN_A_ROW);
    let first = endless.iter().position(|&seen| seen > 0);
    assert_eq!(first, Some(fanout::LOOKS_IN_A_ROW), "an endless burst is sent after the last look");
}
