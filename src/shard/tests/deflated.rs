//! Members of a room who are sent its events compressed, beside others who are not.

use super::hall::Hall;
use super::*;
use crate::deflate::Inflater;
use crate::protocol::Deflate;
use crate::registry::delivery::{Ack, Delivery, SenderCopy};

fn member(hall: &mut Hall, dialect: Dialect) -> (Registration, Rc<Wire>) {
    let (client, wire) = hall.client(dialect);
    client.compress(Deflate::Both);
    let after = hall.topic.join(0, client.lane());
    client.subscribe(hall.topic.id(), after, &hall.room, hall.overload);
    (client, wire)
}

/// Publishes a text that is worth compressing and ends with its number.
fn say(hall: &mut Hall, sender: Option<SenderCopy>) -> String {
    hall.last = hall.last.next();
    let text = format!("{}{}", "somebody says this and that; ".repeat(20), hall.last);
    let frame = frame::text(&text);
    let delivery = Delivery { sender, ..Delivery::message(&frame, hall.last, Instant::now()) };
    hall.registry.publish(&mut hall.topic, delivery);
    text
}

/// Returns the texts that a socket took, and the number of those that were compressed.
fn seen(wire: &Wire) -> (Vec<String>, usize) {
    let taken = wire.taken.borrow();
    let (mut rest, mut texts, mut compressed) = (&taken[..], Vec::new(), 0);
    while let [first, second, ..] = *rest {
        let (head, len) = match second {
            126 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
            len => (2, usize::from(len)),
        };
        let mut payload = rest[head..head + len].to_vec();
        if first == 0xc1 {
            compressed += 1;
            payload = Inflater::default().inflate(&payload, 1 << 20).unwrap().to_vec();
        }
        texts.push(String::from_utf8(payload).unwrap());
        rest = &rest[head + len..];
    }
    (texts, compressed)
}

#[test]
fn the_members_of_all_lanes_get_the_same_texts_and_share_one_form() {
    let mut hall = Hall::new(Overload::Disconnect);
    let clients = [hall.member(Dialect::Plain), hall.member(Dialect::V1)];
    let deflated = [member(&mut hall, Dialect::Plain), member(&mut hall, Dialect::V1)];
    let texts: Vec<_> = (0..10).map(|_| say(&mut hall, None)).collect();
    hall.run();
    for (_, wire) in &clients {
        assert_eq!(seen(wire), (texts.clone(), 0));
    }
    for (_, wire) in &deflated {
        assert_eq!(seen(wire), (texts.clone(), 10));
    }
    let plain: usize = texts.iter().map(|text| frame::text(text).len()).sum();
    let metrics = &hall.shard.egress.metrics;
    assert_eq!(metrics.compressed_from.get(), plain as u64, "each message is compressed once for both lanes");
    assert!(metrics.compressed_to.get() * 3 < plain as u64);
    assert_eq!(hall.shard.room_count(), 1, "lanes of one room are one room");
}

#[test]
fn senders_get_their_copies_and_acks_in_order() {
    let mut hall = Hall::new(Overload::Disconnect);
    let others = [hall.member(Dialect::V1), member(&mut hall, Dialect::Plain)];
    let (author, wire) = member(&mut hall, Dialect::V1);
    let copy = |to: &Registration, instead| {
        let ack = Ack { frame: frame::text("ack"), instead };
        Some(SenderCopy { to: to.id(), ack: Some(Box::new(ack)) })
    };
    let first = say(&mut hall, copy(&author, false));
    let second = say(&mut hall, copy(&author, true));
    let third = say(&mut hall, copy(&others[0].0, false));
    hall.run();
    assert_eq!(seen(&wire), (vec![first.clone(), "ack".into(), "ack".into(), third.clone()], 2));
    let [first, second] = [first, second];
    assert_eq!(seen(&others[0].1).0, [&first, &second, &third, "ack"]);
    assert_eq!(seen(&others[1].1), (vec![first, second, third], 3));
}

#[test]
fn members_that_leave_or_come_late_get_their_part() {
    let mut hall = Hall::new(Overload::Disconnect);
    let stays = member(&mut hall, Dialect::V1);
    let leaves = member(&mut hall, Dialect::V1);
    let texts: Vec<_> = (0..6).map(|_| say(&mut hall, None)).collect();
    hall.take_in();
    let until = hall.topic.leave(0, leaves.0.lane());
    let late = member(&mut hall, Dialect::V1);
    let last = say(&mut hall, None);
    leaves.0.unsubscribe(hall.topic.id(), until);
    leaves.0.flush();
    assert_eq!(seen(&leaves.1).0, texts);
    hall.run();
    assert_eq!(seen(&late.1), (vec![last.clone()], 1));
    assert_eq!(seen(&stays.1), ([texts, vec![last]].concat(), 7));
}

#[test]
fn the_last_member_that_leaves_frees_the_bytes_in_the_inbox() {
    for gathers in [false, true] {
        let mut hall = Hall::with_batches_of(3, Overload::Disconnect);
        let (client, wire) = member(&mut hall, Dialect::Plain);
        if gathers {
            wire.is_stuck.set(true);
        }
        (0..6).for_each(|_| drop(say(&mut hall, None)));
        hall.take_in();
        if gathers {
            hall.shard.slice();
        }
        let until = hall.topic.leave(0, client.lane());
        client.unsubscribe(hall.topic.id(), until);
        assert_eq!(hall.shard.inbox.bytes(), 0, "gathers: {gathers}");
        hall.run();
    }
}

#[test]
fn short_frames_and_clients_with_a_small_window_get_nothing_compressed() {
    let mut hall = Hall::new(Overload::Disconnect);
    let (_client, wire) = member(&mut hall, Dialect::Plain);
    let (small, small_wire) = hall.client(Dialect::Plain);
    small.compress(Deflate::Received);
    let after = hall.topic.join(0, small.lane());
    small.subscribe(hall.topic.id(), after, &hall.room, hall.overload);
    hall.say(None);
    let long = say(&mut hall, None);
    hall.run();
    assert_eq!(seen(&wire), (vec!["1".to_owned(), long.clone()], 1));
    assert_eq!(seen(&small_wire), (vec!["1".to_owned(), long], 0));
}
