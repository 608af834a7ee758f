//! Presence notices in a large room: they are merged, so that a storm of joins sends each member only a few.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::PATIENCE;
use crate::support::frame::text;
use crate::support::raw::Socket;
use crate::support::server::Server;
use crate::support::sized;

/// Returns how many users a notice is about and whether they joined; `None` when the text is not a notice.
fn heads(text: &str) -> Option<(usize, bool)> {
    let event: Value = serde_json::from_str(text).expect("JSON");
    let notice = (event["type"] == "system").then(|| event["message"].as_str().expect("a text"))?;
    let (who, came) = notice
        .strip_suffix(" joined the chat")
        .map(|who| (who, true))
        .or_else(|| notice.strip_suffix(" left the chat").map(|who| (who, false)))
        .unwrap_or_else(|| panic!("an unknown notice: {notice}"));
    match who.split(' ').collect::<Vec<_>>()[..] {
        ["User", _, "has"] => Some((1, came)),
        [count, "users", "have"] => Some((count.parse().expect("a number"), came)),
        _ => panic!("an unknown notice: {notice}"),
    }
}

/// Reads notices until they are about `wanted` entries (or exits); returns how many notices that took.
#[track_caller]
fn count_notices(watcher: &mut Socket, wanted: usize, entries: bool) -> usize {
    let deadline = Instant::now() + PATIENCE;
    let (mut users, mut notices) = (0, 0);
    while users < wanted {
        assert!(Instant::now() < deadline, "{users} of {wanted} in {notices} notices");
        if let Some((count, came)) = heads(&watcher.read_text()) {
            assert_eq!(came, entries, "entries and exits mixed");
            users += count;
            notices += 1;
        }
    }
    assert_eq!(users, wanted, "more users than there are");
    notices
}

#[test]
fn below_the_limit_every_notice_has_a_name() {
    let server = Server::start(&[("presence.notice_limit", "3")]);
    let mut watcher = Socket::open(server.address(), "/ws/chat/watcher");
    let _others: Vec<_> =
        (1..3).map(|n| Socket::open(server.address(), &format!("/ws/chat/user-{n}"))).collect();
    for name in ["watcher", "user-1", "user-2"] {
        let text = watcher.read_text();
        assert!(text.contains(&format!("\"User {name} has joined the chat\"")), "{text}");
    }
}

#[test]
fn above_the_limit_notices_are_merged() {
    let server = Server::start(&[("presence.notice_limit", "3"), ("presence.interval", "1s")]);
    let crowd = sized(100, 5000);
    let mut watcher = Socket::open(server.address(), "/ws/chat/watcher");

    let started = Instant::now();
    let others: Vec<_> =
        (0..crowd).map(|n| Socket::open(server.address(), &format!("/ws/chat/user-{n}"))).collect();
    let notices = count_notices(&mut watcher, crowd + 1, true);
    // One notice for each of the first three, one for each interval that has begun, and one for each end of the storm.
    let bound = 3 + 2 + started.elapsed().as_secs() as usize;
    assert!(notices <= bound, "{notices} notices where {bound} would do");

    // Exits are merged down to the limit, and come one by one below it.
    let started = Instant::now();
    drop(others);
    let notices = count_notices(&mut watcher, crowd, false);
    let bound = 4 + 2 + started.elapsed().as_secs() as usize;
    assert!(notices <= bound, "{notices} notices where {bound} would do");
}

#[test]
fn a_merged_notice_says_how_many() {
    let server = Server::start(&[("presence.notice_limit", "1"), ("presence.interval", "2s")]);
    let mut watcher = Socket::open(server.address(), "/ws/chat/watcher");
    let _others: Vec<_> =
        (0..20).map(|n| Socket::open(server.address(), &format!("/ws/chat/user-{n}"))).collect();
    // Twenty entries take far less than the twenty intervals that single notices would need.
    let merged = std::iter::repeat_with(|| watcher.read_text()).find(|text| text.contains("users have"));
    let merged = merged.expect("an endless iterator");
    assert!(heads(&merged).is_some_and(|(count, came)| came && count > 1), "{merged}");
}

#[test]
fn messages_are_not_held_back_with_the_notices() {
    let server = Server::start(&[("presence.notice_limit", "1"), ("presence.interval", "30s")]);
    let mut sockets: Vec<_> =
        (0..5).map(|n| Socket::open(server.address(), &format!("/ws/chat/user-{n}"))).collect();
    let started = Instant::now();
    sockets[0].send(text(r#"{"message":"now"}"#));
    for socket in &mut sockets {
        while heads(&socket.read_text()).is_some() {}
    }
    assert!(started.elapsed() < Duration::from_secs(15), "a message waited for a notice");
}

#[test]
fn a_rule_can_keep_a_room_quiet() {
    let server = Server::start(&[("rooms", r#"[{pattern="quiet-*", presence=false}]"#)]);
    let open =
        |user: &str, room: &str| Socket::open(server.address(), &format!("/ws/chat/{user}?room={room}"));
    for (room, hears_notices) in [("quiet-1", false), ("loud-1", true)] {
        let mut watcher = open(&format!("watcher-of-{room}"), room);
        let mut guest = open(&format!("guest-of-{room}"), room);
        guest.send(text(r#"{"message":"hi"}"#));
        let mut notices = 0;
        while heads(&watcher.read_text()).is_some() {
            notices += 1;
        }
        assert_eq!(notices, if hears_notices { 2 } else { 0 }, "{room}");
    }
}
