use super::*;
use crate::names::ConnectionId;
use bytes::Bytes;

const LIMITS: BatchLimits = BatchLimits { bytes: 1000, frames: 8 };

fn lane(members: &[(u32, u64)]) -> Lane {
    let mut lane = Lane::default();
    for &(slot, after) in members {
        lane.join(slot, after);
    }
    lane
}

fn push(lane: &mut Lane, seq: u64, frame: &'static [u8]) {
    let frame = Bytes::from_static(frame);
    lane.push(Pending { seq, loss: LossNote::NONE, frame, sender: None, at: Instant::now(), deflated: None });
}

fn run(lane: &mut Lane, at_most: usize) -> Vec<(u32, u32)> {
    let mut seen = Vec::new();
    lane.sweep(|Offer { slot, frames, .. }| {
        seen.push((slot, frames));
        seen.len() < at_most
    });
    seen
}

#[test]
fn every_member_is_prefetched_before_its_offer() {
    let mut lane = lane(&(0..50).map(|slot| (slot * 3, 0)).collect::<Vec<_>>());
    (10..13).for_each(|slot| assert!(lane.leave(slot * 3)));
    push(&mut lane, 1, b"a");
    lane.gather(&LIMITS, &mut Supplies::default());
    lane.begin();
    for at_most in [20, 50] {
        let (mut announced, mut offers) = (Vec::new(), 0);
        lane.sweep(|Offer { slot, next, .. }| {
            assert!(next.len() <= AHEAD);
            announced.extend(next.iter().map(|member| member.slot));
            assert!(announced.contains(&slot), "{slot}");
            offers += 1;
            offers < at_most
        });
    }
    assert!(!lane.has_work());
}

#[test]
fn members_get_only_frames_behind_their_position() {
    let mut lane = lane(&[(3, 0), (1, 1), (2, 2)]);
    push(&mut lane, 1, b"a");
    push(&mut lane, 2, b"b");
    lane.gather(&LIMITS, &mut Supplies::default());
    assert_eq!(lane.begin(), 2);
    assert_eq!(run(&mut lane, 9), [(1, 1), (3, 2)]);
    assert!(!lane.has_work());
}

#[test]
fn members_that_leave_or_join_during_a_sweep_hide_no_others() {
    let mut lane = lane(&[(2, 0), (4, 0), (6, 0), (8, 0)]);
    push(&mut lane, 1, b"a");
    lane.gather(&LIMITS, &mut Supplies::default());
    lane.begin();
    assert_eq!(run(&mut lane, 2), [(2, 1), (4, 1)]);
    assert!(lane.leave(2));
    assert!(lane.leave(6));
    lane.join(1, 1);
    lane.join(5, 1);
    lane.join(2, 1);
    assert_eq!(run(&mut lane, 9), [(8, 1)]);
    assert!(!lane.leave(6), "the member left before");
    push(&mut lane, 2, b"b");
    lane.gather(&LIMITS, &mut Supplies::default());
    lane.begin();
    assert_eq!(run(&mut lane, 9), [(1, 1), (2, 1), (4, 1), (5, 1), (8, 1)]);
}

#[test]
fn a_batch_is_bounded_but_a_longer_frame_is_still_sent() {
    let mut lane = lane(&[(0, 0)]);
    for seq in 1..=10 {
        push(&mut lane, seq, &[0; 300]);
    }
    push(&mut lane, 11, &[0; 5000]);
    let mut sizes = Vec::new();
    while lane.has_work() {
        lane.gather(&LIMITS, &mut Supplies::default());
        sizes.push(lane.begin());
        run(&mut lane, 9);
    }
    assert_eq!(sizes, [900, 900, 900, 300, 5000]);
}

#[test]
fn members_that_left_are_removed() {
    let mut lane = Lane::default();
    for slot in 0..1000 {
        lane.join(slot, 0);
    }
    for slot in 0..1000 {
        assert!(lane.leave(slot));
    }
    assert!(lane.is_empty());
    assert!(lane.members.is_empty());
}

#[test]
fn a_gathered_batch_grows_until_its_sweep_begins() {
    let mut lane = lane(&[(1, 0), (2, 0), (3, 0)]);
    let say = |lane: &mut Lane, seq, frame| {
        let (to, frame) = (ConnectionId::new(0, 2, 1), Bytes::from_static(frame));
        let sender = Some(SenderCopy { to, ack: None });
        lane.push(Pending { seq, loss: LossNote::NONE, frame, sender, at: Instant::now(), deflated: None });
        lane.gather(&LIMITS, &mut Supplies::default());
    };
    say(&mut lane, 1, b"a");
    assert_eq!((run(&mut lane, 9), lane.pending_bytes()), (vec![(2, 1)], 1), "only the sender is served");
    say(&mut lane, 2, b"bc");
    assert_eq!((run(&mut lane, 9), lane.pending_bytes()), (vec![(2, 1)], 3), "only what is new");
    lane.join(4, 2);
    assert!(lane.leave(1));
    push(&mut lane, 3, b"d");
    lane.gather(&LIMITS, &mut Supplies::default());
    assert_eq!((lane.begin(), lane.begin(), lane.pending_bytes()), (4, 0, 0));
    say(&mut lane, 4, b"e");
    assert_eq!(lane.pending_bytes(), 1, "a later message waits for the next");
    assert_eq!(run(&mut lane, 9), [(2, 1), (3, 3), (4, 1)]);
}

#[test]
fn a_batch_that_a_queue_holds_does_not_grow() {
    let mut lane = lane(&[(1, 0)]);
    push(&mut lane, 1, b"a");
    lane.gather(&LIMITS, &mut Supplies::default());
    let held = Rc::clone(&lane.sweep.as_ref().unwrap().batch);
    push(&mut lane, 2, b"b");
    lane.gather(&LIMITS, &mut Supplies::default());
    assert_eq!((&held.bytes[..], lane.pending_bytes()), (&b"a"[..], 2));
    assert_eq!((lane.begin(), run(&mut lane, 9)), (1, vec![(1, 1)]));
    lane.gather(&LIMITS, &mut Supplies::default());
    assert_eq!((lane.begin(), run(&mut lane, 9)), (1, vec![(1, 1)]));
}
