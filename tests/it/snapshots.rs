//! The protocol's bytes on the wire, compared with files in `snapshots/`: a change there affects every client.
//!
//! `THRONG_SNAPSHOTS=rewrite cargo test --test it snapshots` writes an intended change, to be read as a diff before it
//! is committed. When `CI` is set, no file is rewritten, and a difference is a failure.

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use throng::names::{DisplayName, Epoch, Offset, RoomName, UserId};
use throng::testing::protocol::close::EndReason;
use throng::testing::protocol::command::Parser;
use throng::testing::protocol::event::{self, CommandError, Content, v1};
use throng::testing::protocol::frame::{self, Frame};

use crate::support::vocabulary;

/// Compares a text with its file, or rewrites the file.
#[track_caller]
pub(crate) fn check(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots").join(name);
    if env::var_os("THRONG_SNAPSHOTS").is_some_and(|word| word == "rewrite") {
        assert!(env::var_os("CI").is_none(), "snapshots are rewritten by people, not where CI is set");
        fs::write(&path, found).expect("a folder that can be written to");
        return;
    }
    let kept = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let differs = kept.lines().zip(found.lines()).position(|(kept, found)| kept != found);
    let line = differs.unwrap_or_else(|| kept.lines().count().min(found.lines().count()));
    let at = |text: &str| text.lines().nth(line).unwrap_or("(nothing)").to_owned();
    assert!(kept == found, "{name}:{}: kept\n  {}\nfound\n  {}", line + 1, at(&kept), at(found));
}

/// Shows a frame: the header in hexadecimal, then the payload as text; for a close frame, also its code.
fn shown(frame: &Frame) -> String {
    let payload = frame::payload(frame);
    let mut text: String =
        frame[..frame.len() - payload.len()].iter().map(|byte| format!("{byte:02x} ")).collect();
    let is_close = frame[0] == 0x88;
    if is_close {
        write!(text, "{} ", u16::from_be_bytes([payload[0], payload[1]])).expect("a string");
    }
    text + std::str::from_utf8(&payload[2 * usize::from(is_close)..]).expect("UTF-8")
}

/// Lists each frame under its name. Asserts that an event is one JSON object that begins with its type.
fn listed<'a>(head: &str, frames: impl IntoIterator<Item = (&'a str, Frame)>) -> String {
    let mut text = format!("# {head}\n");
    for (name, frame) in frames {
        let payload = frame::payload(&frame);
        let value: serde_json::Value = serde_json::from_slice(payload).expect("JSON");
        let start = format!("{{\"type\":{}", value["type"]);
        assert!(payload.starts_with(start.as_bytes()), "{name}");
        write!(text, "\n{name}\n    {}\n", shown(&frame)).expect("a string");
    }
    text
}

fn epoch() -> Epoch {
    "5q01ku2n3d503".parse().expect("an epoch")
}

fn user(name: &str) -> UserId {
    name.parse().expect("a user id")
}

fn name() -> DisplayName {
    "Anna \"A\" Müller".parse().expect("a name")
}

/// A room name that has to be escaped.
const RE: Option<&str> = Some("q\"1");
const TS: u64 = 1_795_355_258_410;

fn plain_events(user: &UserId, room: &RoomName) -> Vec<(&'static str, Frame)> {
    let say = |text: &str, offset| event::message(user, text, room, epoch(), Offset(offset), TS);
    let (name, data) = (name(), "{ \"a\": [1.50,\"\\u00fc\"] }");
    let carried = Content { text: "hi", data: Some(data), name: Some(&name) };
    let carried = event::message(user, carried, room, epoch(), Offset(2), TS);
    vec![
        ("message", say("hi", 1)),
        ("message, escaped", say("\"\\/\u{8}\u{c}\n\r\t\0\u{1f}\u{7f}\u{2028}\u{1f600}ü</script>", u64::MAX)),
        ("message, with name and data", carried),
        ("system", event::system("User alice has joined the chat", room, 1, TS)),
        ("error", v1::error(None, CommandError::InvalidJson)),
    ]
}

fn welcome(
    user: &UserId,
    room: &RoomName,
    limits: v1::WelcomeLimits,
    (recovered, expires_ms): (bool, Option<u64>),
) -> Frame {
    let session = "0123456789abcdef1032547698badcfe".parse().expect("a session");
    let (node, epoch, offset, heartbeat_ms) = ("n-\"1\"", epoch(), Offset(7), 25_000);
    v1::welcome(&v1::Welcome {
        session,
        node,
        user,
        room,
        epoch,
        offset,
        recovered,
        heartbeat_ms,
        limits,
        expires_ms,
    })
}

fn v1_events(alice: &UserId, room: &RoomName) -> Vec<(&'static str, Frame)> {
    let limits = v1::WelcomeLimits {
        max_message_bytes: 65_536,
        max_message_chars: 500,
        max_rooms: 100,
        max_keys: 1024,
        messages_per_second: Some(10),
        burst: Some(40),
        max_data_bytes: 4_096,
    };
    let (epoch, offset) = (epoch(), Offset(7));
    let welcome = |limits, recovered, expires_ms| welcome(alice, room, limits, (recovered, expires_ms));
    let ack = |re, duplicate| v1::ack(&v1::Ack { re, room, epoch, offset, duplicate });
    let joined = |re, recovered| v1::joined(&v1::Joined { re, room, epoch, offset, recovered, members: 3 });
    let messages: Vec<Frame> = (6..8)
        .map(|offset| {
            event::message(alice, &"m".repeat(40 * (offset - 5)), room, epoch, Offset(offset as u64), TS)
        })
        .collect();
    let history =
        |re, messages: &[Frame], more| v1::history(&v1::History { re, room, epoch, messages, more });
    let users = [user("alice"), user("b:o.b@c-d_e")];
    let listed = v1::Presence { re: None, room, members: 3, users: &[], more: false, names: &[] };
    let changes = v1::Changes { joined: &users, left: &users[..1], names: &[] };
    let nobody = v1::Changes { joined: &[], left: &[], names: &[] };
    let unlimited = v1::WelcomeLimits { messages_per_second: None, burst: None, ..limits };
    vec![
        ("welcome", welcome(limits, true, Some(3_610_000))),
        ("welcome, no rate limit", welcome(unlimited, false, None)),
        ("ack", ack(None, false)),
        ("ack, with re", ack(RE, true)),
        ("direct_ack", v1::direct_ack(None, 0)),
        ("direct_ack, with re", v1::direct_ack(RE, 2)),
        ("token_ack", v1::token_ack(None, 0)),
        ("token_ack, with re", v1::token_ack(RE, 3_610_000)),
        ("joined", joined(None, false)),
        ("joined, with re", joined(RE, true)),
        ("left", v1::left(None, room)),
        ("left, with re", v1::left(RE, room)),
        ("history", history(None, &[], false)),
        ("history, with re", history(RE, &messages, true)),
        ("presence", v1::presence(&listed)),
        ("presence, with re", v1::presence(&v1::Presence { re: RE, users: &users, more: true, ..listed })),
        ("pong", v1::pong(None)),
        ("pong, with re", v1::pong(RE)),
        ("heartbeat", v1::heartbeat()),
        ("direct", v1::direct(alice, "say \"hi\"\n".into(), epoch, 9, TS)),
        ("presence_diff", v1::presence_diff(room, Some(changes), 3)),
        ("presence_diff, nobody", v1::presence_diff(room, Some(nobody), 3)),
        ("presence_diff, in a large room", v1::presence_diff(room, None, 5001)),
        ("typing", v1::typing(room, alice)),
        ("gap", v1::gap(room, Offset(3), Offset(5))),
        ("epoch", v1::epoch(room, epoch, offset)),
        ("disconnect", v1::disconnect(&EndReason::Restarting, 1234)),
        ("disconnect, stop", v1::disconnect(&EndReason::Replaced, 0)),
        ("error", v1::error(None, CommandError::NotInRoom)),
        ("error, with re", v1::error(RE, CommandError::RateLimited { retry_after_ms: 250 })),
    ]
}

/// Returns events with names of users, and with data.
fn named_events(alice: &UserId, room: &RoomName) -> Vec<(&'static str, Frame)> {
    let (name, users) = (name(), [user("alice"), user("b:o.b@c-d_e")]);
    let names = users.clone().map(|user| (user, name.clone()));
    let (re, joined) = (RE, &users);
    let presence = v1::Presence { re, room, members: 3, users: joined, more: true, names: &names };
    let changes = v1::Changes { joined, left: &[], names: &names[..1] };
    let carried = Content { text: "say \"hi\"\n", data: Some("[1.50]"), name: Some(&name) };
    vec![
        ("presence, with names", v1::presence(&presence)),
        ("presence_diff, with names", v1::presence_diff(room, Some(changes), 3)),
        ("direct, with name and data", v1::direct(alice, carried, epoch(), 9, TS)),
    ]
}

#[test]
fn events_match_their_snapshot() {
    let (alice, room) = (user("alice"), "lobby".parse().expect("a room"));
    let (plain, mut v1) = (plain_events(&alice, &room), v1_events(&alice, &room));
    v1.extend(named_events(&alice, &room));
    let rendered: BTreeSet<&str> = v1.iter().filter_map(|(name, _)| name.split(',').next()).collect();
    let source = include_str!("../../src/protocol/event/v1.rs");
    let declared = source.lines().filter_map(|line| line.strip_prefix("pub fn ")?.split('(').next());
    assert_eq!(rendered, declared.collect(), "every event of throng.v1, and no other");
    check("plain-events.txt", &listed("Events of the plain dialect: frame header, payload.", plain));
    check("v1-events.txt", &listed("Events of throng.v1 besides the plain ones: frame header, payload.", v1));
}

#[test]
fn errors_match_their_snapshot() {
    let errors = vocabulary::errors();
    let rows = errors.iter().flat_map(|error| {
        [(error.code(), v1::error(None, *error)), ("  of throng.v1", v1::error(Some("7"), *error))]
    });
    check("errors.txt", &listed("Errors that answer a command: frame header, payload.", rows));
}

#[test]
fn closes_match_their_snapshot() {
    let mut text = String::from(
        "# Ends that the server starts: the disconnect event of throng.v1, then the close frame with its code.\n",
    );
    for reason in vocabulary::reasons() {
        assert!(reason.is_started_by_server(), "{reason:?}");
        let advice = reason.advice();
        let code = reason.code();
        let must_stop = matches!(code, 1002 | 1003 | 1007 | 1008 | 4500..=4999);
        assert!(!(must_stop && advice.reconnect), "{reason:?}: clients stop at {code}");
        assert!(
            advice.reconnect || !matches!(code, 4000..=4499),
            "{reason:?}: clients come back after {code}"
        );
        let close = frame::close(Some(code), &reason.text());
        let before = v1::disconnect(&reason, *advice.after_ms.end());
        let (least, most) = (advice.after_ms.start(), advice.after_ms.end());
        let what =
            if advice.reconnect { format!("reconnect after {least} to {most} ms") } else { "stop".into() };
        write!(text, "\n{reason:?}: {what}\n    {}\n    {}\n", shown(&before), shown(&close))
            .expect("a string");
    }
    check("closes.txt", &text);
}

/// The file itself contains the commands, one to a line. The result of each, indented below it, is compared.
#[test]
fn commands_are_parsed_as_in_their_snapshot() {
    let mut parser = Parser::default();
    let (mut names, mut codes) = (BTreeSet::new(), BTreeSet::new());
    let mut text = String::new();
    for line in include_str!("snapshots/commands.txt").lines().filter(|line| !line.starts_with("    ")) {
        writeln!(text, "{line}").expect("a string");
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut bytes = line.as_bytes().to_vec();
        match parser.parse_v1(&mut bytes) {
            Ok(request) => {
                let command = serde_json::from_str::<serde_json::Value>(line).expect("JSON");
                names.insert(command["type"].as_str().expect("a type").to_owned());
                let data = request.data.map(|data| format!(", data: {data}")).unwrap_or_default();
                writeln!(text, "    {:?}, re: {:?}{data}", request.command, request.id).expect("a string");
            }
            Err(rejection) => {
                codes.insert(rejection.error.code());
                let (code, error, id) = (rejection.error.code(), rejection.error, rejection.id);
                writeln!(text, "    {code}: {error}, re: {id:?}").expect("a string");
            }
        }
    }
    let all = [
        "message",
        "direct",
        "join",
        "leave",
        "history",
        "presence",
        "typing",
        "token",
        "heartbeat_ack",
        "ping",
    ];
    assert_eq!(names, all.map(String::from).into(), "every command");
    assert_eq!(codes, ["invalid_json", "invalid_message", "missing_field", "unknown_type"].into());
    check("commands.txt", &text);
}
