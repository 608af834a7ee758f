//! Rate limits: a client that sends too fast gets errors, and is closed when it goes on. Reconnecting does not refill a
//! user's bucket.
//!
//! The server's clock runs on during a test, and a slow machine may stand still between any two steps. The assertions
//! allow for the tokens of the time that has passed.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::frame::{CLOSE, Frame, PONG, TEXT, close, first, last, middle, ping, text};
use crate::support::raw::{Ended, Socket};
use crate::support::server::{Server, Settings};
use crate::support::speaker::Speaker;
use crate::support::{PATIENCE, eventually, sized};

const REFUSED: &str = "throng_rate_limited_total";
const USERS: &str = "throng_rate_limit_users";
const HI: &str = r#"{"message":"hi"}"#;

/// Starts a server with rate limits whose rooms carry only messages and refusals, no presence notices.
#[track_caller]
fn limited(settings: Settings<'_>) -> Server {
    let ours = [("rate_limit.enabled", "true"), ("presence.notice_limit", "0"), ("presence.interval", "1h")];
    Server::start(&[&ours, settings].concat())
}

/// Counts of the answers to some messages.
#[derive(Debug, Default)]
struct Answers {
    published: usize,
    refused: usize,
}

impl Answers {
    #[track_caller]
    fn add(&mut self, answer: &str) {
        if answer.starts_with(r#"{"type":"message","#) {
            self.published += 1;
            return;
        }
        let event: Value = serde_json::from_str(answer).expect("JSON");
        let wait_ms = event["retry_after_ms"].as_u64().unwrap_or_else(|| panic!("no time: {answer}"));
        assert!((1..=1000).contains(&wait_ms), "{answer}");
        let message = format!("Rate limit exceeded, try again in {wait_ms} ms");
        let expected = format!(
            r#"{{"type":"error","message":"{message}","code":"rate_limited","retry_after_ms":{wait_ms}}}"#
        );
        assert_eq!(answer, expected);
        self.refused += 1;
    }
}

/// Sends `count` messages at once and reads the answer to each. The socket must be alone in its room.
#[track_caller]
fn say(socket: &mut Socket, count: usize) -> Answers {
    socket.send(text(HI).repeat(count));
    let mut answers = Answers::default();
    (0..count).for_each(|_| answers.add(&socket.read_text()));
    answers
}

#[test]
fn a_flood_is_refused_with_errors_and_then_closed_with_4002() {
    let server = limited(&[
        ("rate_limit.messages_per_second", "1"),
        ("rate_limit.burst", "3"),
        ("rate_limit.strikes", "5"),
    ]);
    let began = Instant::now();
    let mut witness = Socket::open(server.address(), "/ws/chat/bob");
    let mut socket = Socket::open(server.address(), "/ws/chat/alice");
    socket.send(text(HI).repeat(100));
    // Messages may no longer reach a client that is being closed: the witness counts them.
    let mut answers = Answers::default();
    let end = loop {
        let frame = socket.read_frame();
        match frame.opcode {
            CLOSE => break frame.closing(),
            _ => answers.add(std::str::from_utf8(&frame.payload).expect("UTF-8")),
        }
    };
    assert_eq!(end, (4002, "Rate limit ignored".to_owned()));
    assert_eq!(answers.refused, 6, "five strikes are allowed, and the sixth is answered too");
    socket.expect_eof();
    witness.send(text(r#"{"message":"the end"}"#));
    let heard = std::iter::from_fn(|| Some(witness.read_text()));
    let published = heard.take_while(|event| !event.contains("the end")).count();
    let allowed = 3..=4 + began.elapsed().as_secs() as usize;
    assert!(allowed.contains(&published), "{published}");
    assert_eq!(server.metric(REFUSED, ""), 6.0);
    assert_eq!(server.metric("throng_closes_total", "\"4002\""), 1.0);
}

#[test]
fn within_the_limits_nobody_is_refused() {
    let server = limited(&[]);
    let mut socket = Socket::open(server.address(), "/ws/chat/alice");
    assert_eq!(say(&mut socket, 40).published, 40);
    // A message that is refused for another reason costs no token.
    let mut socket = Socket::open(server.address(), "/ws/chat/bob?room=other");
    for _ in 0..10 {
        socket.send(text("{}"));
        assert!(socket.read_text().contains("missing_field"));
    }
    assert_eq!(say(&mut socket, 40).published, 40);
    assert_eq!(server.metric(REFUSED, ""), 0.0);
}

/// One message a second with a large burst: used tokens come back only over minutes.
const SLOW: Settings<'static> = &[
    ("rate_limit.messages_per_second", "1"),
    ("rate_limit.burst", "200"),
    ("rate_limit.frames_per_second", "10000"),
    ("rate_limit.strikes", "1000000"),
];

/// Asserts that a user without tokens gets no more than the time since `began` has refilled.
#[track_caller]
fn expect_none_left(socket: &mut Socket, began: Instant) {
    let answers = say(socket, 100);
    let brought = 1 + began.elapsed().as_secs() as usize;
    assert!(answers.published <= brought, "{answers:?}, of which {brought} are new");
}

#[test]
fn reconnecting_does_not_refill_the_bucket() {
    let server = limited(SLOW);
    let began = Instant::now();
    let mut socket = Socket::open(server.address(), "/ws/chat/alice");
    assert_eq!(say(&mut socket, 200).published, 200);
    for reset in [false, true] {
        if reset {
            socket.abort();
        } else {
            socket.send(close(1000, ""));
            assert_eq!(socket.read_close().0, 1000);
        }
        eventually("nobody is there", || server.connections() == 0.0);
        socket = Socket::open(server.address(), "/ws/chat/alice");
        expect_none_left(&mut socket, began);
    }
    // Another user's bucket is full.
    let mut other = Socket::open(server.address(), "/ws/chat/bob?room=other");
    assert_eq!(say(&mut other, 200).published, 200);
}

#[test]
fn the_connections_of_a_user_share_tokens() {
    let server = limited(&[SLOW, &[("chat.duplicate", "allow"), ("workers", "2")]].concat());
    let began = Instant::now();
    let [mut one, mut other, mut third] =
        ["a", "b", "c"].map(|room| Socket::open(server.address(), &format!("/ws/chat/alice?room={room}")));
    assert_eq!(say(&mut one, 100).published, 100);
    assert_eq!(say(&mut other, 100).published, 100);
    for socket in [&mut third, &mut other, &mut one] {
        expect_none_left(socket, began);
    }
}

#[test]
fn buckets_are_dropped_some_time_after_everyone_has_left() {
    let server = limited(&[]);
    let began = Instant::now();
    for n in 0..20 {
        let mut socket = Socket::open(server.address(), &format!("/ws/chat/user-{n}?room=room-{n}"));
        assert_eq!(say(&mut socket, 40).published, 40);
    }
    let remembered = server.metric(USERS, "");
    // Forty messages refill in four seconds: the buckets must be remembered until then.
    assert!(remembered == 20.0 || began.elapsed() >= Duration::from_secs(4), "{remembered} of 20");
    eventually("nobody is there", || server.connections() == 0.0);
    eventually("every bucket is forgotten", || server.metric(USERS, "") == 0.0);
}

#[test]
fn every_endpoint_counts_frames_and_says_so_where_it_can() {
    let few: Settings<'_> = &[
        ("limits.max_rooms_per_connection", "1"),
        ("rate_limit.frames_per_second", "10"),
        ("rate_limit.messages_per_second", "10"),
        ("rate_limit.burst", "10"),
    ];
    let server = limited(few);
    let in_words = [
        ("/ws/chat/alice", HI, r#","code":"rate_limited","retry_after_ms":"#),
        (
            "/ws/heartbeat",
            r#"{"content":"hi"}"#,
            r#"{"type":"error","message":"Rate limit exceeded, try again in "#,
        ),
        ("/ws/messages", HI, r#"{"error":"Rate limit exceeded, try again in "#),
        ("/ws/messages", HI, r#" ms","code":4002}"#),
    ];
    for (path, sent, refusal) in in_words {
        let mut socket = Socket::open(server.address(), path);
        // Sent in one write, so that the server reads them at once.
        socket.send(text(sent).repeat(11));
        let heard = std::iter::from_fn(|| Some(socket.read_text()));
        let answers: Vec<_> = heard.filter(|event| event != r#"{"type":"heartbeat"}"#).take(11).collect();
        let refused = answers.iter().filter(|answer| answer.contains(refusal)).count();
        assert_eq!(refused, 1, "{path}: {answers:?}");
        socket.send(close(1000, ""));
        assert_eq!(socket.skip_to_close().0, 1000, "{path}: the client was only warned");
    }
    for path in ["/ws", "/ws?raw", "/ws/with-timeout"] {
        let mut socket = Socket::open(server.address(), path);
        socket.send([text("hi").repeat(12), ping("?"), close(1000, "")].concat());
        let answers = (0..10).map(|_| socket.read_text()).filter(|answer| answer.ends_with("hi")).count();
        assert_eq!(answers, 10, "{path}");
        assert_eq!(socket.read_close().0, 1000, "{path}: a closing client is not delayed");
    }
    assert_eq!(server.metric(REFUSED, ""), 4.0 + 3.0 * 3.0);
}

#[test]
fn fragments_and_control_frames_are_frames() {
    let few: Settings<'_> = &[
        ("limits.max_rooms_per_connection", "1"),
        ("rate_limit.frames_per_second", "10"),
        ("rate_limit.messages_per_second", "10"),
        ("rate_limit.burst", "10"),
    ];
    let server = limited(few);
    let pong = Frame::new(PONG, "").bytes();
    let fragments = |count: usize| [first("a"), middle("b").repeat(count - 2), last("c")].concat();
    let rows: [(&str, Vec<u8>, usize); 5] = [
        ("ten fragments", fragments(10), 1),
        ("eleven fragments", fragments(11), 0),
        ("eight fragments and two pings", [ping("").repeat(2), fragments(8)].concat(), 1),
        ("eight fragments and three pings", [ping("").repeat(3), fragments(8)].concat(), 0),
        ("eight fragments and three pongs", [pong.repeat(3), fragments(8)].concat(), 0),
    ];
    for (name, bytes, expected) in rows {
        let mut socket = Socket::open(server.address(), "/ws?raw");
        socket.send([bytes, close(1000, "")].concat());
        let mut messages = 0;
        loop {
            let frame = socket.read_frame();
            match frame.opcode {
                TEXT => messages += 1,
                CLOSE => break assert_eq!(frame.closing().0, 1000, "{name}"),
                opcode => assert_eq!(opcode, PONG, "{name}"),
            }
        }
        assert_eq!(messages, expected, "{name}");
    }
}

#[test]
fn a_flood_of_pings_is_ended_with_4002() {
    let server = limited(&[]);
    let began = Instant::now();
    let mut socket = Socket::open(server.address(), "/ws");
    let mut sent = 0;
    // Sends until the server closes: a write to a closed connection fails.
    while sent < 1_000_000 && socket.try_send(ping("flood").repeat(1000)) {
        sent += 1000;
    }
    let mut pongs = 0;
    let end = loop {
        match socket.try_frame(PATIENCE) {
            Ok(frame) if frame.opcode == PONG => pongs += 1,
            Ok(frame) => break Some(frame.closing().0),
            // The client sends while the server closes: a reset may overtake the close frame.
            Err(Ended::Reset) => break None,
            Err(ended) => panic!("{ended:?} instead of an end"),
        }
    };
    assert!(end.is_none_or(|code| code == 4002), "{end:?}");
    eventually("it is counted", || server.metric("throng_closes_total", "\"4002\"") == 1.0);
    let allowed = 200 * (2 + began.elapsed().as_secs() as usize);
    assert!(pongs <= allowed, "{pongs} pongs for {sent} pings, {allowed} allowed");
}

#[test]
fn pings_from_a_client_that_never_reads_cost_tokens_and_leave_one_pong() {
    let server = limited(&[("rate_limit.strikes", "1000000"), ("socket.send_buffer", "16KiB")]);
    let began = Instant::now();
    let mut flood = Socket::connect_narrow(server.address()).upgraded("/ws");
    let bursts = sized(100, 1000);
    for _ in 0..bursts {
        flood.send(ping([b'p'; 125]).repeat(1000));
        // At most one pong that is being written, and one that waits.
        let queued = server.metric("throng_queue_bytes", "");
        assert!(queued <= 2.0 * 127.0, "{queued} bytes are queued");
    }
    flood.send(close(1000, ""));
    eventually("all of it was read", || server.metric("throng_closes_total", "\"1000\"") == 1.0);
    let allowed = 200 * (2 + began.elapsed().as_secs() as usize);
    let refused = server.metric(REFUSED, "") as usize;
    assert!(refused + allowed >= bursts * 1000, "{refused} refused, {allowed} allowed");
    assert!(refused <= bursts * 1000 - 200, "a second's worth at once is allowed");
}

#[test]
fn a_command_that_comes_too_fast_is_refused_by_its_id() {
    let server = limited(&[
        ("limits.max_rooms_per_connection", "1"),
        ("rate_limit.frames_per_second", "1"),
        ("rate_limit.messages_per_second", "1"),
        ("rate_limit.burst", "1"),
        ("rate_limit.strikes", "1000"),
    ]);
    let mut alice = Speaker::enter(&server, "alice");
    let long = format!(r#"{{"type":"ping","id":"long","fill":"{}"}}"#, "x".repeat(5_000));
    let commands =
        [r#"{"type":"ping","id":"a \"b\""}"#, r#"{"type":"nonsense","id":"c"}"#, r#"{"type":"ping"}"#, &long];
    let mut refused = Vec::new();
    // Some of the first commands are accepted, and one in each second.
    while refused.len() < 2 * commands.len() {
        let answers: Vec<Value> = commands
            .iter()
            .map(|command| {
                alice.socket.send(text(command));
                alice.event()
            })
            .collect();
        if answers.iter().all(|answer| answer["code"] == "rate_limited") {
            refused.extend(answers.iter().map(|answer| answer["re"].as_str().map(str::to_owned)));
        }
    }
    let expected = [Some("a \"b\""), Some("c"), None, None].map(|id| id.map(str::to_owned));
    assert_eq!(refused, [expected.clone(), expected].concat());
}
