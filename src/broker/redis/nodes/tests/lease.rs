//! The conclusions that a node draws from the answers to its beats.

use super::name;
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::nodes::beat::BeatReply;
use crate::broker::redis::nodes::table::{Table, TableId};
use crate::broker::redis::nodes::{BEAT_MS, LEASE_MS, Lease, LeaseEvent};

fn lease() -> Lease {
    Lease::new(name(1), Incarnation(7), 100)
}

fn table(id: u64) -> Table {
    Table { now_ms: 1, id: TableId(id), nodes: Vec::new(), unknown: 0 }
}

fn beaten(id: u64) -> BeatReply {
    BeatReply::Beaten(table(id))
}

/// Sends the beat that is due at `now_ms`, and answers it at once.
fn beat(lease: &mut Lease, now_ms: u64, reply: BeatReply) -> Option<LeaseEvent> {
    lease.due(now_ms).unwrap_or_else(|| panic!("no beat is due at {now_ms}"));
    lease.answered(now_ms, reply)
}

#[test]
fn a_node_beats_every_three_seconds_and_one_beat_at_a_time() {
    let mut lease = lease();
    assert!(!lease.may_claim(100));
    let first = lease.due(100).unwrap();
    assert_eq!((first.incarnation, first.seen), (Incarnation(7), None));
    assert_eq!((lease.due(99_999), lease.next_ms()), (None, None));
    assert_eq!(lease.engine_now_ms(100), None);
    assert_eq!(lease.answered(150, beaten(4)), Some(LeaseEvent::Entered(table(4))));
    assert_eq!(lease.engine_now_ms(250), Some(table(4).now_ms + 100));
    assert_eq!(lease.next_ms(), Some(100 + BEAT_MS));
    assert_eq!(lease.due(100 + BEAT_MS - 1), None);
    let second = lease.due(100 + BEAT_MS).unwrap();
    assert_eq!(second.seen, Some(TableId(4)));
    assert_ne!(second.new_table, first.new_table);
    assert_eq!(lease.answered(3_200, beaten(4)), Some(LeaseEvent::Renewed(table(4))));
    assert_eq!(lease.answered(3_200, BeatReply::Dead), None, "no beat waits for an answer");
}

#[test]
fn a_beat_can_be_had_early_and_others_not_much_sooner() {
    let mut lease = lease();
    lease.hurry(0);
    assert_eq!(lease.next_ms(), Some(100), "the first beat is due at once in any case");
    beat(&mut lease, 100, beaten(4));
    lease.hurry(200);
    assert_eq!(lease.next_ms(), Some(350));
    lease.hurry(1_000);
    assert_eq!(lease.next_ms(), Some(350), "never later");
    lease.due(350).unwrap();
    lease.hurry(351);
    assert_eq!(lease.answered(352, beaten(4)), Some(LeaseEvent::Renewed(table(4))));
    assert_eq!(lease.next_ms(), Some(350 + BEAT_MS));
}

#[test]
fn a_node_without_acknowledged_beats_claims_nothing_and_then_doubts() {
    let mut lease = lease();
    beat(&mut lease, 100, beaten(4));
    assert!(lease.may_claim(5_099) && !lease.may_claim(5_100));
    lease.due(3_100).unwrap();
    lease.failed(5_000);
    assert_eq!(lease.next_ms(), Some(6_000));
    assert_eq!(beat(&mut lease, 6_000, beaten(4)), Some(LeaseEvent::Doubtful(table(4))));
    assert!(lease.may_claim(6_000));
    assert_eq!(beat(&mut lease, 9_000, beaten(4)), Some(LeaseEvent::Renewed(table(4))));
    let other = beat(&mut lease, 12_000, beaten(5));
    assert_eq!(other, Some(LeaseEvent::Doubtful(table(5))), "the engine has lost its data");
}

#[test]
fn a_node_that_was_declared_dead_begins_anew() {
    for reply in [BeatReply::Dead, BeatReply::Held { for_ms: 5, beat_ms: 1 }] {
        let mut lease = lease();
        beat(&mut lease, 100, beaten(4));
        assert_eq!(beat(&mut lease, 40_000, reply), Some(LeaseEvent::BeginAnew));
        assert_eq!((lease.due(99_999), lease.next_ms()), (None, None));
        assert!(!lease.may_claim(40_000));
    }
    assert_eq!(beat(&mut lease(), 100, BeatReply::Dead), Some(LeaseEvent::BeginAnew));
    assert_eq!(beat(&mut lease(), 100, BeatReply::Full), Some(LeaseEvent::TableFull));
}

/// Beats for a minute, always refused. Returns when the node stops, and why.
fn refused(beat_ms: impl Fn(u64) -> u64) -> Option<(u64, LeaseEvent)> {
    let mut lease = lease();
    let mut now_ms = 100;
    while now_ms < 60_000 {
        if let Some(event) =
            beat(&mut lease, now_ms, BeatReply::Held { for_ms: 9_000, beat_ms: beat_ms(now_ms) })
        {
            return Some((now_ms, event));
        }
        now_ms = lease.next_ms().unwrap();
    }
    None
}

#[test]
fn a_name_in_use_is_waited_for_during_one_lease() {
    let mut lease = lease();
    assert_eq!(beat(&mut lease, 100, BeatReply::Held { for_ms: 2_000, beat_ms: 1 }), None);
    assert_eq!(lease.next_ms(), Some(2_100));
    assert_eq!(
        beat(&mut lease, 2_100, beaten(1)),
        Some(LeaseEvent::Entered(table(1))),
        "the holder was dead"
    );

    let (now_ms, event) = refused(|now_ms| now_ms).unwrap();
    assert_eq!(event, LeaseEvent::NameTaken);
    assert!((LEASE_MS..LEASE_MS + 5_000).contains(&now_ms), "{now_ms}");
    assert_eq!(
        refused(|_| 7),
        None,
        "the holder does not beat: the engine was away, or its time has not come"
    );
}
