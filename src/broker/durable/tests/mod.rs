use std::fs;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::super::memory::MemoryLimits;
use super::super::quota::KeyBound;
use super::super::resume::Resumed;
use super::super::{Encoded, Position, Publication};
use super::*;
use crate::chat::rooms::RoomRules;
use crate::config::Config;
use crate::names::{Offset, RoomName, UserId};
use crate::protocol::event::Content;
use crate::protocol::frame::Frame;

mod lives;

/// Longest wait for an answer or a delivery.
const PATIENCE: Duration = Duration::from_secs(20);
const NOW_MS: u64 = 1_700_000_000_000;

/// Passes on what is delivered to members, in order.
struct Members(SyncSender<(Offset, Frame)>);

impl Local for Members {
    type Topic = usize;
    type SenderCopy = ();
    type Message = Message;
    fn topic(&self) -> usize {
        0
    }
    fn has_space(&self, _: &usize, len: usize) -> bool {
        len < 1000
    }
    fn deliver(&self, _: &mut usize, publication: Publication<'_, ()>) {
        self.0.send((publication.offset, publication.frame.clone())).expect("the test listens");
    }
    fn is_occupied(&self, members: &usize) -> bool {
        *members > 0
    }
    fn members(&self, members: &usize) -> usize {
        *members
    }
    fn show_typing(&self, _: &usize, _: &RoomName, _: &UserId) {}
    fn content<'m>(&self, _: &'m Message) -> Content<'m> {
        unreachable!("no engine asks for the contents")
    }
    fn sender_copy(&self, _: &Message, _: &RoomName, _: Position) -> Option<()> {
        unreachable!("no engine delivers")
    }
    fn missed(&self, _: &mut usize, _: &RoomName, _: Offset, _: Offset) {}
    fn renamed(&self, _: &mut usize, _: &RoomName, _: Position) {}
    fn lost(&self, _: &mut usize) {}
    fn encode(&self, message: &Message, _: &RoomName, at: Position) -> Encoded<()> {
        Frame::from((message.frame)(at)).into()
    }
    fn answer(&self, message: Message, _: &RoomName, answer: Result<Published, BrokerError>) {
        message.answer.send(answer).expect("the test listens");
    }
}

/// A message that becomes what `frame` makes of its position, and sends its answer to the test.
struct Message {
    frame: Box<dyn Fn(Position) -> Vec<u8> + Send>,
    answer: SyncSender<Result<Published, BrokerError>>,
}

/// One run of a node.
struct Life {
    broker: Arc<Memory<Members>>,
    durable: Durable<Members>,
    delivered: Receiver<(Offset, Frame)>,
    answer: SyncSender<Result<Published, BrokerError>>,
    answers: Receiver<Result<Published, BrokerError>>,
    now_ms: Arc<AtomicU64>,
}

impl Life {
    /// Starts a node that keeps three messages a room for ten minutes, 400 bytes in all.
    fn begin(dir: &Path, now_ms: u64) -> Self {
        let mut config = Config::default();
        config.history.messages = 3;
        let (deliver, delivered) = sync_channel(1000);
        let limits = MemoryLimits {
            rooms: RoomRules::new(&config),
            history_total_bytes: 400,
            max_rooms: 10,
            max_positions: 100,
            position_ttl_ms: 86_400_000,
            default_room: config.chat.default_room.clone(),
            max_keys_per_user: 100,
            max_keys_of_api: 10,
            max_keys_bytes: 1 << 20,
        };
        let broker = Arc::new(Memory::new(Members(deliver), limits));
        let clock = Arc::new(AtomicU64::new(now_ms));
        let now_ms = Arc::clone(&clock);
        let durable = Durable::open(dir, HistorySync::Off, &broker, move || clock.load(Relaxed)).unwrap();
        let (answer, answers) = sync_channel(1000);
        Self { broker, durable, delivered, answer, answers, now_ms }
    }

    fn room(&self, name: &str) -> SharedRoom<Members> {
        self.broker.enter(&name.parse().unwrap(), None, |_, _| ()).unwrap().0
    }

    fn say(&self, room: &SharedRoom<Members>, key: Option<&str>) -> Result<(), BrokerError> {
        let name = room.name().clone();
        self.durable.publish(Job {
            room: Arc::clone(room),
            user: "ann".parse().unwrap(),
            key: key.map(|key| key.parse().unwrap()),
            key_bound: KeyBound::User,
            max_len: 10,
            at_unix_ms: self.now_ms.load(Relaxed),
            message: self.message(move |at| frame(&name, at.offset.0)),
        })
    }

    fn message(&self, frame: impl Fn(Position) -> Vec<u8> + Send + 'static) -> Message {
        Message { frame: Box::new(frame), answer: self.answer.clone() }
    }

    #[track_caller]
    fn answer(&self) -> Result<(u64, bool), BrokerError> {
        let answer = self.answers.recv_timeout(PATIENCE).expect("an answer");
        answer.map(|published| (published.position.offset.0, published.is_duplicate))
    }

    #[track_caller]
    fn say_all(&self, name: &str, offsets: std::ops::RangeInclusive<u64>) {
        let room = self.room(name);
        for offset in offsets {
            self.say(&room, None).unwrap();
            assert_eq!(self.answer(), Ok((offset, false)));
        }
    }

    fn position(&self, name: &str) -> Position {
        self.room(name).with(|state| state.position())
    }

    /// Returns the offsets of the messages missed by a client at `position`.
    fn missed(&self, name: &str, position: Position) -> Option<Vec<u64>> {
        let name: RoomName = name.parse().unwrap();
        let (_, resumed, ()) = self.broker.enter(&name, Some(position), |_, _| ()).unwrap();
        let Resumed::Recovered { page, rest: None, .. } = resumed else { return None };
        assert!(page.gap.is_none());
        let last = self.position(name.as_str()).offset.0;
        let offsets: Vec<u64> = (position.offset.0 + 1..=last).collect();
        let expected: Vec<Frame> = offsets.iter().map(|offset| frame(&name, *offset).into()).collect();
        assert_eq!(page.frames, expected);
        Some(offsets)
    }

    fn expire(&self) {
        (0..64).for_each(|turn| self.broker.expire(turn, self.now_ms.load(Relaxed)));
    }
}

fn frame(room: &RoomName, offset: u64) -> Vec<u8> {
    format!("{room} {offset:9}").into_bytes()
}

fn at(position: Position, offset: u64) -> Position {
    Position { offset: Offset(offset), ..position }
}

#[test]
fn a_room_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let life = Life::begin(dir.path(), NOW_MS);
    life.say_all("a", 1..=5);
    life.say_all("b", 1..=1);
    let delivered: Vec<u64> = life.delivered.try_iter().map(|(offset, _)| offset.0).collect();
    assert_eq!(delivered, [1, 2, 3, 4, 5, 1]);
    let (a, b) = (life.position("a"), life.position("b"));
    life.durable.stop().unwrap();
    assert!(!life.durable.is_running());
    assert_eq!(life.say(&life.room("a"), None), Err(BrokerError::NotWritten));

    for restart in 1..=3 {
        let life = Life::begin(dir.path(), NOW_MS + restart * 1000);
        assert_eq!((life.position("a"), life.position("b")), (at(a, 4 + restart), b));
        assert_eq!(life.missed("a", at(a, 1 + restart)), Some((2 + restart..=4 + restart).collect()));
        assert_eq!(life.missed("a", at(a, restart)), None, "evicted");
        assert_eq!(life.missed("a", at(a, 9 + restart)), None, "nobody can have seen it");
        assert_eq!(life.missed("b", at(b, 0)), Some(vec![1]));
        life.say_all("a", 5 + restart..=5 + restart);
    }
}

#[test]
fn a_key_is_known_after_a_restart_although_its_message_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let life = Life::begin(dir.path(), NOW_MS);
    let room = life.room("a");
    for (key, answer) in [("k1", (1, false)), ("k2", (2, false)), ("k1", (1, true))] {
        life.say(&room, Some(key)).unwrap();
        assert_eq!(life.answer(), Ok(answer));
    }
    life.say_all("a", 3..=6);
    drop(life);
    let life = Life::begin(dir.path(), NOW_MS + 299_999);
    let room = life.room("a");
    life.say(&room, Some("k1")).unwrap();
    assert_eq!(life.answer(), Ok((1, true)));
    drop(life);
    let life = Life::begin(dir.path(), NOW_MS + 300_000);
    life.say(&life.room("a"), Some("k1")).unwrap();
    assert_eq!(life.answer(), Ok((7, false)));
}

/// The clock is a day ahead, then right: messages of that day count as sent at the restart.
#[test]
fn times_in_the_future_count_as_now_after_a_restart() {
    const DAY_MS: u64 = 86_400_000;
    let dir = tempfile::tempdir().unwrap();
    let life = Life::begin(dir.path(), NOW_MS + DAY_MS);
    for (key, offset) in [("k1", 1), ("k2", 2)] {
        life.say(&life.room("a"), Some(key)).unwrap();
        assert_eq!(life.answer(), Ok((offset, false)));
    }
    let then = life.position("a");
    drop(life);
    let life = Life::begin(dir.path(), NOW_MS);
    assert_eq!(life.missed("a", at(then, 0)), Some(vec![1, 2]));
    for (key, answer) in [("k1", (1, true)), ("k3", (3, false))] {
        life.say(&life.room("a"), Some(key)).unwrap();
        assert_eq!(life.answer(), Ok(answer));
    }
    life.now_ms.fetch_add(299_999, Relaxed);
    life.say(&life.room("a"), Some("k2")).unwrap();
    assert_eq!(life.answer(), Ok((2, true)));
    life.now_ms.fetch_add(1, Relaxed);
    life.say(&life.room("a"), Some("k2")).unwrap();
    assert_eq!(life.answer(), Ok((4, false)), "five minutes after the restart");
    // Ten minutes after the restart the messages from before it are gone; the last one stays for five more.
    life.now_ms.fetch_add(300_000, Relaxed);
    life.expire();
    assert_eq!(life.missed("a", at(then, 2)), None, "k3 was said at the restart");
    assert_eq!(life.missed("a", at(then, 3)), Some(vec![4]));
}

#[test]
fn a_key_is_known_although_its_room_has_made_way() {
    let dir = tempfile::tempdir().unwrap();
    let life = Life::begin(dir.path(), NOW_MS);
    life.say(&life.room("first"), Some("k1")).unwrap();
    assert_eq!(life.answer(), Ok((1, false)));
    life.broker.close_if_empty(&life.room("first"));
    for room in 0..10 {
        life.say_all(&room.to_string(), 1..=1);
        life.broker.close_if_empty(&life.room(&room.to_string()));
    }
    assert_eq!(life.broker.room_count(), 10);
    drop(life);
    for _ in 0..2 {
        let life = Life::begin(dir.path(), NOW_MS + 299_999);
        life.say(&life.room("first"), Some("k1")).unwrap();
        assert_eq!(life.answer(), Ok((1, true)));
    }
}

#[test]
fn messages_that_the_node_drops_are_dropped_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let life = Life::begin(dir.path(), NOW_MS);
    // Messages have 11 bytes each, and 400 bytes are kept: ten rooms of three have 330, and "0" was first.
    for room in 0..9 {
        life.say_all(&room.to_string(), 1..=3);
    }
    let old = life.position("0");
    life.now_ms.fetch_add(1000, Relaxed);
    let long = life.room("long");
    life.durable
        .publish(Job {
            room: Arc::clone(&long),
            user: "ann".parse().unwrap(),
            key: None,
            key_bound: KeyBound::User,
            max_len: 10,
            at_unix_ms: NOW_MS + 1000,
            message: life.message(|_| vec![b'x'; 200]),
        })
        .unwrap();
    assert_eq!(life.answer(), Ok((1, false)));
    let floors: Vec<u64> =
        (0..9).map(|room| life.room(&room.to_string()).with(|state| state.floor().0)).collect();
    assert!(floors.iter().sum::<u64>() > 5, "the budget holds: {floors:?}");
    drop(life);
    let (log, recovered) = Log::open(dir.path(), HistorySync::Off, NOW_MS, |_, _| false).unwrap();
    for found in recovered.rooms.iter().filter(|found| found.room.as_str() != "long") {
        let floor = floors[found.room.as_str().parse::<usize>().unwrap()];
        assert_eq!(found.messages.len() as u64, 3 - floor, "{}", found.room);
    }
    drop(log);

    // Ten minutes later no message is kept, and a room without members is gone; but its position is known.
    let life = Life::begin(dir.path(), NOW_MS + 599_999);
    assert_eq!(life.position("0"), old);
    life.now_ms.fetch_add(1001, Relaxed);
    life.expire();
    assert_eq!(life.broker.room_count(), 0);
    life.say_all("0", 4..=4);
    let new = life.position("0");
    assert_eq!(new, at(old, 4));
    drop(life);
    let life = Life::begin(dir.path(), NOW_MS + 602_000);
    assert_eq!((life.position("0"), life.broker.room_count()), (new, 1));
}

#[test]
fn a_message_that_is_not_written_has_not_happened() {
    let dir = tempfile::tempdir().unwrap();
    let life = Life::begin(dir.path(), NOW_MS);
    let room = life.room("a");
    life.say(&room, Some("k0")).unwrap();
    assert_eq!(life.answer(), Ok((1, false)));
    // The path of the second segment.
    let in_the_way = dir.path().join("0000000002.log");
    fs::create_dir(&in_the_way).unwrap();
    // A message that fills the segment, so that the next one needs another.
    let fill = Job {
        room: Arc::clone(&room),
        user: "bob".parse().unwrap(),
        key: None,
        key_bound: KeyBound::User,
        max_len: 10,
        at_unix_ms: NOW_MS,
        message: life.message(|_| vec![b'x'; super::super::log::SEGMENT_BYTES as usize]),
    };
    life.durable.publish(fill).unwrap();
    assert_eq!(life.answer(), Ok((2, false)));
    let before = life.delivered.try_iter().count();
    assert_eq!(before, 2);
    for key in ["k1", "k2", "k1"] {
        life.say(&room, Some(key)).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(life.answer(), Err(BrokerError::NotWritten));
    }
    assert_eq!(life.position("a").offset, Offset(2));
    assert_eq!(life.delivered.try_iter().count(), 0, "nobody sees what is not written");
    fs::remove_dir(&in_the_way).unwrap();
    // The same keys: nothing was appended under them.
    for (key, answer) in [("k1", (3, false)), ("k2", (4, false)), ("k1", (3, true)), ("k0", (1, true))] {
        life.say(&room, Some(key)).unwrap();
        assert_eq!(life.answer(), Ok(answer));
    }
    let delivered: Vec<u64> = life.delivered.try_iter().map(|(offset, _)| offset.0).collect();
    assert_eq!(delivered, [3, 4]);
}

#[test]
fn a_message_of_a_user_who_leaves_at_once_is_published() {
    let dir = tempfile::tempdir().unwrap();
    let life = Life::begin(dir.path(), NOW_MS);
    let room = life.room("a");
    life.broker.close_if_empty(&room);
    assert_eq!(life.broker.room_count(), 0);
    life.say(&room, None).unwrap();
    assert_eq!(life.answer(), Ok((1, false)));
    assert_eq!(life.missed("a", at(life.position("a"), 0)), Some(vec![1]));
}

#[test]
fn rooms_beyond_the_limit_are_forgotten_but_for_their_positions() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(dir.path(), HistorySync::Off, NOW_MS, |_, _| false).unwrap();
    for room in 0..15 {
        let position = Position { epoch: crate::names::Epoch::random(), offset: Offset(1) };
        log.append(&[Record {
            room: format!("room-{room}").parse().unwrap(),
            position,
            first: Offset(1),
            at_unix_ms: NOW_MS,
            user: "ann".parse().unwrap(),
            key: None,
            frame: Frame::from_static(b"hello"),
        }])
        .unwrap();
    }
    drop(log);
    assert_eq!(Life::begin(dir.path(), NOW_MS).broker.room_count(), 10);
    let (_log, recovered) = Log::open(dir.path(), HistorySync::Off, NOW_MS, |_, _| false).unwrap();
    let with_messages = recovered.rooms.iter().filter(|found| !found.messages.is_empty()).count();
    assert_eq!((recovered.rooms.len(), with_messages), (15, 10));
}
