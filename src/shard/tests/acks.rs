//! Acks, leaving a room, and the order of a room's stream as each client sees it.

use std::future::Future;

use super::hall::{Hall, ack, seen};
use super::*;
use crate::registry::delivery::{Audience, SenderCopy};
use crate::shard::fanout::slice;

#[test]
fn an_ack_stands_right_behind_its_message_and_only_its_sender_sees_it() {
    let mut hall = Hall::new(Overload::Disconnect);
    let (alice, a) = hall.member(Dialect::V1);
    let (bob, b) = hall.member(Dialect::V1);
    let (_carol, c) = hall.member(Dialect::Plain);
    hall.say(None);
    hall.say(ack(&bob, false));
    hall.say(ack(&alice, false));
    hall.say(ack(&bob, false));
    hall.say(ack(&bob, false));
    hall.run();
    assert_eq!(seen(&b), ["1", "2", "ack", "3", "4", "ack", "5", "ack"]);
    assert_eq!(seen(&a), ["1", "2", "3", "ack", "4", "5"]);
    assert_eq!(seen(&c), ["1", "2", "3", "4", "5"]);
    assert_eq!(hall.shard.egress.metrics.queue_bytes.get(), 0);
}

#[test]
fn an_ack_may_replace_its_message() {
    let mut hall = Hall::new(Overload::Disconnect);
    let (alice, a) = hall.member(Dialect::V1);
    let (_bob, b) = hall.member(Dialect::V1);
    for instead in [true, false, true, true, false] {
        hall.say(ack(&alice, instead));
    }
    hall.run();
    assert_eq!(seen(&a), ["ack", "2", "ack", "ack", "ack", "5", "ack"]);
    assert_eq!(seen(&b), ["1", "2", "3", "4", "5"]);
}

#[test]
fn a_sender_that_is_no_member_gets_the_ack_alone() {
    let mut hall = Hall::new(Overload::Disconnect);
    let (first, f) = hall.client(Dialect::V1);
    // First the room has no members. Then it has members in slots before and behind the sender's.
    hall.say(ack(&first, true));
    hall.run();
    assert_eq!(seen(&f), ["ack"]);
    let (_a, a) = hall.member(Dialect::V1);
    let (middle, m) = hall.client(Dialect::V1);
    let (_z, z) = hall.member(Dialect::V1);
    let (last, l) = hall.client(Dialect::V1);
    hall.say(ack(&first, false));
    hall.say(ack(&last, false));
    hall.say(ack(&middle, false));
    hall.run();
    assert_eq!(
        (seen(&f).len(), &seen(&m)[..], &seen(&l)[..]),
        (2, &["ack".to_owned()][..], &["ack".to_owned()][..])
    );
    assert_eq!(seen(&a), ["2", "3", "4"]);
    assert_eq!(seen(&z), ["2", "3", "4"]);
}

#[test]
fn an_ack_of_a_connection_that_is_gone_reaches_nobody() {
    let mut hall = Hall::new(Overload::Disconnect);
    let (alice, _) = hall.member(Dialect::V1);
    let (_bob, b) = hall.member(Dialect::V1);
    hall.say(ack(&alice, true));
    hall.take_in();
    hall.topic.leave(0, Dialect::V1);
    let slot = alice.id().slot();
    drop(alice);
    let (heir, h) = hall.member(Dialect::V1);
    assert_eq!(heir.id().slot(), slot, "another client has the slot now");
    hall.say(None);
    hall.run();
    assert_eq!((seen(&h), seen(&b)), (vec!["2".to_owned()], vec!["1".to_owned(), "2".to_owned()]));
}

#[test]
fn a_client_that_leaves_gets_the_stream_up_to_its_leave_and_no_more() {
    // By the time of the leave, the others have got nothing, the first batch of four frames and a part of the second,
    // or everything.
    for slices in [0, 1, 2, 9] {
        for others_stay in [false, true] {
            let mut hall = Hall::new(Overload::Disconnect);
            let (alice, a) = hall.member(Dialect::V1);
            let count = if others_stay { slice::WRITES + 50 } else { 0 };
            let others: Vec<_> = (0..count).map(|_| hall.member(Dialect::V1)).collect();
            let (leaver, l) = hall.member(Dialect::V1);
            for n in 1..=6 {
                hall.say(if n % 3 == 0 { ack(&leaver, n == 6) } else { ack(&alice, false) });
                hall.notice(Audience::V1, "notice");
                hall.take_in();
            }
            for _ in 0..slices {
                hall.shard.slice();
            }
            hall.leave(&leaver);
            let expected = "1 notice 2 notice 3 ack notice 4 notice 5 notice ack notice left";
            assert_eq!(seen(&l).join(" "), expected, "{slices} slices, others stay: {others_stay}");
            hall.run();
            assert_eq!(seen(&l).join(" "), expected, "nothing comes twice, and nothing after the leave");
            assert_eq!(
                seen(&a).join(" "),
                "1 ack notice 2 ack notice 3 notice 4 ack notice 5 ack notice 6 notice 7"
            );
            for (_, wire) in &others {
                assert_eq!(seen(wire).join(" "), "1 notice 2 notice 3 notice 4 notice 5 notice 6 notice 7");
            }
        }
    }
}

#[test]
fn the_last_leave_loses_no_ack_of_others() {
    let mut hall = Hall::new(Overload::Disconnect);
    let (guest, g) = hall.client(Dialect::V1);
    let (leaver, l) = hall.member(Dialect::V1);
    hall.say(ack(&guest, false));
    hall.leave(&leaver);
    hall.run();
    assert_eq!((seen(&g).join(" "), seen(&l).join(" ")), ("ack".to_owned(), "1 left".to_owned()));
    assert_eq!(hall.shard.room_count(), 0);
}

#[test]
fn both_lanes_keep_one_order() {
    let mut hall = Hall::new(Overload::Disconnect);
    let (_plain, p) = hall.member(Dialect::Plain);
    let (_v1, v) = hall.member(Dialect::V1);
    assert_eq!(hall.shard.room_count(), 1);
    hall.say(None);
    hall.notice(Audience::Plain, "joined");
    hall.notice(Audience::V1, "diff");
    hall.say(None);
    hall.notice(Audience::All, "both");
    hall.say(None);
    hall.run();
    assert_eq!(seen(&p), ["1", "joined", "2", "both", "3"]);
    assert_eq!(seen(&v), ["1", "diff", "2", "both", "3"]);
    let (_late, l) = hall.member(Dialect::V1);
    hall.say(None);
    hall.run();
    assert_eq!(seen(&l), ["4"]);
}

#[test]
fn publications_that_a_leaving_client_takes_in_reach_the_others() {
    let mut hall = Hall::new(Overload::Disconnect);
    let (_alice, a) = hall.member(Dialect::V1);
    let (leaver, _) = hall.member(Dialect::V1);
    let mut fanout = std::pin::pin!(fanout::run(Rc::clone(&hall.shard)));
    let mut cx = std::task::Context::from_waker(Waker::noop());
    assert!(fanout.as_mut().poll(&mut cx).is_pending(), "it sleeps");
    hall.say(None);
    hall.leave(&leaver);
    assert!(fanout.as_mut().poll(&mut cx).is_pending());
    assert_eq!(seen(&a), ["1", "2"]);
}

#[test]
fn a_client_that_leaves_behind_the_sweep_gets_nothing_twice() {
    let mut hall = Hall::new(Overload::Disconnect);
    let (leaver, l) = hall.member(Dialect::V1);
    let _others: Vec<_> = (0..2 * slice::WRITES).map(|_| hall.member(Dialect::V1)).collect();
    hall.say(ack(&leaver, false));
    hall.say(None);
    hall.take_in();
    assert!(hall.shard.slice(), "they are more than one slice");
    assert_eq!(seen(&l), ["1", "ack", "2"], "the sweep has passed this member, and goes on");
    hall.say(ack(&leaver, true));
    hall.leave(&leaver);
    hall.run();
    assert_eq!(seen(&l), ["1", "ack", "2", "ack", "left"]);
}

/// A simulated socket that logs the index of its client at each write.
struct LoggingWire {
    index: usize,
    log: Rc<RefCell<Vec<usize>>>,
}

impl ByteStream for LoggingWire {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.log.borrow_mut().push(self.index);
        Ok(bytes.len())
    }
}

/// Returns the order in which five members are written to, when members 3, 1 and 3 again send a message each.
/// `copy_for` makes the copy for a sender.
fn order_of_writes(dialect: Dialect, copy_for: impl Fn(&Registration) -> Option<SenderCopy>) -> Vec<usize> {
    let mut hall = Hall::new(Overload::Disconnect);
    let log = Rc::<RefCell<Vec<usize>>>::default();
    let members: Vec<_> = (0..5)
        .map(|index| {
            let member = hall.connect(dialect, Rc::new(LoggingWire { index, log: log.clone() }));
            hall.enter(&member);
            member
        })
        .collect();
    for sender in [3, 1, 3] {
        hall.say(copy_for(&members[sender]));
    }
    hall.run();
    log.take()
}

#[test]
fn senders_are_written_to_first_and_every_client_once() {
    let acked = order_of_writes(Dialect::V1, |member| ack(member, false));
    assert_eq!(acked, [1, 3, 0, 2, 4], "one write for each sender, before the others");
    let plain = order_of_writes(Dialect::Plain, |member| Some(SenderCopy { to: member.id(), ack: None }));
    assert_eq!(plain, [1, 3, 0, 2, 4]);
    assert_eq!(order_of_writes(Dialect::Plain, |_| None), [0, 1, 2, 3, 4]);
}

#[test]
fn a_socket_that_takes_a_part_gets_the_rest_with_the_acks_in_order() {
    for space in 0..30 {
        let mut hall = Hall::new(Overload::Disconnect);
        let (alice, a) = hall.member(Dialect::V1);
        let (_bob, b) = hall.member(Dialect::V1);
        a.space.set(Some(space));
        for instead in [false, true, false] {
            hall.say(ack(&alice, instead));
        }
        hall.run();
        a.space.set(None);
        alice.flush();
        assert_eq!(seen(&a), ["1", "ack", "ack", "3", "ack"], "{space}");
        assert_eq!(seen(&b), ["1", "2", "3"]);
        assert_eq!(hall.shard.egress.metrics.queue_bytes.get(), 0);
        assert_eq!(hall.shard.egress.metrics.deliveries.get(), 5, "{space}");
    }
}
