//! Rooms that nobody is in.

use super::*;

/// Somebody enters, says something, and leaves.
fn visit(broker: &Memory<Members>, room: &str, key: Option<&str>) -> Position {
    let ann: UserId = "ann".parse().unwrap();
    let join = |state: &mut RoomState<usize>| state.presence.join(&ann, 0, &PRESENCE);
    let (room, ..) = broker.enter(&name(room), None, |state, _| join(state)).unwrap();
    let position = broker.publish(&room, draft(&ann, key), 0, |at| frame(at, FRAME)).unwrap().position;
    room.with(|state| state.presence.leave(&ann, 0, &PRESENCE));
    broker.close_if_empty(&room);
    position
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
    assert!(matches!(resume(&broker, "b", b), Resumed::NotRecovered), "a new life, for which a made way");
    assert!(matches!(resume(&broker, "a", a), Resumed::NotRecovered), "and c for this one");
    assert_eq!((broker.room_count(), broker.idle.len()), (3, 1));
}

#[test]
fn a_room_with_somebody_or_with_keys_makes_no_way_and_the_default_room_needs_none() {
    let broker = broker();
    broker.enter(&name("here"), None, |state, _| state.topic += 1).unwrap();
    say(&broker, &open(&broker, "here"), FRAME, 0);
    for (room, key) in [("keyed", "1"), ("too", "2")] {
        visit(&broker, room, Some(key));
    }
    let refused = |room: &str| broker.enter(&name(room), None, |_, _| ()).unwrap_err();
    assert_eq!(refused("d"), BrokerError::TooManyRooms);
    visit(&broker, "lobby", None);
    assert_eq!(broker.room_count(), 4);
    sweep(&broker, TTL_MS);
    assert_eq!(
        refused("d"),
        BrokerError::TooManyRooms,
        "its keys are remembered for longer than its history"
    );
    sweep(&broker, KEPT_MS);
    assert_eq!((broker.room_count(), broker.idle.len()), (1, 0));
}
