//! The judge itself: events that keep every promise pass, and each broken promise is reported by its name.

mod kept;

use serde_json::{Value, json};

use crate::support::checker::{Checker, Conn, End, Guarantee, Report};

const EPOCH: &str = "0000000000001";
const ROOM: &str = "lobby";

fn welcome(user: &str, offset: u64, recovered: bool) -> Value {
    json!({"type": "welcome", "session": "s", "node": "n", "user": user, "room": ROOM, "epoch": EPOCH,
           "offset": offset, "recovered": recovered, "heartbeat_ms": 25_000, "limits": {}})
}

fn message(offset: u64, user: &str, text: &str) -> Value {
    json!({"type": "message", "user": user, "message": text, "room": ROOM, "offset": offset,
           "id": format!("{EPOCH}-{offset}"), "ts": 1_000 + offset})
}

fn ack(re: &str, offset: u64, duplicate: bool) -> Value {
    json!({"type": "ack", "re": re, "room": ROOM, "epoch": EPOCH, "offset": offset, "duplicate": duplicate})
}

fn joined(re: &str, room: &str, offset: u64, recovered: bool) -> Value {
    json!({"type": "joined", "re": re, "room": room, "epoch": EPOCH, "offset": offset,
           "recovered": recovered, "members": 1})
}

fn diff(joined: &[&str], left: &[&str], members: usize) -> Value {
    json!({"type": "presence_diff", "room": ROOM, "joined": joined, "left": left, "members": members})
}

fn gap(from: u64, to: u64) -> Value {
    json!({"type": "gap", "room": ROOM, "from": from, "to": to})
}

/// A made-up sequence of events, with two clients in one room, alice and bob, who listen from offset 0.
struct Story {
    checker: Checker,
    alice: Conn,
    bob: Conn,
}

impl Story {
    fn begin() -> Self {
        let mut checker = Checker::default();
        let [alice, bob] = ["alice", "bob"].map(|user| {
            let conn = checker.connect(user, user, ROOM, None);
            checker.received(conn, &welcome(user, 0, false).to_string());
            conn
        });
        Self { checker, alice, bob }
    }

    fn get(&mut self, conn: Conn, event: Value) -> &mut Self {
        self.checker.received(conn, &event.to_string());
        self
    }

    /// Makes `who` send a text with an id, and with a key if there is one.
    fn say(&mut self, who: Conn, id: &str, text: &str, key: Option<&str>) -> &mut Self {
        let mut command = json!({"type": "message", "id": id, "message": text});
        if let Some(key) = key {
            command["key"] = key.into();
        }
        self.checker.sent(who, &command.to_string());
        self
    }

    fn send(&mut self, who: Conn, command: Value) -> &mut Self {
        self.checker.sent(who, &command.to_string());
        self
    }

    /// Makes alice say texts 1 to `count`, which both receive.
    fn talk(&mut self, count: u64) -> &mut Self {
        let (alice, bob) = (self.alice, self.bob);
        for offset in 1..=count {
            let (id, text) = (format!("m{offset}"), format!("text {offset}"));
            self.say(alice, &id, &text, None).get(alice, message(offset, "alice", &text));
            self.get(alice, ack(&id, offset, false)).get(bob, message(offset, "alice", &text));
        }
        self
    }

    /// Cuts bob off and lets him come back with a position.
    fn bob_resumes(&mut self, offset: u64, answer: Value) -> &mut Self {
        self.checker.closed(self.bob, End::Ours);
        self.bob = self.checker.connect("bob", "bob", ROOM, Some((EPOCH.to_owned(), offset)));
        self.get(self.bob, answer)
    }

    #[track_caller]
    fn expect(self, guarantee: Guarantee) -> Report {
        let report = self.checker.finish();
        let first = report.violations.first();
        assert_eq!(first.map(|violation| violation.guarantee), Some(guarantee), "{report}");
        report
    }
}

#[test]
fn events_that_keep_every_promise_pass() {
    let mut story = Story::begin();
    let (alice, bob) = (story.alice, story.bob);
    story.get(alice, diff(&["bob"], &[], 2)).talk(3);
    // The ack comes instead of the echo that was not wanted.
    story.send(alice, json!({"type": "message", "id": "a", "message": "quiet", "echo": false}));
    story.get(alice, ack("a", 4, false)).get(bob, message(4, "alice", "quiet"));
    // Sent once more, as if the answer had been lost.
    story.say(alice, "b", "again", Some("k")).get(alice, message(5, "alice", "again"));
    story.get(alice, ack("b", 5, false)).say(alice, "c", "again", Some("k")).get(alice, ack("c", 5, true));
    // A refused message, which nobody sees.
    story.say(alice, "d", "too long", None);
    story.get(alice, json!({"type": "error", "re": "d", "code": "message_too_long", "message": ""}));
    // Bob misses two messages and gets them with one more. Later two messages are dropped, and a gap names them.
    story.bob_resumes(4, welcome("bob", 4, true));
    let bob = story.bob;
    story.get(bob, message(5, "alice", "again")).say(bob, "e", "back", None);
    story.get(bob, message(6, "bob", "back")).get(bob, ack("e", 6, false));
    story.get(alice, message(6, "bob", "back")).get(bob, gap(7, 8));
    for offset in [7, 8] {
        let text = format!("seen by alice alone {offset}");
        story.say(alice, &text, &text, None).get(alice, message(offset, "alice", &text));
        story.get(alice, ack(&text, offset, false));
    }
    // Rooms, private messages, history.
    story
        .send(bob, json!({"type": "join", "id": "f", "room": "other"}))
        .get(bob, joined("f", "other", 9, false));
    story.send(bob, json!({"type": "leave", "id": "g", "room": "other"}));
    story.get(bob, json!({"type": "left", "re": "g", "room": "other"}));
    story.send(alice, json!({"type": "direct", "id": "h", "to": "bob", "message": "psst"}));
    story.get(alice, json!({"type": "ack", "re": "h", "delivered": 1}));
    story.get(bob, json!({"type": "direct", "user": "alice", "message": "psst", "id": "x", "ts": 1}));
    story.send(bob, json!({"type": "history", "id": "i", "room": ROOM}));
    let messages = [message(1, "alice", "text 1"), message(2, "alice", "text 2")];
    let page = json!({"type": "history", "re": "i", "room": ROOM, "epoch": EPOCH, "messages": messages, "more": true});
    story.get(bob, page);
    assert_eq!(story.checker.position(bob, ROOM), Some((EPOCH.to_owned(), 8)));
    assert!(story.checker.unsettled().is_empty(), "{:?}", story.checker.unsettled());
    story.get(
        bob,
        json!({"type": "disconnect", "code": 1012, "reason": "", "reconnect": true, "after_ms": 1}),
    );
    story.checker.closed(bob, End::Closed(1012));
    story.get(alice, diff(&[], &["bob"], 1));
    assert!(story.checker.unsettled().is_empty());
    story.checker.finish().expect_clean();
}

#[test]
fn two_messages_at_one_position_break_g1() {
    let mut story = Story::begin();
    let (alice, bob) = (story.alice, story.bob);
    story.say(alice, "a", "one", None).say(alice, "b", "two", None);
    story.get(alice, message(1, "alice", "one")).get(bob, message(1, "alice", "two"));
    let shown = story.expect(Guarantee::Order).to_string();
    for part in ["client bob", "\"lobby\"", "offset 1", "\"one\"", "\"two\""] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
}

#[test]
fn another_epoch_without_a_close_breaks_g1() {
    let mut story = Story::begin();
    let bob = story.bob;
    let mut other = message(1, "alice", "one");
    other["id"] = "0000000000002-1".into();
    story.get(bob, other);
    story.expect(Guarantee::Order);
}

#[test]
fn a_history_that_differs_from_the_live_messages_breaks_g1() {
    let mut story = Story::begin();
    let bob = story.talk(2).bob;
    story.send(bob, json!({"type": "history", "id": "h", "room": ROOM}));
    let forged = [message(2, "alice", "text 1")];
    story.get(bob, json!({"type": "history", "re": "h", "room": ROOM, "epoch": EPOCH, "messages": forged}));
    story.expect(Guarantee::Order);
}

#[test]
fn a_hole_breaks_g2() {
    let mut story = Story::begin();
    let (alice, bob) = (story.alice, story.bob);
    story.talk(2).say(alice, "a", "lost", None).say(alice, "b", "four", None);
    story.get(bob, message(4, "alice", "four"));
    story.expect(Guarantee::NoSilentGap);
}

#[test]
fn a_gap_that_names_the_wrong_offsets_breaks_g2() {
    let mut story = Story::begin();
    let bob = story.talk(2).bob;
    story.get(bob, gap(4, 5));
    story.expect(Guarantee::NoSilentGap);
}

#[test]
fn last_messages_that_never_come_break_g2() {
    let mut story = Story::begin();
    let alice = story.talk(2).alice;
    story.say(alice, "a", "for alice alone", None).get(alice, message(3, "alice", "for alice alone"));
    story.get(alice, ack("a", 3, false));
    let found = story.checker.unsettled();
    assert!(found.iter().any(|v| v.guarantee == Guarantee::NoSilentGap && v.client == "bob"), "{found:?}");
}

#[test]
fn a_resume_with_missing_repeated_or_foreign_messages_breaks_g3() {
    let other_epoch = {
        let mut event = welcome("bob", 2, true);
        event["epoch"] = "0000000000002".into();
        event
    };
    let cases: [(u64, Value, Option<u64>); 5] = [
        // Three messages were missed, and the second comes first.
        (1, welcome("bob", 1, true), Some(3)),
        (1, welcome("bob", 4, true), Some(3)),
        // A message that was seen comes again.
        (3, welcome("bob", 3, true), Some(3)),
        // A position of the future, and one of another epoch.
        (9, welcome("bob", 4, true), None),
        (2, other_epoch, None),
    ];
    for (asked, answer, next) in cases {
        let mut story = Story::begin();
        story.talk(4).bob_resumes(asked, answer);
        let bob = story.bob;
        if let Some(offset) = next {
            story.get(bob, message(offset, "alice", &format!("text {offset}")));
        }
        story.expect(Guarantee::Resume);
    }
    let mut story = Story::begin();
    story.talk(4).bob_resumes(1, welcome("bob", 3, false));
    let report = story.expect(Guarantee::Resume).to_string();
    assert!(report.contains("behind the messages seen"), "{report}");
}

#[test]
fn an_ack_of_a_message_that_is_not_in_the_room_breaks_g4() {
    let mut story = Story::begin();
    let (alice, bob) = (story.alice, story.bob);
    story.talk(1).say(alice, "a", "mine", None).get(alice, ack("a", 1, false));
    let report = story.expect(Guarantee::Ack).to_string();
    assert!(report.contains("text 1") && report.contains("mine"), "{report}");

    let mut story = Story::begin();
    story
        .say(alice, "a", "mine", None)
        .get(alice, ack("a", 2, false))
        .get(alice, message(1, "alice", "mine"));
    story.get(bob, message(1, "alice", "mine"));
    story.expect(Guarantee::Ack);
}

#[test]
fn a_key_that_appends_twice_breaks_g4() {
    for second in [ack("b", 2, false), ack("b", 2, true), ack("b", 1, false)] {
        let mut story = Story::begin();
        let alice = story.alice;
        story.say(alice, "a", "once", Some("k")).get(alice, message(1, "alice", "once"));
        story.get(alice, ack("a", 1, false)).say(alice, "b", "once", Some("k")).get(alice, second);
        story.expect(Guarantee::Ack);
    }
    // No attempt was answered, but the message was seen twice.
    let mut story = Story::begin();
    let (alice, bob) = (story.alice, story.bob);
    story.say(alice, "a", "once", Some("k")).say(alice, "b", "once", Some("k"));
    story.get(bob, message(1, "alice", "once")).get(bob, message(2, "alice", "once"));
    story.expect(Guarantee::Ack);
}

#[test]
fn seeing_a_message_that_was_refused_or_never_sent_breaks_g4() {
    let mut story = Story::begin();
    let (alice, bob) = (story.alice, story.bob);
    story.say(alice, "a", "refused", None);
    story.get(alice, json!({"type": "error", "re": "a", "code": "rate_limited", "message": ""}));
    story.get(bob, message(1, "alice", "refused"));
    story.expect(Guarantee::Ack);

    let mut story = Story::begin();
    story.get(bob, message(1, "alice", "invented"));
    story.expect(Guarantee::Ack);
}

#[test]
fn a_command_without_an_answer_is_not_settled() {
    let mut story = Story::begin();
    let alice = story.alice;
    story.say(alice, "a", "hello?", None);
    let found = story.checker.unsettled();
    assert!(found.iter().any(|v| v.guarantee == Guarantee::Ack && v.before.contains("hello?")), "{found:?}");
}

#[test]
fn seeing_the_same_message_twice_breaks_g5() {
    let mut story = Story::begin();
    let bob = story.talk(2).bob;
    story.get(bob, message(2, "alice", "text 2"));
    story.expect(Guarantee::Delivery);

    let mut story = Story::begin();
    let (alice, bob) = (story.alice, story.bob);
    story.send(alice, json!({"type": "direct", "id": "a", "to": "bob", "message": "psst"}));
    let direct = json!({"type": "direct", "user": "alice", "message": "psst", "id": "x", "ts": 1});
    story.get(bob, direct.clone()).get(bob, direct);
    story.expect(Guarantee::Delivery);
}

#[test]
fn a_message_of_a_room_that_was_left_breaks_g5() {
    let mut story = Story::begin();
    let bob = story.talk(1).bob;
    story.send(bob, json!({"type": "leave", "id": "l", "room": ROOM}));
    story.get(bob, json!({"type": "left", "re": "l", "room": ROOM})).get(bob, message(2, "alice", "x"));
    story.expect(Guarantee::Delivery);
}

#[test]
fn a_user_who_comes_twice_or_never_goes_breaks_presence() {
    for field in ["joined", "left"] {
        let mut story = Story::begin();
        let alice = story.alice;
        let event = if field == "joined" { diff(&["carol"], &[], 3) } else { diff(&[], &["carol"], 2) };
        story.get(alice, event.clone()).get(alice, event);
        story.expect(Guarantee::Presence);
    }
    let mut story = Story::begin();
    let (alice, bob) = (story.alice, story.bob);
    story.get(alice, diff(&["bob"], &[], 2));
    story.checker.closed(bob, End::Ours);
    let found = story.checker.unsettled();
    assert!(found.iter().any(|v| v.guarantee == Guarantee::Presence && v.client == "alice"), "{found:?}");
    // The right event with a wrong number of members.
    story.get(alice, diff(&[], &["bob"], 2));
    assert!(story.checker.unsettled().iter().any(|v| v.guarantee == Guarantee::Presence));
    story.get(alice, diff(&[], &[], 1));
    assert!(story.checker.unsettled().is_empty());
}

#[test]
fn events_out_of_order_or_of_unknown_types_break_the_protocol() {
    let mut story = Story::begin();
    let alice = story.alice;
    story
        .get(alice, json!({"type": "disconnect", "code": 4001, "reason": ""}))
        .get(alice, message(1, "bob", "x"));
    story.expect(Guarantee::Protocol);

    let mut story = Story::begin();
    story.checker.closed(story.alice, End::Closed(4001));
    story.expect(Guarantee::Protocol);

    let mut story = Story::begin();
    let alice = story.alice;
    story.get(alice, ack("nothing", 1, false));
    story.expect(Guarantee::Protocol);

    let mut checker = Checker::default();
    let early = checker.connect("alice", "alice", ROOM, None);
    checker.received(early, &message(1, "bob", "x").to_string());
    assert!(checker.finish().breaks(Guarantee::Protocol));
}

#[test]
fn plain_clients_are_judged_by_their_messages() {
    let mut story = Story::begin();
    let plain = story.checker.connect_plain("dave", "dave", ROOM);
    story.talk(2);
    story.get(plain, json!({"type": "system", "message": "User dave has joined the chat", "room": ROOM}));
    story.get(plain, message(2, "alice", "text 2")).get(plain, message(4, "alice", "x"));
    story.expect(Guarantee::NoSilentGap);
}
