//! Rooms that go on in another epoch, with and without a loss.

use super::harness::{EPOCH, Harness, SESSION, no_reason};
use super::*;

const NEXT_EPOCH: &str = "000000000000b";

/// Answers the first ping among the frames, which ends the replay of a room.
fn answer_ping(harness: &mut Harness, frames: &[serde_json::Value]) {
    let ping = frames.iter().find(|frame| frame["type"] == "ping").unwrap();
    harness.receive(&format!(r#"{{"type":"pong","re":{}}}"#, ping["id"]));
}

#[test]
fn an_epoch_is_taken_over_for_the_next_resume_and_the_program_hears_nothing() {
    let mut harness = Harness::online();
    harness.message(8);
    harness.events();
    for room in ["lobby", "elsewhere"] {
        harness.receive(&format!(r#"{{"type":"epoch","room":"{room}","epoch":"{NEXT_EPOCH}","offset":8}}"#));
    }
    assert_eq!((harness.events(), harness.sent().len()), (Vec::new(), 0));
    let room = || "lobby".parse().unwrap();
    drop(harness.ask(|reply| Command::History { room: room(), before: None, limit: 1, reply }));
    assert_eq!(harness.sent()[0]["epoch"], NEXT_EPOCH);
    harness.message(9);
    harness.lose(no_reason());
    assert_eq!(
        harness.url(),
        format!("ws://h/ws/chat/ann?room=lobby&resume={NEXT_EPOCH}:9&session={SESSION}")
    );
}

#[test]
fn an_epoch_that_began_while_the_client_was_away_loses_nothing() {
    let mut harness = Harness::online();
    harness.lose(no_reason());
    harness.wait();
    harness.events();
    harness.welcome(NEXT_EPOCH, 7, true);
    harness.message(8);
    let sent = harness.sent();
    answer_ping(&mut harness, &sent);
    let events = harness.events();
    assert!(matches!(events.last(), Some(Event::Recovered { messages: 1, .. })), "{events:?}");
    harness.lose(no_reason());
    assert!(harness.url().contains(&format!("resume={NEXT_EPOCH}:8")), "{}", harness.url());
}

#[test]
fn a_lost_position_is_reported_for_its_room_alone() {
    let mut harness = Harness::online();
    drop(harness.join("tea"));
    let join = harness.sent();
    harness.joined(&join[0], "tea");
    harness.events();
    harness.receive(
        r#"{"type":"disconnect","code":4003,"reason":"Position lost","reconnect":true,"after_ms":200}"#,
    );
    harness.lose(ConnectionEnd::with_code(4003, "Position lost".to_owned()));
    let reason = Ended { code: Some(4003), reason: "Position lost".to_owned() };
    let delay = Duration::from_millis(200);
    assert_eq!(harness.events(), [Event::State(State::Waiting { attempt: 1, delay, reason })]);
    assert_eq!(harness.wait(), delay);
    assert!(harness.url().contains(&format!("resume={EPOCH}:7")), "{}", harness.url());
    // The lobby begins anew.
    harness.welcome(NEXT_EPOCH, 0, false);
    let sent = harness.sent();
    assert_eq!(sent[0]["resume"], serde_json::json!({"epoch": EPOCH, "offset": 3}));
    let re = &sent[0]["id"];
    harness.receive(&format!(
        r#"{{"type":"joined","re":{re},"room":"tea","epoch":"{EPOCH}","offset":3,"recovered":true,"members":2}}"#
    ));
    harness.message(1);
    let sent = harness.sent();
    answer_ping(&mut harness, &sent);
    let (lobby, tea) = ("lobby".parse().unwrap(), "tea".parse().unwrap());
    let events = harness.events();
    assert!(events.contains(&Event::Missed { room: lobby, messages: None }), "{events:?}");
    assert!(events.contains(&Event::Recovered { room: tea, messages: 0 }), "{events:?}");
    assert!(events.iter().any(|event| matches!(event, Event::Message { offset: 1, .. })), "{events:?}");
}
