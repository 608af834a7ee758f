//! Clients that do not keep up, and the `gap` events that tell them which messages were dropped.

use super::hall::{Hall, ack, seen};
use super::*;
use crate::protocol::frame::Frame;
use crate::registry::delivery::{Audience, Delivery};

/// Returns the texts that a client gets whose socket took nothing while `messages` messages came. A notice follows each
/// message, and the client sends the fifth itself, so that an ack replaces it.
fn gaps(overload: Overload, messages: u64) -> Vec<String> {
    let mut hall = Hall::new(overload);
    let (slow, wire) = hall.member(Dialect::V1);
    wire.is_stuck.set(true);
    for n in 1..=messages {
        hall.say(if n == 5 { ack(&slow, true) } else { None });
        hall.notice(Audience::V1, "notice");
        hall.run();
    }
    assert_eq!(slow.status().end, None);
    wire.is_stuck.set(false);
    slow.flush();
    assert_eq!(hall.shard.egress.metrics.queue_bytes.get(), 0);
    let told = seen(&wire);
    hall.say(None);
    hall.run();
    assert_eq!(seen(&wire).last(), Some(&(messages + 1).to_string()), "later messages are delivered");
    told
}

#[test]
fn gaps_name_exactly_the_dropped_messages() {
    assert_eq!(gaps(Overload::DropNewest, 20).join(" "), "1 notice 2 notice 3 notice 4 notice ack gap 6-20");
    // The ack stands at the position of message 5 and is never dropped, so the messages dropped before and behind it
    // are two gaps.
    assert_eq!(
        gaps(Overload::DropOldest, 20).join(" "),
        "gap 1-4 ack gap 6-16 17 notice 18 notice 19 notice 20 notice"
    );
}

#[test]
fn every_offset_is_delivered_or_in_a_gap_whatever_the_socket_takes() {
    for (seed, overload) in
        (0..200).flat_map(|seed| [(seed, Overload::DropOldest), (seed, Overload::DropNewest)])
    {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut hall = Hall::new(overload);
        let (slow, wire) = hall.member(Dialect::V1);
        for _ in 0..100 {
            match random.u8(..6) {
                0 => wire.is_stuck.set(random.bool()),
                1 => {
                    slow.flush();
                }
                2 => hall.run(),
                3 => hall.notice(Audience::V1, "notice"),
                _ => {
                    let copy = if random.u8(..4) == 0 { ack(&slow, random.bool()) } else { None };
                    // An ack that replaces its message has the message's offset as its text in this test.
                    let copy = copy.map(|mut copy| {
                        if let Some(ack) = copy.ack.as_mut().filter(|ack| ack.instead) {
                            ack.frame = frame::text(&hall.last.next().to_string());
                        }
                        copy
                    });
                    hall.say(copy);
                }
            }
        }
        hall.run();
        wire.is_stuck.set(false);
        slow.flush();
        let mut next = 1;
        for text in seen(&wire) {
            if let Some((from, to)) = text.strip_prefix("gap ").and_then(|range| range.split_once('-')) {
                assert_eq!(from.parse(), Ok(next), "seed {seed} {overload:?}: {text}");
                next = to.parse::<u64>().unwrap() + 1;
            } else if let Ok(offset) = text.parse::<u64>() {
                assert_eq!(offset, next, "seed {seed} {overload:?}");
                next += 1;
            }
        }
        assert_eq!(next, hall.last.0 + 1, "seed {seed} {overload:?}");
    }
}

#[test]
fn plain_clients_get_no_gap() {
    let mut hall = Hall::new(Overload::DropNewest);
    let (slow, wire) = hall.member(Dialect::Plain);
    wire.is_stuck.set(true);
    for _ in 0..20 {
        hall.say(None);
        hall.run();
    }
    wire.is_stuck.set(false);
    slow.flush();
    assert_eq!(seen(&wire), ["1", "2", "3", "4", "5", "6", "7", "8"]);
    assert_eq!(hall.shard.egress.metrics.messages_dropped.get(), 12);
}

#[test]
fn a_disconnect_event_precedes_every_close_that_the_server_starts() {
    let hall = Hall::new(Overload::Disconnect);
    for (dialect, reason, expected) in [
        (Dialect::V1, EndReason::Restarting, &["disconnect", "1012"][..]),
        (Dialect::V1, EndReason::SlowConsumer(Overflow::Bytes), &["disconnect", "4001"]),
        (Dialect::V1, EndReason::PeerClosed(1000), &["1000"]),
        (Dialect::V1, EndReason::PeerVanished, &[]),
        (Dialect::Plain, EndReason::Restarting, &["1012"]),
    ] {
        let (client, wire) = hall.client(dialect);
        client.end(reason);
        assert_eq!(seen(&wire), expected);
    }
}

#[test]
fn rooms_with_different_policies_do_not_drop_each_others_messages() {
    let mut hall = Hall::new(Overload::DropOldest);
    let mut strict = hall.registry.topic();
    let (slow, wire) = hall.member(Dialect::V1);
    let after = strict.join(0, Dialect::V1);
    slow.subscribe(strict.id(), after, &"strict".parse().unwrap(), Overload::Disconnect);
    wire.is_stuck.set(true);
    let frame: Frame = frame::text("strict");
    for n in 1..=8 {
        let delivery = Delivery::message(&frame, Offset(n), Instant::now());
        hall.registry.publish(&mut strict, delivery);
        hall.run();
    }
    hall.say(None);
    hall.say(None);
    hall.run();
    assert_eq!(slow.status().end, None);
    wire.is_stuck.set(false);
    slow.flush();
    assert_eq!(seen(&wire).join(" "), "strict ".repeat(8) + "gap 1-2");
    wire.is_stuck.set(true);
    for n in 9..=17 {
        hall.registry.publish(&mut strict, Delivery::message(&frame, Offset(n), Instant::now()));
        hall.run();
    }
    assert!(slow.is_ending());
}

#[test]
fn a_gap_does_not_span_an_ack() {
    let mut hall = Hall::new(Overload::DropNewest);
    let (slow, wire) = hall.member(Dialect::V1);
    wire.is_stuck.set(true);
    for n in 1..=14 {
        // The ack of message 10 stands behind its message, which was dropped.
        hall.say(if n == 10 { ack(&slow, false) } else { None });
        hall.run();
    }
    wire.is_stuck.set(false);
    slow.flush();
    assert_eq!(seen(&wire).join(" "), "1 2 3 4 5 6 7 8 gap 9-10 ack gap 11-14");
}
