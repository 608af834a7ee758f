//! The server without sockets and without threads, except the one that writes `history.dir`. It has the real node, its
//! shards and their fan-out tasks, which run one slice at a time, a clock that the story moves, and clients whose
//! sockets take everything or nothing.
//!
//! Only this module calls the library.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use throng::config::{Config, Duplicate, QueuePolicy};
use throng::names::{SessionId, UserId};
use throng::testing::clock::Clock;
use throng::testing::endpoint::{Chat, ChatRequest, Endpoint, Message, Peer, V1Request, position};
use throng::testing::endpoint::{Renewed, TokenRenewal};
use throng::testing::metrics::Metrics;
use throng::testing::node::{ClaimRequest, Node};
use throng::testing::protocol::Dialect;
use throng::testing::protocol::close::EndReason;
use throng::testing::protocol::command::{Parser, Resume};
use throng::testing::protocol::event::CommandError;
use throng::testing::rate_limit::Allowance;
use throng::testing::shard::batch::BatchLimits;
use throng::testing::shard::bounds::{Bounds, Overload};
use throng::testing::shard::sink::{ByteStream, Sink};
use throng::testing::shard::{Registration, Shard, ShardSettings, fanout};

use crate::frame::{CLOSE, Received, TEXT};

/// No token is demanded, and none is good.
struct NoTokens;

impl TokenRenewal for NoTokens {
    fn renew(&self, _: &str, _: &UserId) -> Result<Renewed, CommandError> {
        Err(CommandError::InvalidToken("none is good"))
    }
}

/// Longest wait for the disk.
const PATIENCE: Duration = Duration::from_secs(20);
/// Shards of the node.
pub(crate) const SHARDS: usize = 2;
/// Messages that a room keeps.
pub(crate) const KEPT: u64 = 16;
/// Messages that a client's queue holds.
const QUEUE: usize = 12;
/// Messages of one batch.
const BATCH: usize = 4;
/// Turns of a fan-out task after which it has delivered everything: each turn delivers a batch of every room to all of
/// its few members, and no story has more messages.
const TURNS: usize = 1024 / BATCH;

/// A socket that takes all bytes, or none when it is stuck.
#[derive(Default)]
struct Wire {
    taken: RefCell<Vec<u8>>,
    is_stuck: Cell<bool>,
}

impl ByteStream for Wire {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_stuck.get() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.taken.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }
}

/// A thing that a client receives.
#[derive(Debug)]
pub(crate) enum Heard {
    Event(String),
    Close(u16),
}

/// A connection of a client.
pub(crate) struct Client {
    // Dropped first, because the room must be left before the slot is given up.
    endpoint: Endpoint,
    registration: Registration,
    wire: Rc<Wire>,
    allowance: Allowance,
}

/// The dialect of a new connection, and the position it resumes from.
#[derive(Debug)]
pub(crate) enum EntryDialect<'a> {
    Plain,
    V1(Option<&'a (String, u64)>),
}

impl Client {
    /// True when the server would read the client's next command.
    pub(crate) fn is_listened_to(&self) -> bool {
        !self.is_ending() && !self.registration.owes_much() && !self.endpoint.is_pending()
    }

    /// True when the server has begun to end the connection.
    pub(crate) fn is_ending(&self) -> bool {
        self.registration.is_ending()
    }

    /// True when the client does not have all of its missed messages yet.
    pub(crate) fn is_pending(&self) -> bool {
        self.endpoint.is_pending()
    }

    /// Returns everything that was received since the last call.
    pub(crate) fn hear(&self) -> Vec<Heard> {
        let mut taken = self.wire.taken.borrow_mut();
        let mut heard = Vec::new();
        while let Some(frame) = Received::take(&mut taken) {
            match frame.opcode {
                TEXT => heard.push(Heard::Event(String::from_utf8_lossy(&frame.payload).into_owned())),
                CLOSE => heard.push(Heard::Close(frame.closing().0)),
                _ => {}
            }
        }
        heard
    }
}

struct Worker {
    shard: Rc<Shard>,
    fanout: Pin<Box<dyn Future<Output = ()>>>,
}

/// The simulated server; see the module's documentation.
pub(crate) struct System {
    node: Arc<Node>,
    workers: Vec<Worker>,
    parser: Parser,
    turns: usize,
}

impl System {
    /// Starts a node without clients, with the rooms in `dir`. `policy` is applied to clients that do not read.
    pub(crate) fn start(policy: QueuePolicy, dir: Option<&Path>, clock: Clock) -> Self {
        let mut config = Config { workers: SHARDS, ..Config::default() };
        config.chat.duplicate = Duplicate::Allow;
        config.history.messages = KEPT as usize;
        config.history.bytes = 1 << 20;
        config.chat.max_message_chars = 30_000;
        config.rate_limit.enabled = false;
        config.queue.policy = policy;
        config.history.dir = dir.map(Path::to_owned);
        let node = Node::open(config, Metrics::new(SHARDS, &[]), clock).expect("nobody else has the folder");
        let settings = ShardSettings {
            bounds: Bounds { messages: QUEUE, bytes: 1 << 20, age_ms: 10_000 },
            overload: Overload::Disconnect,
            queue_budget: u64::MAX,
            batch: BatchLimits { bytes: 1 << 16, frames: BATCH },
            compress_from: 256,
            linger: Duration::ZERO,
        };
        let worker = |index| {
            let (inbox, metrics) =
                (Arc::clone(node.registry.inbox(index)), Arc::clone(node.metrics.shard(index)));
            let shard = Shard::new(index, inbox, metrics, settings, node.clock.clone());
            let fanout = Box::pin(fanout::run(Rc::clone(&shard)));
            Worker { shard, fanout }
        };
        let workers = (0..SHARDS).map(worker).collect();
        Self { workers, node, parser: Parser::default(), turns: 0 }
    }

    /// Waits until published messages are on disk, where acks wait for that, and are answered.
    pub(crate) fn write(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.node.gauges().history_waiting > 0 {
            assert!(self.node.can_publish() && Instant::now() < deadline, "the disk does not answer");
            thread::yield_now();
        }
    }

    /// Ends the server in good order, after its clients are gone.
    pub(crate) fn stop(&self) {
        self.node.close().expect("the log can be closed");
    }

    pub(crate) fn clock(&self) -> Clock {
        self.node.clock.clone()
    }

    /// Connects `user` to `room` on a shard, with a socket that takes nothing when it `is_stuck`.
    pub(crate) fn connect(
        &mut self,
        shard: usize,
        user: &str,
        room: &str,
        dress: &EntryDialect<'_>,
        is_stuck: bool,
    ) -> Client {
        let wire = Rc::new(Wire { is_stuck: Cell::new(is_stuck), ..Wire::default() });
        let registration = self.workers[shard].shard.register();
        let (user, room) = (user.parse().expect("a user id"), room.parse().expect("a room"));
        let session = SessionId::random().expect("the machine has random numbers");
        let v1 = match dress {
            EntryDialect::Plain => None,
            EntryDialect::V1(resume) => {
                registration.speak(Dialect::V1);
                let resume = resume.map(|(epoch, offset)| position(Resume { epoch, offset: *offset }));
                Some(V1Request { session, resume, until_unix_ms: None })
            }
        };
        let claim = {
            let claiming = pin!(self.node.claim(&user, registration.id(), ClaimRequest::default()));
            match claiming.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(claim) => claim.expect("several connections of one user are allowed"),
                Poll::Pending => unreachable!("there is nobody to wait for"),
            }
        };
        let entry = ChatRequest { room, name: None, address: 0, allowed: None, v1 };
        let chat = Chat::enter(&self.node, &registration, claim, entry).expect("there are few rooms");
        registration.attach(Sink::Stream(wire.clone()));
        registration.open();
        let endpoint = Endpoint::Chat(Box::new(chat));
        let mut client = Client { endpoint, registration, wire, allowance: Allowance::default() };
        self.replay(&mut client);
        client
    }

    /// Calls the client's endpoint as the connection's task does, and writes its answers.
    fn call(
        &mut self,
        client: &mut Client,
        f: impl FnOnce(&mut Endpoint, &mut Peer<'_>) -> Result<(), EndReason>,
    ) {
        let mut peer = Peer {
            registration: &client.registration,
            node: &self.node,
            parser: &mut self.parser,
            allowance: &mut client.allowance,
            now_ms: client.registration.shard().tick(),
            tokens: &NoTokens,
            until_unix_ms: None,
        };
        if let Err(reason) = f(&mut client.endpoint, &mut peer) {
            client.registration.end(reason);
        }
        client.registration.flush();
    }

    /// Sends missed messages as far as the client takes them.
    fn replay(&mut self, client: &mut Client) {
        while client.endpoint.is_pending() && !client.is_ending() && !client.registration.owes_much() {
            if client.endpoint.is_waiting() {
                // The client leaves a room only when its messages there are written.
                self.write();
            }
            self.call(client, Endpoint::go_on);
        }
    }

    /// Passes the client's message to its endpoint.
    pub(crate) fn message(&mut self, client: &mut Client, text: &str) {
        let mut bytes = text.as_bytes().to_vec();
        self.call(client, |endpoint, peer| endpoint.message(Message::Text(&mut bytes), peer));
        self.replay(client);
    }

    /// Makes the client's socket take nothing from now on, or everything again, at first the waiting bytes.
    pub(crate) fn stall(&mut self, client: &mut Client, is_stuck: bool) {
        client.wire.is_stuck.set(is_stuck);
        if !is_stuck {
            client.registration.flush();
            self.replay(client);
        }
    }

    /// Runs one turn of a shard's fan-out task: it takes its inbox and writes a slice.
    pub(crate) fn turn(&mut self, shard: usize) {
        let polled = self.workers[shard].fanout.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "the fan-out never ends");
    }

    /// Runs fan-out tasks until everything that is under way has arrived.
    pub(crate) fn settle(&mut self) {
        for _ in 0..TURNS {
            (0..SHARDS).for_each(|shard| self.turn(shard));
        }
    }

    /// Moves the clock, runs the housekeeping, and wakes tasks that wait for a time.
    pub(crate) fn advance(&mut self, by: Duration) {
        self.node.clock.advance(by);
        self.turns += 1;
        self.node.keep_house(self.turns);
        self.workers.iter().for_each(|worker| worker.shard.wake_due());
    }

    /// Asserts that no client, user or queued byte is left.
    pub(crate) fn assert_empty(&self) {
        for Worker { shard, .. } in &self.workers {
            assert!(
                shard.is_empty() && shard.room_count() == 0,
                "a client is left on shard {}",
                shard.index()
            );
            assert_eq!(shard.metrics().queue_bytes.get(), 0, "bytes are queued for nobody");
        }
        assert!(self.node.registry.directory.is_empty(), "a user is left in the directory");
    }
}
