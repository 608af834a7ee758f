//! Rooms take turns: none waits for a much larger one, nor longer than others because a slice ended in its midst.

use super::hall::Hall;
use super::*;

/// Rooms with so many members each, and a message for every one of them.
struct Street {
    shard: Rc<Shard>,
    rooms: Vec<Vec<(Registration, Rc<Wire>)>>,
}

impl Street {
    fn new(sizes: &[usize]) -> Self {
        let mut hall = Hall::new(Overload::Disconnect);
        let mut rooms = Vec::new();
        for &size in sizes {
            (hall.topic, hall.last) = (hall.registry.topic(), Offset(0));
            rooms.push((0..size).map(|_| hall.member(Dialect::Plain)).collect());
            hall.say(None);
        }
        hall.take_in();
        Self { shard: hall.shard, rooms }
    }

    /// How many of each room have got it.
    fn reached(&self) -> Vec<usize> {
        let count = |members: &Vec<(Registration, Rc<Wire>)>| {
            members.iter().filter(|(_, wire)| !wire.taken.borrow().is_empty()).count()
        };
        self.rooms.iter().map(count).collect()
    }
}

#[test]
fn a_room_goes_on_where_the_end_of_a_slice_cut_its_turn_short() {
    let street = Street::new(&[1000, 1000, 1000]);
    assert!(street.shard.slice());
    assert_eq!(street.reached(), [1000, SLICE_WRITES - 1000, 0]);
    assert!(street.shard.slice());
    assert_eq!(street.reached(), [1000, 1000, 2 * SLICE_WRITES - 2000], "not the third before the second");
}

#[test]
fn no_room_has_more_than_a_turn_before_all_others() {
    let street = Street::new(&[2, 10_000, 10_000, 2]);
    assert!(street.shard.slice());
    assert_eq!(street.reached(), [2, SLICE_WRITES - 2, 0, 0]);
    assert!(street.shard.slice() && street.shard.slice() && street.shard.slice());
    assert_eq!(street.reached()[3], 2, "two large rooms do not keep a small one");
}
