use super::super::Failure;
use super::*;

#[test]
fn pushes_during_the_opening_are_held() {
    let mut room: Room<Draft> = Room::new(Settings::new(BY), true, 0);
    assert_eq!(room.open(0)[..], [Command::Subscribe]);
    assert!(room.open(1).is_empty(), "others join the same wait");
    room.subscribed(2);
    assert!(room.pushed(batch(1, 10, 1), 3).is_empty());
    assert!(room.pushed(batch(1, 11, 2), 3).is_empty());
    assert!(room.held_bytes() > 0);
    let opened = Command::Opened { position: position(1, 10), lives: lives(&[]) };
    assert_eq!(room.synced(1, Ok(synced(1, 10, &[])), 4)[..], [opened, appended(batch(1, 11, 2))]);
    assert_eq!((room.held_bytes(), room.position()), (0, Some(position(1, 12))));
}

#[test]
fn an_opening_ends_in_time_and_can_begin_anew() {
    let mut room: Room<Draft> = Room::new(Settings::new(BY), false, 0);
    assert!(room.open(0).is_empty(), "there is no link");
    assert_eq!(room.due(), Some(5_000));
    assert!(room.tick(4_999).is_empty());
    assert_eq!(room.tick(5_000)[..], [Command::NotOpened]);
    assert_eq!((room.is_closed(), room.due()), (true, None));
    assert!(room.link_up(6_000).is_empty());
    assert_eq!(room.open(6_000)[..], [Command::Subscribe]);
    assert_eq!(room.tick(11_000)[..], [Command::Unsubscribe, Command::NotOpened]);
    assert!(room.subscribed(11_000).is_empty(), "late");
}

#[test]
fn a_sync_that_fails_is_repeated_after_a_pause() {
    let mut room: Room<Draft> = Room::new(Settings::new(BY), true, 0);
    room.open(0);
    room.subscribed(0);
    assert!(room.synced(1, Err(Failure::Refused), 10).is_empty());
    assert_eq!(room.due(), Some(35), "half of the first pause");
    assert_eq!(room.tick(35)[..], [Command::Sync { number: 2 }]);
}

#[test]
fn a_batch_that_is_ahead_waits_for_those_before_it() {
    let mut room = open_room();
    assert_eq!(room.pushed(batch(1, 15, 1), 0)[..], [Command::Fill { number: 2, from: Offset(11) }]);
    assert!(room.pushed(batch(1, 16, 1), 0).is_empty(), "one page is read at a time");
    let page = vec![batch(1, 11, 2)];
    let filled = [appended(batch(1, 11, 2)), Command::Fill { number: 3, from: Offset(13) }];
    assert_eq!(room.filled(2, Ok(page), 0)[..], filled);
    let page = vec![batch(1, 13, 2), batch(1, 15, 1)];
    let filled = [batch(1, 13, 2), batch(1, 15, 1), batch(1, 16, 1)].map(appended);
    assert_eq!(room.filled(3, Ok(page), 0)[..], filled);
    assert_eq!(room.held_bytes(), 0);
}

#[test]
fn the_part_of_a_batch_that_was_seen_is_skipped() {
    let mut room = open_room();
    assert!(room.pushed(batch(1, 9, 2), 0).is_empty(), "seen");
    assert_eq!(room.pushed(batch(1, 9, 4), 0)[..], [appended(batch(1, 11, 2))]);
}

#[test]
fn trimmed_messages_are_a_gap() {
    let mut room = open_room();
    room.pushed(batch(1, 15, 1), 0);
    let gap = Command::Gap { from: Offset(11), to: Offset(12) };
    let filled = [gap, appended(batch(1, 13, 2)), appended(batch(1, 15, 1))];
    assert_eq!(room.filled(2, Ok(vec![batch(1, 13, 2)]), 0)[..], filled);
}

#[test]
fn messages_that_cannot_be_read_are_given_up_when_a_sync_confirms_them() {
    for failed in [Ok(Vec::new()), Err(Failure::Unreadable)] {
        let mut room = open_room();
        room.pushed(batch(1, 12, 1), 0);
        assert_eq!(room.filled(2, failed.clone(), 0)[..], [Command::Sync { number: 3 }]);
        let fill = Command::Fill { number: 4, from: Offset(11) };
        assert_eq!(room.synced(3, Ok(synced(1, 12, &[])), 0)[..], [fill]);
        let gap = Command::Gap { from: Offset(11), to: Offset(12) };
        assert_eq!(room.filled(4, failed, 0)[..], [gap]);
        assert_eq!(room.position(), Some(position(1, 12)));
    }
}

#[test]
fn an_epoch_in_which_everything_survived_is_adopted() {
    let mut room = open_room();
    assert_eq!(room.pushed(batch(2, 12, 1), 0)[..], [Command::Sync { number: 2 }]);
    let adopt = Command::Adopt { position: position(2, 10), lives: lives(&[(1, 11)]) };
    let fill = Command::Fill { number: 3, from: Offset(11) };
    assert_eq!(room.synced(2, Ok(synced(2, 12, &[(1, 11)])), 0)[..], [adopt, fill]);
    // The stream has the survivors of the earlier epoch as they were appended.
    let filled = [appended(batch(1, 11, 1)), appended(batch(2, 12, 1))];
    assert_eq!(room.filled(3, Ok(vec![batch(1, 11, 1)]), 0)[..], filled);
}

#[test]
fn a_room_that_has_shown_lost_messages_begins_anew() {
    let mut room = open_room();
    room.pushed(batch(2, 10, 1), 0);
    let anew = Command::BeginAnew { position: position(2, 10), lives: lives(&[(1, 9)]) };
    assert_eq!(room.synced(2, Ok(synced(2, 10, &[(1, 9)])), 0)[..], [anew]);
    assert!(room.pushed(batch(1, 11, 1), 0).is_empty(), "a message of the lost tail");
    assert_eq!(room.pushed(batch(2, 11, 1), 0)[..], [appended(batch(2, 11, 1))]);
}

#[test]
fn a_server_that_is_behind_in_the_same_epoch_has_lost_messages() {
    let mut room = open_room();
    let check = room.due().unwrap();
    assert_eq!(room.tick(check)[..], [Command::Sync { number: 2 }]);
    // A batch that comes meanwhile is newer than the answer.
    room.pushed(batch(1, 11, 1), check);
    assert!(room.synced(2, Ok(synced(1, 10, &[])), check).is_empty());
    let check = room.due().unwrap();
    assert_eq!(room.tick(check)[..], [Command::Sync { number: 3 }]);
    let anew = Command::BeginAnew { position: position(1, 10), lives: lives(&[]) };
    assert_eq!(room.synced(3, Ok(synced(1, 10, &[])), check)[..], [anew]);
}

#[test]
fn a_stream_of_epochs_that_nobody_remembers_does_not_hold_a_room_up() {
    let mut room = open_room();
    room.pushed(batch(1, 12, 1), 0);
    let mut commands = room.filled(2, Ok(vec![batch(9, 11, 1)]), 0);
    for round in 0.. {
        let [Command::Sync { number }] = commands[..] else { panic!("{commands:?}") };
        commands = room.synced(number, Ok(synced(1, 12, &[])), 0);
        if commands.iter().any(|command| matches!(command, Command::BeginAnew { .. })) {
            assert_eq!((round, room.position()), (2, Some(position(1, 12))));
            return;
        }
        let [Command::Fill { number, .. }] = commands[..] else { panic!("{commands:?}") };
        commands = room.filled(number, Ok(vec![batch(9, 11, 1)]), 0);
    }
}

#[test]
fn a_subscription_that_ends_is_asked_for_again() {
    let mut room = open_room();
    assert_eq!(room.unsubscribed(0)[..], [Command::Subscribe]);
    assert!(room.unsubscribed(100).is_empty(), "the server may have refused it");
    assert_eq!((room.due(), &room.tick(600)[..]), (Some(600), &[Command::Subscribe][..]));
    assert_eq!(room.subscribed(700)[..], [Command::Sync { number: 2 }]);
}

#[test]
fn a_room_closes_and_opens() {
    let mut room = open_room();
    assert_eq!(room.open(0)[..], [Command::Opened { position: position(1, 10), lives: lives(&[]) }]);
    assert_eq!(room.close(0)[..], [Command::Unsubscribe, Command::Closed]);
    assert!(room.pushed(batch(1, 11, 1), 0).is_empty());
    assert_eq!(room.open(0)[..], [Command::Subscribe]);
    assert!(room.unsubscribed(0).is_empty(), "the answer to the first one");
    assert_eq!(room.subscribed(0)[..], [Command::Sync { number: 2 }]);
}
