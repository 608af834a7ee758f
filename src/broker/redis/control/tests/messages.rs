//! The wire form of control messages.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use smallvec::smallvec;

use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::control::message::{MAX_BYTES, MAX_CONNECTIONS, MAX_TEXT};
use crate::broker::redis::control::{BadMessage, EndCause, Message, Order, Outcome, Request};
use crate::broker::redis::directory::connection_of_bits;
use crate::names::{Epoch, Offset, Position};
use crate::protocol::event::{Content, OwnedContent};
use crate::revocation::Revocation;

fn order() -> impl Strategy<Value = Order> {
    let connection = any::<u64>().prop_map(connection_of_bits);
    let name = "[A-Za-z0-9_.:@-]{3,64}".prop_map(|name| name.parse().unwrap());
    let end = (connection.clone(), any::<bool>(), name.clone()).prop_map(|(connection, is_kick, user)| {
        let cause = if is_kick { EndCause::Kicked } else { EndCause::Replaced };
        Order::End { connection, cause, user }
    });
    let probe = (connection.clone(), any::<u32>())
        .prop_map(|(connection, address)| Order::Probe { connection, address });
    let more = (option::of(".{1,200}"), option::of("[a-zäß\u{1f600}\"]{1,64}"));
    let direct = (vec(connection, 1..=MAX_CONNECTIONS), name, ".{0,200}", more, any::<(u64, u64)>());
    let direct = direct.prop_map(|(to, from, text, (data, name), (offset, at_unix_ms))| {
        let id = Position { epoch: Epoch::random(), offset: Offset(offset) };
        let name = name.map(|name| name.parse().unwrap());
        let content = Content { text: &text, data: data.as_deref(), name: name.as_ref() }.into();
        Order::Direct { to: to.into(), from, content, id, at_unix_ms }
    });
    let ask = vec(any::<u8>(), 0..300).prop_map(|question| Order::Ask(question.into()));
    let revoke = ("[a-z]{3}", any::<bool>(), any::<(u32, u32)>());
    let revoke = revoke.prop_map(|(name, is_user, (before_s, until_s))| {
        let token = Revocation::of_token(&name, until_s);
        Order::Revoke(if is_user { Revocation::of_user(&name, before_s, until_s) } else { token })
    });
    prop_oneof![end, probe, direct, ask, revoke]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        any::<(bool, u64)>().prop_map(|(existed, missing)| Outcome::Ended { existed, missing }),
        any::<bool>().prop_map(Outcome::Alive),
        any::<u32>().prop_map(Outcome::Delivered),
        vec(any::<u8>(), 0..300).prop_map(|answer| Outcome::Told(answer.into())),
        any::<u32>().prop_map(Outcome::Revoked),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let ids = any::<(u64, u64, u64, u64)>();
    (ids, "[A-Za-z0-9_.:@-]{1,64}", order()).prop_map(|((number, by, target, until_ms), node, order)| {
        let (by, target) = (Incarnation(by), Incarnation(target));
        Request { number, node: node.parse().unwrap(), by, target, until_ms, order }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_keeps_its_fields(request in request()) {
        let encoded = request.encode().unwrap();
        prop_assert!(encoded.len() <= MAX_BYTES);
        prop_assert_eq!(Message::parse(&encoded), Ok(Message::Request(request)));
    }

    #[test]
    fn an_answer_keeps_its_fields(request in request(), outcome in outcome()) {
        let answer = request.answer(outcome);
        prop_assert_eq!((answer.target, answer.by), (request.by, request.target));
        prop_assert_eq!(Message::parse(&answer.encode()), Ok(Message::Answer(answer)));
    }

    /// A message that differs from a good one in a few bytes, or in none at all, is refused or has one form.
    #[test]
    fn damaged_messages_are_refused_or_have_one_form(
        request in request(),
        outcome in option::of(outcome()),
        damage in vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let encoded = outcome.map_or_else(|| request.encode().unwrap(), |outcome| request.answer(outcome).encode());
        let mut bytes = encoded.to_vec();
        for (index, byte, action) in damage {
            let at = index.index(bytes.len());
            match action {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => bytes.truncate(at + 1),
            }
        }
        has_one_form(&bytes.into())?;
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_have_one_form(
        start in "([ac]1 (end|probe|direct|carry|ask) )?",
        rest in vec(any::<u8>(), 0..300),
    ) {
        has_one_form(&[start.as_bytes(), &rest].concat().into())?;
    }
}

fn has_one_form(payload: &Bytes) -> Result<(), TestCaseError> {
    match Message::parse(payload) {
        Ok(Message::Request(request)) => prop_assert_eq!(request.encode(), Ok(payload.clone())),
        Ok(Message::Answer(answer)) => prop_assert_eq!(&answer.encode(), payload),
        Ok(Message::Other) | Err(_) => {}
    }
    Ok(())
}

fn direct(connections: usize, text: usize) -> Request {
    let order = Order::Direct {
        to: (0..connections as u64).map(|bits| connection_of_bits(bits | 1 << 63)).collect(),
        from: "x".repeat(64).parse().unwrap(),
        content: OwnedContent::from(&*"x".repeat(text)),
        id: Position { epoch: "fvvvvvvvvvvvv".parse().unwrap(), offset: Offset(u64::MAX) },
        at_unix_ms: u64::MAX,
    };
    let (by, target) = (Incarnation(1), Incarnation(2));
    Request { number: 7, node: "n".repeat(64).parse().unwrap(), by, target, until_ms: u64::MAX, order }
}

#[test]
fn the_longest_message_fits_and_longer_ones_are_refused() {
    let longest = direct(MAX_CONNECTIONS, MAX_TEXT);
    let encoded = longest.encode().unwrap();
    assert!(encoded.len() <= MAX_BYTES, "{}", encoded.len());
    assert_eq!(Message::parse(&encoded), Ok(Message::Request(longest)));
    assert_eq!(direct(0, 1).encode(), Err(BadMessage::Recipients));
    assert_eq!(direct(MAX_CONNECTIONS + 1, 1).encode(), Err(BadMessage::Recipients));
    assert_eq!(direct(1, MAX_TEXT + 1).encode(), Err(BadMessage::TooLong));
    let long = [&direct(1, 1).encode().unwrap()[..], &[b'x'; MAX_BYTES]].concat().into();
    assert_eq!(Message::parse(&long), Err(BadMessage::TooLong));
    let line = [&b"c1 end "[..], &[b'x'; 10_000]].concat().into();
    assert_eq!(Message::parse(&line), Err(BadMessage::Malformed));
}

#[test]
fn the_wire_form_is_the_documented_one() {
    let [a, b] = [1, 2].map(connection_of_bits);
    let [x, y] = ["00000000000000a1", "00000000000000b2"];
    let request = |number, order| {
        let (by, target) = (Incarnation(0xa1), Incarnation(0xb2));
        Request { number, node: "n1".parse().unwrap(), by, target, until_ms: 99, order }
    };
    let end = Order::End { connection: a, cause: EndCause::Replaced, user: "anna".parse().unwrap() };
    let direct = Order::Direct {
        to: smallvec![a, b],
        from: "bob".parse().unwrap(),
        content: "two\nlines".into(),
        id: Position { epoch: "0000000000001".parse().unwrap(), offset: Offset(5) },
        at_unix_ms: 6,
    };
    let name = "Bob B".parse().unwrap();
    let content = Content { text: "hü\n", data: Some("[1]"), name: Some(&name) };
    let carry = Order::Direct {
        to: smallvec![a],
        from: "bob".parse().unwrap(),
        content: content.into(),
        id: Position { epoch: "0000000000001".parse().unwrap(), offset: Offset(5) },
        at_unix_ms: 6,
    };
    let direct = request(3, direct);
    for (encoded, expected) in [
        (
            request(1, end).encode().unwrap(),
            format!("c1 end 0000000000000001 n1 {x} {y} 99 0000000000000001 replaced anna\n"),
        ),
        (
            request(2, Order::Probe { connection: b, address: 7 }).encode().unwrap(),
            format!("c1 probe 0000000000000002 n1 {x} {y} 99 0000000000000002 7\n"),
        ),
        (
            direct.encode().unwrap(),
            format!(
                "c1 direct 0000000000000003 n1 {x} {y} 99 0000000000001 5 6 bob \
                 0000000000000001,0000000000000002\ntwo\nlines"
            ),
        ),
        (
            request(4, carry).encode().unwrap(),
            format!(
                "c1 carry 0000000000000004 n1 {x} {y} 99 0000000000001 5 6 bob 0000000000000001 4 5\nhü\nBob B[1]"
            ),
        ),
        (direct.answer(Outcome::Delivered(2)).encode(), format!("a1 direct 0000000000000003 {x} {y} 2\n")),
        (
            direct.answer(Outcome::Ended { existed: true, missing: 3 }).encode(),
            format!("a1 end 0000000000000003 {x} {y} yes 3\n"),
        ),
        (direct.answer(Outcome::Alive(false)).encode(), format!("a1 probe 0000000000000003 {x} {y} no\n")),
    ] {
        assert_eq!(encoded, expected);
    }
}

#[test]
fn unknown_kinds_and_versions_are_ignored() {
    for other in
        ["", "c", "c1", "c2 end x\n", "c10 end\n", "b1 x\n", "c1 reload 1\n", "a1 count 1 2\n", "c1 \n"]
    {
        assert_eq!(Message::parse(&other.into()), Ok(Message::Other), "{other:?}");
    }
    for bad in ["c1 end", "c1 end\n", "a1 probe \n", "c1 probe 1 2 3\n", "c1 direct\n\n"] {
        assert_eq!(Message::parse(&bad.into()), Err(BadMessage::Malformed), "{bad:?}");
    }
}

#[test]
fn a_late_order_is_not_carried_out_but_a_connection_is_ended() {
    let request = Request { until_ms: 50, ..direct(1, 1) };
    assert!(!request.is_late(50) && request.is_late(51));
    let connection = connection_of_bits(1);
    let end = Order::End { connection, cause: EndCause::Kicked, user: "anna".parse().unwrap() };
    assert!(!Request { order: end, ..request }.is_late(u64::MAX));
}
