//! Encoding and parsing, by example and by property.

use proptest::prelude::*;

use super::*;

/// Joins records to a batch as the script `publish` does.
fn joined(epoch: Epoch, first: u64, call: CallId, records: &[Record]) -> Bytes {
    let CallId { by, number } = call;
    let mut payload = format!("b1 {epoch} {first} {} {by} {number}\n", records.len()).into_bytes();
    records.iter().for_each(|record| payload.extend_from_slice(record.bytes()));
    Bytes::from(payload)
}

fn message(user: &str, at_unix_ms: u64, text: &str) -> BatchMessage {
    BatchMessage {
        user: user.parse().unwrap(),
        at_unix_ms,
        text: Bytes::from(format!("\"{text}\"")),
        more: None,
    }
}

fn record(message: &BatchMessage) -> Record {
    Record::encode(&message.user, message.at_unix_ms, &message.text).unwrap()
}

fn sample() -> (Batch, Bytes) {
    let call = CallId { by: Incarnation(0xfe), number: 3 };
    let messages = vec![message("anna", 1, "hello"), message("a.b:c@d-e_f", u64::MAX, "")];
    let batch = Batch { epoch: Epoch::random(), first: Offset(10), call, messages };
    let payload = joined(batch.epoch, 10, call, &batch.messages.iter().map(record).collect::<Vec<_>>());
    (batch, payload)
}

/// Returns the sample with another text instead of the header.
fn with_header(header: &str) -> Bytes {
    let (_, payload) = sample();
    let end = payload.iter().position(|byte| *byte == b'\n').unwrap();
    Bytes::from([header.as_bytes(), &payload[end..]].concat())
}

#[test]
fn texts_share_the_memory_of_the_payload() {
    let (batch, payload) = sample();
    let parsed = Batch::parse(&payload).unwrap();
    assert_eq!(parsed, batch);
    assert_eq!((parsed.last(), parsed.last_position().offset), (Offset(11), Offset(11)));
    let memory = payload.as_ptr_range();
    assert!(parsed.messages.iter().all(|message| memory.contains(&message.text.as_ptr())));
}

#[test]
fn every_cut_and_every_added_byte_is_an_error() {
    let (_, payload) = sample();
    for len in 0..payload.len() {
        assert!(Batch::parse(&payload.slice(..len)).is_err(), "{len} bytes");
    }
    let longer = Bytes::from([&payload[..], b"x"].concat());
    assert_eq!(Batch::parse(&longer), Err(BadBatch::Trailing { bytes: 1 }));
}

#[test]
fn only_the_written_form_of_a_header_is_parsed() {
    let epoch = "0123456789abc";
    let by = "00000000000000fe";
    assert!(Batch::parse(&with_header(&format!("b1 {epoch} 10 2 {by} 3"))).is_ok());
    for bad in [
        format!("b1 {epoch} 0 2 {by} 3"),
        format!("b1 {epoch} 010 2 {by} 3"),
        format!("b1 {epoch} +10 2 {by} 3"),
        format!("b1 {epoch} {} 2 {by} 3", u64::MAX - 1),
        format!("b1 {epoch} 10 0 {by} 3"),
        format!("b1 {epoch} 10 65 {by} 3"),
        format!("b1 {epoch} 10 2 {by} 0"),
        format!("b1 {epoch} 10 2 {by}"),
        format!("b1 {epoch} 10 2 {by} 3 4"),
        format!("b1 {epoch}  10 2 {by} 3"),
        format!("b1 {epoch} 10 2 00000000000000FE 3"),
        format!("b1 {epoch} 10 2 fe 3"),
        format!("b1 {} 10 2 {by} 3", "x".repeat(13)),
        format!("b1 {epoch} 10 2 {by} {}3", "0".repeat(100)),
    ] {
        assert_eq!(Batch::parse(&with_header(&bad)), Err(BadBatch::Header), "{bad}");
    }
    for other in ["b2 x", "p1 x", "", "b1"] {
        assert_eq!(Batch::parse(&Bytes::from(other)), Err(BadBatch::OtherKind), "{other}");
    }
}

#[test]
fn a_text_must_be_a_literal_and_a_user_an_id() {
    let call = CallId { by: Incarnation(1), number: 1 };
    let anna: UserId = "anna".parse().unwrap();
    for bad in [&b""[..], b"\"", b"hello", b"\"hello", b"hello\"", b"\"\xff\""] {
        let record = Record::encode(&anna, 1, bad).unwrap();
        let parsed = Batch::parse(&joined(Epoch::random(), 1, call, &[record]));
        assert_eq!(parsed, Err(BadBatch::Record { index: 0 }), "{bad:?}");
    }
    let good = Record::encode(&anna, 1, b"\"hello\"").unwrap();
    let (mut of_nobody, mut too_wide) = (good.bytes().to_vec(), good.bytes().to_vec());
    of_nobody[4 + RECORD_HEAD] = b' ';
    too_wide[4 + RECORD_HEAD - 1] = 200;
    for bad in [of_nobody, too_wide] {
        let payload = joined(Epoch::random(), 1, call, &[good.clone(), Record(Bytes::from(bad))]);
        assert_eq!(Batch::parse(&payload), Err(BadBatch::Record { index: 1 }));
    }
}

#[test]
fn the_longest_batch_has_one_message_of_eight_mebibytes() {
    let user: UserId = "u".repeat(64).parse().unwrap();
    let text_len = MAX_BYTES - MAX_HEADER - 4 - RECORD_HEAD - 64;
    let text = format!("\"{}\"", "x".repeat(text_len - 2));
    let longest = Record::encode(&user, u64::MAX, text.as_bytes()).unwrap();
    let call = CallId { by: Incarnation(u64::MAX), number: u64::MAX };
    let payload = joined(Epoch::random(), u64::MAX - 1, call, std::slice::from_ref(&longest));
    assert_eq!(Batch::parse(&payload).map(|batch| batch.messages[0].text.len()), Ok(text_len));

    let text = format!("\"{}\"", "x".repeat(text_len - 1));
    assert_eq!(Record::encode(&user, 1, text.as_bytes()), Err(MessageTooLong { bytes: text.len() }));
    let two = joined(Epoch::random(), 1, call, &[longest.clone(), longest]);
    assert_eq!(Batch::parse(&two), Err(BadBatch::TooLong));
}

fn any_message() -> impl Strategy<Value = BatchMessage> {
    ("[A-Za-z0-9_.:@-]{3,64}", any::<u64>(), "[^\"\\\\\\p{C}]{0,80}")
        .prop_map(|(user, at_unix_ms, text)| message(&user, at_unix_ms, &text))
}

proptest! {
    // Each case draws up to 64 messages.
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_joined_batch_is_parsed_to_its_messages(
        messages in prop::collection::vec(any_message(), 1..=MAX_MESSAGES),
        first in 1..=u64::MAX - MAX_MESSAGES as u64,
        by in any::<u64>(),
        number in 1..=u64::MAX,
    ) {
        let call = CallId { by: Incarnation(by), number };
        let epoch = Epoch::random();
        let records: Vec<Record> = messages.iter().map(record).collect();
        let batch = Batch { epoch, first: Offset(first), call, messages };
        prop_assert_eq!(Batch::parse(&joined(epoch, first, call, &records)), Ok(batch));
    }

    #[test]
    fn any_bytes_are_a_batch_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (_, sample) = sample();
        let end = sample.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let behind_header = Bytes::from([&sample[..end], &bytes].concat());
        prop_assert!(Batch::parse(&Bytes::from(bytes)).is_err());
        prop_assert!(Batch::parse(&behind_header).is_err());
    }

    #[test]
    fn a_batch_with_changed_bytes_never_panics(changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
        let mut bytes = sample().1.to_vec();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(batch) = Batch::parse(&Bytes::from(bytes)) {
            prop_assert_eq!(batch.messages.len(), 2);
        }
    }
}
