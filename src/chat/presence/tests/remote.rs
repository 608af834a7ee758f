//! A room whose users are on several nodes.

use super::*;

const LARGE: PresenceRules = PresenceRules { notice_limit: 0, count_only_above: 100, ..RULES };
const SMALL: PresenceRules = PresenceRules { notice_limit: 100, count_only_above: 100, ..RULES };
const ONE: NodeKey = NodeKey(1);
const TWO: NodeKey = NodeKey(2);

fn moves(room: &mut Presence) -> Option<LocalMoves> {
    room.take_local().map(|news| news.moves)
}

fn users(names: &[&str]) -> Vec<UserId> {
    names.iter().map(|name| user(name)).collect()
}

fn moved(node: NodeKey, joined: &[&str], left: &[&str]) -> Vec<Change> {
    vec![Change::Moved { node, joined: users(joined), left: users(left), names: vec![] }]
}

/// Returns a shared room with ann on this node.
fn shared(rules: &PresenceRules) -> Presence {
    let mut room = Presence::default();
    room.join(&user("ann"), 0, rules);
    room.apply(vec![Change::Begin], 0, rules);
    room.merged(rules);
    room.take_local();
    room
}

fn diff(outcome: Outcome) -> Option<Diff> {
    if let Outcome::Announce(announcement) = outcome { announcement.diff } else { None }
}

#[test]
fn a_user_is_in_the_room_while_any_node_has_it() {
    let mut room = shared(&SMALL);
    let outcome = room.apply(moved(ONE, &["bob"], &[]), 0, &SMALL);
    assert_eq!(diff(outcome), Some(Diff { names: names(&["bob"], &[]), members: 2 }));
    assert_eq!(room.apply(moved(TWO, &["bob"], &[]), 0, &SMALL), Outcome::Quiet);
    assert_eq!(room.join(&user("bob"), 0, &SMALL), Outcome::Quiet, "he is there already");
    assert_eq!(room.apply(moved(ONE, &[], &["bob"]), 0, &SMALL), Outcome::Quiet);
    assert_eq!(room.leave(&user("bob"), 0, &SMALL), Outcome::Quiet, "he is on the other node");
    assert_eq!(
        room.apply(moved(ONE, &[], &["bob"]), 0, &SMALL),
        Outcome::Quiet,
        "nobody leaves a node twice"
    );
    assert_eq!((room.members(), room.page(&user("ann"), None, 9).0), (2, users(&["ann", "bob"])));
    let left = notice(room.apply(vec![Change::Removed { node: TWO }], 0, &SMALL));
    assert_eq!((left.as_deref(), room.members()), (Some("User bob has left the chat"), 1));
}

#[test]
fn the_changes_of_several_users_are_one_announcement() {
    let mut room = shared(&SMALL);
    let Outcome::Announce(first) = room.apply(moved(ONE, &["bob", "cid", "dan"], &[]), 0, &SMALL) else {
        panic!()
    };
    assert_eq!(first.notice, "3 users have joined the chat");
    assert_eq!(first.diff, Some(Diff { names: names(&["bob", "cid", "dan"], &[]), members: 4 }));
    // Cid moves between nodes, dan does not.
    let both = [
        Change::Removed { node: ONE },
        Change::Users { node: TWO, users: users(&["bob", "cid"]), names: vec![] },
    ];
    let outcome = room.apply(both.to_vec(), 0, &SMALL);
    assert_eq!(diff(outcome), Some(Diff { names: names(&[], &["dan"]), members: 3 }));
    let (rest, mut large) = (moved(ONE, &["bob", "eve"], &[]), shared(&LARGE));
    assert_eq!(large.apply(rest.clone(), 5, &LARGE), Outcome::Due(1_005));
    assert_eq!(large.apply(moved(TWO, &["fay", "gil"], &[]), 6, &LARGE), Outcome::Quiet, "it waits already");
    let expected = Diff { names: names(&["bob", "eve", "fay", "gil"], &[]), members: 5 };
    assert_eq!(large.merged(&LARGE).unwrap().diff, Some(expected));
}

#[test]
fn nothing_is_announced_where_nobody_is() {
    let mut room = Presence::default();
    assert_eq!(room.apply(moved(ONE, &["bob", "cid"], &[]), 0, &SMALL), Outcome::Quiet);
    assert!(room.is_empty() && room.members() == 2, "the room is empty on this node");
    assert_eq!(diff(room.join(&user("ann"), 0, &SMALL)).unwrap().members, 3);
    room.detach();
    assert_eq!(room.members(), 1);
}

#[test]
fn merged_moves_go_on_when_the_last_user_of_this_node_has_left() {
    let mut room = shared(&LARGE);
    room.apply(moved(ONE, &["bob"], &[]), 0, &LARGE);
    room.leave(&user("ann"), 0, &LARGE);
    room.apply(moved(ONE, &[], &["bob"]), 0, &LARGE);
    room.join(&user("ann"), 0, &LARGE);
    room.apply(moved(ONE, &["bob"], &[]), 0, &LARGE);
    let diff = room.merged(&LARGE).unwrap().diff;
    assert_eq!(diff, Some(Diff { names: names(&["bob"], &[]), members: 2 }));
}

#[test]
fn where_a_node_tells_numbers_members_are_their_sum() {
    let mut room = shared(&SMALL);
    room.apply(moved(ONE, &["ann", "bob"], &[]), 0, &SMALL);
    assert_eq!(room.members(), 2);
    let Outcome::Announce(more) = room.apply(vec![Change::Count { node: TWO, users: 5 }], 0, &SMALL) else {
        panic!()
    };
    assert_eq!(more.notice, "6 users have joined the chat");
    assert_eq!(more.diff, Some(Diff { names: None, members: 8 }), "1, 2 and 5, and clients ask for the list");
    assert_eq!(room.page(&user("ann"), None, 9), (users(&["ann"]), false), "the users of this node");
    let joined = room.join(&user("bob"), 0, &SMALL);
    assert_eq!(diff(joined), Some(Diff { names: None, members: 9 }), "whether he is elsewhere is not known");
    room.leave(&user("bob"), 0, &SMALL);
    let back =
        room.apply(vec![Change::Users { node: TWO, users: users(&["bob"]), names: vec![] }], 0, &SMALL);
    assert_eq!(diff(back), Some(Diff { names: None, members: 2 }), "lists are asked for once more");
    room.apply(vec![Change::OwnForm { is_counted: true }], 0, &SMALL);
    assert_eq!((room.members(), moves(&mut room)), (4, Some(LocalMoves::Count(1))));
    // As many by name as by number: clients have to know all the same that there is a list again.
    room.apply(moved(ONE, &[], &["ann", "bob"]), 0, &SMALL);
    let back = room.apply(vec![Change::OwnForm { is_counted: false }], 0, &SMALL);
    let Outcome::Announce(Announcement { notice, diff }) = back else { panic!() };
    assert_eq!((notice.as_str(), diff), ("", Some(Diff { names: None, members: 2 })));
}

#[test]
fn the_moves_of_this_node_are_told_once_and_added_up() {
    let mut room = shared(&SMALL);
    assert!(!room.wants_exchange(), "all is told");
    room.apply(moved(ONE, &["bob"], &[]), 0, &SMALL);
    assert!(!room.wants_exchange(), "others are not told what they said");
    room.join(&user("bob"), 0, &SMALL);
    room.join(&user("bob"), 0, &SMALL);
    room.join(&user("cid"), 0, &SMALL);
    assert!(room.wants_exchange() && !room.wants_exchange(), "asked once");
    room.leave(&user("cid"), 0, &SMALL);
    room.leave(&user("ann"), 0, &SMALL);
    let (joined, left) = (users(&["bob"]), users(&["ann"]));
    assert_eq!(moves(&mut room), Some(LocalMoves::Moved { joined, left }));
    assert_eq!(room.take_local(), None);
    room.leave(&user("bob"), 0, &SMALL);
    let number = room.hold(&user("bob"));
    assert!(number.is_some() && !room.wants_exchange(), "a user who is held has not left");
    room.release(&user("bob"), number.unwrap(), 0, &SMALL);
    assert!(room.wants_exchange());
    (0..2_000).for_each(|n| drop(room.join(&user(&format!("many-{n}")), 0, &SMALL)));
    assert!(
        matches!(moves(&mut room), Some(LocalMoves::All(users)) if users.len() == 2_000),
        "too many moves"
    );
}

#[test]
fn a_room_that_is_not_shared_keeps_no_moves() {
    let mut room = Presence::default();
    room.join(&user("ann"), 0, &SMALL);
    assert!(!room.wants_exchange() && room.take_local().is_none() && room.remote.is_none());
    room.attach();
    assert_eq!(moves(&mut room), Some(LocalMoves::All(users(&["ann"]))));
}

#[test]
fn names_are_told_with_their_users_and_shown_as_long_as_these_are_there() {
    let mut room = Presence::default();
    room.attach();
    let (ann, bob): (UserId, UserId) = (user("ann"), user("bob"));
    let name = |text: &str| -> DisplayName { text.parse().unwrap() };
    room.set_name(&ann, &name("Ann"));
    room.join(&ann, 0, &RULES);
    let names = vec![(ann.clone(), name("Ann"))];
    assert_eq!(room.take_local(), Some(LocalNews { moves: LocalMoves::All(users(&["ann"])), names }));
    // A name that stays the same is no news; another one is told without a move.
    room.set_name(&ann, &name("Ann"));
    assert_eq!(room.take_local(), None);
    room.set_name(&ann, &name("Anna"));
    let none = LocalMoves::Moved { joined: vec![], left: vec![] };
    let names = vec![(ann.clone(), name("Anna"))];
    assert_eq!(room.take_local(), Some(LocalNews { moves: none, names }));
    let node = NodeKey(2);
    let names = vec![(ann.clone(), name("Other")), (bob.clone(), name("Bob"))];
    let coming = Change::Moved { node, joined: users(&["ann", "bob"]), left: vec![], names };
    let _ = room.apply(vec![coming], 0, &RULES);
    let both = [ann.clone(), bob];
    let shown = |room: &Presence| -> Vec<String> {
        room.names_of(&both).map(|(user, name)| format!("{user} {}", name.as_str())).collect()
    };
    assert_eq!(shown(&room), ["ann Anna", "bob Bob"]);
    let _ = room.leave(&ann, 0, &RULES);
    assert_eq!(shown(&room), ["ann Other", "bob Bob"], "she is still on the other node");
    let _ = room.apply(moved(node, &[], &["ann", "bob"]), 0, &RULES);
    assert!(shown(&room).is_empty());
}
