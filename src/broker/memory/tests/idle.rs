//! Rooms without members.

use super::*;

/// Enters a room from an address, publishes, and leaves.
fn visit_as(
    broker: &Memory<Members>,
    room: &str,
    (address, user): (u32, &str),
    key: Option<&str>,
) -> Position {
    let user: UserId = user.parse().unwrap();
    let join = |state: &mut RoomState<usize>| state.presence.join(&user, 0, &PRESENCE);
    let entrant = Entrant { user: &user, address };
    let (room, ..) = broker.enter_as(&name(room), entrant, None, |state, _| join(state)).unwrap();
    let position = broker.publish(&room, draft(&user, key), 0, |at| frame(at, FRAME)).unwrap().position;
    room.with(|state| state.presence.leave(&user, 0, &PRESENCE));
    broker.close_if_empty(&room);
    position
}

fn visit(broker: &Memory<Members>, room: &str, key: Option<&str>) -> Position {
    visit_as(broker, room, (1, "ann"), key)
}

/// Returns how many messages a client that has seen none can still read.
fn kept(broker: &Memory<Members>, room: &str) -> usize {
    let (room, _, kept) = broker.enter(&name(room), None, |state, _| state.history().len()).unwrap();
    broker.close_if_empty(&room);
    kept
}

#[test]
fn a_room_that_nobody_is_in_makes_way_the_first_that_was_left_first() {
    let broker = broker();
    let [a, b, c] = ["a", "b", "c"].map(|room| visit(&broker, room, None));
    assert_eq!((broker.room_count(), broker.idle.len()), (3, 3));
    let a = Position { offset: a.offset.next(), ..a };
    assert_eq!(visit(&broker, "a", None), a, "it is left last now");
    let d = visit(&broker, "d", None);
    assert_eq!((broker.room_count(), broker.budget.sizes()), (3, (3 * FRAME + FRAME, 3)));
    for (room, position) in [("a", a), ("c", c), ("d", d)] {
        let resumed = resume(&broker, room, position);
        assert!(matches!(resumed, Resumed::Recovered { .. }), "{room}: {resumed:?}");
        broker.close_if_empty(&open(&broker, room));
    }
    let before = |position: Position| Position { offset: Offset(position.offset.0 - 1), ..position };
    assert!(matches!(resume(&broker, "b", before(b)), Resumed::NotRecovered), "for which a made way");
    assert!(matches!(resume(&broker, "a", before(a)), Resumed::NotRecovered), "and c for this one");
    assert_eq!((broker.room_count(), broker.idle.len()), (3, 1));
}

#[test]
fn a_room_with_somebody_makes_no_way_and_the_default_room_needs_none() {
    let broker = broker();
    for room in ["here", "there", "and-there"] {
        broker.enter(&name(room), None, |state, _| state.topic += 1).unwrap();
    }
    let refused = |room: &str| broker.enter(&name(room), None, |_, _| ()).unwrap_err();
    assert_eq!(refused("d"), BrokerError::TooManyRooms);
    visit(&broker, "lobby", None);
    assert_eq!(broker.room_count(), 4);
    sweep(&broker, TTL_MS);
    assert_eq!((broker.room_count(), broker.idle.len()), (3, 0));
}

/// 1. As many rooms exist as may, in each of which a key is remembered.
/// 2. One more is entered: the first room is evicted.
/// 3. Its key is known when it is entered again, although the message is gone.
#[test]
fn a_room_with_keys_is_evicted_and_a_repeated_message_is_appended_once() {
    let broker = broker();
    let first = visit(&broker, "a", Some("1"));
    for (room, key) in [("b", "2"), ("c", "1")] {
        visit_as(&broker, room, (1, "bob"), Some(key));
    }
    visit_as(&broker, "d", (1, "bob"), None);
    visit_as(&broker, "e", (1, "bob"), None);
    visit_as(&broker, "f", (2, "eve"), None);
    visit_as(&broker, "g", (2, "eve"), None);
    assert_eq!((broker.room_count(), broker.positions.sizes()), (3, (4, 3)));
    assert_eq!(kept(&broker, "a"), 0);
    let again = say_once(&broker, &open(&broker, "a"), ("ann", "1"), KEPT_MS - 1).unwrap();
    assert_eq!(again, Published { position: first, is_duplicate: true });
    let later = say_once(&broker, &open(&broker, "a"), ("ann", "1"), KEPT_MS).unwrap();
    assert_eq!(later, Published { position: Position { offset: Offset(2), ..first }, is_duplicate: false });
}

#[test]
fn of_the_empty_rooms_those_of_the_owner_of_most_are_evicted() {
    let broker = Memory::new(Members::default(), MemoryLimits { max_rooms: 8, ..limits(1 << 20) });
    visit_as(&broker, "first", (1, "ann"), None);
    visit_as(&broker, "second", (2, "bob"), None);
    // One address, many users.
    for n in 0..50 {
        visit_as(&broker, &format!("spam-{n}"), (3, &format!("mallory-{n}")), None);
    }
    // The same user at another address, and a user who opens several rooms where another has one.
    for n in 0..50 {
        visit_as(&broker, &format!("more-{n}"), (2, "eve"), None);
    }
    assert_eq!((broker.room_count(), broker.idle.len()), (8, 8));
    assert_eq!((kept(&broker, "first"), kept(&broker, "second"), kept(&broker, "more-49")), (1, 1, 1));
    assert_eq!((kept(&broker, "spam-49"), kept(&broker, "more-47")), (1, 1));
}
