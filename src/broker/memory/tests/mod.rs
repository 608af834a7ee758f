mod followed;
mod idle;
mod race;
mod retained;

use super::super::publish::Assignment;
use super::super::quota::KeyBound;
use super::super::resume::{Gap, NextPage, Page};
use super::super::room::PAGE_BYTES;
use super::super::{Draft, Encoded, Publication, Published};
use super::*;
use crate::chat::keys::KEPT_MS;
use crate::chat::presence;
use crate::config::{Config, RoomRule};
use crate::names::Epoch;
use crate::protocol::event::Content;

/// Members are a number; deliveries are counted.
#[derive(Default)]
struct Members(AtomicUsize);

impl Local for Members {
    type Topic = usize;
    type SenderCopy = ();
    type Message = ();
    fn topic(&self) -> usize {
        0
    }
    fn has_space(&self, _: &usize, len: usize) -> bool {
        len < 1000
    }
    fn deliver(&self, _: &mut usize, _: Publication<'_, ()>) {
        self.0.fetch_add(1, Relaxed);
    }
    fn is_occupied(&self, members: &usize) -> bool {
        *members > 0
    }
    fn members(&self, members: &usize) -> usize {
        *members
    }
    fn show_typing(&self, _: &usize, _: &RoomName, _: &UserId) {}
    fn content<'m>(&self, _: &'m ()) -> Content<'m> {
        unreachable!("no engine asks for the contents")
    }
    fn sender_copy(&self, _: &(), _: &RoomName, _: Position) -> Option<()> {
        unreachable!("no engine delivers")
    }
    fn missed(&self, _: &mut usize, _: &RoomName, _: Offset, _: Offset) {}
    fn renamed(&self, _: &mut usize, _: &RoomName, _: Position) {}
    fn lost(&self, _: &mut usize) {}
    fn encode(&self, (): &(), _: &RoomName, _: Position) -> Encoded<()> {
        unreachable!("memory publishes in one step")
    }
    fn answer(&self, (): (), _: &RoomName, _: Result<Published, BrokerError>) {
        unreachable!("memory publishes in one step")
    }
}

const PRESENCE: presence::PresenceRules =
    presence::PresenceRules { is_announced: true, notice_limit: 10, count_only_above: 10, interval_ms: 1 };
const TTL_MS: u64 = 1000;
const POSITION_TTL_MS: u64 = 86_400_000;
const FRAME: usize = 40;

/// Returns limits of ten messages of at most 400 KiB for a second; `tiny` rooms have two, `none` has nothing.
fn limits(history_total_bytes: usize) -> MemoryLimits {
    let mut config = Config::default();
    config.history.messages = 10;
    config.history.bytes = 400 * 1024;
    config.history.ttl = std::time::Duration::from_millis(TTL_MS);
    let rule = |pattern: &str, messages| RoomRule {
        pattern: pattern.into(),
        history_messages: Some(messages),
        ..RoomRule::default()
    };
    config.rooms = vec![rule("tiny*", 2), rule("none", 0)];
    let default_room = config.chat.default_room.clone();
    MemoryLimits {
        rooms: RoomRules::new(&config),
        history_total_bytes,
        max_rooms: 3,
        max_positions: 4,
        position_ttl_ms: POSITION_TTL_MS,
        default_room,
        max_keys_per_user: 2,
        max_keys_of_api: 10,
        max_keys_bytes: 1 << 20,
    }
}

fn broker() -> Memory<Members> {
    Memory::new(Members::default(), limits(1 << 20))
}

fn name(name: &str) -> RoomName {
    name.parse().unwrap()
}

fn open(broker: &Memory<Members>, room: &str) -> SharedRoom<Members> {
    broker.enter(&name(room), None, |_, _| ()).unwrap().0
}

fn frame(position: Position, len: usize) -> Encoded<()> {
    Frame::from(vec![position.offset.0 as u8; len]).into()
}

fn draft<'a>(user: &'a UserId, key: Option<&str>) -> Draft<'a> {
    Draft { user, key: key.map(|key| key.parse().unwrap()), key_bound: KeyBound::User, max_len: 10 }
}

fn say(broker: &Memory<Members>, room: &SharedRoom<Members>, len: usize, now_ms: u64) -> u64 {
    let ann = "ann".parse().unwrap();
    broker.publish(room, draft(&ann, None), now_ms, |at| frame(at, len)).unwrap().position.offset.0
}

fn say_once(
    broker: &Memory<Members>,
    room: &SharedRoom<Members>,
    (user, key): (&str, &str),
    now_ms: u64,
) -> Result<Published, BrokerError> {
    let user = user.parse().unwrap();
    broker.publish(room, draft(&user, Some(key)), now_ms, |at| frame(at, FRAME))
}

/// Expires all stripes.
fn sweep(broker: &Memory<Members>, now_ms: u64) {
    (0..STRIPES).for_each(|turn| broker.expire(turn, now_ms));
}

fn firsts(page: &Page) -> Vec<u8> {
    page.frames.iter().map(|frame| frame[0]).collect()
}

fn resume(broker: &Memory<Members>, room: &str, position: Position) -> Resumed {
    broker.enter(&name(room), Some(position), |_, _| ()).unwrap().1
}

#[test]
fn only_delivered_messages_get_an_offset() {
    let broker = broker();
    let room = open(&broker, "a");
    assert_eq!(say(&broker, &room, FRAME, 0), 1);
    let ann = "ann".parse().unwrap();
    let long = Draft { max_len: 1000, ..draft(&ann, Some("k")) };
    assert_eq!(broker.publish(&room, long, 0, |at| frame(at, FRAME)), Err(BrokerError::Full));
    assert_eq!(broker.quotas.sizes(), (0, 0), "and its key is not counted");
    assert_eq!(say(&broker, &room, FRAME, 0), 2);
    assert_eq!(broker.local().0.load(Relaxed), 2);
}

#[test]
fn rooms_are_bounded_and_forgotten_with_their_history() {
    let broker = broker();
    let room = open(&broker, "a");
    let first = room.with(|state| state.position());
    broker.enter(&name("b"), None, |state, _| state.topic += 1).unwrap();
    let bob: UserId = "bob".parse().unwrap();
    let (present, ..) =
        broker.enter(&name("c"), None, |state, _| state.presence.join(&bob, 0, &PRESENCE)).unwrap();
    assert_eq!(broker.enter(&name("d"), None, |_, _| ()).unwrap_err(), BrokerError::TooManyRooms);
    say_once(&broker, &room, ("ann", "1"), 0).unwrap();
    broker.close_if_empty(&room);
    assert_eq!(broker.room_count(), 3, "its history is still there");
    sweep(&broker, TTL_MS);
    assert_eq!(broker.room_count(), 2);
    assert_eq!(say_once(&broker, &room, ("ann", "1"), TTL_MS), Err(BrokerError::Gone));
    sweep(&broker, KEPT_MS);
    assert_eq!((broker.room_count(), broker.quotas.sizes()), (2, (0, 0)));

    broker.close_if_empty(&open(&broker, "d"));
    broker.close_if_empty(&present);
    assert_eq!(broker.room_count(), 2, "somebody is present, though no member yet");
    present.with(|state| state.presence.leave(&bob, 0, &PRESENCE));
    broker.close_if_empty(&present);
    assert_eq!(broker.room_count(), 1);
    sweep(&broker, KEPT_MS + POSITION_TTL_MS);
    assert_ne!(first.epoch, open(&broker, "a").with(|s| s.position()).epoch, "a new life, a new epoch");
    assert_eq!(broker.budget.sizes(), (0, 0));
}

#[test]
fn a_returning_client_gets_the_missed_messages_or_learns_that_they_are_gone() {
    let broker = broker();
    let room = open(&broker, "tiny");
    let Position { epoch, .. } = room.with(|state| state.position());
    for _ in 1..=5 {
        say(&broker, &room, FRAME, 0);
    }
    let at = |offset| Position { epoch, offset: Offset(offset) };
    for (offset, missed) in [(3, vec![4, 5]), (4, vec![5]), (5, vec![])] {
        let resumed = resume(&broker, "tiny", at(offset));
        let Resumed::Recovered { page, rest: None, .. } = resumed else { panic!("{offset}: {resumed:?}") };
        assert_eq!((firsts(&page), page.gap), (missed, None));
    }
    let strange = Position { epoch: Epoch::random(), offset: Offset(5) };
    for wish in [at(2), at(0), at(6), at(u64::MAX), strange] {
        assert!(matches!(resume(&broker, "tiny", wish), Resumed::NotRecovered), "{wish:?}");
    }
    assert!(matches!(broker.enter(&name("tiny"), None, |_, _| ()).unwrap().1, Resumed::Fresh));
    // Nothing is kept, and nothing was missed.
    let silent = open(&broker, "none");
    say(&broker, &silent, FRAME, 0);
    let here = silent.with(|state| state.position());
    let Resumed::Recovered { page, rest: None, .. } = resume(&broker, "none", here) else { panic!("missed") };
    assert!(page.frames.is_empty());
    let before = Position { offset: Offset(0), ..here };
    assert!(matches!(resume(&broker, "none", before), Resumed::NotRecovered));
}

#[test]
fn a_long_absence_is_read_in_pages_and_what_goes_meanwhile_is_a_gap() {
    let broker = broker();
    let room = open(&broker, "a");
    let start = room.with(|state| state.position());
    for _ in 1..=10 {
        say(&broker, &room, PAGE_BYTES / 3, 0);
    }
    let bob: UserId = "bob".parse().unwrap();
    let (_, resumed, is_complete) = broker
        .enter(&name("a"), Some(start), |state, resumed| {
            state.presence.join(&bob, 0, &PRESENCE);
            resumed.is_complete()
        })
        .unwrap();
    let Resumed::Recovered { page, rest: Some(rest), .. } = resumed else { panic!("{resumed:?}") };
    assert_eq!((firsts(&page), is_complete), (vec![1, 2, 3], false));
    // Four of the unread ones are pushed out: 4 to 7, of which 7 stays because only six new ones come.
    for _ in 11..=16 {
        say(&broker, &room, FRAME, 0);
    }
    let NextPage::More(page, rest) = room.read_on(rest, |_| panic!("not yet")) else { panic!("the last") };
    assert_eq!(page.gap, Some(Gap { from: Offset(4), to: Offset(6) }));
    assert_eq!((firsts(&page), rest.after()), (vec![7, 8, 9], Offset(9)));
    sweep(&broker, TTL_MS);
    say(&broker, &room, FRAME, TTL_MS);
    let NextPage::Last(page, topic) = room.read_on(rest, |state| state.topic) else { panic!("not the last") };
    assert_eq!(page.gap, Some(Gap { from: Offset(10), to: Offset(16) }));
    assert_eq!((firsts(&page), topic), (vec![17], 0));
}

#[test]
fn a_reader_slower_than_the_room_is_told_so() {
    let broker = broker();
    let room = open(&broker, "a");
    let start = room.with(|state| state.position());
    let fill = || (0..10).for_each(|_| assert!(say(&broker, &room, PAGE_BYTES / 2, 0) > 0));
    fill();
    let Resumed::Recovered { rest: Some(mut rest), .. } = resume(&broker, "a", start) else {
        panic!("complete")
    };
    for page in 1.. {
        fill();
        match room.read_on(rest, |_| ()) {
            NextPage::More(_, more) => rest = more,
            NextPage::Last(..) => panic!("never caught up"),
            NextPage::Lost | NextPage::TooSlow => {
                assert!(page > 2 * 400 / 64, "given up after {page} pages");
                break;
            }
        }
    }
}

#[test]
fn a_key_is_appended_once_and_every_user_has_a_few() {
    let broker = broker();
    let (a, b) = (open(&broker, "tiny"), open(&broker, "b"));
    let first = say_once(&broker, &a, ("ann", "1"), 0).unwrap();
    assert!(!first.is_duplicate);
    for _ in 0..3 {
        say(&broker, &a, FRAME, 1);
    }
    let again = say_once(&broker, &a, ("ann", "1"), 2).unwrap();
    assert_eq!(again, Published { is_duplicate: true, ..first }, "although it is no longer in the history");
    assert!(!say_once(&broker, &a, ("bob", "1"), 3).unwrap().is_duplicate, "a key belongs to its user");
    assert!(!say_once(&broker, &b, ("ann", "1"), 4).unwrap().is_duplicate, "and to its room");
    assert!(!say_once(&broker, &b, ("ann", "2"), 5).unwrap().is_duplicate, "nothing is refused");
    assert!(say_once(&broker, &b, ("ann", "1"), 6).unwrap().is_duplicate, "these are the newest two");
    assert!(say_once(&broker, &b, ("ann", "2"), 6).unwrap().is_duplicate);
    assert!(!say_once(&broker, &a, ("ann", "1"), 7).unwrap().is_duplicate, "the oldest is forgotten");
    assert!(say_once(&broker, &a, ("bob", "1"), 8).unwrap().is_duplicate, "and none of others");
    assert!(!say_once(&broker, &b, ("ann", "2"), KEPT_MS + 5).unwrap().is_duplicate, "after five minutes");
    assert_eq!(broker.quotas.sizes(), (3, 2));
}

#[test]
fn beyond_the_budget_the_oldest_message_of_the_node_goes() {
    let broker = Memory::new(Members::default(), limits(FRAME * 4));
    let [a, b, c] = ["a", "b", "c"].map(|room| open(&broker, room));
    for (room, now_ms) in [(&a, 1), (&b, 2), (&a, 3), (&c, 4)] {
        say(&broker, room, FRAME, now_ms);
    }
    let kept = || [&a, &b, &c].map(|room| room.with(|state| state.history().len()));
    assert_eq!(kept(), [2, 1, 1]);
    for (room, now_ms, expected) in [(&c, 5, [1, 1, 2]), (&c, 6, [1, 0, 3]), (&b, 7, [0, 1, 3])] {
        say(&broker, room, FRAME, now_ms);
        assert_eq!(kept(), expected, "at {now_ms}");
    }
    say(&broker, &b, FRAME, 8);
    assert_eq!(kept(), [0, 2, 1], "and one more than necessary, being at it");
    assert_eq!(broker.budget.sizes(), (FRAME * 3, 2));
    say(&broker, &a, FRAME * 5, 9);
    assert_eq!((kept(), broker.budget.sizes()), ([0, 0, 0], (0, 0)), "one that can never fit");
    for offset in [1, 2, 3] {
        let at = Position { offset: Offset(offset), ..a.with(|state| state.position()) };
        assert_eq!(matches!(resume(&broker, "a", at), Resumed::Recovered { .. }), offset == 3);
    }
}

#[test]
fn history_is_read_backwards_within_one_life() {
    let broker = broker();
    let room = open(&broker, "a");
    (0..5).for_each(|_| assert!(say(&broker, &room, FRAME, 0) > 0));
    let position = room.with(|state| state.position());
    let recent = room.with(|state| state.recent(Some(position.epoch), Some(Offset(5)), 2));
    assert_eq!(recent.frames.iter().map(|frame| frame[0]).collect::<Vec<_>>(), [3, 4]);
    assert_eq!((recent.position, recent.has_more), (position, true));
    let other = room.with(|state| state.recent(Some(Epoch::random()), None, 2));
    assert_eq!((other.position, other.frames.len(), other.has_more), (position, 0, false));
}

#[test]
fn an_assigned_message_is_not_seen_until_it_is_committed() {
    let broker = broker();
    let room = open(&broker, "a");
    let start = room.with(|state| state.position());
    let ann = "ann".parse().unwrap();
    let assign = |key| broker.assign(&room, draft(&ann, Some(key)), 0, |at| frame(at, FRAME)).unwrap();
    let (Assignment::New(one), Assignment::New(two)) = (assign("1"), assign("2")) else {
        panic!("duplicates")
    };
    assert_eq!([one.position().offset, two.position().offset], [Offset(1), Offset(2)]);
    assert_eq!((one.frame()[0], two.frame()[0]), (1, 2));
    assert_eq!((room.with(|state| state.position()), broker.local().0.load(Relaxed)), (start, 0));
    assert!(
        matches!(assign("2"), Assignment::Duplicate { is_committed: false, position } if position == two.position())
    );
    broker.close_if_empty(&room);
    assert_eq!(broker.room_count(), 1);

    assert_eq!(broker.commit(&room, one).offset, Offset(1));
    broker.abandon(&room, two);
    assert!(matches!(assign("1"), Assignment::Duplicate { is_committed: true, .. }));
    let Assignment::New(again) = assign("2") else { panic!("nothing was appended under this key") };
    assert_eq!(broker.commit(&room, again).offset, Offset(2), "the offset was given back");
    let Resumed::Recovered { page, rest: None, .. } = resume(&broker, "a", start) else { panic!("lost") };
    assert_eq!((firsts(&page), broker.local().0.load(Relaxed)), (vec![1, 2], 2));
    assert_eq!(broker.quotas.sizes(), (2, 1));
}

#[test]
fn a_batch_that_failed_leaves_nothing() {
    let broker = broker();
    let room = open(&broker, "a");
    let ann = "ann".parse().unwrap();
    let keys = [Some("1"), None, Some("2")];
    let assigned = keys.map(|key| broker.assign(&room, draft(&ann, key), 0, |at| frame(at, FRAME)).unwrap());
    for assignment in assigned.into_iter().rev() {
        let Assignment::New(assigned) = assignment else { panic!("a duplicate") };
        broker.abandon(&room, assigned);
    }
    assert_eq!(broker.quotas.sizes(), (0, 0));
    broker.close_if_empty(&room);
    assert_eq!(broker.room_count(), 0);
}

#[test]
fn a_room_goes_on_where_a_log_says_it_was() {
    let broker = broker();
    let (ann, epoch): (UserId, _) = ("ann".parse().unwrap(), Epoch::random());
    let at = |offset| Position { epoch, offset: Offset(offset) };
    let life = RestoredRoom {
        position: at(7),
        messages: (5..=7).map(|offset| (offset, frame(at(offset), FRAME).frame)).collect(),
        keys: vec![(ann, "k".parse().unwrap(), Offset(3), 3)],
    };
    broker.restore(&name("tiny"), life).unwrap();
    let Resumed::Recovered { page, rest: None, .. } = resume(&broker, "tiny", at(5)) else { panic!("lost") };
    assert_eq!(firsts(&page), [6, 7], "two are kept here");
    assert!(matches!(resume(&broker, "tiny", at(4)), Resumed::NotRecovered));
    let room = open(&broker, "tiny");
    let again = say_once(&broker, &room, ("ann", "k"), 10).unwrap();
    assert_eq!(again, Published { position: at(3), is_duplicate: true });
    assert_eq!(say(&broker, &room, FRAME, 10), 8);
    assert_eq!(broker.budget.sizes(), (2 * FRAME, 1));
}
