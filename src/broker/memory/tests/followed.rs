//! Rooms whose positions an engine assigns.

use super::super::super::engine_room::LINGER_MS;
use super::super::super::followed::{Positioned, Readiness};
use super::*;

const NOW_MS: u64 = 1_000_000;

/// Returns a broker with an engine, and the rooms that the engine was told are closed.
fn followed() -> (Memory<Members>, Arc<Mutex<Vec<String>>>) {
    let (broker, closed) = (broker(), Arc::<Mutex<Vec<String>>>::default());
    let names = Arc::clone(&closed);
    broker.attach_engine(move |room| names.lock().push(room.as_str().to_owned()));
    (broker, closed)
}

fn at(epoch: Epoch, offset: u64) -> Position {
    Position { epoch, offset: Offset(offset) }
}

fn open_at(broker: &Memory<Members>, room: &str, position: Position) -> SharedRoom<Members> {
    let entrant = Entrant { user: &"ann".parse().unwrap(), address: 1 };
    let earlier = Box::default();
    broker.open_at(&name(room), broker.opener(entrant), position, earlier).unwrap()
}

fn messages(offsets: impl IntoIterator<Item = u64>) -> Vec<Positioned<()>> {
    let positioned = |offset| Positioned {
        offset: Offset(offset),
        at_unix_ms: NOW_MS,
        encoded: Frame::from(vec![offset as u8; 10]).into(),
    };
    offsets.into_iter().map(positioned).collect()
}

#[test]
fn a_room_is_entered_once_the_engine_has_opened_it() {
    let (broker, _) = followed();
    let room = name("a");
    assert_eq!(broker.readiness(&room, None), Readiness::NotOpen);
    assert_eq!(broker.enter(&room, None, |_, _| ()).unwrap_err(), BrokerError::NoEngine);
    let epoch = Epoch::random();
    open_at(&broker, "a", at(epoch, 5));
    assert_eq!(broker.readiness(&room, None), Readiness::Ready);
    let (_, _, position) = broker.enter(&room, None, |state, _| state.position()).unwrap();
    assert_eq!(position, at(epoch, 5));
}

#[test]
fn missed_messages_are_read_from_the_engine_once() {
    let (broker, _) = followed();
    let epoch = Epoch::random();
    let room = open_at(&broker, "a", at(epoch, 5));
    broker.append_at(&room, NOW_MS, messages(6..=7));
    assert_eq!(broker.readiness(room.name(), Some(at(epoch, 5))), Readiness::Ready);
    assert_eq!(broker.readiness(room.name(), Some(at(epoch, 3))), Readiness::MissesHistory);
    // The engine has kept 4 and 5; what was appended meanwhile is read, too, and left out.
    broker.prepend(&room, NOW_MS, messages([7, 6, 5, 4]));
    assert_eq!(broker.readiness(room.name(), Some(at(epoch, 3))), Readiness::Ready);
    let Resumed::Recovered { page, rest: None, .. } = resume(&broker, "a", at(epoch, 3)) else { panic!() };
    assert_eq!(firsts(&page), [4, 5, 6, 7]);
    assert!(matches!(resume(&broker, "a", at(epoch, 2)), Resumed::NotRecovered), "3 is gone");
}

#[test]
fn a_position_that_this_node_does_not_know_is_checked_first() {
    let (broker, _) = followed();
    let [epoch, other] = [(); 2].map(|()| Epoch::random());
    let room = open_at(&broker, "a", at(epoch, 5));
    let readiness = |position| broker.readiness(room.name(), Some(position));
    assert_eq!([readiness(at(epoch, 6)), readiness(at(other, 1))], [Readiness::Behind; 2]);
    broker.append_at(&room, NOW_MS, messages(6..=6));
    assert_eq!(readiness(at(epoch, 6)), Readiness::Ready);
}

#[test]
fn messages_behind_a_hole_are_not_read() {
    let (broker, _) = followed();
    let epoch = Epoch::random();
    let room = open_at(&broker, "a", at(epoch, 5));
    broker.prepend(&room, NOW_MS, messages([4, 3]));
    assert!(matches!(resume(&broker, "a", at(epoch, 4)), Resumed::NotRecovered), "5 is gone");
}

#[test]
fn positions_of_an_earlier_epoch_are_good_as_far_as_it_survived() {
    let (broker, _) = followed();
    let [old, new] = [(); 2].map(|()| Epoch::random());
    let room = open_at(&broker, "a", at(old, 0));
    broker.append_at(&room, NOW_MS, messages(1..=3));
    broker.adopt(&room, new, Box::new([(old, Offset(3))]));
    broker.append_at(&room, NOW_MS, messages(4..=4));
    let Resumed::Recovered { page, .. } = resume(&broker, "a", at(old, 2)) else { panic!() };
    assert_eq!(firsts(&page), [3, 4]);
    assert!(matches!(resume(&broker, "a", at(old, 4)), Resumed::NotRecovered), "lost with the old epoch");
    assert!(matches!(resume(&broker, "a", at(new, 4)), Resumed::Recovered { .. }));
}

#[test]
fn a_room_that_was_abandoned_is_opened_anew() {
    let (broker, closed) = followed();
    let [old, new] = [(); 2].map(|()| Epoch::random());
    let room = open_at(&broker, "a", at(old, 9));
    let Resumed::NotRecovered = resume(&broker, "a", at(new, 1)) else { panic!() };
    broker.abandon_room(&room);
    assert!(room.with(|state| state.is_lost()));
    assert_eq!((broker.room_count(), closed.lock().len()), (0, 0), "the engine knows");
    let again = open_at(&broker, "a", at(new, 3));
    assert!(!Arc::ptr_eq(&room, &again));
    // Members of the old room leave it later.
    broker.close_if_empty(&room);
    assert_eq!(broker.room_count(), 1);
}

#[test]
fn a_room_without_members_lingers_and_is_closed() {
    let (broker, closed) = followed();
    let room = open_at(&broker, "a", at(Epoch::random(), 0));
    broker.append_at(&room, NOW_MS, messages(1..=1));
    sweep(&broker, NOW_MS);
    sweep(&broker, NOW_MS + LINGER_MS - 1);
    assert_eq!(broker.room_count(), 1);
    broker.enter(room.name(), None, |state, _| state.topic += 1).unwrap();
    sweep(&broker, NOW_MS + 2 * LINGER_MS);
    room.with(|state| state.topic -= 1);
    sweep(&broker, NOW_MS + 2 * LINGER_MS);
    sweep(&broker, NOW_MS + 3 * LINGER_MS - 1);
    assert_eq!((broker.room_count(), closed.lock().len()), (1, 0));
    sweep(&broker, NOW_MS + 3 * LINGER_MS);
    assert_eq!((broker.room_count(), closed.lock().join(" ")), (0, "a".to_owned()));
    // An evicted one, too: three rooms are allowed.
    for room in ["b", "c", "d", "e"] {
        open_at(&broker, room, at(Epoch::random(), 0));
    }
    assert_eq!((broker.room_count(), closed.lock().join(" ")), (3, "a b".to_owned()));
}

#[test]
fn messages_that_cannot_be_read_are_skipped() {
    let (broker, _) = followed();
    let epoch = Epoch::random();
    let room = open_at(&broker, "a", at(epoch, 0));
    broker.append_at(&room, NOW_MS, messages(1..=2));
    broker.skip(&room, Offset(6));
    broker.append_at(&room, NOW_MS, messages(7..=7));
    assert!(matches!(resume(&broker, "a", at(epoch, 2)), Resumed::NotRecovered));
    let Resumed::Recovered { page, .. } = resume(&broker, "a", at(epoch, 6)) else { panic!() };
    assert_eq!(firsts(&page), [7]);
}
