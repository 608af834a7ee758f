//! The machine without sockets: time is a number, the server a string.

mod late;
mod stage;

use std::time::Duration;

use super::super::command::Command;
use super::*;
use stage::{EPOCH, SESSION, Stage, no_reason};

#[test]
fn it_comes_back_where_it_was_with_its_session() {
    let mut stage = Stage::new(Some("lobby"), 4);
    assert_eq!(stage.url(), "ws://h/ws/chat/ann?room=lobby");
    stage.welcome(EPOCH, 7, false);
    stage.message(8);
    let first = stage.core.turn();
    stage.fall(no_reason());
    assert_eq!(stage.core.turn(), None);
    assert!(stage.wait() <= Duration::from_millis(500));
    assert!(stage.core.turn().is_some() && stage.core.turn() != first);
    assert_eq!(stage.url(), format!("ws://h/ws/chat/ann?room=lobby&resume={EPOCH}:8&session={SESSION}"));
    stage.events();
    stage.welcome(EPOCH, 8, true);
    stage.message(8);
    stage.message(9);
    stage.message(10);
    let ping = stage.sent();
    stage.hear(&format!(r#"{{"type":"pong","re":{}}}"#, ping[0]["id"]));
    let events = stage.events();
    let offsets: Vec<u64> = events
        .iter()
        .filter_map(|e| if let Event::Message { offset, .. } = e { Some(*offset) } else { None })
        .collect();
    assert_eq!(offsets, [9, 10], "a duplicate is dropped");
    assert!(matches!(events.last(), Some(Event::Recovered { messages: 2, .. })), "{events:?}");
}

#[test]
fn what_cannot_be_recovered_is_missed() {
    let fifth = "000000000000b";
    for (epoch, offset, expected) in [(EPOCH, 12, Some(5)), (fifth, 12, None)] {
        let mut stage = Stage::online();
        stage.fall(no_reason());
        stage.wait();
        stage.events();
        stage.welcome(epoch, offset, false);
        let events = stage.events();
        assert!(
            matches!(events.last(), Some(Event::Missed { messages, .. }) if *messages == expected),
            "{events:?}"
        );
    }
    // After 4003 positions are not even shown.
    let mut stage = Stage::online();
    stage.fall(Lost::closed(4003, String::new()));
    assert!(!stage.url().contains("resume"), "{}", stage.url());
}

#[test]
fn codes_that_stop_it_stop_it_and_others_do_not() {
    for code in [1002, 1003, 1007, 1008, 3003, 4500, 4501, 4999] {
        let mut stage = Stage::online();
        let mut said = stage.say("hi");
        stage.fall(Lost::closed(code, "why".to_owned()));
        let ended = Ended { code: Some(code), reason: "why".to_owned() };
        assert_eq!(stage.core.ended(), Some(&ended));
        assert_eq!(said.try_recv().unwrap(), Err(SendError::Stopped(ended.clone())));
        assert_eq!(stage.say("more").try_recv().unwrap(), Err(SendError::Stopped(ended)));
        assert_eq!(stage.core.deadline(), None);
    }
    for code in [1000, 1001, 1009, 1011, 1012, 1013, 3000, 3008, 4001, 4002, 4003, 4499] {
        let mut stage = Stage::online();
        stage.fall(Lost::closed(code, String::new()));
        assert!(stage.core.ended().is_none(), "{code}");
    }
    let mut stage = Stage::online();
    stage.core.settings.has_token = true;
    stage.fall(Lost::closed(3000, String::new()));
    assert!(stage.core.ended().is_some(), "the token will not get younger");
    let mut stage = Stage::online();
    stage.core.settings.has_token = true;
    stage.fall(Lost::closed(3000, "Token not yet valid".to_owned()));
    assert!(stage.core.ended().is_none(), "but older");
}

#[test]
fn the_advice_of_the_server_is_taken() {
    let mut stage = Stage::online();
    stage.hear(
        r#"{"type":"disconnect","code":1012,"reason":"Server restarting","reconnect":true,"after_ms":4321}"#,
    );
    // The close itself does not arrive.
    stage.fall(no_reason());
    let reason = Ended { code: Some(1012), reason: "Server restarting".to_owned() };
    let delay = Duration::from_millis(4321);
    assert_eq!(stage.events(), [Event::State(State::Waiting { attempt: 1, delay, reason })]);
    assert_eq!(stage.wait(), delay);
    let mut stage = Stage::online();
    stage.hear(r#"{"type":"disconnect","code":1000,"reason":"enough","reconnect":false,"after_ms":0}"#);
    stage.fall(Lost::closed(1000, "enough".to_owned()));
    assert!(stage.core.ended().is_some());
    let mut stage = Stage::new(None, 4);
    stage.fall(Lost { retry_after: Some(Duration::from_secs(7)), ..no_reason() });
    assert_eq!(stage.wait(), Duration::from_secs(7));
}

#[test]
fn silence_ends_a_connection_and_a_heartbeat_is_answered() {
    let mut stage = Stage::online();
    stage.now += Duration::from_secs(34);
    stage.hear(r#"{"type":"heartbeat"}"#);
    assert_eq!(stage.sent()[0]["type"], "heartbeat_ack");
    assert_eq!(stage.wait(), Duration::from_secs(35), "the server's 25 and ten");
    let events = stage.events();
    assert!(
        matches!(&events[..], [Event::State(State::Waiting { reason, .. })] if reason.code == Some(3008)),
        "{events:?}"
    );
    // Nor does it wait for a welcome for ever.
    stage.wait();
    assert_eq!(stage.wait(), CONNECT);
}

#[test]
fn messages_go_one_by_one_and_again_with_the_same_key() {
    let mut stage = Stage::online();
    let (mut one, mut two) = (stage.say("one"), stage.say("two"));
    let first = stage.sent();
    assert!(first.len() == 1 && first[0]["message"] == "one", "{first:?}");
    stage.fall(no_reason());
    stage.wait();
    stage.welcome(EPOCH, 7, true);
    let mut again = stage.sent();
    again.retain(|frame| frame["type"] == "message"); // the ping is for the replay
    assert_eq!((&again[0]["message"], &again[0]["key"]), (&first[0]["message"], &first[0]["key"]));
    stage.ack(&again[0], 8);
    assert_eq!(one.try_recv().unwrap().unwrap().offset, 8);
    let second = stage.sent();
    assert!(second[0]["message"] == "two" && second[0]["key"] != first[0]["key"], "{second:?}");
    stage.hear(&format!(r#"{{"type":"error","re":{},"code":"forbidden","message":"no"}}"#, second[0]["id"]));
    assert!(matches!(two.try_recv().unwrap(), Err(SendError::Refused { code, .. }) if code == "forbidden"));
}

#[test]
fn what_is_said_too_fast_goes_again_later() {
    let mut stage = Stage::online();
    let mut said = stage.say("one");
    let first = stage.sent();
    let re = &first[0]["id"];
    stage.hear(&format!(r#"{{"type":"error","re":{re},"code":"rate_limited","retry_after_ms":700}}"#));
    assert_eq!(stage.events(), [Event::Limited { retry_after: Duration::from_millis(700) }]);
    assert!(stage.sent().is_empty());
    assert_eq!(stage.wait(), Duration::from_millis(700));
    let again = stage.sent();
    assert_eq!(again[0]["key"], first[0]["key"]);
    stage.ack(&again[0], 8);
    assert!(said.try_recv().unwrap().is_ok());
}

#[test]
fn a_message_is_given_up_before_it_could_be_said_twice() {
    let mut stage = Stage::online();
    let mut said = stage.say("one");
    stage.fall(no_reason());
    stage.now += Duration::from_secs(271);
    stage.core.tick(stage.moment());
    stage.welcome(EPOCH, 7, true);
    assert_eq!(said.try_recv().unwrap(), Err(SendError::UnknownOutcome));
    // Nor is one tried for ever that ends each connection.
    let mut said = stage.say("two");
    for _ in 0..5 {
        stage.fall(Lost::closed(1011, String::new()));
        stage.wait();
        stage.welcome(EPOCH, 7, true);
    }
    assert_eq!(said.try_recv().unwrap(), Err(SendError::UnknownOutcome));
    let mut said = stage.say("big");
    stage.fall(Lost::closed(1009, "Message too big".to_owned()));
    assert!(
        matches!(said.try_recv().unwrap(), Err(SendError::Refused { code, .. }) if code == "message_too_long")
    );
}

#[test]
fn limits_hold_while_away() {
    let mut stage = Stage::new(None, 2);
    let mut long = stage.say("longer than five");
    let mut kept = stage.say("kept");
    assert_eq!(stage.say("third").try_recv().unwrap(), Err(SendError::QueueFull));
    let mut joins: Vec<_> = ["a", "b", "c"].iter().map(|room| stage.join(room)).collect();
    assert_eq!(joins[2].try_recv().unwrap(), Err(SendError::QueueFull));
    let room = || "lobby".parse().unwrap();
    let mut page = stage.ask(|reply| Command::History { room: room(), before: None, limit: 1, reply });
    assert_eq!(page.try_recv().unwrap(), Err(SendError::QueueFull));
    stage.welcome(EPOCH, 0, false);
    assert_eq!(long.try_recv().unwrap(), Err(SendError::TooLong { max: 5 }), "known since the welcome");
    let sent = stage.sent();
    assert!(sent[0]["type"] == "join" && sent[1]["message"] == "kept", "{sent:?}");
    assert!(kept.try_recv().is_err());
    // States that nobody reads do not pile up.
    for _ in 0..100 {
        stage.fall(no_reason());
        stage.wait();
    }
    assert!(stage.core.events.len() < 10, "{}", stage.core.events.len());
}

#[test]
fn rooms_are_joined_one_after_the_other_and_again() {
    let mut stage = Stage::online();
    let (mut tea, mut den) = (stage.join("tea"), stage.join("den"));
    let first = stage.sent();
    assert!(first.len() == 1 && first[0]["room"] == "tea" && first[0]["resume"].is_null(), "{first:?}");
    let joined = |re: &serde_json::Value, room: &str, recovered: bool| {
        format!(
            r#"{{"type":"joined","re":{re},"room":"{room}","epoch":"{EPOCH}","offset":3,
            "recovered":{recovered},"members":2}}"#
        )
    };
    stage.hear(&joined(&first[0]["id"], "tea", false));
    assert_eq!(tea.try_recv().unwrap().unwrap().members, Some(2));
    let second = stage.sent();
    let re = &second[0]["id"];
    stage.hear(&format!(r#"{{"type":"error","re":{re},"code":"rate_limited","retry_after_ms":50}}"#));
    assert!(stage.sent().is_empty());
    stage.wait();
    let again = stage.sent();
    stage.hear(&format!(r#"{{"type":"error","re":{},"code":"forbidden"}}"#, again[0]["id"]));
    assert!(matches!(den.try_recv().unwrap(), Err(SendError::Refused { code, .. }) if code == "forbidden"));
    stage.fall(no_reason());
    stage.wait();
    stage.events();
    stage.welcome(EPOCH, 7, true);
    let rejoin = stage.sent();
    assert_eq!(rejoin.len(), 2, "one room was refused and is not wanted any more: {rejoin:?}");
    let join = rejoin.iter().find(|frame| frame["type"] == "join").unwrap();
    assert_eq!(join["resume"], serde_json::json!({ "epoch": EPOCH, "offset": 3 }));
    stage.hear(&joined(&join["id"], "tea", true));
    let events = stage.events();
    assert!(matches!(events.last(), Some(Event::Recovered { messages: 0, .. })), "the lobby's: {events:?}");
    // The tea room's replay ends with the answer to a ping.
    let ping = stage.sent();
    stage.hear(&format!(r#"{{"type":"pong","re":{}}}"#, ping[0]["id"]));
    assert!(matches!(&stage.events()[..], [Event::Recovered { .. }]));
}

#[test]
fn a_room_that_was_left_is_silent_at_once() {
    let mut stage = Stage::online();
    let room = || "lobby".parse().unwrap();
    let mut left = stage.ask(|reply| Command::Leave { room: room(), reply });
    stage.message(8);
    stage.hear(r#"{"type":"typing","room":"lobby","user":"bob"}"#);
    assert!(stage.events().is_empty());
    let leave = stage.sent();
    stage.hear(&format!(r#"{{"type":"left","re":{},"room":"lobby"}}"#, leave[0]["id"]));
    assert_eq!(left.try_recv().unwrap(), Ok(()));
    // There is no connection without an entry room: it is left again.
    stage.fall(no_reason());
    stage.wait();
    stage.welcome(EPOCH, 9, false);
    assert_eq!(stage.sent()[0]["type"], "leave");
}

#[test]
fn nobody_who_reads_no_events_waits_for_ever() {
    let mut stage = Stage::online();
    let mut said = stage.say("one");
    let room = || "lobby".parse().unwrap();
    let mut page = stage.ask(|reply| Command::Presence { room: room(), after: None, limit: 1, reply });
    stage.core.set_reading(false, stage.now);
    assert_eq!(stage.wait(), Duration::from_secs(35));
    assert_eq!(said.try_recv().unwrap(), Err(SendError::Unread));
    assert_eq!(page.try_recv().unwrap(), Err(SendError::Unread));
    assert!(stage.core.is_online() && stage.core.ended().is_none());
    stage.core.set_reading(true, stage.now);
    assert_eq!(stage.wait(), Duration::from_secs(35), "and silence counts from then on");
    assert!(!stage.core.is_online());
}

#[test]
fn nonsense_ends_a_connection_and_the_next_one_waits_longer() {
    let mut rng = fastrand::Rng::with_seed(7);
    let alphabet =
        ["{", "}", "\"type\":", "\"message\"", "\"welcome\"", ":", ",", "[", "18446744073709551615", "-1"];
    for _ in 0..2_000 {
        let mut stage = Stage::online();
        let mut said = stage.say("hi");
        let text: String = (0..rng.usize(..12)).map(|_| alphabet[rng.usize(..alphabet.len())]).collect();
        stage.hear(&text);
        stage.message(u64::MAX);
        stage.hear(r#"{"type":"gap","room":"lobby","from":5,"to":18446744073709551615}"#);
        stage.hear(r#"{"type":"disconnect","code":1,"reconnect":true,"after_ms":18446744073709551615}"#);
        stage.hear(r#"{"type":"error","code":"x","retry_after_ms":18446744073709551615}"#);
        stage.hear(r#"{"type":"history","re":"1","epoch":"000000000000a","messages":[],"more":true}"#);
        assert!(said.try_recv().is_err(), "it is still to be said");
    }
    let mut stage = Stage::new(None, 4);
    let mut ceiling = Duration::from_millis(500);
    for _ in 0..10 {
        stage.welcome(EPOCH, 7, false);
        stage.hear("nonsense");
        assert!(stage.wait() <= ceiling);
        assert_eq!(stage.core.backoff.ceiling(), (ceiling * 2).min(Duration::from_secs(20)));
        ceiling = (ceiling * 2).min(Duration::from_secs(20));
    }
}
