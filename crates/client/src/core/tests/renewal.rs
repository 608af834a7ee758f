//! Tokens that are renewed before they expire, and rooms that the server takes away.

use super::harness::{EPOCH, Harness, SESSION, no_reason};
use super::*;

/// Connects with a function for tokens, of which the first holds for ten seconds.
fn online(can_renew: bool) -> Harness {
    let mut harness = Harness::new(Some("lobby"), 4);
    harness.core.settings.can_renew = can_renew;
    harness.receive(&format!(
        r#"{{"type":"welcome","session":"{SESSION}","node":"n","user":"ann","room":"lobby","epoch":"{EPOCH}",
        "offset":0,"recovered":false,"heartbeat_ms":25000,"expires_ms":10000}}"#
    ));
    harness.events();
    harness
}

/// Lets time pass until a token is wanted; returns how long that took.
fn wait_for_token(harness: &mut Harness) -> Duration {
    let deadline = harness.core.deadline().expect("online");
    let waited = deadline - harness.now;
    harness.now = deadline;
    harness.core.tick(harness.timestamp());
    assert!(harness.core.wants_token(harness.now), "nothing else is due");
    assert!(!harness.core.wants_token(harness.now), "once for each attempt");
    waited
}

fn is_share(waited: Duration, left: Duration) -> bool {
    (left.mul_f64(0.74)..=left.mul_f64(0.91)).contains(&waited)
}

#[test]
fn a_token_is_renewed_before_it_expires() {
    let mut harness = online(true);
    assert!(!harness.core.wants_token(harness.now));
    for left in [10_000, 20_000] {
        assert!(is_share(wait_for_token(&mut harness), Duration::from_millis(left)));
        harness.core.renew_token(Ok("a.b.c".to_owned()), harness.now);
        let sent = harness.sent();
        assert_eq!((&sent[0]["type"], &sent[0]["token"]), (&"token".into(), &"a.b.c".into()));
        harness.receive(&format!(r#"{{"type":"ack","re":{},"expires_ms":20000}}"#, sent[0]["id"]));
    }
}

#[test]
fn a_renewal_that_fails_is_tried_again_while_there_is_time() {
    let mut harness = online(true);
    let mut left = Duration::from_secs(10);
    let mut attempts = 0;
    while left > Duration::from_secs(1) {
        left -= wait_for_token(&mut harness);
        attempts += 1;
        if attempts == 1 {
            harness.core.renew_token(Err("no backend".to_owned()), harness.now);
            assert!(harness.sent().is_empty());
        } else {
            harness.core.renew_token(Ok("bad".to_owned()), harness.now);
            let sent = harness.sent();
            harness.refuse(&sent[0], "invalid_token");
        }
    }
    assert!(attempts > 1 && harness.core.renewal.is_none(), "{attempts} attempts");
}

#[test]
fn a_token_for_a_connection_that_is_gone_is_not_sent() {
    let mut harness = online(true);
    wait_for_token(&mut harness);
    harness.lose(no_reason());
    harness.core.renew_token(Ok("late".to_owned()), harness.now);
    assert!(harness.sent().is_empty());
}

#[test]
fn a_token_that_does_not_change_is_not_renewed() {
    let harness = online(false);
    assert!(harness.core.renewal.is_none());
}

#[test]
fn a_room_that_the_server_takes_away_is_left_for_good() {
    let mut harness = online(true);
    for room in ["lobby", "nowhere"] {
        harness.receive(&format!(r#"{{"type":"left","room":"{room}"}}"#));
    }
    let events = harness.events();
    assert!(
        matches!(&events[..], [Event::Expelled { room, code, .. }] if room.as_str() == "lobby" && code == "removed"),
        "{events:?}"
    );
    harness.message(1);
    assert_eq!(harness.events(), []);
    harness.lose(no_reason());
    harness.wait();
    assert_eq!(harness.url(), format!("ws://h/ws/chat/ann?session={SESSION}"));
}
