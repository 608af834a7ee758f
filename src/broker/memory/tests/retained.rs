//! The positions of rooms that are gone.

use super::*;

fn is_recovered(broker: &Memory<Members>, room: &str, position: Position) -> bool {
    let resumed = resume(broker, room, position);
    broker.close_if_empty(&open(broker, room));
    match resumed {
        Resumed::Recovered { page, rest, .. } => {
            assert!(page.frames.is_empty() && page.gap.is_none() && rest.is_none(), "there is nothing");
            true
        }
        Resumed::NotRecovered => false,
        Resumed::Fresh => panic!("it was asked for"),
    }
}

/// Enters a room, publishes `said` messages, and leaves. Returns the room's position then.
fn visit(broker: &Memory<Members>, room: &str, said: usize, now_ms: u64) -> Position {
    let room = open(broker, room);
    (0..said).for_each(|_| assert!(say(broker, &room, FRAME, now_ms) > 0));
    broker.close_if_empty(&room);
    room.with(|state| state.position())
}

#[test]
fn a_room_in_which_nothing_was_said_goes_on() {
    let broker = broker();
    let start = visit(&broker, "a", 0, 0);
    assert_eq!((broker.room_count(), start.offset), (0, Offset(0)));
    assert!(is_recovered(&broker, "a", start));
    let others = [Position { offset: Offset(1), ..start }, Position { epoch: Epoch::random(), ..start }];
    assert!(others.into_iter().all(|other| !is_recovered(&broker, "a", other)), "nobody was there");
    assert!(!is_recovered(&broker, "b", start), "another room is another life");
    assert_eq!(say(&broker, &open(&broker, "a"), FRAME, 0), 1);
    let Resumed::Recovered { page, .. } = resume(&broker, "a", start) else { panic!("it is there") };
    assert_eq!(firsts(&page), [1]);
}

#[test]
fn a_position_outlives_the_messages_and_a_client_that_missed_some_learns_it() {
    let broker = broker();
    let last = visit(&broker, "a", 3, 0);
    sweep(&broker, TTL_MS);
    assert_eq!((broker.room_count(), broker.positions.sizes()), (0, (1, 0)));
    assert!(is_recovered(&broker, "a", last));
    for offset in [0, 2, 4] {
        assert!(!is_recovered(&broker, "a", Position { offset: Offset(offset), ..last }), "{offset}");
    }
    assert_eq!(say(&broker, &open(&broker, "a"), FRAME, TTL_MS), 4, "it goes on");
    assert_eq!(broker.positions.sizes(), (0, 0), "as long as there is the room");
}

#[test]
fn a_position_is_remembered_for_a_day() {
    let broker = broker();
    sweep(&broker, 5);
    let (silent, spoken) = (visit(&broker, "a", 0, 5), visit(&broker, "b", 1, 5));
    sweep(&broker, 5 + TTL_MS);
    let end_ms = 5 + TTL_MS + POSITION_TTL_MS;
    // Entering and leaving prolongs it.
    assert!(is_recovered(&broker, "a", silent));
    sweep(&broker, end_ms - 1);
    assert_eq!(broker.positions.sizes(), (2, 0));
    sweep(&broker, end_ms);
    assert_eq!(broker.positions.sizes(), (0, 0));
    assert!(!is_recovered(&broker, "a", silent) && !is_recovered(&broker, "b", spoken));
    assert_eq!(broker.positions.sizes(), (2, 0), "of their new lives");
    // Exactly then, though it is swept later.
    let renewed = visit(&broker, "a", 0, end_ms);
    broker.tick(end_ms + POSITION_TTL_MS);
    assert!(!is_recovered(&broker, "a", renewed));
}

#[test]
fn where_none_is_to_be_remembered_there_are_still_the_keys() {
    let limits = MemoryLimits { position_ttl_ms: 0, ..limits(1 << 20) };
    let broker = Memory::new(Members::default(), limits);
    let start = visit(&broker, "a", 0, 0);
    assert!(!is_recovered(&broker, "a", start));
    let first = say_once(&broker, &open(&broker, "tiny"), ("ann", "1"), 0).unwrap();
    let last = visit(&broker, "tiny", 2, 0);
    sweep(&broker, TTL_MS);
    assert_eq!((broker.room_count(), broker.positions.sizes()), (0, (1, 1)));
    assert!(is_recovered(&broker, "tiny", last));
    let again = say_once(&broker, &open(&broker, "tiny"), ("ann", "1"), TTL_MS).unwrap();
    assert_eq!(again, Published { is_duplicate: true, ..first });
    broker.close_if_empty(&open(&broker, "tiny"));
    sweep(&broker, KEPT_MS);
    assert_eq!(broker.positions.sizes(), (0, 0));
}

/// Eight are remembered: in the end two of the silent rooms, and otherwise rooms with messages.
#[test]
fn beyond_the_bound_silent_positions_go_first_and_those_of_the_owner_of_most() {
    let broker = Memory::new(Members::default(), MemoryLimits { max_positions: 8, ..limits(1 << 20) });
    let visit_by = |room: &str, user: &str, said| {
        let user: UserId = user.parse().unwrap();
        let entrant = Entrant { user: &user, address: 1 };
        broker.enter_as(&name(room), entrant, None, |_, _| ()).unwrap();
        visit(&broker, room, said, 0)
    };
    let ann = visit_by("ann", "ann", 1);
    sweep(&broker, TTL_MS);
    let quiet = visit_by("quiet", "bob", 0);
    let silent: Vec<_> = (0..50).map(|n| visit_by(&format!("silent-{n}"), "mallory", 0)).collect();
    assert_eq!(broker.positions.sizes(), (8, 0));
    for n in 0..50 {
        visit_by(&format!("loud-{n}"), "mallory", 1);
        sweep(&broker, 2 * TTL_MS);
    }
    assert_eq!((broker.room_count(), broker.positions.sizes()), (0, (8, 0)));
    assert!(is_recovered(&broker, "ann", ann), "her one is there, however much mallory says");
    assert!(is_recovered(&broker, "quiet", quiet) && is_recovered(&broker, "silent-49", silent[49]));
    assert!(!is_recovered(&broker, "silent-48", silent[48]));
}
