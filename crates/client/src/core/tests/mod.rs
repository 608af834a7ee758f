//! The core without sockets or clocks: the tests set the time and write the frames of the server.

mod cases;
mod epochs;
mod harness;
mod renewal;
mod timing;
mod told;

use std::time::Duration;

use super::super::command::Command;
use super::*;
use harness::{EPOCH, Harness, SESSION, no_reason};

#[test]
fn a_reconnect_resumes_the_room_and_presents_the_session() {
    let mut harness = Harness::new(Some("lobby"), 4);
    assert_eq!(harness.url(), "ws://h/ws/chat/ann?room=lobby");
    harness.welcome(EPOCH, 7, false);
    harness.message(8);
    let first = harness.core.connection_number();
    harness.lose(no_reason());
    assert_eq!(harness.core.connection_number(), None);
    assert!(harness.wait() <= Duration::from_millis(500));
    assert!(harness.core.connection_number().is_some() && harness.core.connection_number() != first);
    assert_eq!(harness.url(), format!("ws://h/ws/chat/ann?room=lobby&resume={EPOCH}:8&session={SESSION}"));
    harness.events();
    harness.welcome(EPOCH, 8, true);
    harness.message(8);
    harness.message(9);
    harness.message(10);
    let ping = harness.sent();
    harness.receive(&format!(r#"{{"type":"pong","re":{}}}"#, ping[0]["id"]));
    let events = harness.events();
    let offsets: Vec<u64> = events
        .iter()
        .filter_map(|e| if let Event::Message { offset, .. } = e { Some(*offset) } else { None })
        .collect();
    assert_eq!(offsets, [9, 10], "a duplicate must be dropped");
    assert!(matches!(events.last(), Some(Event::Recovered { messages: 2, .. })), "{events:?}");
}

#[test]
fn messages_that_cannot_be_recovered_are_reported_as_missed() {
    let other_epoch = "000000000000b";
    for (epoch, offset, expected) in [(EPOCH, 12, Some(5)), (other_epoch, 12, None)] {
        let mut harness = Harness::online();
        harness.lose(no_reason());
        harness.wait();
        harness.events();
        harness.welcome(epoch, offset, false);
        let events = harness.events();
        assert!(
            matches!(events.last(), Some(Event::Missed { messages, .. }) if *messages == expected),
            "{events:?}"
        );
    }
}

#[test]
fn only_final_close_codes_stop_the_client() {
    for code in [1002, 1003, 1007, 1008, 3003, 4500, 4501, 4999] {
        let mut harness = Harness::online();
        let mut said = harness.say("hi");
        harness.lose(ConnectionEnd::with_code(code, "why".to_owned()));
        let ended = Ended { code: Some(code), reason: "why".to_owned() };
        assert_eq!(harness.core.ended(), Some(&ended));
        assert_eq!(said.try_recv().unwrap(), Err(SendError::Stopped(ended.clone())));
        assert_eq!(harness.say("more").try_recv().unwrap(), Err(SendError::Stopped(ended)));
        assert_eq!(harness.core.deadline(), None);
    }
    for code in [1000, 1001, 1009, 1011, 1012, 1013, 3000, 3008, 4001, 4002, 4003, 4499] {
        let mut harness = Harness::online();
        harness.lose(ConnectionEnd::with_code(code, String::new()));
        assert!(harness.core.ended().is_none(), "{code}");
    }
    let mut harness = Harness::online();
    harness.core.settings.has_token = true;
    harness.lose(ConnectionEnd::with_code(3000, String::new()));
    assert!(harness.core.ended().is_some(), "an expired token must stop the client");
    let mut harness = Harness::online();
    harness.core.settings.has_token = true;
    harness.lose(ConnectionEnd::with_code(3000, "Token not yet valid".to_owned()));
    assert!(harness.core.ended().is_none(), "a token that is not valid yet must not");
}

#[test]
fn the_advice_of_the_server_is_followed() {
    let mut harness = Harness::online();
    harness.receive(
        r#"{"type":"disconnect","code":1012,"reason":"Server restarting","reconnect":true,"after_ms":4321}"#,
    );
    // The close frame does not arrive.
    harness.lose(no_reason());
    let reason = Ended { code: Some(1012), reason: "Server restarting".to_owned() };
    let delay = Duration::from_millis(4321);
    assert_eq!(harness.events(), [Event::State(State::Waiting { attempt: 1, delay, reason })]);
    assert_eq!(harness.wait(), delay);
    let mut harness = Harness::online();
    harness.receive(r#"{"type":"disconnect","code":1000,"reason":"enough","reconnect":false,"after_ms":0}"#);
    harness.lose(ConnectionEnd::with_code(1000, "enough".to_owned()));
    assert!(harness.core.ended().is_some());
    let mut harness = Harness::new(None, 4);
    harness.lose(ConnectionEnd { retry_after: Some(Duration::from_secs(7)), ..no_reason() });
    assert_eq!(harness.wait(), Duration::from_secs(7));
}

#[test]
fn silence_ends_a_connection_and_a_heartbeat_is_answered() {
    let mut harness = Harness::online();
    harness.now += Duration::from_secs(34);
    harness.receive(r#"{"type":"heartbeat"}"#);
    assert_eq!(harness.sent()[0]["type"], "heartbeat_ack");
    assert_eq!(harness.wait(), Duration::from_secs(35), "25 seconds of the server and ten of grace");
    let events = harness.events();
    assert!(
        matches!(&events[..], [Event::State(State::Waiting { reason, .. })] if reason.code == Some(3008)),
        "{events:?}"
    );
    // The wait for a welcome ends, too.
    harness.wait();
    assert_eq!(harness.wait(), CONNECT_TIMEOUT);
}

#[test]
fn messages_are_sent_one_by_one_and_again_with_the_same_key() {
    let mut harness = Harness::online();
    let (mut one, mut two) = (harness.say("one"), harness.say("two"));
    let first = harness.sent();
    assert!(first.len() == 1 && first[0]["message"] == "one", "{first:?}");
    harness.lose(no_reason());
    harness.wait();
    harness.welcome(EPOCH, 7, true);
    let mut again = harness.sent();
    again.retain(|frame| frame["type"] == "message"); // the ping belongs to the replay
    assert_eq!((&again[0]["message"], &again[0]["key"]), (&first[0]["message"], &first[0]["key"]));
    harness.ack(&again[0], 8);
    assert_eq!(one.try_recv().unwrap().unwrap().offset, 8);
    let second = harness.sent();
    assert!(second[0]["message"] == "two" && second[0]["key"] != first[0]["key"], "{second:?}");
    harness.receive(&format!(
        r#"{{"type":"error","re":{},"code":"forbidden","message":"no"}}"#,
        second[0]["id"]
    ));
    assert!(matches!(two.try_recv().unwrap(), Err(SendError::Refused { code, .. }) if code == "forbidden"));
}

#[test]
fn a_message_that_came_too_early_is_sent_again_later() {
    let mut harness = Harness::online();
    let mut said = harness.say("one");
    let first = harness.sent();
    let re = &first[0]["id"];
    harness.receive(&format!(r#"{{"type":"error","re":{re},"code":"rate_limited","retry_after_ms":700}}"#));
    assert_eq!(harness.events(), [Event::Limited { retry_after: Duration::from_millis(700) }]);
    assert!(harness.sent().is_empty());
    assert_eq!(harness.wait(), Duration::from_millis(700));
    let again = harness.sent();
    assert_eq!(again[0]["key"], first[0]["key"]);
    harness.ack(&again[0], 8);
    assert!(said.try_recv().unwrap().is_ok());
}

#[test]
fn a_message_is_given_up_before_it_could_be_appended_twice() {
    let mut harness = Harness::online();
    let mut said = harness.say("one");
    harness.lose(no_reason());
    harness.now += Duration::from_secs(271);
    harness.core.tick(harness.timestamp());
    harness.welcome(EPOCH, 7, true);
    assert_eq!(said.try_recv().unwrap(), Err(SendError::UnknownOutcome));
    // A message whose every attempt ends the connection is given up, too.
    let mut said = harness.say("two");
    for _ in 0..5 {
        harness.lose(ConnectionEnd::with_code(1011, String::new()));
        harness.wait();
        harness.welcome(EPOCH, 7, true);
    }
    assert_eq!(said.try_recv().unwrap(), Err(SendError::UnknownOutcome));
    let mut said = harness.say("big");
    harness.lose(ConnectionEnd::with_code(1009, "Message too big".to_owned()));
    assert!(
        matches!(said.try_recv().unwrap(), Err(SendError::Refused { code, .. }) if code == "message_too_long")
    );
}

#[test]
fn limits_hold_without_a_connection() {
    let mut harness = Harness::new(None, 2);
    let mut long = harness.say("longer than five");
    let mut kept = harness.say("kept");
    assert_eq!(harness.say("third").try_recv().unwrap(), Err(SendError::QueueFull));
    let mut joins: Vec<_> = ["a", "b", "c"].iter().map(|room| harness.join(room)).collect();
    assert_eq!(joins[2].try_recv().unwrap(), Err(SendError::QueueFull));
    let room = || "lobby".parse().unwrap();
    let mut page = harness.ask(|reply| Command::History { room: room(), before: None, limit: 1, reply });
    assert_eq!(page.try_recv().unwrap(), Err(SendError::QueueFull));
    harness.welcome(EPOCH, 0, false);
    assert_eq!(
        long.try_recv().unwrap(),
        Err(SendError::TooLong { max: 5 }),
        "the limit is known since the welcome"
    );
    let sent = harness.sent();
    assert!(sent[0]["type"] == "join" && sent[1]["message"] == "kept", "{sent:?}");
    assert!(kept.try_recv().is_err());
    // States that are not read do not pile up.
    for _ in 0..100 {
        harness.lose(no_reason());
        harness.wait();
    }
    assert!(harness.core.events.len() < 10, "{}", harness.core.events.len());
}

#[test]
fn rooms_are_joined_one_by_one_and_again_after_a_reconnect() {
    let mut harness = Harness::online();
    let (mut tea, mut den) = (harness.join("tea"), harness.join("den"));
    let first = harness.sent();
    assert!(first.len() == 1 && first[0]["room"] == "tea" && first[0]["resume"].is_null(), "{first:?}");
    let joined = |re: &serde_json::Value, room: &str, recovered: bool| {
        format!(
            r#"{{"type":"joined","re":{re},"room":"{room}","epoch":"{EPOCH}","offset":3,
            "recovered":{recovered},"members":2}}"#
        )
    };
    harness.receive(&joined(&first[0]["id"], "tea", false));
    assert_eq!(tea.try_recv().unwrap().unwrap().members, Some(2));
    let second = harness.sent();
    let re = &second[0]["id"];
    harness.receive(&format!(r#"{{"type":"error","re":{re},"code":"rate_limited","retry_after_ms":50}}"#));
    assert!(harness.sent().is_empty());
    harness.wait();
    let again = harness.sent();
    harness.receive(&format!(r#"{{"type":"error","re":{},"code":"forbidden"}}"#, again[0]["id"]));
    assert!(matches!(den.try_recv().unwrap(), Err(SendError::Refused { code, .. }) if code == "forbidden"));
    harness.lose(no_reason());
    harness.wait();
    harness.events();
    harness.welcome(EPOCH, 7, true);
    let rejoin = harness.sent();
    assert_eq!(rejoin.len(), 2, "the refused room must not be joined again: {rejoin:?}");
    let join = rejoin.iter().find(|frame| frame["type"] == "join").unwrap();
    assert_eq!(join["resume"], serde_json::json!({ "epoch": EPOCH, "offset": 3 }));
    harness.receive(&joined(&join["id"], "tea", true));
    let events = harness.events();
    assert!(
        matches!(events.last(), Some(Event::Recovered { messages: 0, .. })),
        "the event must be about the lobby: {events:?}"
    );
    // The tea room's replay ends with the answer to a ping.
    let ping = harness.sent();
    harness.receive(&format!(r#"{{"type":"pong","re":{}}}"#, ping[0]["id"]));
    assert!(matches!(&harness.events()[..], [Event::Recovered { .. }]));
}

#[test]
fn no_event_of_a_room_follows_once_it_is_left() {
    let mut harness = Harness::online();
    let room = || "lobby".parse().unwrap();
    let mut left = harness.ask(|reply| Command::Leave { room: room(), reply });
    harness.message(8);
    harness.receive(r#"{"type":"typing","room":"lobby","user":"bob"}"#);
    assert!(harness.events().is_empty());
    let leave = harness.sent();
    harness.receive(&format!(r#"{{"type":"left","re":{},"room":"lobby"}}"#, leave[0]["id"]));
    assert_eq!(left.try_recv().unwrap(), Ok(()));
    // Every connection has an entry room: it is left again.
    harness.lose(no_reason());
    harness.wait();
    harness.welcome(EPOCH, 9, false);
    assert_eq!(harness.sent()[0]["type"], "leave");
}

#[test]
fn a_room_that_an_operator_took_the_user_out_of_is_left_for_good() {
    let mut harness = Harness::online();
    harness.receive(r#"{"type":"left","room":"lobby"}"#);
    let expelled = Event::Expelled {
        room: "lobby".parse().unwrap(),
        code: "removed".into(),
        message: "the server took you out of the room".into(),
    };
    assert_eq!(harness.events(), [expelled]);
    harness.message(8);
    assert!(harness.events().is_empty());
    // A room that it is not in.
    harness.receive(r#"{"type":"left","room":"tea"}"#);
    assert!(harness.events().is_empty());
    harness.lose(no_reason());
    harness.wait();
    harness.welcome(EPOCH, 9, false);
    assert_eq!(harness.sent()[0]["type"], "leave", "the entry room is left again");
}

#[test]
fn commands_fail_when_events_are_not_read() {
    let mut harness = Harness::online();
    let mut said = harness.say("one");
    let room = || "lobby".parse().unwrap();
    let mut page = harness.ask(|reply| Command::Presence { room: room(), after: None, limit: 1, reply });
    harness.core.set_reading(false, harness.now);
    assert_eq!(harness.wait(), Duration::from_secs(35));
    assert_eq!(said.try_recv().unwrap(), Err(SendError::Unread));
    assert_eq!(page.try_recv().unwrap(), Err(SendError::Unread));
    assert!(harness.core.is_online() && harness.core.ended().is_none());
    harness.core.set_reading(true, harness.now);
    assert_eq!(harness.wait(), Duration::from_secs(35), "silence must count from then on");
    assert!(!harness.core.is_online());
}

#[test]
fn invalid_frames_end_a_connection_and_the_next_delay_is_longer() {
    let mut rng = fastrand::Rng::with_seed(7);
    let alphabet =
        ["{", "}", "\"type\":", "\"message\"", "\"welcome\"", ":", ",", "[", "18446744073709551615", "-1"];
    for _ in 0..2_000 {
        let mut harness = Harness::online();
        let mut said = harness.say("hi");
        let text: String = (0..rng.usize(..12)).map(|_| alphabet[rng.usize(..alphabet.len())]).collect();
        harness.receive(&text);
        harness.message(u64::MAX);
        harness.receive(r#"{"type":"gap","room":"lobby","from":5,"to":18446744073709551615}"#);
        harness.receive(r#"{"type":"disconnect","code":1,"reconnect":true,"after_ms":18446744073709551615}"#);
        harness.receive(r#"{"type":"error","code":"x","retry_after_ms":18446744073709551615}"#);
        harness.receive(r#"{"type":"history","re":"1","epoch":"000000000000a","messages":[],"more":true}"#);
        assert!(said.try_recv().is_err(), "the message must stay queued");
    }
    let mut harness = Harness::new(None, 4);
    let mut ceiling = Duration::from_millis(500);
    for _ in 0..10 {
        harness.welcome(EPOCH, 7, false);
        harness.receive("nonsense");
        assert!(harness.wait() <= ceiling);
        assert_eq!(harness.core.backoff.ceiling(), (ceiling * 2).min(Duration::from_secs(20)));
        ceiling = (ceiling * 2).min(Duration::from_secs(20));
    }
}
