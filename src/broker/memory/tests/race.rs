//! Many threads publish, enter, resume, leave, evict and expire at once. A checker reads what each member saw.
//!
//! It checks that an offset is assigned to one message (G1); that the next offset follows a client's position, or a gap
//! says which are missing (G2); that a recovered client gets exactly the missed messages and then the live ones (G3);
//! that one message is appended under one key (G4); that a log hears of each room's lives one after the other; and that
//! in the end nothing is left, there neither.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;

use parking_lot::Mutex;

use crate::broker::memory::{Memory, MemoryLimits};
use crate::broker::quota::KeyBound;
use crate::broker::resume::{Gap, NextPage, Page, Replay, Resumed};
use crate::broker::room::SharedRoom;
use crate::broker::trim::Trim;
use crate::broker::{BrokerError, Draft, Encoded, Local, Position, Publication, Published};
use crate::chat::keys::KEPT_MS;
use crate::chat::presence;
use crate::chat::rooms::RoomRules;
use crate::config::Config;
use crate::names::{Epoch, Offset, RoomName, UserId};
use crate::protocol::event::Content;
use crate::protocol::frame::Frame;

const THREADS: usize = 4;
const VISITS: usize = 400;
/// Long enough that a few make a page.
const FRAME_BYTES: usize = 20_000;
const TTL_MS: u64 = 600;

const PRESENCE: presence::PresenceRules =
    presence::PresenceRules { is_announced: true, notice_limit: 1, count_only_above: 10, interval_ms: 1 };

/// The frames that one member has got; pushed to under the room's lock.
type Inbox = Arc<Mutex<Vec<Frame>>>;

/// Everything that was ever delivered: the frame at each position.
#[derive(Default)]
struct Members {
    appended: Mutex<HashMap<Position, Frame>>,
    next: AtomicUsize,
}

impl Members {
    /// Returns a number that is never used twice.
    fn number(&self) -> usize {
        self.next.fetch_add(1, Relaxed)
    }
}

impl Local for Members {
    type Topic = HashMap<usize, Inbox>;
    type SenderCopy = Position;
    type Message = ();

    fn topic(&self) -> Self::Topic {
        HashMap::new()
    }
    fn has_space(&self, _: &Self::Topic, _: usize) -> bool {
        fastrand::u8(..) > 5
    }
    fn deliver(&self, topic: &mut Self::Topic, publication: Publication<'_, Position>) {
        let position = publication.sender_copy.expect("made with the frame");
        assert_eq!(position.offset, publication.offset);
        let before = self.appended.lock().insert(position, publication.frame.clone());
        assert!(before.is_none(), "an offset is assigned once: {position:?}");
        for inbox in topic.values() {
            inbox.lock().push(publication.frame.clone());
        }
    }
    fn is_occupied(&self, topic: &Self::Topic) -> bool {
        !topic.is_empty()
    }
    fn members(&self, members: &Self::Topic) -> usize {
        members.len()
    }
    fn show_typing(&self, _: &Self::Topic, _: &RoomName, _: &UserId) {}
    fn content<'m>(&self, _: &'m ()) -> Content<'m> {
        unreachable!("no engine asks for the contents")
    }
    fn sender_copy(&self, _: &(), _: &RoomName, _: Position) -> Option<Position> {
        unreachable!("no engine delivers")
    }
    fn missed(&self, _: &mut Self::Topic, _: &RoomName, _: Offset, _: Offset) {}
    fn renamed(&self, _: &mut Self::Topic, _: &RoomName, _: Position) {}
    fn lost(&self, _: &mut Self::Topic) {}
    fn encode(&self, (): &(), _: &RoomName, _: Position) -> Encoded<Position> {
        unreachable!("memory publishes in one step")
    }
    fn answer(&self, (): (), _: &RoomName, _: Result<Published, BrokerError>) {
        unreachable!("memory publishes in one step")
    }
}

/// A client in one room: its position, and whether the next frame may follow that.
struct Client {
    stands: Position,
    recovered: usize,
    gaps: usize,
}

impl Client {
    fn take(&mut self, broker: &Memory<Members>, frame: &Frame) {
        let next = Position { offset: self.stands.offset.next(), ..self.stands };
        let appended = broker.local().appended.lock().get(&next).cloned();
        assert_eq!(appended.as_ref().map(identity), Some(identity(frame)), "at {next:?}");
        self.stands = next;
    }

    fn skip(&mut self, gap: Gap) {
        assert_eq!(gap.from, self.stands.offset.next(), "a gap begins where the client stands");
        assert!(gap.to >= gap.from);
        self.stands.offset = gap.to;
        self.gaps += 1;
    }

    fn read(&mut self, broker: &Memory<Members>, page: &Page) {
        page.gap.into_iter().for_each(|gap| self.skip(gap));
        page.frames.iter().for_each(|frame| self.take(broker, frame));
    }
}

/// Returns the beginning of a frame, which is the publisher's thread and its count.
fn identity(frame: &Frame) -> [u8; 16] {
    frame[..16].try_into().expect("long enough")
}

fn encoded(thread: usize, count: usize) -> Frame {
    let mut bytes = vec![0; FRAME_BYTES];
    bytes[..8].copy_from_slice(&thread.to_le_bytes());
    bytes[8..16].copy_from_slice(&count.to_le_bytes());
    Frame::from(bytes)
}

/// Checks the trims of each room: a life begins where none is, and only the current life is trimmed or ends.
#[derive(Default)]
struct TrimChecker(Mutex<HashMap<RoomName, Epoch>>);

impl TrimChecker {
    fn hear(&self, room: &RoomName, epoch: Epoch, waste: Trim) {
        let mut lives = self.0.lock();
        let before = match waste {
            Trim::Begins => lives.insert(room.clone(), epoch),
            Trim::Before(_) => lives.get(room).copied(),
            Trim::All => lives.remove(room),
        };
        assert_eq!(before, (waste != Trim::Begins).then_some(epoch), "{room} {waste:?}");
    }
}

struct World {
    broker: Memory<Members>,
    told: Arc<TrimChecker>,
    clock_ms: AtomicU64,
    duplicates: AtomicUsize,
    published: AtomicUsize,
}

impl World {
    fn new() -> Self {
        let mut config = Config::default();
        config.history.messages = 16;
        config.history.bytes = 16 * FRAME_BYTES;
        config.history.ttl = std::time::Duration::from_millis(TTL_MS);
        let limits = MemoryLimits {
            rooms: RoomRules::new(&config),
            history_total_bytes: 40 * FRAME_BYTES,
            max_rooms: 5,
            max_positions: 2,
            position_ttl_ms: 86_400_000,
            default_room: config.chat.default_room.clone(),
            max_keys_per_user: 800,
            max_keys_of_api: 10,
            max_keys_bytes: 1 << 20,
        };
        let (broker, told) = (Memory::new(Members::default(), limits), Arc::<TrimChecker>::default());
        let log = Arc::clone(&told);
        broker.budget.attach_log(Box::new(move |room, epoch, waste| log.hear(room, epoch, waste)));
        Self {
            broker,
            told,
            clock_ms: AtomicU64::new(0),
            duplicates: AtomicUsize::new(0),
            published: AtomicUsize::new(0),
        }
    }

    /// Publishes, sometimes twice under one key.
    fn publish(&self, room: &SharedRoom<Members>, user: &UserId, thread: usize, count: usize) {
        let key = (fastrand::u8(..) < 128).then(|| format!("{thread}-{count}").parse().expect("a key"));
        let times = if key.is_some() { 2 } else { 1 };
        let mut first = None;
        for _ in 0..times {
            let draft = Draft { user, key: key.clone(), key_bound: KeyBound::User, max_len: FRAME_BYTES };
            let now_ms = self.clock_ms.fetch_add(1, Relaxed);
            let published = self.broker.publish(room, draft, now_ms, |position| Encoded {
                frame: encoded(thread, count),
                sender_copy: Some(position),
            });
            match published {
                Ok(published) => {
                    // Five minutes are long: no key is forgotten between two attempts of this test.
                    assert_eq!(published.is_duplicate, first.is_some());
                    assert_eq!(*first.get_or_insert(published.position), published.position);
                    self.duplicates.fetch_add(usize::from(published.is_duplicate), Relaxed);
                }
                Err(BrokerError::Full) => {}
                Err(error) => panic!("a member cannot publish: {error}"),
            }
        }
        self.published.fetch_add(usize::from(first.is_some()), Relaxed);
    }

    /// Reads the missed messages while more are published. Returns false when the room was too fast.
    fn replay(
        &self,
        client: &mut Client,
        room: &SharedRoom<Members>,
        rest: Replay,
        publish: impl Fn(),
        join: impl Fn(&mut HashMap<usize, Inbox>),
    ) -> bool {
        let mut rest = Some(rest);
        while let Some(replay) = rest.take() {
            assert_eq!(replay.after(), client.stands.offset);
            (0..fastrand::usize(..8)).for_each(|_| publish());
            match room.read_on(replay, |state| join(&mut state.topic)) {
                NextPage::More(page, replay) => {
                    client.read(&self.broker, &page);
                    rest = Some(replay);
                }
                NextPage::Last(page, ()) => client.read(&self.broker, &page),
                NextPage::Lost | NextPage::TooSlow => return false,
            }
        }
        true
    }

    /// Enters, reads the missed messages, publishes, reads what came meanwhile, and leaves. Returns the client with its
    /// position.
    fn visit(&self, name: &RoomName, before: Option<Client>, thread: usize) -> Option<Client> {
        let user: UserId = format!("user-{thread}").parse().expect("a name");
        let member = self.broker.local().number();
        let inbox = Inbox::default();
        let wish = before.as_ref().map(|client| client.stands);
        let entered = self.broker.enter(name, wish, |state, resumed| {
            state.presence.join(&user, 0, &PRESENCE);
            if resumed.is_complete() {
                state.topic.insert(member, Arc::clone(&inbox));
            }
            (state.position(), state.floor())
        });
        let (room, resumed, (position, floor)) = match entered {
            Ok(entered) => entered,
            Err(BrokerError::TooManyRooms) => return before,
            Err(error) => panic!("{error}"),
        };
        let mut is_live = true;
        let mut client = match (before, resumed) {
            (Some(mut client), Resumed::Recovered { page, rest, .. }) => {
                assert_eq!(page.gap, None, "recovered means from the first one on");
                client.recovered += 1;
                client.read(&self.broker, &page);
                if let Some(rest) = rest {
                    let publish = || self.publish(&room, &user, thread, self.broker.local().number());
                    is_live = self.replay(&mut client, &room, rest, publish, |topic| {
                        topic.insert(member, Arc::clone(&inbox));
                    });
                }
                client
            }
            (None, Resumed::Fresh) => Client { stands: position, recovered: 0, gaps: 0 },
            (Some(client), Resumed::NotRecovered) => {
                let is_possible = client.stands.epoch == position.epoch && client.stands.offset >= floor;
                assert!(!is_possible, "the messages that are there are recovered");
                Client { stands: position, ..client }
            }
            (_, resumed) => panic!("nobody asked for {resumed:?}"),
        };
        // Now and then so many that others have to read them in pages.
        let most = if fastrand::u8(..) < 64 { 12 } else { 4 };
        for _ in 0..fastrand::usize(..most) {
            self.publish(&room, &user, thread, self.broker.local().number());
        }
        let last = room.with(|state| {
            state.topic.remove(&member);
            state.presence.leave(&user, 0, &PRESENCE);
            state.position()
        });
        self.broker.close_if_empty(&room);
        inbox.lock().iter().for_each(|frame| client.take(&self.broker, frame));
        assert!(client.stands == last || !is_live, "nothing was lost up to the moment of leaving");
        Some(client)
    }
}

#[test]
fn concurrent_calls_lose_repeat_and_leave_nothing() {
    let world = World::new();
    let rooms: Vec<RoomName> = (0..6).map(|n| format!("room-{n}").parse().expect("a name")).collect();
    let (recovered, gaps) = thread::scope(|scope| {
        let visitors: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (world, rooms) = (&world, &rooms);
                scope.spawn(move || {
                    fastrand::seed(thread as u64);
                    // Several clients each, so that much is missed even where the threads take turns.
                    let mut clients: HashMap<(usize, usize), Client> = HashMap::new();
                    for _ in 0..VISITS {
                        let (user, room) = (fastrand::usize(..3), fastrand::usize(..rooms.len()));
                        let before = clients.remove(&(user, room));
                        let after = world.visit(&rooms[room], before, thread);
                        clients.extend(after.map(|client| ((user, room), client)));
                        // Every visitor does some of the housekeeping as well.
                        world.broker.expire(fastrand::usize(..), world.clock_ms.load(Relaxed));
                    }
                    clients.values().fold((0, 0), |(r, g), client| (r + client.recovered, g + client.gaps))
                })
            })
            .collect();
        let sums = visitors.into_iter().map(|visitor| visitor.join().expect("no visitor failed"));
        sums.fold((0, 0), |(r, g), (recovered, gaps)| (r + recovered, g + gaps))
    });

    let appended = world.broker.local().appended.lock().len();
    assert_eq!(appended, world.published.load(Relaxed), "appended what was acknowledged, and once");
    println!("{appended} appended, {recovered} recovered, {gaps} gaps in them");
    let duplicates = world.duplicates.load(Relaxed);
    assert!(recovered > VISITS / 2 && gaps > 0 && duplicates > VISITS, "it was all too easy");

    let end_ms = world.clock_ms.load(Relaxed) + KEPT_MS;
    (0..64).for_each(|turn| world.broker.expire(turn, end_ms));
    assert_eq!(world.broker.room_count(), 0);
    assert_eq!((world.broker.budget.sizes(), world.broker.quotas.sizes()), ((0, 0), (0, 0)));
    let (positions, keys) = world.broker.positions.sizes();
    assert!(positions <= 2 && keys == 0);
    assert_eq!(world.told.0.lock().len(), positions, "the log has no rooms that nobody knows");
}
