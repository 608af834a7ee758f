//! Messages that wait, rate limits, late answers, and rooms that are left while a command is under way.

use super::harness::{EPOCH, Harness, no_reason};
use super::*;

fn kinds(frames: &[serde_json::Value]) -> Vec<&str> {
    frames.iter().filter_map(|frame| frame["type"].as_str()).collect()
}

/// Returns a client that is online in the lobby and in the tea room.
fn in_two_rooms() -> Harness {
    let mut harness = Harness::online();
    drop(harness.join("tea"));
    let join = harness.sent();
    harness.joined(&join[0], "tea");
    harness.events();
    harness
}

// 1. The client is in two rooms and loses its connection. 2. The program sends a message to the second room. 3. After
// the reconnect, the message was sent before the join, and refused.
#[test]
fn a_message_waits_until_its_room_is_entered_again() {
    let mut harness = in_two_rooms();
    harness.lose(no_reason());
    let (mut said, mut next) = (harness.say_in("tea", "hi"), harness.say("two"));
    harness.wait();
    harness.welcome(EPOCH, 7, false);
    let sent = harness.sent();
    assert_eq!(kinds(&sent), ["join"], "{sent:?}");
    harness.joined(&sent[0], "tea");
    let sent = harness.sent();
    assert_eq!((kinds(&sent), &sent[0]["room"]), (vec!["message"], &"tea".into()), "{sent:?}");
    harness.ack(&sent[0], 8);
    assert!(said.try_recv().unwrap().is_ok());
    let sent = harness.sent();
    harness.ack(&sent[0], 9);
    assert!(next.try_recv().unwrap().is_ok());
}

#[test]
fn a_message_for_a_room_that_is_refused_or_left_is_sent_and_refused() {
    let mut harness = in_two_rooms();
    harness.lose(no_reason());
    let mut said = harness.say_in("tea", "hi");
    harness.wait();
    harness.welcome(EPOCH, 7, false);
    let sent = harness.sent();
    harness.refuse(&sent[0], "forbidden");
    let sent = harness.sent();
    assert_eq!(kinds(&sent), ["message"], "{sent:?}");
    harness.refuse(&sent[0], "not_in_room");
    assert!(
        matches!(said.try_recv().unwrap(), Err(SendError::Refused { code, .. }) if code == "not_in_room")
    );

    let mut harness = in_two_rooms();
    harness.lose(no_reason());
    drop(harness.say_in("tea", "hi"));
    harness.wait();
    harness.welcome(EPOCH, 7, false);
    assert_eq!(kinds(&harness.sent()), ["join"]);
    drop(harness.leave("tea"));
    assert_eq!(kinds(&harness.sent()), ["leave", "message"]);
}

// 1. Many messages wait, and the burst that the server allows is used up. 2. Each ack sent the next message at once,
// and it was refused. 3. After too many refusals the server closed the connection with 4002.
#[test]
fn a_full_outbox_is_sent_no_faster_than_the_server_allows() {
    let mut harness = Harness::new(Some("lobby"), 100);
    harness.welcome(EPOCH, 7, false);
    let answers: Vec<_> = (0..60).map(|_| harness.say("m")).collect();
    let (start, mut refusals) = (harness.now, 0);
    // The server's token bucket, in microseconds of refilling: a burst of ten, and ten a second.
    let (mut tokens, mut at) = (1_000_000, start);
    for _ in 0..200 {
        for frame in harness.sent() {
            tokens = (tokens + (harness.now - at).as_micros()).min(1_000_000);
            at = harness.now;
            if tokens >= 100_000 {
                tokens -= 100_000;
                harness.ack(&frame, 8);
            } else {
                refusals += 1;
                harness.refuse(&frame, "rate_limited");
            }
        }
        if harness.core.queued_frames() == 0 && harness.core.outbox.deadline().is_some() {
            harness.wait();
        }
    }
    for mut answer in answers {
        assert!(answer.try_recv().unwrap().is_ok());
    }
    assert_eq!(refusals, 1);
    assert!(harness.now - start < Duration::from_secs(6), "{:?}", harness.now - start);
    // After a while without messages, the next burst may go at once.
    harness.now += Duration::from_secs(20);
    for _ in 0..2 {
        drop(harness.say("m"));
        let sent = harness.sent();
        harness.ack(&sent[0], 9);
    }
}

#[test]
fn repeated_refusals_slow_the_client_down() {
    let mut harness = Harness::online();
    drop(harness.say("m"));
    for _ in 0..20 {
        let sent = harness.sent();
        harness.refuse(&sent[0], "rate_limited");
        harness.wait();
    }
    let sent = harness.sent();
    harness.ack(&sent[0], 8);
    drop(harness.say("m"));
    assert!(harness.sent().is_empty());
    assert_eq!(harness.wait(), Duration::from_secs(2));
    assert_eq!(kinds(&harness.sent()), ["message"]);
}

// 1. A message is refused for coming too early. 2. The connection is lost for five minutes. 3. The message was given up
// with an unknown outcome, although it was certainly not appended.
#[test]
fn a_message_that_was_only_refused_is_sent_however_late() {
    let mut harness = Harness::online();
    let mut said = harness.say("m");
    let sent = harness.sent();
    harness.refuse(&sent[0], "rate_limited");
    harness.lose(no_reason());
    harness.now += Duration::from_secs(300);
    harness.core.tick(harness.timestamp());
    harness.welcome(EPOCH, 7, false);
    let sent = harness.sent();
    harness.ack(&sent[0], 8);
    assert!(said.try_recv().unwrap().is_ok());
}

// 1. The client connects, with a room in its handshake. 2. The program leaves the room. 3. The welcome put the client
// into the room again.
#[test]
fn a_room_that_is_left_while_connecting_stays_left() {
    for rooms in [&["lobby"][..], &["lobby", "tea"]] {
        let mut harness = Harness::new(Some("lobby"), 4);
        rooms[1..].iter().for_each(|room| drop(harness.join(room)));
        assert_eq!(harness.leave("lobby").try_recv().unwrap(), Ok(()));
        harness.welcome(EPOCH, 7, false);
        assert_eq!(kinds(&harness.sent())[0], "leave");
        harness.events();
        harness.message(8);
        assert!(harness.events().is_empty());
        // The next connection does not enter it either.
        harness.lose(no_reason());
        harness.wait();
        assert!(!harness.url().contains("room=lobby"));
        harness.welcome(EPOCH, 7, false);
        assert_eq!(kinds(&harness.sent()).contains(&"leave"), rooms.len() == 1);
    }
    // A room that is left and joined again is not left.
    let mut harness = Harness::new(Some("lobby"), 4);
    drop((harness.leave("lobby"), harness.join("lobby")));
    harness.welcome(EPOCH, 7, false);
    assert!(harness.sent().is_empty());
}

// 1. A message is sent and appended, but the ack is lost. 2. The repetition is refused. 3. The caller was told that
// nothing was done.
#[test]
fn the_refusal_of_a_repetition_leaves_the_outcome_unknown() {
    let mut harness = Harness::online();
    let mut said = harness.say("m");
    harness.lose(no_reason());
    harness.wait();
    harness.welcome(EPOCH, 7, false);
    let sent = harness.sent();
    harness.refuse(&sent[0], "unavailable");
    assert_eq!(said.try_recv().unwrap(), Err(SendError::UnknownOutcome));
}

// 1. A message is sent and not answered. 2. The machine sleeps, and the monotonic clock stands still. 3. The message
// was sent again, with a key that the server had forgotten.
#[test]
fn a_key_ages_while_the_machine_sleeps() {
    for (slept, is_given_up) in [(269, false), (271, true), (-1, true)] {
        let mut harness = Harness::online();
        let mut said = harness.say("m");
        harness.lose(no_reason());
        let seconds = Duration::from_secs(u64::from(i32::unsigned_abs(slept)));
        harness.system = if slept < 0 { harness.system - seconds } else { harness.system + seconds };
        harness.wait();
        harness.welcome(EPOCH, 7, false);
        assert_eq!(said.try_recv().is_ok_and(|result| result == Err(SendError::UnknownOutcome)), is_given_up);
        assert_eq!(harness.sent().is_empty(), is_given_up);
    }
}

// 1. Heartbeats keep the connection alive. 2. A command is never answered. 3. It waited for ever, and with it every
// message behind it.
#[test]
fn a_connection_without_answers_is_given_up() {
    let mut harness = Harness::online();
    let room = || "lobby".parse().unwrap();
    let mut page = harness.ask(|reply| Command::Presence { room: room(), after: None, limit: 1, reply });
    harness.now += Duration::from_secs(20);
    harness.receive(r#"{"type":"heartbeat"}"#);
    drop(harness.say("m"));
    assert_eq!(harness.wait(), Duration::from_secs(10));
    let events = harness.events();
    assert!(
        matches!(&events[..], [Event::State(State::Waiting { reason, .. })] if reason.reason == "no answer in time"),
        "{events:?}"
    );
    assert_eq!(page.try_recv().unwrap(), Err(SendError::Disconnected));

    // While events are not read, the answer may wait in the socket: its time counts from the moment of reading again.
    let mut harness = Harness::online();
    drop(harness.say("m"));
    harness.core.set_reading(false, harness.now);
    harness.now += Duration::from_secs(31);
    harness.core.tick(harness.timestamp());
    assert!(harness.core.is_online());
    harness.core.set_reading(true, harness.now);
    assert_eq!(harness.wait(), Duration::from_secs(30));
    assert!(!harness.core.is_online());
}

// 1. A leave is refused for coming too early. 2. The room counted as left, and the server went on sending its messages.
#[test]
fn a_leave_that_came_too_early_is_sent_again() {
    let mut harness = in_two_rooms();
    let mut left = harness.leave("tea");
    let sent = harness.sent();
    harness.refuse(&sent[0], "rate_limited");
    assert!(left.try_recv().is_err() && harness.sent().is_empty());
    // When the room is joined again, the leave goes first.
    drop(harness.join("tea"));
    assert!(harness.sent().is_empty());
    assert_eq!(harness.wait(), Duration::from_millis(100));
    let sent = harness.sent();
    assert_eq!((kinds(&sent), &sent[0]["room"]), (vec!["leave"], &"tea".into()));
    harness.receive(&format!(r#"{{"type":"left","re":{},"room":"tea"}}"#, sent[0]["id"]));
    assert_eq!(left.try_recv().unwrap(), Ok(()));
    assert_eq!(kinds(&harness.sent()), ["join"]);
    // The end of the connection leaves the room, too.
    let mut left = harness.leave("lobby");
    let sent = harness.sent();
    harness.refuse(&sent[0], "rate_limited");
    harness.lose(no_reason());
    assert_eq!(left.try_recv().unwrap(), Ok(()));
}

#[test]
fn an_error_that_names_no_command_fails_the_oldest_one() {
    let mut harness = Harness::online();
    let (mut first, mut second) = (harness.say("one"), harness.say("two"));
    let room = || "lobby".parse().unwrap();
    let mut page = harness.ask(|reply| Command::History { room: room(), before: None, limit: 1, reply });
    assert_eq!(kinds(&harness.sent()), ["message", "history"]);
    let error = r#"{"type":"error","code":"invalid_json","message":"Invalid JSON format"}"#;
    harness.receive(error);
    assert!(
        matches!(first.try_recv().unwrap(), Err(SendError::Refused { code, .. }) if code == "invalid_json")
    );
    harness.receive(error);
    assert!(
        matches!(page.try_recv().unwrap(), Err(SendError::Refused { code, .. }) if code == "invalid_json")
    );
    let sent = harness.sent();
    assert_eq!((kinds(&sent), &sent[0]["message"]), (vec!["message"], &"two".into()), "{sent:?}");
    harness.ack(&sent[0], 8);
    assert!(second.try_recv().unwrap().is_ok());
    assert!(harness.events().is_empty());
    harness.receive(error);
    assert!(matches!(&harness.events()[..], [Event::Refused { code, .. }] if code == "invalid_json"));
}

#[test]
fn an_error_about_a_frame_without_an_answer_fails_no_command() {
    let mut harness = Harness::online();
    let mut said = harness.say("one");
    harness.core.execute(Command::Typing { room: "tea".parse().unwrap() }, harness.timestamp());
    harness.receive(r#"{"type":"heartbeat"}"#);
    let sent = harness.sent();
    assert_eq!(kinds(&sent), ["message", "typing", "heartbeat_ack"]);
    for frame in &sent[1..] {
        harness.refuse(frame, "not_in_room");
        assert!(matches!(&harness.events()[..], [Event::Refused { code, .. }] if code == "not_in_room"));
    }
    assert!(said.try_recv().is_err(), "the message must wait for its own answer");
    harness.ack(&sent[0], 8);
    assert!(said.try_recv().unwrap().is_ok());
}

#[test]
fn every_command_has_a_timeout() {
    let mut harness = Harness::online();
    harness.core.settings.answer_timeout = Duration::from_secs(5);
    let room = || "lobby".parse().unwrap();
    let mut page = harness.ask(|reply| Command::Presence { room: room(), after: None, limit: 1, reply });
    assert_eq!(harness.wait(), Duration::from_secs(5));
    assert_eq!(page.try_recv().unwrap(), Err(SendError::Disconnected));
    let events = harness.events();
    assert!(
        matches!(&events[..], [Event::State(State::Waiting { reason, .. })] if reason.reason == "no answer in time"),
        "{events:?}"
    );
}
