//! Values of every kind, in pieces, and bytes that are none.

use bytes::Bytes;

use super::super::call::{Reply, ServerError};
use super::decode::{MAX_KEPT, MAX_LINE};
use super::*;

fn decode(bytes: &[u8]) -> Result<Vec<Frame>, Malformed> {
    let mut decoder = Decoder::default();
    decoder.buffer().extend_from_slice(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next_frame()? {
        frames.push(frame);
    }
    assert!(decoder.buffer().is_empty(), "{:?} is left", decoder.buffer());
    Ok(frames)
}

fn reply(bytes: &[u8]) -> Reply {
    match &decode(bytes).unwrap()[..] {
        [Frame::Reply(reply)] => reply.clone(),
        other => panic!("{other:?}"),
    }
}

fn text(text: &'static str) -> Reply {
    Reply::Bytes(Bytes::from_static(text.as_bytes()))
}

#[test]
fn every_kind_of_value_is_read() {
    assert_eq!(reply(b"+OK\r\n"), text("OK"));
    assert_eq!(reply(b"-WRONGTYPE not so\r\n"), Reply::Error(ServerError::new("WRONGTYPE", "not so")));
    assert_eq!(reply(b"!9\r\nERR a\r\nbc\r\n"), Reply::Error(ServerError::new("ERR", "a\r\nbc")));
    assert_eq!(reply(b":-1234567890123\r\n"), Reply::Int(-1_234_567_890_123));
    assert_eq!(reply(b"$4\r\na\r\nb\r\n"), text("a\r\nb"));
    assert_eq!(reply(b"=8\r\ntxt:some\r\n"), text("some"));
    assert_eq!(reply(b",1.5\r\n"), text("1.5"));
    assert_eq!(reply(b"(12345678901234567890\r\n"), text("12345678901234567890"));
    assert_eq!((reply(b"#t\r\n"), reply(b"#f\r\n")), (Reply::Int(1), Reply::Int(0)));
    for nothing in [&b"_\r\n"[..], b"$-1\r\n", b"*-1\r\n"] {
        assert_eq!(reply(nothing), Reply::Nil);
    }
    assert_eq!(reply(b"*2\r\n:7\r\n*0\r\n"), Reply::Array(vec![Reply::Int(7), Reply::Array(Vec::new())]));
    assert_eq!(reply(b"~1\r\n+a\r\n"), Reply::Array(vec![text("a")]));
    assert_eq!(reply(b"%1\r\n+a\r\n_\r\n"), Reply::Map(vec![(text("a"), Reply::Nil)]));
    assert_eq!(reply(b"|1\r\n+ttl\r\n:9\r\n+a\r\n"), text("a"));
}

#[test]
fn pushes_are_told_from_replies() {
    let bytes =
        b">3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n:1\r\n>3\r\n$10\r\nssubscribe\r\n$1\r\nc\r\n:1\r\n\
                  >3\r\n$12\r\nsunsubscribe\r\n$1\r\nc\r\n:0\r\n>2\r\n+invalidate\r\n*1\r\n+a\r\n";
    let channel = Bytes::from_static(b"c");
    let pushes = [
        Frame::Push(Push::Message { channel: channel.clone(), payload: Bytes::from_static(b"hi") }),
        Frame::Reply(Reply::Int(1)),
        Frame::Push(Push::Subscribed(channel.clone())),
        Frame::Push(Push::Unsubscribed(channel)),
        Frame::Push(Push::Other),
    ];
    assert_eq!(decode(bytes).unwrap(), pushes);
}

/// Each prefix of a stream gives the values that are complete, and the rest comes with the rest.
#[test]
fn bytes_come_in_any_pieces() {
    let bytes =
        b"*2\r\n$5\r\nhello\r\n%1\r\n:1\r\n-ERR x\r\n>3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$3\r\nabc\r\n_\r\n";
    let whole = decode(bytes).unwrap();
    for size in 1..bytes.len() {
        let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
        for piece in bytes.chunks(size) {
            decoder.buffer().extend_from_slice(piece);
            while let Some(frame) = decoder.next_frame().unwrap() {
                frames.push(frame);
            }
        }
        assert_eq!(frames, whole, "in pieces of {size}");
    }
}

#[test]
fn malformed_bytes_are_refused() {
    for (bytes, what) in [
        (&b"HTTP/1.1 400 Bad Request\r\n"[..], "unknown kind"),
        (b":12x\r\n", "a number"),
        (b":\r\n", "a number"),
        (b"+OK\n", "CR LF"),
        (b"$2\r\nabcd\r\n", "does not end"),
        (b"$-2\r\n", "negative"),
        (b"*-2\r\n", "negative"),
        (b"%-1\r\n", "negative"),
        (b"$99999999999\r\n", "64 MiB"),
        (b">-1\r\n", "negative"),
    ] {
        let error = decode(bytes).unwrap_err().to_string();
        assert!(error.contains(what), "{:?}: {error}", String::from_utf8_lossy(bytes));
    }
    assert!(decode(&b"*1\r\n".repeat(20)).unwrap_err().to_string().contains("16 times"));
    let long = [b"+".as_slice(), &[b'a'; MAX_LINE]].concat();
    assert!(decode(&long).unwrap_err().to_string().contains("64 KiB"));
}

/// A number of elements that nobody sends reserves no memory.
#[test]
fn announced_elements_take_no_memory() {
    let mut decoder = Decoder::default();
    decoder.buffer().extend_from_slice(b"*1000000000000\r\n:1\r\n");
    assert_eq!(decoder.next_frame(), Ok(None));
}

#[test]
fn memory_is_given_back() {
    let mut decoder = Decoder::default();
    decoder.buffer().extend_from_slice(format!("${}\r\n", 1 << 20).as_bytes());
    decoder.buffer().extend_from_slice(&vec![b'a'; 1 << 20]);
    assert_eq!(decoder.next_frame(), Ok(None));
    decoder.buffer().extend_from_slice(b"\r\n");
    assert!(decoder.next_frame().unwrap().is_some());
    assert_eq!(decoder.next_frame(), Ok(None));
    assert!(decoder.buffer().capacity() <= MAX_KEPT);
}
