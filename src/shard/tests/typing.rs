//! Frames outside of a room's stream: typing events, and frames for one connection.

use super::hall::{Hall, seen};
use super::*;
use crate::registry::delivery::{Audience, Delivery};
use crate::registry::inbox::Typist;
use crate::shard::fanout::slice;

fn typing(hall: &Hall, by: &Registration) {
    hall.registry.typing(&hall.topic, &frame::text("typing"), Typist::Here(by.id()));
}

#[test]
fn typing_is_shown_to_other_members_with_empty_queues() {
    let mut hall = Hall::new(Overload::Disconnect);
    let (alice, a) = hall.member(Dialect::V1);
    let (_bob, b) = hall.member(Dialect::V1);
    let (_plain, p) = hall.member(Dialect::Plain);
    let (stuck, s) = hall.member(Dialect::V1);
    s.is_stuck.set(true);
    stuck.reply(&frame::text("own"));
    stuck.flush();
    typing(&hall, &alice);
    hall.run();
    s.is_stuck.set(false);
    stuck.flush();
    assert_eq!((seen(&a).len(), seen(&p).len()), (0, 0));
    assert_eq!((seen(&b), seen(&s)), (vec!["typing".to_owned()], vec!["own".to_owned()]));
    assert_eq!(hall.shard.egress.metrics.queue_bytes.get(), 0);
}

#[test]
fn typing_gives_way_to_everything_else() {
    let mut hall = Hall::new(Overload::Disconnect);
    let (alice, _) = hall.member(Dialect::V1);
    let others: Vec<_> = (0..2 * slice::WRITES).map(|_| hall.member(Dialect::V1)).collect();
    let shown = |others: &[(Registration, Rc<Wire>)]| {
        others.iter().filter(|(_, wire)| seen(wire).contains(&"typing".to_owned())).count()
    };
    // The typing event is behind a message in the same inbox.
    hall.say(None);
    typing(&hall, &alice);
    hall.run();
    assert_eq!(shown(&others), 0);
    // A message comes while the typing event is on its way through the members.
    typing(&hall, &alice);
    hall.take_in();
    assert!(hall.shard.slice(), "they are more than one slice");
    hall.say(None);
    hall.run();
    let after = shown(&others);
    assert!((1..2 * slice::WRITES).contains(&after), "{after}");
    // The inbox is more than half full.
    let frame = frame::text(&"x".repeat(600_000));
    hall.registry.publish(&mut hall.topic, Delivery::notice(&frame, Audience::V1, Instant::now()));
    typing(&hall, &alice);
    let mut items = Vec::new();
    hall.shard.inbox.take(&mut items);
    assert_eq!(items.len(), 1);
}

#[test]
fn a_frame_reaches_one_connection_on_any_shard() {
    let hall = Hall::new(Overload::Disconnect);
    let (alice, a) = hall.client(Dialect::V1);
    let (_bob, b) = hall.client(Dialect::V1);
    hall.registry.send(alice.id(), &frame::text("direct"), None);
    hall.registry.reply(alice.id(), &frame::text("answer"));
    assert_eq!(a.taken.borrow().len(), 0, "frames for a shard are written by that shard");
    hall.run();
    assert_eq!((seen(&a), seen(&b).len()), (vec!["direct".to_owned(), "answer".to_owned()], 0));
    a.is_stuck.set(true);
    for _ in 0..9 {
        hall.registry.send(alice.id(), &frame::text("direct"), None);
    }
    hall.run();
    assert!(
        matches!(alice.status().end, Some(EndReason::SlowConsumer(_))),
        "they count against the queue's bounds"
    );
    let gone = alice.id();
    drop(alice);
    hall.registry.send(gone, &frame::text("late"), None);
    hall.run();
    assert!(
        hall.registry.has_space_for(gone, 1000),
        "the answer does not depend on whether the connection exists"
    );
    hall.registry.send(gone, &frame::text("later"), None);
    assert!(!hall.registry.has_space_for(gone, 1 << 20), "an inbox is bounded");
}

#[test]
fn the_time_of_the_last_write_is_known_without_a_clock_read_per_delivery() {
    let mut hall = Hall::new(Overload::Disconnect);
    let (alice, _) = hall.member(Dialect::V1);
    let (bob, _) = hall.client(Dialect::V1);
    hall.clock.advance(Duration::from_millis(500));
    hall.say(None);
    hall.run();
    assert_eq!((alice.sent_ms(), bob.sent_ms()), (500, 0));
    hall.clock.advance(Duration::from_millis(500));
    hall.shard.tick();
    bob.reply(&frame::text("answer"));
    bob.flush();
    assert_eq!((alice.sent_ms(), bob.sent_ms()), (500, 1000));
}
