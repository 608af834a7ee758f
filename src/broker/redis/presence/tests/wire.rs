//! Payloads and stored entries, as they are written and read.

use bytes::Bytes;

use super::super::{BadPresence, Contents, Entry, Payload, Snapshot};
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::script::Reply;
use crate::chat::presence::Name;
use crate::names::UserId;

fn name(user: &str, name: &str) -> Name {
    (user.parse().unwrap(), name.parse().unwrap())
}

fn users(names: &[&str]) -> Vec<UserId> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[test]
fn payloads_are_read_as_they_were_written() {
    let (by, number) = (Incarnation(0xab), 7);
    let cases = [
        (Contents::Moved { joined: users(&["ann", "bob"]), left: users(&["cid"]) }, 5),
        (Contents::All(users(&["ann", "bob"])), 2),
        (Contents::Read, 9_000),
        (Contents::Count, 9_000),
        (Contents::Closed, 0),
    ];
    for (contents, count) in cases {
        let payload = Payload { by, number, count, contents, names: vec![] };
        assert_eq!(Payload::parse(&payload.encode()), Ok(Some(payload)));
    }
    let contents = Contents::Moved { joined: users(&["ann"]), left: vec![] };
    let encoded = Payload { by, number, count: 3, contents, names: vec![] }.encode();
    assert_eq!(encoded, &b"p1 00000000000000ab 7 d 3 1 0\n\x03ann"[..]);
}

#[test]
fn names_stand_behind_the_users_who_have_one() {
    let longest = "\u{1f9ed}".repeat(64);
    let names = vec![name("ann", "Ann \u{c5}"), name("cid", &longest)];
    let contents = Contents::Moved { joined: users(&["ann", "bob", "cid"]), left: users(&["dan"]) };
    let payload = Payload { by: Incarnation(0xab), number: 7, count: 5, contents, names };
    let encoded = payload.encode();
    assert!(encoded.starts_with(b"p1 00000000000000ab 7 d 5 3 1\n\x83ann\x05Ann \xc3\x85\x03bob\x83cid\xff"));
    assert_eq!(Payload::parse(&encoded), Ok(Some(payload)));
    let head = b"p1 00000000000000ab 7 d 3 1 0\n";
    for damaged in [&b"\x83ann"[..], b"\x83ann\x02An", b"\x83ann\x00\x07", b"\x83ann\x01\xff\xff"] {
        let bytes = [head, damaged].concat();
        assert_eq!(Payload::parse(&bytes), Err(BadPresence::Names), "{damaged:?}");
    }
}

#[test]
fn other_payloads_are_ignored_and_damaged_ones_are_refused() {
    for other in ["b1 0", "p2 00000000000000ab 7 d 3 1 0\n", "p10 ", "", "p1"] {
        assert_eq!(Payload::parse(other.as_bytes()), Ok(None), "{other:?}");
    }
    let head = "p1 00000000000000ab";
    let cases = [
        (format!("{head} 7 d 3 1 0"), BadPresence::Header),
        (format!("{head} 0 d 3 0 0\n"), BadPresence::Header),
        (format!("{head} 7 z 3 0 0\n"), BadPresence::Header),
        (format!("{head} 7 d 3 0\n"), BadPresence::Header),
        (format!("{head} 9007199254740993 d 3 0 0\n"), BadPresence::Header),
        (format!("{head} +7 d 3 0 0\n"), BadPresence::Header),
        ("p1 AB 7 d 3 0 0\n".into(), BadPresence::Header),
        (format!("{head} 7 a 3 1 0\n\x03ann"), BadPresence::Header),
        (format!("{head} 7 c 3 1 0\n\x03ann"), BadPresence::Header),
        (format!("{head} 7 d 3 1 0\n\x03an"), BadPresence::Names),
        (format!("{head} 7 d 3 2 0\n\x03ann"), BadPresence::Names),
        (format!("{head} 7 d 3 999999999 0\n\x03ann"), BadPresence::Names),
        (format!("{head} 7 d 3 1 0\n\x03annx"), BadPresence::Names),
        (format!("{head} 7 d 3 1 0\n\x03a n"), BadPresence::Names),
    ];
    for (damaged, error) in cases {
        assert_eq!(Payload::parse(damaged.as_bytes()), Err(error), "{damaged:?}");
    }
}

fn reply(pairs: &[(&str, &str)]) -> Reply {
    let bytes = |text: &str| Reply::Bytes(Bytes::copy_from_slice(text.as_bytes()));
    Reply::Array(pairs.iter().flat_map(|(field, value)| [bytes(field), bytes(value)]).collect())
}

#[test]
fn entries_that_cannot_be_understood_are_left_out() {
    let (one, two) = ("00000000000000ab", "00000000000000cd");
    let (first, second) = (format!("{one}\00"), format!("{one}\01"));
    let snapshot = Snapshot::parse(&reply(&[
        (one, "7 l 3 2"),
        (&second, "\x03cid"),
        (&first, "\x03ann\x03bob"),
        (two, "9 c 8000 0"),
    ]));
    let all = users(&["ann", "bob", "cid"]);
    let entries = vec![
        Entry { by: Incarnation(0xab), number: 7, count: 3, users: Some(all), names: vec![] },
        Entry { by: Incarnation(0xcd), number: 9, count: 8_000, users: None, names: vec![] },
    ];
    assert_eq!(snapshot, Ok(Snapshot { entries: entries.clone(), malformed: 0 }));
    for damaged in ["7 l 3 3", "7 l 4 2", "7 x 3 2", "7 l 3", "-7 l 3 2", ""] {
        let pairs = [(one, damaged), (&first, "\x03ann\x03bob"), (&second, "\x03cid"), (two, "9 c 8000 0")];
        let snapshot = Snapshot::parse(&reply(&pairs)).unwrap();
        assert_eq!((&snapshot.entries[..], snapshot.malformed), (&entries[1..], 1), "{damaged:?}");
    }
    assert_eq!(Snapshot::parse(&Reply::Int(1)), Err(BadPresence::Reply));
    assert_eq!(Snapshot::parse(&Reply::Array(vec![Reply::Nil])), Err(BadPresence::Reply));
}
