//! Tests the outbox with a socket that takes any number of bytes. The bytes that it takes are always whole frames in
//! order, and the outbox's counts match what is left in it.

use std::cell::{Cell, RefCell};

use super::*;
use crate::names::Offset;
use crate::protocol::frame::{self, OpCode};
use crate::registry::delivery::LossNote;
use crate::shard::bounds::Overload;
use crate::shard::sink::ByteStream;

const BOUNDS: Bounds = Bounds { messages: 8, bytes: 4000, age_ms: 1000 };

/// A simulated socket that takes up to `space` more bytes.
#[derive(Default)]
struct Wire {
    taken: RefCell<Vec<u8>>,
    space: Cell<usize>,
}

impl ByteStream for Wire {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let most = bytes.len().min(self.space.get());
        if most == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.space.set(self.space.get() - most);
        self.taken.borrow_mut().extend_from_slice(&bytes[..most]);
        Ok(most)
    }
}

struct Setup {
    wire: Rc<Wire>,
    outbox: Outbox,
    counts: WriteCounts,
}

impl Setup {
    fn new() -> Self {
        Self { wire: Rc::default(), outbox: Outbox::default(), counts: WriteCounts::default() }
    }

    fn flush(&mut self, space: usize) -> Flush {
        self.wire.space.set(space);
        self.outbox.flush(&Sink::Stream(self.wire.clone()), &mut self.counts)
    }

    /// Returns the opcode and payload of each frame that the socket took. Panics when its bytes are not whole frames.
    fn frames(&self) -> Vec<(u8, String)> {
        let taken = self.wire.taken.borrow();
        let mut rest = &taken[..];
        let mut frames = Vec::new();
        while let [first, second, ..] = *rest {
            assert!(first & 0x80 != 0 && first & 0x70 == 0, "not the start of a frame: {rest:?}");
            let (head, len) = match second {
                126 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
                len => (2, usize::from(len)),
            };
            assert!(rest.len() >= head + len, "a frame was cut");
            frames.push((first & 0x0f, String::from_utf8_lossy(&rest[head..head + len]).into_owned()));
            rest = &rest[head + len..];
        }
        assert!(rest.is_empty(), "a frame was cut");
        frames
    }
}

fn batch(texts: &[&str]) -> Rc<Batch> {
    let mut batch = Batch { overload: Overload::DropOldest, ..Batch::default() };
    for (seq, text) in (1..).zip(texts) {
        batch.push(seq, &frame::text(text));
    }
    Rc::new(batch)
}

fn push(outbox: &mut Outbox, texts: &[&str], now_ms: u64) {
    outbox.push_shared(&batch(texts), 0, texts.len() as u32, now_ms);
}

fn text(text: &str) -> (u8, String) {
    (1, text.to_owned())
}

#[test]
fn a_control_frame_waits_for_the_end_of_the_frame_that_has_begun() {
    let mut setup = Setup::new();
    push(&mut setup.outbox, &["one", "two", "three"], 0);
    assert_eq!(setup.flush(7), Flush::Blocked);
    let pong = |payload: &[u8]| frame::data(OpCode::Pong, payload);
    setup.outbox.push_ahead(Kind::Pong, &pong(b"old"), 0);
    setup.outbox.push_ahead(Kind::Pong, &pong(b"new"), 0);
    setup.outbox.push(Kind::Reply, &frame::text("own"), 0);
    assert_eq!(setup.flush(usize::MAX), Flush::Empty);
    let pong = (10, "new".to_owned());
    assert_eq!(setup.frames(), [text("one"), text("two"), pong, text("three"), text("own")]);
    assert_eq!(
        (
            setup.counts.deliveries,
            setup.outbox.shared_bytes(),
            setup.outbox.reply_bytes + setup.outbox.other_frames
        ),
        (3, 0, 0)
    );
}

#[test]
fn dropping_at_the_end_never_cuts_a_frame() {
    for written in 0..15 {
        let mut setup = Setup::new();
        push(&mut setup.outbox, &["one", "two", "three"], 0);
        setup.outbox.push(Kind::Reply, &frame::text("own"), 0);
        setup.flush(written);
        setup.outbox.finish_now(Some(&frame::close(Some(4001), "")), 0);
        assert_eq!(setup.flush(usize::MAX), Flush::Empty);
        let frames = setup.frames();
        assert_eq!(frames.last().map(|frame| frame.0), Some(8), "{written}");
        assert_eq!(frames.len(), 1 + written.div_ceil(5).min(3), "{written}");
        assert_eq!(
            (setup.outbox.shared_bytes(), setup.outbox.reply_bytes + setup.outbox.other_frames),
            (0, 0)
        );
    }
}

#[test]
fn the_answer_to_the_handshake_goes_first_and_is_never_dropped() {
    const HEAD: &[u8] = b"HTTP/1.1 101 and so on\r\n\r\n";
    for written in 0..=HEAD.len() {
        let mut setup = Setup::new();
        push(&mut setup.outbox, &["one"], 0);
        setup.outbox.push_head(HEAD, 0);
        setup.outbox.push_ahead(Kind::Reply, &frame::text("welcome"), 0);
        setup.flush(written);
        assert_eq!(setup.counts.bytes, 0, "it is no part of the conversation");
        setup.outbox.push_ahead(Kind::Control, &frame::data(OpCode::Ping, b""), 0);
        setup.outbox.finish_now(Some(&frame::close(Some(4001), "")), 0);
        assert_eq!(setup.flush(usize::MAX), Flush::Empty);
        assert!(setup.wire.taken.borrow().starts_with(HEAD), "{written}");
        setup.wire.taken.borrow_mut().drain(..HEAD.len());
        assert_eq!(setup.frames().last().map(|frame| frame.0), Some(8), "{written}");
        assert_eq!((setup.outbox.reply_bytes, setup.outbox.other_frames), (0, 0));
    }
}

#[test]
fn each_bound_is_enforced() {
    let mut outbox = Outbox::default();
    assert_eq!(outbox.overflow(1_000_000, 1_000, 0, &BOUNDS), None, "an empty queue takes anything once");
    push(&mut outbox, &["one", "two"], 10);
    assert_eq!(outbox.overflow(1, 6, 10, &BOUNDS), None);
    assert_eq!(outbox.overflow(1, 7, 10, &BOUNDS), Some(Overflow::Messages));
    assert_eq!(outbox.overflow(4000, 1, 10, &BOUNDS), Some(Overflow::Bytes));
    assert_eq!(outbox.overflow(1, 1, 1010, &BOUNDS), None);
    assert_eq!(outbox.overflow(1, 1, 1011, &BOUNDS), Some(Overflow::Age));
}

#[test]
fn the_oldest_entries_are_dropped_first_and_a_partly_written_one_stays() {
    let mut setup = Setup::new();
    push(&mut setup.outbox, &["one", "two"], 0);
    setup.flush(1);
    setup.outbox.push(Kind::Reply, &frame::text("own"), 0);
    for name in ["three", "four", "five", "six", "seven", "eight"] {
        push(&mut setup.outbox, &[name], 0);
    }
    assert_eq!(setup.outbox.drop_oldest(10, 2, &BOUNDS, 0), 2);
    setup.flush(usize::MAX);
    let left = ["one", "own", "four", "five", "six", "seven", "eight"];
    assert_eq!(setup.frames(), left.map(text));
}

#[test]
fn random_writes_send_whole_frames_in_order() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut setup = Setup::new();
        let (mut next, mut queued) = (0u32, 0u64);
        for _ in 0..200 {
            match random.u8(..9) {
                0..=2 => {
                    let count = random.u32(1..4);
                    let texts: Vec<String> = (next..next + count)
                        .map(|n| format!("{n:05}{}", "x".repeat(random.usize(..200))))
                        .collect();
                    push(&mut setup.outbox, &texts.iter().map(String::as_str).collect::<Vec<_>>(), 0);
                    next += count;
                    queued += u64::from(count);
                }
                3 => setup.outbox.push(Kind::Reply, &frame::text("own"), 0),
                4 => setup.outbox.push_ahead(Kind::Pong, &frame::data(OpCode::Pong, b"pong"), 0),
                5 => setup.outbox.push_ahead(Kind::Control, &frame::data(OpCode::Ping, b""), 0),
                6 => setup.outbox.push_ahead(Kind::Reply, &frame::text("own"), 0),
                _ => {
                    setup.flush(random.usize(..600));
                }
            }
        }
        setup.outbox.finish_after_queue(Some(&frame::close(Some(1000), "")), 0);
        assert_eq!(setup.flush(usize::MAX), Flush::Empty);
        let frames = setup.frames();
        assert_eq!(frames.last().map(|frame| frame.0), Some(8));
        let numbers = frames.iter().filter_map(|(_, text)| text.get(..5)?.parse::<u32>().ok());
        assert!(numbers.eq(0..next), "seed {seed}: lost, repeated or out of order");
        assert_eq!(setup.counts.deliveries, queued, "seed {seed}");
        assert_eq!(
            (setup.outbox.shared_bytes(), setup.outbox.reply_bytes + setup.outbox.other_frames),
            (0, 0),
            "seed {seed}"
        );
    }
}

/// Notes that the messages of a room with these offsets were dropped.
fn miss(outbox: &mut Outbox, room: &str, offsets: std::ops::RangeInclusive<u64>) {
    let room = Some(Rc::new(room.parse().unwrap()));
    let mut batch = Batch { room, ..Batch::default() };
    offsets.for_each(|offset| batch.push_message(offset, Offset(offset).into(), b"x"));
    let end = batch.bytes.len() as u32;
    outbox.note_loss(&batch, 0, end, 0);
}

fn gap(room: &str, from: u64, to: u64) -> (u8, String) {
    text(&format!(r#"{{"type":"gap","room":"{room}","from":{from},"to":{to}}}"#))
}

#[test]
fn gaps_are_joined_only_when_their_offsets_are_adjacent() {
    let mut setup = Setup::new();
    let queue = &mut setup.outbox;
    miss(queue, "a", 1..=2);
    miss(queue, "b", 3..=3);
    miss(queue, "a", 3..=4);
    // Messages 5 and 6 were sent while the client was not in the room.
    miss(queue, "a", 7..=7);
    miss(queue, "b", 4..=9);
    assert_eq!(setup.flush(usize::MAX), Flush::Empty);
    assert_eq!(setup.frames(), [gap("a", 1, 4), gap("b", 3, 9), gap("a", 7, 7)]);
    assert_eq!(setup.outbox.other_frames, 0);
}

/// In room `a` presence events are dropped between messages; in room `b` only presence events are. The client gets one
/// gap for the messages of a room, and behind it the number of users from the last presence event of the room.
#[test]
fn dropped_presence_events_become_the_number_of_users() {
    let mut setup = Setup::new();
    let queue = &mut setup.outbox;
    let drop_presence = |queue: &mut Outbox, room: &str, members: usize| {
        let mut batch = Batch { room: Some(Rc::new(room.parse().unwrap())), ..Batch::default() };
        batch.push_message(1, LossNote::presence(members), b"x");
        batch.push(2, b"typing");
        queue.note_loss(&batch, 0, 7, 0);
    };
    miss(queue, "a", 1..=2);
    drop_presence(queue, "a", 7);
    drop_presence(queue, "b", 2);
    miss(queue, "a", 3..=4);
    drop_presence(queue, "a", 8);
    assert_eq!(setup.flush(usize::MAX), Flush::Empty);
    let count = |room: &str, members: usize| {
        text(&format!(r#"{{"type":"presence_diff","room":"{room}","members":{members}}}"#))
    };
    assert_eq!(setup.frames(), [gap("a", 1, 4), count("a", 8), count("b", 2)]);
    assert_eq!(setup.outbox.other_frames, 0);
}

#[test]
fn a_partly_written_gap_is_not_extended() {
    let len = 2 + gap("a", 1, 2).1.len();
    for written in 0..len {
        let mut setup = Setup::new();
        miss(&mut setup.outbox, "a", 1..=2);
        assert_eq!(setup.flush(written), Flush::Blocked);
        miss(&mut setup.outbox, "a", 3..=12_345);
        assert_eq!(setup.flush(usize::MAX), Flush::Empty);
        let expected = match written {
            0 => vec![gap("a", 1, 12_345)],
            _ => vec![gap("a", 1, 2), gap("a", 3, 12_345)],
        };
        assert_eq!(setup.frames(), expected, "{written} bytes had left");
    }
}

#[test]
fn an_empty_queue_is_small() {
    // Each connection has one, so its size counts.
    assert_eq!(size_of::<Outbox>(), 48);
}
