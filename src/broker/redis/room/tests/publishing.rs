use super::super::Failure;
use super::*;

const A: Draft = Draft(1, 100);
const B: Draft = Draft(2, 100);
const C: Draft = Draft(3, 100);

fn publish(room: &mut Room<Draft>, draft: Draft) -> Vec<Command<Draft>> {
    room.publish(draft, 0).unwrap().into_vec()
}

fn call(number: u64) -> CallId {
    CallId { by: BY, number }
}

fn call_of(room: &Room<Draft>) -> (u64, usize) {
    let (call, messages) = room.call().unwrap();
    (call.number, messages.len())
}

#[test]
fn one_call_is_under_way_and_the_next_one_takes_what_came_meanwhile() {
    let mut room = open_room();
    assert_eq!(publish(&mut room, A), [Command::Publish { number: 2 }]);
    assert!(publish(&mut room, B).is_empty());
    assert!(publish(&mut room, C).is_empty());
    assert_eq!((call_of(&room), room.waiting_bytes()), ((2, 1), 300));
    let own = Command::Append { batch: own_batch(1, 11, 1, call(2)), own: vec![A] };
    let commands = room.pushed(own_batch(1, 11, 1, call(2)), 0);
    assert_eq!(commands[..], [own, Command::Publish { number: 3 }]);
    assert_eq!((call_of(&room), room.waiting_bytes()), ((3, 2), 200));
    assert!(room.published(2, Ok(published(1, 11, 11, &[])), 0).is_empty(), "the push came first");
    assert!(room.published(3, Ok(published(1, 12, 13, &[])), 0).is_empty(), "the push comes later");
    let own = Command::Append { batch: own_batch(1, 12, 2, call(3)), own: vec![B, C] };
    assert_eq!(room.pushed(own_batch(1, 12, 2, call(3)), 0)[..], [own]);
    assert_eq!((room.call(), room.waiting_bytes()), (None, 0));
}

#[test]
fn a_call_has_a_limit() {
    let mut room = open_room();
    publish(&mut room, A);
    for _ in 0..70 {
        publish(&mut room, B);
    }
    for length in [30_000, 30_000, 30_000, 100_000, 10] {
        publish(&mut room, Draft(9, length));
    }
    let mut sizes = Vec::new();
    while let Some((call, messages)) = room.call() {
        let count = messages.len() as u64;
        sizes.push(count);
        let first = room.position().unwrap().offset.0 + 1;
        room.pushed(own_batch(1, first, count, call), 0);
    }
    assert_eq!(sizes, [1, 64, 8, 1, 1, 1]);
}

#[test]
fn duplicates_are_found_by_their_index() {
    let mut room = open_room();
    publish(&mut room, Draft(0, 1));
    for draft in [A, B, C] {
        publish(&mut room, draft);
    }
    room.pushed(own_batch(1, 11, 1, call(2)), 0);
    // Only the answer tells which of the messages are in the batch.
    assert!(room.pushed(own_batch(1, 12, 2, call(3)), 0).is_empty());
    assert!(room.pushed(batch(1, 14, 1), 0).is_empty());
    let commands = room.published(3, Ok(published(1, 12, 13, &[(1, position(1, 4))])), 0);
    let duplicate = answered(B, Outcome::Duplicate(position(1, 4)));
    let own = Command::Append { batch: own_batch(1, 12, 2, call(3)), own: vec![A, C] };
    assert_eq!(commands[..], [own, duplicate, appended(batch(1, 14, 1))]);
}

#[test]
fn a_call_of_duplicates_alone_needs_no_batch() {
    let mut room = open_room();
    publish(&mut room, A);
    publish(&mut room, B);
    let commands = room.published(2, Ok(published(1, 11, 10, &[(0, position(1, 4))])), 0);
    assert_eq!(
        commands[..],
        [answered(A, Outcome::Duplicate(position(1, 4))), Command::Publish { number: 3 }]
    );
}

/// Regression: a duplicate was answered before its message had come. The message was lost then, and its sender was told
/// that the room goes on without a loss.
#[test]
fn a_duplicate_is_answered_when_its_message_has_come() {
    let mut room = open_room();
    publish(&mut room, A);
    assert!(room.published(2, Ok(published(1, 12, 11, &[(0, position(1, 11))])), 0).is_empty());
    let commands = room.pushed(batch(1, 11, 1), 0);
    assert_eq!(commands[..], [appended(batch(1, 11, 1)), answered(A, Outcome::Duplicate(position(1, 11)))]);
}

#[test]
fn a_call_whose_outcome_is_unknown_is_repeated_until_it_is_known() {
    let mut room = open_room();
    publish(&mut room, A);
    publish(&mut room, B);
    assert!(room.published(2, Err(Failure::Lost), 0).is_empty());
    room.link_down(0);
    let again = [Command::Subscribe, Command::Publish { number: 2 }];
    assert_eq!(room.link_up(10)[..], again);
    for (at, failure) in [(20, Failure::Refused), (200, Failure::NotSent), (500, Failure::Unreadable)] {
        assert!(room.published(2, Err(failure), at).is_empty(), "{failure:?} decides nothing");
        let due = room.due().unwrap();
        assert_eq!(room.tick(due)[..], [Command::Publish { number: 2 }]);
        assert_eq!(call_of(&room), (2, 1));
    }
}

#[test]
fn a_refused_call_is_answered_and_the_next_one_has_another_number() {
    let mut room = open_room();
    publish(&mut room, A);
    publish(&mut room, B);
    let commands = room.published(2, Err(Failure::Refused), 0);
    assert_eq!(commands[..], [answered(A, Outcome::Unavailable), Command::Publish { number: 3 }]);
}

#[test]
fn messages_that_were_not_sent_keep_their_order() {
    let mut room = open_room();
    for draft in [A, B, C] {
        publish(&mut room, draft);
    }
    assert!(room.published(2, Err(Failure::NotSent), 0).is_empty());
    let due = room.due().unwrap();
    assert_eq!(room.tick(due)[..], [Command::Publish { number: 3 }]);
    assert_eq!(room.call().unwrap().1, [A, B, C]);
}

#[test]
fn messages_wait_for_a_link_as_long_as_patience_lasts() {
    let mut room = open_room();
    publish(&mut room, A);
    room.link_down(1_000);
    publish(&mut room, B);
    assert!(room.published(2, Err(Failure::Lost), 1_000).is_empty());
    assert_eq!(room.due(), Some(3_000));
    assert!(room.tick(2_999).is_empty());
    assert!(room.publish(C, 2_999).is_ok());
    let refused = [B, C].map(|draft| answered(draft, Outcome::Unavailable));
    assert_eq!(room.tick(3_000)[..], refused);
    assert_eq!(room.publish(C, 3_000), Err(C));
    assert_eq!((call_of(&room), room.waiting_bytes()), ((2, 1), 100), "a message that may be appended waits");
    room.link_up(60_000);
    room.published(2, Ok(published(1, 11, 11, &[])), 60_000);
    assert!(room.publish(C, 60_000).is_ok());
}

#[test]
fn a_batch_that_does_not_come_is_asked_for() {
    let mut room = open_room();
    publish(&mut room, A);
    room.published(2, Ok(published(1, 11, 11, &[])), 100);
    assert_eq!(room.due(), Some(600));
    assert_eq!(room.tick(600)[..], [Command::Sync { number: 3 }]);
    let fill = Command::Fill { number: 4, from: Offset(11) };
    assert_eq!(room.synced(3, Ok(synced(1, 11, &[])), 601)[..], [fill]);
    let own = Command::Append { batch: own_batch(1, 11, 1, call(2)), own: vec![A] };
    assert_eq!(room.filled(4, Ok(vec![own_batch(1, 11, 1, call(2))]), 602)[..], [own]);
}

#[test]
fn messages_that_were_trimmed_are_acknowledged_without_their_batch() {
    let mut room = open_room();
    publish(&mut room, A);
    room.published(2, Ok(published(1, 11, 11, &[])), 0);
    room.pushed(batch(1, 13, 1), 0);
    let gap = Command::Gap { from: Offset(11), to: Offset(12) };
    let acknowledged = answered(A, Outcome::Appended(position(1, 11)));
    let commands = room.filled(3, Ok(vec![batch(1, 13, 1)]), 0);
    assert_eq!(commands[..], [gap, acknowledged, appended(batch(1, 13, 1))]);
}

#[test]
fn messages_that_were_lost_before_anyone_saw_them_are_sent_again() {
    let mut room = open_room();
    publish(&mut room, A);
    room.published(2, Ok(published(1, 11, 11, &[])), 0);
    room.pushed(batch(2, 11, 1), 0);
    let adopt = Command::Adopt { position: position(2, 10), lives: lives(&[(1, 10)]) };
    let again = [adopt, appended(batch(2, 11, 1)), Command::Publish { number: 2 }];
    assert_eq!(room.synced(3, Ok(synced(2, 11, &[(1, 10)])), 0)[..], again);
}

#[test]
fn a_room_that_begins_anew_drops_the_call_and_keeps_the_queue() {
    let mut room = open_room();
    publish(&mut room, A);
    publish(&mut room, B);
    room.pushed(batch(2, 3, 1), 0);
    let anew = Command::BeginAnew { position: position(2, 3), lives: lives(&[]) };
    let dropped = [anew, answered(A, Outcome::Unknown), Command::Publish { number: 4 }];
    assert_eq!(room.synced(3, Ok(synced(2, 3, &[])), 0)[..], dropped);
    assert!(room.published(2, Ok(published(1, 11, 11, &[])), 0).is_empty());
    // The call was carried out all the same: nobody waits for it.
    assert_eq!(room.pushed(own_batch(2, 4, 1, call(2)), 0)[..], [appended(own_batch(2, 4, 1, call(2)))]);
}

#[test]
fn a_server_that_contradicts_itself_leaks_no_message() {
    let mut room = open_room();
    publish(&mut room, A);
    assert!(room.published(2, Ok(published(1, 11, 15, &[])), 0).is_empty(), "five of one message");
    assert_eq!(call_of(&room), (2, 1), "the call is repeated");
    let commands = room.pushed(own_batch(1, 11, 2, call(2)), 0);
    assert_eq!(commands[..], [appended(own_batch(1, 11, 2, call(2))), answered(A, Outcome::Unknown)]);
    assert_eq!(room.waiting_bytes(), 0);
}

#[test]
fn a_room_closes_when_its_messages_are_answered() {
    let mut room = open_room();
    publish(&mut room, A);
    assert!(room.close(0).is_empty());
    let own = Command::Append { batch: own_batch(1, 11, 1, call(2)), own: vec![A] };
    let closed = [own, Command::Unsubscribe, Command::Closed];
    assert_eq!(room.pushed(own_batch(1, 11, 1, call(2)), 0)[..], closed);
    assert_eq!(room.next_number(), 3);
}
