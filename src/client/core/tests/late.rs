//! What waits, and what comes too late: messages over reconnects, limits of rate, rooms that were left.

use super::stage::{EPOCH, Stage, no_reason};
use super::*;

fn kinds(frames: &[serde_json::Value]) -> Vec<&str> {
    frames.iter().filter_map(|frame| frame["type"].as_str()).collect()
}

/// Online in the lobby and in the tea room.
fn in_two_rooms() -> Stage {
    let mut stage = Stage::online();
    drop(stage.join("tea"));
    let join = stage.sent();
    stage.joined(&join[0], "tea");
    stage.events();
    stage
}

// 1. In two rooms, away. 2. Something is said in the second. 3. Back: it went before the join, and was refused.
#[test]
fn a_message_waits_until_its_room_is_entered_again() {
    let mut stage = in_two_rooms();
    stage.fall(no_reason());
    let (mut said, mut next) = (stage.say_in("tea", "hi"), stage.say("two"));
    stage.wait();
    stage.welcome(EPOCH, 7, false);
    let sent = stage.sent();
    assert_eq!(kinds(&sent), ["join"], "{sent:?}");
    stage.joined(&sent[0], "tea");
    let sent = stage.sent();
    assert_eq!((kinds(&sent), &sent[0]["room"]), (vec!["message"], &"tea".into()), "{sent:?}");
    stage.ack(&sent[0], 8);
    assert!(said.try_recv().unwrap().is_ok());
    let sent = stage.sent();
    stage.ack(&sent[0], 9);
    assert!(next.try_recv().unwrap().is_ok());
}

#[test]
fn a_message_for_a_room_that_is_refused_or_left_goes_and_is_refused() {
    let mut stage = in_two_rooms();
    stage.fall(no_reason());
    let mut said = stage.say_in("tea", "hi");
    stage.wait();
    stage.welcome(EPOCH, 7, false);
    let sent = stage.sent();
    stage.refuse(&sent[0], "forbidden");
    let sent = stage.sent();
    assert_eq!(kinds(&sent), ["message"], "{sent:?}");
    stage.refuse(&sent[0], "not_in_room");
    assert!(
        matches!(said.try_recv().unwrap(), Err(SendError::Refused { code, .. }) if code == "not_in_room")
    );

    let mut stage = in_two_rooms();
    stage.fall(no_reason());
    drop(stage.say_in("tea", "hi"));
    stage.wait();
    stage.welcome(EPOCH, 7, false);
    assert_eq!(kinds(&stage.sent()), ["join"]);
    drop(stage.leave("tea"));
    assert_eq!(kinds(&stage.sent()), ["leave", "message"]);
}
