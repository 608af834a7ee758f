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

// 1. A backlog, and the server's burst is used up. 2. Each ack sent the next message at once, to be refused: a strike
// for each, and the connection was closed with 4002.
#[test]
fn a_backlog_goes_no_faster_than_the_server_takes_it() {
    let mut stage = Stage::new(Some("lobby"), 100);
    stage.welcome(EPOCH, 7, false);
    let answers: Vec<_> = (0..60).map(|_| stage.say("m")).collect();
    let (start, mut refusals) = (stage.now, 0);
    // The server's bucket, in microseconds of its refilling: a burst of ten, ten a second.
    let (mut tokens, mut at) = (1_000_000, start);
    for _ in 0..200 {
        for frame in stage.sent() {
            tokens = (tokens + (stage.now - at).as_micros()).min(1_000_000);
            at = stage.now;
            if tokens >= 100_000 {
                tokens -= 100_000;
                stage.ack(&frame, 8);
            } else {
                refusals += 1;
                stage.refuse(&frame, "rate_limited");
            }
        }
        if stage.core.frames() == 0 && stage.core.outgoing.deadline().is_some() {
            stage.wait();
        }
    }
    for mut answer in answers {
        assert!(answer.try_recv().unwrap().is_ok());
    }
    assert_eq!(refusals, 1);
    assert!(stage.now - start < Duration::from_secs(6), "{:?}", stage.now - start);
    // Nothing was said for a while: the next burst may go at once.
    stage.now += Duration::from_secs(20);
    for _ in 0..2 {
        drop(stage.say("m"));
        let sent = stage.sent();
        stage.ack(&sent[0], 9);
    }
}

#[test]
fn who_is_refused_again_and_again_slows_down() {
    let mut stage = Stage::online();
    drop(stage.say("m"));
    for _ in 0..20 {
        let sent = stage.sent();
        stage.refuse(&sent[0], "rate_limited");
        stage.wait();
    }
    let sent = stage.sent();
    stage.ack(&sent[0], 8);
    drop(stage.say("m"));
    assert!(stage.sent().is_empty());
    assert_eq!(stage.wait(), Duration::from_secs(2));
    assert_eq!(kinds(&stage.sent()), ["message"]);
}

// 1. Refused for coming too early. 2. The connection is gone for five minutes. 3. It was given up as perhaps said.
#[test]
fn a_message_that_was_only_refused_goes_however_late() {
    let mut stage = Stage::online();
    let mut said = stage.say("m");
    let sent = stage.sent();
    stage.refuse(&sent[0], "rate_limited");
    stage.fall(no_reason());
    stage.now += Duration::from_secs(300);
    stage.core.tick(stage.moment());
    stage.welcome(EPOCH, 7, false);
    let sent = stage.sent();
    stage.ack(&sent[0], 8);
    assert!(said.try_recv().unwrap().is_ok());
}

// 1. The connection is being made, with a room. 2. The room is left. 3. The welcome put us in it again.
#[test]
fn a_room_that_is_left_while_connecting_is_left() {
    for rooms in [&["lobby"][..], &["lobby", "tea"]] {
        let mut stage = Stage::new(Some("lobby"), 4);
        rooms[1..].iter().for_each(|room| drop(stage.join(room)));
        assert_eq!(stage.leave("lobby").try_recv().unwrap(), Ok(()));
        stage.welcome(EPOCH, 7, false);
        assert_eq!(kinds(&stage.sent())[0], "leave");
        stage.events();
        stage.message(8);
        assert!(stage.events().is_empty());
        // Nor does it come back with the next connection.
        stage.fall(no_reason());
        stage.wait();
        assert!(!stage.url().contains("room=lobby"));
        stage.welcome(EPOCH, 7, false);
        assert_eq!(kinds(&stage.sent()).contains(&"leave"), rooms.len() == 1);
    }
    // Left and wanted again is wanted.
    let mut stage = Stage::new(Some("lobby"), 4);
    drop((stage.leave("lobby"), stage.join("lobby")));
    stage.welcome(EPOCH, 7, false);
    assert!(stage.sent().is_empty());
}

// 1. Said, and appended; the ack is lost. 2. The repetition is refused. 3. It was told that nothing was done.
#[test]
fn the_refusal_of_a_repetition_tells_nothing_of_the_first_try() {
    let mut stage = Stage::online();
    let mut said = stage.say("m");
    stage.fall(no_reason());
    stage.wait();
    stage.welcome(EPOCH, 7, false);
    let sent = stage.sent();
    stage.refuse(&sent[0], "unavailable");
    assert_eq!(said.try_recv().unwrap(), Err(SendError::UnknownOutcome));
}

// 1. Said, not answered. 2. The machine sleeps, and with it the clock for waiting. 3. It was said again, with a key
// that the server had forgotten.
#[test]
fn a_key_ages_while_the_machine_sleeps() {
    for (slept, is_given_up) in [(269, false), (271, true), (-1, true)] {
        let mut stage = Stage::online();
        let mut said = stage.say("m");
        stage.fall(no_reason());
        let seconds = Duration::from_secs(u64::from(i32::unsigned_abs(slept)));
        stage.wall = if slept < 0 { stage.wall - seconds } else { stage.wall + seconds };
        stage.wait();
        stage.welcome(EPOCH, 7, false);
        assert_eq!(said.try_recv().is_ok_and(|result| result == Err(SendError::UnknownOutcome)), is_given_up);
        assert_eq!(stage.sent().is_empty(), is_given_up);
    }
}

// 1. The connection lives, as its heartbeats show. 2. A command is never answered. 3. It waited for ever, and with it
// every message behind it.
#[test]
fn a_connection_that_answers_nothing_is_lost() {
    let mut stage = Stage::online();
    let room = || "lobby".parse().unwrap();
    let mut page = stage.ask(|reply| Command::Presence { room: room(), after: None, limit: 1, reply });
    stage.now += Duration::from_secs(20);
    stage.hear(r#"{"type":"heartbeat"}"#);
    drop(stage.say("m"));
    assert_eq!(stage.wait(), Duration::from_secs(10));
    let events = stage.events();
    assert!(
        matches!(&events[..], [Event::State(State::Waiting { reason, .. })] if reason.reason == "no answer in time"),
        "{events:?}"
    );
    assert_eq!(page.try_recv().unwrap(), Err(SendError::Disconnected));

    // While nobody reads the events the answer may be there: it is waited for from then on.
    let mut stage = Stage::online();
    drop(stage.say("m"));
    stage.core.set_reading(false, stage.now);
    stage.now += Duration::from_secs(31);
    stage.core.tick(stage.moment());
    assert!(stage.core.is_online());
    stage.core.set_reading(true, stage.now);
    assert_eq!(stage.wait(), Duration::from_secs(30));
    assert!(!stage.core.is_online());
}

// 1. A leave is refused for coming too early. 2. It counted as left, and the server went on sending.
#[test]
fn a_room_that_could_not_be_left_yet_is_left_later() {
    let mut stage = in_two_rooms();
    let mut left = stage.leave("tea");
    let sent = stage.sent();
    stage.refuse(&sent[0], "rate_limited");
    assert!(left.try_recv().is_err() && stage.sent().is_empty());
    // It is wanted again: first it has to be left.
    drop(stage.join("tea"));
    assert!(stage.sent().is_empty());
    assert_eq!(stage.wait(), Duration::from_millis(100));
    let sent = stage.sent();
    assert_eq!((kinds(&sent), &sent[0]["room"]), (vec!["leave"], &"tea".into()));
    stage.hear(&format!(r#"{{"type":"left","re":{},"room":"tea"}}"#, sent[0]["id"]));
    assert_eq!(left.try_recv().unwrap(), Ok(()));
    assert_eq!(kinds(&stage.sent()), ["join"]);
    // Gone with the connection is left as well.
    let mut left = stage.leave("lobby");
    let sent = stage.sent();
    stage.refuse(&sent[0], "rate_limited");
    stage.fall(no_reason());
    assert_eq!(left.try_recv().unwrap(), Ok(()));
}

#[test]
fn an_error_that_names_no_command_is_for_the_one_that_waits_for_longest() {
    let mut stage = Stage::online();
    let (mut first, mut second) = (stage.say("one"), stage.say("two"));
    let room = || "lobby".parse().unwrap();
    let mut page = stage.ask(|reply| Command::History { room: room(), before: None, limit: 1, reply });
    assert_eq!(kinds(&stage.sent()), ["message", "history"]);
    let error = r#"{"type":"error","code":"invalid_json","message":"Invalid JSON format"}"#;
    stage.hear(error);
    assert!(
        matches!(first.try_recv().unwrap(), Err(SendError::Refused { code, .. }) if code == "invalid_json")
    );
    stage.hear(error);
    assert!(
        matches!(page.try_recv().unwrap(), Err(SendError::Refused { code, .. }) if code == "invalid_json")
    );
    let sent = stage.sent();
    assert_eq!((kinds(&sent), &sent[0]["message"]), (vec!["message"], &"two".into()), "{sent:?}");
    stage.ack(&sent[0], 8);
    assert!(second.try_recv().unwrap().is_ok());
    assert!(stage.events().is_empty());
    stage.hear(error);
    assert!(matches!(&stage.events()[..], [Event::Refused { code, .. }] if code == "invalid_json"));
}

#[test]
fn an_error_of_what_has_no_answer_is_nobody_elses() {
    let mut stage = Stage::online();
    let mut said = stage.say("one");
    stage.core.command(Command::Typing { room: "tea".parse().unwrap() }, stage.moment());
    stage.hear(r#"{"type":"heartbeat"}"#);
    let sent = stage.sent();
    assert_eq!(kinds(&sent), ["message", "typing", "heartbeat_ack"]);
    for frame in &sent[1..] {
        stage.refuse(frame, "not_in_room");
        assert!(matches!(&stage.events()[..], [Event::Refused { code, .. }] if code == "not_in_room"));
    }
    assert!(said.try_recv().is_err(), "it waits for its own answer");
    stage.ack(&sent[0], 8);
    assert!(said.try_recv().unwrap().is_ok());
}

#[test]
fn every_command_has_its_time() {
    let mut stage = Stage::online();
    stage.core.settings.answer = Duration::from_secs(5);
    let room = || "lobby".parse().unwrap();
    let mut page = stage.ask(|reply| Command::Presence { room: room(), after: None, limit: 1, reply });
    assert_eq!(stage.wait(), Duration::from_secs(5));
    assert_eq!(page.try_recv().unwrap(), Err(SendError::Disconnected));
    let events = stage.events();
    assert!(
        matches!(&events[..], [Event::State(State::Waiting { reason, .. })] if reason.reason == "no answer in time"),
        "{events:?}"
    );
}
