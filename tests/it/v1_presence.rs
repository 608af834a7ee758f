//! Presence in `throng.v1`: `presence`, `presence_diff` beside the notices of the plain dialect, and `typing`.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::frame::text;
use crate::support::raw::Socket;
use crate::support::server::{Server, UNPINGED};
use crate::support::speaker::Speaker;
use crate::support::{PATIENCE, eventually};

#[test]
fn users_are_listed_in_pages() {
    let server = Server::start(&[("chat.duplicate", "allow"), ("workers", "2")]);
    let mut alice = Speaker::alone(&server, "alice");
    let plain: Vec<_> =
        (0..9).map(|n| Socket::open(server.address(), &format!("/ws/chat/user-{}", n % 7))).collect();
    (0..7).for_each(|_| drop(alice.expect("presence_diff")));
    let mut listed = vec![];
    let mut after = Value::Null;
    loop {
        let mut command = json!({"type": "presence", "room": "lobby", "limit": 3});
        if let Some(last) = after.as_str() {
            command["after"] = last.into();
        }
        let answer = alice.ask(command, "presence");
        let users = answer["users"].as_array().expect("users");
        assert_eq!((&answer["room"], &answer["members"]), (&json!("lobby"), &json!(8)), "{answer}");
        assert_eq!(users.len(), if listed.len() < 6 { 3 } else { 2 }, "{answer}");
        listed.extend(users.clone());
        after = listed.last().cloned().unwrap_or_default();
        if answer["more"] == false {
            break;
        }
    }
    let expected: Vec<_> =
        std::iter::once("alice".to_owned()).chain((0..7).map(|n| format!("user-{n}"))).collect();
    assert_eq!(listed, expected);
    let all = alice.ask(json!({"type": "presence", "room": "lobby"}), "presence");
    assert_eq!((&all["users"], &all["more"]), (&json!(expected), &json!(false)));
    for wrong in [json!({"limit": 0}), json!({"limit": 1001}), json!({"after": "a b"}), json!({"after": 5})] {
        let mut command = json!({"type": "presence", "room": "lobby"});
        command.as_object_mut().expect("an object").extend(wrong.as_object().expect("fields").clone());
        alice.ask_refused(command, "invalid_message");
    }
    drop(plain);
}

#[test]
fn in_a_small_room_each_dialect_gets_its_presence_events() {
    let server = Server::start(&[("workers", "2")]);
    let mut alice = Speaker::alone(&server, "alice");
    let mut plain = Socket::open(server.address(), "/ws/chat/plain");
    let diff = |joined: &[&str], left: &[&str], members: usize| {
        let kind = "presence_diff";
        json!({"type": kind, "room": "lobby", "joined": joined, "left": left, "members": members})
    };
    assert_eq!(alice.event(), diff(&["plain"], &[], 2));
    assert!(plain.read_text().starts_with(r#"{"type":"system","message":"User plain has joined the chat""#));
    let mut bob = Speaker::enter(&server, "bob");
    assert_eq!(bob.event(), diff(&["bob"], &[], 3));
    assert_eq!(alice.event(), diff(&["bob"], &[], 3));
    assert!(plain.read_text().starts_with(r#"{"type":"system","message":"User bob has joined the chat""#));
    drop(bob);
    assert_eq!(alice.event(), diff(&[], &["bob"], 2));
    assert!(plain.read_text().starts_with(r#"{"type":"system","message":"User bob has left the chat""#));
    alice.say("lobby", "and nothing else");
    assert!(plain.read_text().contains("and nothing else"));
}

#[test]
fn in_larger_rooms_presence_events_are_merged_and_then_only_counted() {
    let server = Server::start(&[
        ("presence.notice_limit", "2"),
        ("presence.count_only_above", "5"),
        ("presence.interval", "500ms"),
    ]);
    let mut alice = Speaker::alone(&server, "alice");
    let mut plain = Socket::open(server.address(), "/ws/chat/plain");
    alice.expect("presence_diff");
    plain.read_text();
    let enter = |n: usize| Socket::open(server.address(), &format!("/ws/chat/user-{n}"));
    let mut others: Vec<_> = (0..3).map(enter).collect();
    // The joins come in one event for each interval that has passed, each user once.
    let mut joined = BTreeSet::new();
    while joined.len() < 3 {
        let diff = alice.expect("presence_diff");
        assert_eq!(diff["left"], json!([]), "{diff}");
        for user in diff["joined"].as_array().expect("names") {
            assert!(joined.insert(user.to_string()), "twice: {diff}");
        }
        assert_eq!(diff["members"], joined.len() + 2, "{diff}");
    }
    // Above the limit, events have no names, only the number of members.
    others.extend((3..8).map(enter));
    let mut members = 0;
    while members < 10 {
        let diff = alice.expect("presence_diff");
        members = diff["members"].as_u64().expect("a number");
        assert!(members > 5, "{diff}");
        assert_eq!(diff, json!({"type": "presence_diff", "room": "lobby", "members": members}));
    }
    // The plain client has received notices about eight users.
    let mut heard = 0;
    while heard < 8 {
        let event: Value = serde_json::from_str(&plain.read_text()).expect("JSON");
        assert_eq!(event["type"], "system", "{event}");
        let words: Vec<_> = event["message"].as_str().expect("a text").split(' ').collect();
        heard += match words[..] {
            ["User", _, "has", "joined", "the", "chat"] => 1,
            [count, "users", "have", "joined", "the", "chat"] => count.parse().expect("a number"),
            _ => panic!("{event}"),
        };
    }
    assert_eq!(heard, 8);
}

#[test]
fn a_user_with_three_connections_joins_and_leaves_once() {
    let server = Server::start(&[("chat.duplicate", "allow"), ("workers", "2")]);
    let mut bob = Speaker::alone(&server, "bob");
    let mut alice: Vec<_> = (0..2).map(|_| Speaker::enter(&server, "alice")).collect();
    let plain = Socket::open(server.address(), "/ws/chat/alice");
    let diff = bob.expect("presence_diff");
    assert_eq!((&diff["joined"], &diff["members"]), (&json!(["alice"]), &json!(2)), "{diff}");
    bob.say("lobby", "three, and one user");
    let count = bob.ask(json!({"type": "presence", "room": "lobby"}), "presence");
    assert_eq!((&count["users"], &count["members"]), (&json!(["alice", "bob"]), &json!(2)));
    alice.pop();
    drop(plain);
    eventually("two are gone", || server.connections() == 2.0);
    bob.say("lobby", "still there");
    alice.clear();
    let diff = bob.expect("presence_diff");
    assert_eq!((&diff["left"], &diff["members"]), (&json!(["alice"]), &json!(1)), "{diff}");
}

#[test]
fn a_rule_can_keep_a_room_quiet_in_this_dialect_too() {
    let server = Server::start(&[("rooms", r#"[{pattern="quiet-*", presence=false}]"#)]);
    let mut alice = Speaker::enter(&server, "alice?room=quiet-1");
    let mut bob = Speaker::enter(&server, "bob?room=quiet-1");
    bob.say("quiet-1", "hi");
    alice.expect_message("bob", "hi");
    let answer = alice.ask(json!({"type": "presence", "room": "quiet-1"}), "presence");
    assert_eq!(answer["users"], json!(["alice", "bob"]));
}

#[test]
fn typing_is_shown_to_the_others_and_to_nobody_else() {
    let server = Server::start(&[("workers", "2")]);
    let mut alice = Speaker::alone(&server, "alice");
    let mut bob = Speaker::alone(&server, "bob");
    alice.expect("presence_diff");
    let mut elsewhere = Speaker::alone(&server, "carol?room=red");
    let mut plain = Socket::open(server.address(), "/ws/chat/plain");
    for speaker in [&mut alice, &mut bob] {
        speaker.expect("presence_diff");
    }
    // A typing notice is the first thing to be dropped, so it may take a second try.
    let shown = (0..20).find_map(|_| {
        alice.send(&json!({"type": "typing", "room": "lobby"}));
        bob.socket.try_frame(Duration::from_secs(1)).ok()
    });
    let shown: Value = serde_json::from_slice(&shown.expect("it is shown").payload).expect("JSON");
    assert_eq!(shown, json!({"type": "typing", "room": "lobby", "user": "alice"}));
    // The next event is the message, for its author, for the plain client and in another room.
    alice.say("lobby", "typed");
    assert!(plain.read_text().contains("User plain has joined the chat"));
    assert!(plain.read_text().contains("typed"));
    elsewhere.expect_nothing();
    let kept = alice.ask(json!({"type": "history", "room": "lobby"}), "history");
    assert_eq!(kept["messages"].as_array().map(Vec::len), Some(1), "{kept}");
    // In the plain dialect `typing` is not a command.
    plain.send(text(r#"{"type":"typing","room":"lobby","message":"plain text"}"#));
    assert_eq!(bob.find("message")["message"], "typed");
    bob.expect_message("plain", "plain text");
    assert!(plain.try_frame(PATIENCE).is_ok_and(|frame| frame.payload.ends_with(b"}")));
}

/// A list of users as a client keeps it: the answer to `presence`, and all later presence events.
struct List {
    users: BTreeSet<String>,
    members: u64,
    is_stale: bool,
}

impl List {
    fn new(answer: &Value) -> Self {
        let mut list = Self { users: BTreeSet::new(), members: 0, is_stale: false };
        list.add(&answer["users"], &answer["members"]);
        list
    }

    fn add(&mut self, users: &Value, members: &Value) {
        let users = users.as_array().into_iter().flatten().filter_map(Value::as_str);
        self.users.extend(users.map(str::to_owned));
        self.members = members.as_u64().expect("a number");
    }

    fn hear(&mut self, diff: &Value) {
        self.is_stale |= diff.get("joined").is_none() && diff.get("left").is_none();
        let left: Vec<_> = diff["left"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        self.users.retain(|user| !left.contains(&user.as_str()));
        self.add(&diff["joined"], &diff["members"]);
    }

    /// Reads presence events up to that of `user`, who comes last, and asks for the list again if an event demands it.
    #[track_caller]
    fn settle(&mut self, speaker: &mut Speaker, room: &str, user: &str) {
        while !self.users.contains(user) {
            self.hear(&speaker.find("presence_diff"));
            if std::mem::take(&mut self.is_stale) {
                *self = Self::new(&list(speaker, room));
            }
        }
    }
}

/// Asks for the list of users; skips other events.
#[track_caller]
fn list(speaker: &mut Speaker, room: &str) -> Value {
    speaker.command(json!({"type": "presence", "room": room, "limit": 1000}));
    speaker.find("presence")
}

/// Makes a room where presence events are merged and none is pending, with `others` who stay and one who watches.
#[track_caller]
fn watched(settings: &[(&str, &str)], others: usize) -> (Server, Vec<Socket>, Speaker) {
    let server = Server::start(&[settings, UNPINGED].concat());
    let enter = |n| Socket::open(server.address(), &format!("/ws/chat/other-{n:03}"));
    let sockets = (0..others).map(enter).collect();
    let mut watch = Speaker::enter(&server, "watch");
    while watch.find("presence_diff")["members"] != others + 1 {}
    (server, sockets, watch)
}

/// Ends a connection and waits until the room has noticed; `others` stay.
#[track_caller]
fn go(server: &Server, gone: impl Sized, others: usize) {
    // A newcomer enters its room a moment before the metric counts it.
    eventually("all are counted", || server.connections() == others as f64 + 1.0);
    drop(gone);
    eventually("one is gone", || server.connections() == others as f64);
}

#[test]
fn a_user_who_joins_and_leaves_around_a_list_is_not_on_it_for_ever() {
    // The limit of the default settings, and a small one.
    let few: [(&str, &str); 2] = [("presence.notice_limit", "2"), ("presence.interval", "2s")];
    for (settings, others) in [([].as_slice(), 100), (few.as_slice(), 3)] {
        let (server, others, mut watch) = watched(settings, others);
        let bob = Socket::open(server.address(), "/ws/chat/bob");
        let mut shown = List::new(&list(&mut watch, "lobby"));
        go(&server, bob, others.len() + 1);
        let _last = Socket::open(server.address(), "/ws/chat/zoe");
        shown.settle(&mut watch, "lobby", "zoe");
        assert!(!shown.users.contains("bob"), "he is not here any more");
        assert_eq!((shown.users.len(), shown.members), (others.len() + 2, others.len() as u64 + 2));
    }
}

#[test]
fn a_user_who_leaves_and_joins_around_a_list_is_not_missing_for_ever() {
    let few: [(&str, &str); 2] = [("presence.notice_limit", "2"), ("presence.interval", "2s")];
    for (settings, others) in [([].as_slice(), 100), (few.as_slice(), 3)] {
        let (server, mut others, mut watch) = watched(settings, others);
        go(&server, others.pop(), others.len() + 1);
        let mut shown = List::new(&list(&mut watch, "lobby"));
        let name = format!("other-{:03}", others.len());
        others.push(Socket::open(server.address(), &format!("/ws/chat/{name}")));
        let _last = Socket::open(server.address(), "/ws/chat/zoe");
        shown.settle(&mut watch, "lobby", "zoe");
        assert!(shown.users.contains(&name), "{name} is here again");
        assert_eq!((shown.users.len(), shown.members), (others.len() + 2, others.len() as u64 + 2));
    }
}

/// A newcomer is counted and listed itself, and receives the joins and leaves before it that were not announced yet.
#[test]
fn a_member_who_enters_between_two_presence_events_gets_their_base() {
    let few: [(&str, &str); 2] = [("presence.notice_limit", "2"), ("presence.interval", "5s")];
    let (server, _others, mut watch) = watched(&few, 3);
    let bob = Socket::open(server.address(), "/ws/chat/bob");
    let mut carol = Speaker::enter(&server, "carol?room=red");
    let joined = carol.command(json!({"type": "join", "room": "lobby"}));
    let joined = std::iter::repeat_with(|| carol.event()).find(|event| event["re"] == joined.as_str());
    let mut hers = List::new(&list(&mut carol, "lobby"));
    assert_eq!(joined.map(|joined| joined["members"].clone()), Some(hers.members.into()));
    assert!(hers.users.contains("carol") && hers.members == hers.users.len() as u64);
    let mut shown = List::new(&list(&mut watch, "lobby"));
    go(&server, bob, 5);
    let _last = Socket::open(server.address(), "/ws/chat/zoe");
    for (list, speaker) in [(&mut hers, &mut carol), (&mut shown, &mut watch)] {
        list.settle(speaker, "lobby", "zoe");
        assert!(!list.users.contains("bob") && list.users.contains("carol"));
        assert_eq!((list.users.len(), list.members), (6, 6));
    }
}

/// A client that reads missed messages gets no presence events meanwhile. It is told to ask for the list afterwards.
#[test]
fn a_client_that_missed_much_is_told_to_ask_for_the_list_of_users() {
    let server = Server::start(&[
        ("presence.notice_limit", "1"),
        ("presence.interval", "1s"),
        ("chat.max_message_chars", "8000"),
        ("history.messages", "1000"),
        ("history.bytes", "64MiB"),
        ("socket.send_buffer", "16KiB"),
        ("queue.max_age", "5m"),
        ("heartbeat.interval", "1h"),
    ]);
    let mut bob = Speaker::alone(&server, "bob");
    for n in 1..=100 {
        bob.say_quietly("lobby", &format!("number {n} {}", "x".repeat(4000)));
    }
    let path = format!("alice?resume={}:0", bob.welcome_field("epoch"));
    let mut alice = Speaker::on(Socket::connect_narrow(server.address()), &path, "");
    // Alice reads nothing yet. Some users join and some leave again, before and after they were announced.
    let mut guests: Vec<_> =
        (0..3).map(|n| Socket::open(server.address(), &format!("/ws/chat/guest-{n}"))).collect();
    while bob.find("presence_diff")["members"] != 5 {}
    go(&server, guests.pop(), 4);
    for n in 1..=100 {
        assert_eq!(alice.expect("message")["offset"], n);
    }
    let diff = alice.expect("presence_diff");
    assert!(diff.get("joined").is_none() && diff.get("left").is_none(), "{diff}");
    let mut shown = List::new(&list(&mut alice, "lobby"));
    assert!(shown.users.contains("alice"));
    go(&server, guests.pop(), 3);
    let _last = Socket::open(server.address(), "/ws/chat/zoe");
    shown.settle(&mut alice, "lobby", "zoe");
    let here = ["alice", "bob", "guest-0", "zoe"].map(str::to_owned);
    assert_eq!((shown.users, shown.members), (BTreeSet::from(here), 4));
}
