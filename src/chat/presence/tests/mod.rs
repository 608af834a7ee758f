mod observers;
mod remote;

use super::super::announcement::{MAX_NAMES, Names};
use super::*;

const RULES: PresenceRules =
    PresenceRules { is_announced: true, notice_limit: 2, count_only_above: 4, interval_ms: 1000 };

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

fn notice(outcome: Outcome) -> Option<String> {
    if let Outcome::Announce(news) = outcome { Some(news.notice) } else { None }
}

fn names(joined: &[&str], left: &[&str]) -> Option<Names> {
    let users = |names: &[&str]| names.iter().map(|name| user(name)).collect();
    Some(Names { joined: users(joined), left: users(left) })
}

fn room(users: usize) -> Presence {
    let mut room = Presence::default();
    for n in 0..users {
        room.join(&user(&format!("old-{n}")), 0, &RULES);
    }
    room.merged(&RULES);
    room
}

#[test]
fn a_user_joins_with_the_first_connection_and_leaves_with_the_last() {
    let mut room = Presence::default();
    let bob = user("bob");
    assert_eq!(notice(room.join(&bob, 0, &RULES)).unwrap(), "User bob has joined the chat");
    assert_eq!(room.join(&bob, 0, &RULES), Outcome::Quiet);
    assert_eq!(room.leave(&bob, 0, &RULES), Outcome::Quiet);
    assert_eq!(notice(room.leave(&bob, 0, &RULES)).unwrap(), "User bob has left the chat");
    assert_eq!(room.leave(&bob, 0, &RULES), Outcome::Quiet);
    assert!(room.is_empty());
}

#[test]
fn a_user_who_is_expected_back_stays_present_until_the_time_is_over() {
    let mut room = Presence::default();
    let bob = user("bob");
    room.join(&bob, 0, &RULES);
    room.join(&bob, 0, &RULES);
    assert_eq!(room.hold(&bob), None, "another connection is there");
    let first = room.hold(&bob).expect("the last one");
    assert_eq!((room.members(), room.hold(&bob)), (1, None));
    assert_eq!(room.leave(&bob, 0, &RULES), Outcome::Quiet, "nobody leaves twice");
    assert_eq!(room.join(&bob, 0, &RULES), Outcome::Quiet, "nobody is told");
    assert_eq!(room.release(&bob, first, 0, &RULES), Outcome::Quiet, "it has come");
    let second = room.hold(&bob).expect("it goes again");
    assert_eq!(room.release(&bob, first, 0, &RULES), Outcome::Quiet, "it is expected anew");
    let announced = notice(room.release(&bob, second, 0, &RULES));
    assert_eq!(announced.unwrap(), "User bob has left the chat");
    assert!(room.is_empty() && room.hold(&bob).is_none());
    assert_eq!(room.release(&bob, second, 0, &RULES), Outcome::Quiet);
}

#[test]
fn above_the_limit_notices_are_merged() {
    let mut room = Presence::default();
    let merged = |room: &mut Presence| room.merged(&RULES).map(|news| news.notice);
    for name in ["u-1", "u-2"] {
        assert!(notice(room.join(&user(name), 0, &RULES)).is_some());
    }
    assert_eq!(room.join(&user("u-3"), 5, &RULES), Outcome::Due(1005));
    assert_eq!(merged(&mut room), Some("User u-3 has joined the chat".into()));
    assert_eq!(merged(&mut room), None);
    assert_eq!(room.join(&user("u-4"), 2000, &RULES), Outcome::Due(3000));
    assert_eq!(room.join(&user("u-5"), 2000, &RULES), Outcome::Quiet);
    assert_eq!(merged(&mut room), Some("2 users have joined the chat".into()));
    assert_eq!(room.leave(&user("u-5"), 4000, &RULES), Outcome::Due(5000));
    assert_eq!(room.join(&user("u-6"), 4000, &RULES), Outcome::Quiet);
    assert_eq!(room.join(&user("u-7"), 4000, &RULES), Outcome::Quiet);
    assert_eq!(merged(&mut room), Some("2 users have joined and 1 user has left the chat".into()));
}

#[test]
fn in_a_small_room_every_move_is_a_difference() {
    let mut room = Presence::default();
    let Outcome::Announce(news) = room.join(&user("ann"), 0, &RULES) else { panic!("quiet") };
    assert_eq!(news.diff, Some(Diff { names: names(&["ann"], &[]), members: 1 }));
    let Outcome::Announce(news) = room.leave(&user("ann"), 0, &RULES) else { panic!("quiet") };
    assert_eq!(news.diff, Some(Diff { names: names(&[], &["ann"]), members: 0 }));
    let counted = PresenceRules { count_only_above: 0, ..RULES };
    let Outcome::Announce(news) = room.join(&user("ann"), 0, &counted) else { panic!("quiet") };
    assert_eq!(news.diff, Some(Diff { names: None, members: 1 }));
}

#[test]
fn a_user_who_came_and_went_within_the_interval_is_in_neither_list() {
    let mut room = room(3);
    room.join(&user("new"), 0, &RULES);
    room.join(&user("guest"), 0, &RULES);
    room.leave(&user("guest"), 0, &RULES);
    room.leave(&user("old-1"), 0, &RULES);
    room.leave(&user("old-2"), 0, &RULES);
    room.join(&user("old-2"), 0, &RULES);
    let news = room.merged(&RULES).unwrap();
    assert_eq!(news.diff, Some(Diff { names: names(&["new"], &["old-1"]), members: 3 }));
    assert_eq!(news.notice, "3 users have joined and 3 users have left the chat");

    room.join(&user("guest"), 0, &RULES);
    room.leave(&user("guest"), 0, &RULES);
    assert_eq!(room.merged(&RULES).unwrap().diff, None, "nothing has changed in the end");
}

/// 1. A room above the limit merges that Zoe joined.
/// 2. It shrinks below the limit.
/// 3. Zoe leaves, which is announced at once.
/// 4. The merged difference comes due: it must not say that she is there.
#[test]
fn a_difference_never_overtakes_the_one_that_waits() {
    let mut room = room(2);
    assert_eq!(room.join(&user("zoe"), 0, &RULES), Outcome::Due(1000));
    assert_eq!(room.leave(&user("old-0"), 1, &RULES), Outcome::Quiet);
    let outcome = room.leave(&user("zoe"), 2, &RULES);
    let notice = "User zoe has left the chat".to_owned();
    assert_eq!(outcome, Outcome::Announce(Announcement { notice, diff: None }));
    let news = room.merged(&RULES).unwrap();
    assert_eq!(news.diff, Some(Diff { names: names(&[], &["old-0"]), members: 1 }));
}

#[test]
fn large_rooms_and_storms_are_counted_only() {
    let mut large = room(4);
    large.join(&user("new"), 0, &RULES);
    assert_eq!(large.merged(&RULES).unwrap().diff, Some(Diff { names: None, members: 5 }));

    let rules = PresenceRules { count_only_above: 10_000, ..RULES };
    for (joins, has_names) in [(MAX_NAMES, true), (MAX_NAMES + 1, false)] {
        let mut storm = room(3);
        for n in 0..joins {
            storm.join(&user(&format!("new-{n}")), 0, &rules);
        }
        let diff = storm.merged(&rules).unwrap().diff.unwrap();
        assert_eq!((diff.names.is_some(), diff.members), (has_names, 3 + joins));
    }
}

#[test]
fn where_nothing_is_announced_users_are_counted_all_the_same() {
    let mut room = Presence::default();
    let rules = PresenceRules { is_announced: false, ..RULES };
    for n in 0..5 {
        assert_eq!(room.join(&user(&format!("u-{n}")), 0, &rules), Outcome::Quiet);
    }
    assert_eq!((room.members(), room.merged(&rules)), (5, None));
}

#[test]
fn users_are_listed_in_pages() {
    let room = room(5);
    let (page, has_more) = room.page(&user("old-0"), None, 2);
    assert_eq!((page.as_slice(), has_more), (&[user("old-0"), user("old-1")][..], true));
    let (page, has_more) = room.page(&user("old-0"), page.last(), 3);
    assert_eq!((page.len(), has_more), (3, false));
    assert_eq!(room.page(&user("old-0"), page.last(), 3), (vec![], false));
    let behind_one_who_left = room.page(&user("old-0"), Some(&user("old-0a")), 1);
    assert_eq!(behind_one_who_left, (vec![user("old-1")], true));
    assert_eq!(room.page(&user("old-0"), None, 0), (vec![], true));
    let (page, has_more) = self::room(MAX_PAGE + 1).page(&user("old-0"), None, usize::MAX);
    assert_eq!((page.len(), has_more), (1000, true), "as many as a command may ask for");
    let mut long = Presence::default();
    for n in 0..MAX_PAGE {
        long.join(&user(&format!("{n:064}")), 0, &RULES);
    }
    let (first, has_more) = long.page(&user("old-0"), None, MAX_PAGE);
    assert_eq!((first.len(), has_more), (PAGE_BYTES / 67, true), "as many as fit");
    let (rest, has_more) = long.page(&user("old-0"), first.last(), MAX_PAGE);
    assert_eq!((first.len() + rest.len(), has_more), (MAX_PAGE, false));
}

/// 1. Bob joins a room where announcements are merged.
/// 2. Another user asks for the list of users.
/// 3. Bob leaves: nothing is announced of him.
#[test]
fn a_user_who_is_not_announced_yet_is_shown_to_no_other() {
    let mut room = room(4);
    let (bob, ann) = (user("bob"), user("old-0"));
    let listed = |room: &Presence, viewer: &UserId| room.page(viewer, None, 10).0.contains(&bob);
    room.join(&bob, 0, &RULES);
    assert_eq!((listed(&room, &ann), room.shown(&ann)), (false, 4));
    assert_eq!((listed(&room, &bob), room.shown(&bob)), (true, 5), "he knows that he is there");
    room.leave(&bob, 0, &RULES);
    assert_eq!(room.merged(&RULES).unwrap().diff, None);

    room.join(&bob, 0, &RULES);
    assert_eq!(room.merged(&RULES).unwrap().diff, Some(Diff { names: None, members: 5 }));
    assert_eq!((listed(&room, &ann), room.shown(&ann)), (true, 5));
    room.leave(&bob, 0, &RULES);
    assert_eq!((listed(&room, &ann), room.shown(&ann)), (true, 5), "nobody has heard that he went");
    let (page, has_more) = room.page(&ann, Some(&ann), 1);
    assert_eq!((page, has_more), (vec![user("old-1")], true));
    assert_eq!(room.page(&ann, None, 1), (vec![bob.clone()], true), "in the order of the names");
    room.join(&bob, 0, &RULES);
    assert_eq!(room.merged(&RULES).unwrap().diff, None);
    assert_eq!((listed(&room, &ann), room.shown(&ann)), (true, 5));
}
