use super::*;
use bytes::Bytes;

const LIMITS: BatchLimits = BatchLimits { bytes: 1000, frames: 8 };

fn room(members: &[(u32, u64)]) -> Room {
    let mut room = Room::default();
    for &(slot, after) in members {
        room.join(slot, after);
    }
    room
}

fn push(room: &mut Room, seq: u64, frame: &'static [u8]) {
    let frame = Bytes::from_static(frame);
    room.push(Pending { seq, place: Place::NONE, frame, aside: None, at: Instant::now() });
}

fn run(room: &mut Room, at_most: usize) -> Vec<(u32, u32)> {
    let mut seen = Vec::new();
    room.sweep(|Offer { slot, frames, .. }| {
        seen.push((slot, frames));
        seen.len() < at_most
    });
    seen
}

#[test]
fn whoever_gets_an_offer_was_announced_since_the_sweep_went_on() {
    let mut room = room(&(0..50).map(|slot| (slot * 3, 0)).collect::<Vec<_>>());
    (10..13).for_each(|slot| assert!(room.leave(slot * 3)));
    push(&mut room, 1, b"a");
    room.gather(&LIMITS, Rc::default);
    room.begin();
    for at_most in [20, 50] {
        let (mut announced, mut offers) = (Vec::new(), 0);
        room.sweep(|Offer { slot, next, .. }| {
            assert!(next.len() <= AHEAD);
            announced.extend(next.iter().map(|member| member.slot));
            assert!(announced.contains(&slot), "{slot}");
            offers += 1;
            offers < at_most
        });
    }
    assert!(!room.has_work());
}

#[test]
fn members_get_only_what_is_behind_their_place() {
    let mut room = room(&[(3, 0), (1, 1), (2, 2)]);
    push(&mut room, 1, b"a");
    push(&mut room, 2, b"b");
    room.gather(&LIMITS, Rc::default);
    assert_eq!(room.begin(), 2);
    assert_eq!(run(&mut room, 9), [(1, 1), (3, 2)]);
    assert!(!room.has_work());
}

#[test]
fn leaving_and_joining_in_mid_sweep_hides_nobody() {
    let mut room = room(&[(2, 0), (4, 0), (6, 0), (8, 0)]);
    push(&mut room, 1, b"a");
    room.gather(&LIMITS, Rc::default);
    room.begin();
    assert_eq!(run(&mut room, 2), [(2, 1), (4, 1)]);
    assert!(room.leave(2));
    assert!(room.leave(6));
    room.join(1, 1);
    room.join(5, 1);
    room.join(2, 1);
    assert_eq!(run(&mut room, 9), [(8, 1)]);
    assert!(!room.leave(6), "gone already");
    push(&mut room, 2, b"b");
    room.gather(&LIMITS, Rc::default);
    room.begin();
    assert_eq!(run(&mut room, 9), [(1, 1), (2, 1), (4, 1), (5, 1), (8, 1)]);
}

#[test]
fn a_batch_is_bounded_but_a_long_frame_still_goes() {
    let mut room = room(&[(0, 0)]);
    for seq in 1..=10 {
        push(&mut room, seq, &[0; 300]);
    }
    push(&mut room, 11, &[0; 5000]);
    let mut sizes = Vec::new();
    while room.has_work() {
        room.gather(&LIMITS, Rc::default);
        sizes.push(room.begin());
        run(&mut room, 9);
    }
    assert_eq!(sizes, [900, 900, 900, 300, 5000]);
}

#[test]
fn those_who_left_are_forgotten() {
    let mut room = Room::default();
    for slot in 0..1000 {
        room.join(slot, 0);
    }
    for slot in 0..1000 {
        assert!(room.leave(slot));
    }
    assert!(room.is_empty());
    assert!(room.members.is_empty());
}

#[test]
fn what_is_gathered_grows_until_its_sweep_begins() {
    let mut room = room(&[(1, 0), (2, 0), (3, 0)]);
    let say = |room: &mut Room, seq, frame| {
        let (to, frame) = (ConnectionId::new(0, 2, 1), Bytes::from_static(frame));
        let aside = Some(Aside { to, ack: None });
        room.push(Pending { seq, place: Place::NONE, frame, aside, at: Instant::now() });
        room.gather(&LIMITS, Rc::default);
    };
    say(&mut room, 1, b"a");
    assert_eq!((run(&mut room, 9), room.pending_bytes()), (vec![(2, 1)], 1), "who said it, and nobody else");
    say(&mut room, 2, b"bc");
    assert_eq!((run(&mut room, 9), room.pending_bytes()), (vec![(2, 1)], 3), "only what is new");
    room.join(4, 2);
    assert!(room.leave(1));
    push(&mut room, 3, b"d");
    room.gather(&LIMITS, Rc::default);
    assert_eq!((room.begin(), room.begin(), room.pending_bytes()), (4, 0, 0));
    say(&mut room, 4, b"e");
    assert_eq!(room.pending_bytes(), 1, "what comes now waits for the next");
    assert_eq!(run(&mut room, 9), [(2, 1), (3, 3), (4, 1)]);
}

#[test]
fn what_a_queue_holds_does_not_grow() {
    let mut room = room(&[(1, 0)]);
    push(&mut room, 1, b"a");
    room.gather(&LIMITS, Rc::default);
    let held = Rc::clone(&room.sweep.as_ref().unwrap().batch);
    push(&mut room, 2, b"b");
    room.gather(&LIMITS, Rc::default);
    assert_eq!((&held.bytes[..], room.pending_bytes()), (&b"a"[..], 2));
    assert_eq!((room.begin(), run(&mut room, 9)), (1, vec![(1, 1)]));
    room.gather(&LIMITS, Rc::default);
    assert_eq!((room.begin(), run(&mut room, 9)), (1, vec![(1, 1)]));
}
