//! The judge about memory: the server must remember the keys of private messages and, with a log, every message.

use serde_json::json;

use super::{EPOCH, ROOM, Story, welcome};
use crate::support::checker::{End, Guarantee};

#[test]
fn a_retried_private_message_breaks_g5_when_it_comes_twice() {
    let keyed = |id: &str| json!({"type": "direct", "id": id, "to": "bob", "message": "psst", "key": "k"});
    let direct = json!({"type": "direct", "user": "alice", "message": "psst", "id": "x", "ts": 1});
    let ack = |re: &str, delivered| json!({"type": "ack", "re": re, "delivered": delivered});
    let mut story = Story::begin();
    let (alice, bob) = (story.alice, story.bob);
    story.send(alice, keyed("a")).send(alice, keyed("b"));
    story.get(bob, direct.clone()).get(bob, direct.clone());
    story.expect(Guarantee::Delivery);

    // A retry that is delivered to another number of connections, unless the server was started again.
    for is_new in [false, true] {
        let mut story = Story::begin();
        story.send(alice, keyed("a")).get(bob, direct.clone()).get(alice, ack("a", 1));
        if is_new {
            story.checker.restarted();
        }
        story.send(alice, keyed("b")).get(alice, ack("b", 2));
        if is_new {
            story.checker.finish().expect_clean();
        } else {
            story.expect(Guarantee::Ack);
        }
    }
}

#[test]
fn a_server_with_a_log_that_forgets_breaks_g4() {
    let other_epoch = {
        let mut event = welcome("bob", 0, false);
        event["epoch"] = "0000000000002".into();
        event
    };
    // Three messages are known. The room is new, shorter, or as long but does not recover the position.
    for answer in [other_epoch, welcome("bob", 2, false), welcome("bob", 3, false)] {
        for is_durable in [true, false] {
            let mut story = Story::begin();
            if is_durable {
                story.checker = std::mem::take(&mut story.checker).durable();
            }
            let bob = story.talk(3).bob;
            story.checker.closed(bob, End::Ours);
            let carol = story.checker.connect("carol", "carol", ROOM, Some((EPOCH.to_owned(), 1)));
            let mut answer = answer.clone();
            answer["user"] = "carol".into();
            story.get(carol, answer);
            if is_durable {
                story.expect(Guarantee::Ack);
            } else {
                story.checker.finish().expect_clean();
            }
        }
    }
}
