//! A shard with simulated clients: clients that read get every message in order, however many are published at once.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::BatchLimits;
use super::bounds::Bounds;
use super::sink::{ByteStream, Sink};
use super::*;
use crate::names::Offset;
use crate::protocol::Dialect;
use crate::protocol::close::Overflow;
use crate::registry::delivery::{LaneKind, Lanes, LossNote};
use crate::registry::inbox::Publication;
use crate::shard::fanout::slice;

mod acks;
mod deflated;
mod gaps;
mod hall;
mod laggards;
mod senders;
mod turns;
mod typing;

const TOPIC: u64 = 7;

/// A simulated socket, which takes every byte, a limited number, or none.
#[derive(Default)]
struct Wire {
    taken: RefCell<Vec<u8>>,
    /// Number of bytes taken by each write.
    writes: RefCell<Vec<usize>>,
    is_stuck: Cell<bool>,
    /// Number of bytes that the socket still takes; `None` for any number.
    space: Cell<Option<usize>>,
    /// Time for which a write keeps the thread busy, as a system call does.
    cost: Cell<Duration>,
}

impl ByteStream for Wire {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.space.get().map_or(bytes.len(), |space| space.min(bytes.len()));
        if self.is_stuck.get() || len == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let began = Instant::now();
        while began.elapsed() < self.cost.get() {}
        self.taken.borrow_mut().extend_from_slice(&bytes[..len]);
        self.writes.borrow_mut().push(len);
        self.space.set(self.space.get().map(|space| space - len));
        Ok(len)
    }
}

fn shard(overload: Overload) -> Rc<Shard> {
    let settings = ShardSettings {
        bounds: Bounds { messages: 1024, bytes: 1 << 20, age_ms: 10_000 },
        overload,
        queue_budget: u64::MAX,
        batch: BatchLimits { bytes: 64 * 1024, frames: 256 },
        compress_from: 256,
        linger: Duration::ZERO,
    };
    Shard::new(0, Arc::new(Inbox::new(1 << 30)), Arc::default(), settings, Clock::system())
}

fn join(shard: &Rc<Shard>) -> (Registration, Rc<Wire>) {
    let wire = Rc::<Wire>::default();
    let registration = shard.register();
    registration.attach(Sink::Stream(wire.clone()));
    registration.open();
    registration.subscribe(TOPIC, 0, &"lobby".parse().unwrap(), shard.overload());
    (registration, wire)
}

fn publish(shard: &Shard, seq: u64, text: &str) {
    let frame = frame::text(text);
    let (lanes, loss, at) = (Lanes::only(LaneKind::Plain), LossNote::NONE, Instant::now());
    shard.inbox.publish(Publication { topic: TOPIC, seq, lanes, loss, frame, sender: None, at });
}

/// Runs slices until no work is left, and calls `between` after each that leaves some.
fn run(shard: &Shard, mut between: impl FnMut()) {
    let mut items = Vec::new();
    loop {
        if shard.inbox.take(&mut items) {
            shard.accept(&mut items);
        }
        if !shard.slice() {
            return;
        }
        between();
    }
}

#[test]
fn a_backlog_of_messages_costs_no_fast_client_its_connection() {
    let shard = shard(Overload::Disconnect);
    let clients: Vec<_> = (0..200).map(|_| join(&shard)).collect();
    // Writes take so long that the time of a slice is over before each client has been written to.
    clients.iter().for_each(|(_, wire)| wire.cost.set(Duration::from_micros(20)));
    let text = "x".repeat(250);
    for seq in 1..=3000 {
        publish(&shard, seq, &text);
    }
    run(&shard, || {
        let held = shard.state.borrow().queue.finished.len();
        assert!(held <= slice::WRITES, "{held} finished batches are kept");
    });
    let expected = 3000 * frame::text(&text).len();
    for (registration, wire) in &clients {
        assert_eq!(registration.status().end, None);
        assert_eq!(wire.taken.borrow().len(), expected);
    }
    assert_eq!(
        (shard.egress.metrics.deliveries.get(), shard.egress.metrics.queue_bytes.get()),
        (200 * 3000, 0)
    );
    assert!(shard.inbox.has_space((1 << 30) - 1), "bytes of delivered frames still count");
}

#[test]
fn a_client_that_does_not_read_is_dropped_and_frees_its_queue_at_once() {
    let shard = shard(Overload::Disconnect);
    let (fast, wire) = join(&shard);
    let (slow, stuck) = join(&shard);
    stuck.is_stuck.set(true);
    for seq in 1..=1100 {
        publish(&shard, seq, "hello");
        run(&shard, || {});
    }
    assert_eq!(slow.status().end, Some(EndReason::SlowConsumer(Overflow::Messages)));
    assert_eq!(fast.status().end, None);
    assert_eq!(wire.taken.borrow().len(), 1100 * 7);
    assert_eq!(shard.egress.metrics.slow_consumers_dropped.get(), 1);
    assert_eq!(shard.egress.metrics.queue_bytes.get(), 0);
    stuck.is_stuck.set(false);
    slow.flush();
    assert_eq!(stuck.taken.borrow()[..2], [0x88, 41], "only the close frame is sent");
}

#[test]
fn the_policies_that_drop_messages_keep_the_client() {
    for (overload, first, last) in
        [(Overload::DropOldest, "0177", "1200"), (Overload::DropNewest, "0001", "1024")]
    {
        let shard = shard(overload);
        let (slow, stuck) = join(&shard);
        stuck.is_stuck.set(true);
        for seq in 1..=1200 {
            publish(&shard, seq, &format!("{seq:04}"));
            run(&shard, || {});
        }
        assert_eq!(slow.status().end, None);
        assert_eq!(shard.egress.metrics.messages_dropped.get(), 176, "{overload:?}");
        stuck.is_stuck.set(false);
        slow.flush();
        let taken = stuck.taken.borrow();
        assert_eq!(taken.len(), 1024 * 6);
        assert_eq!(
            (&taken[2..6], &taken[taken.len() - 4..]),
            (first.as_bytes(), last.as_bytes()),
            "{overload:?}"
        );
    }
}

#[test]
fn the_client_with_the_largest_queue_is_ended_when_the_budget_is_exceeded() {
    let mut settings = shard(Overload::Disconnect).egress.settings;
    settings.queue_budget = 20_000;
    let shard = Shard::new(0, Arc::new(Inbox::new(1 << 20)), Arc::default(), settings, Clock::system());
    let text = "x".repeat(1000);
    let clients: Vec<_> = (1..=3).map(|_| join(&shard)).collect();
    for (count, (registration, wire)) in (1..).zip(&clients) {
        wire.is_stuck.set(true);
        for _ in 0..count * 4 {
            registration.reply(&frame::text(&text));
        }
        registration.flush();
    }
    shard.wake_due();
    let ended: Vec<_> = clients.iter().map(|(registration, _)| registration.is_ending()).collect();
    assert_eq!(ended, [false, false, true], "4 KB and 8 KB of replies fit, 12 KB more do not");
}

/// Makes a client whose socket takes nothing for each number in `queued`, with that many replies of a kilobyte in its
/// queue.
fn stuck_clients(shard: &Rc<Shard>, queued: impl Iterator<Item = usize>) -> Vec<(Registration, Rc<Wire>)> {
    let text = frame::text(&"x".repeat(1100));
    let fill = |messages: usize| {
        let (registration, wire) = join(shard);
        wire.is_stuck.set(true);
        (0..messages).for_each(|_| registration.reply(&text));
        registration.flush();
        (registration, wire)
    };
    queued.map(fill).collect()
}

#[test]
fn the_search_for_the_longest_queue_does_not_depend_on_the_number_of_clients() {
    let looked = |clients: usize| {
        let mut settings = shard(Overload::Disconnect).egress.settings;
        settings.queue_budget = 50_000;
        let shard = Shard::new(0, Arc::new(Inbox::new(1 << 20)), Arc::default(), settings, Clock::system());
        let idle: Vec<_> = (0..clients).map(|_| join(&shard)).collect();
        let slow = stuck_clients(&shard, [10, 40, 20].into_iter());
        let other: Vec<_> = (0..clients).map(|_| join(&shard)).collect();
        shard.wake_due();
        let ended: Vec<_> = slow.iter().map(|(registration, _)| registration.is_ending()).collect();
        assert_eq!(ended, [false, true, false], "33 KB are left");
        drop((idle, other));
        shard.egress.backlogs().borrow().looked
    };
    let (few, many) = (looked(10), looked(5_000));
    assert!(few == many && many <= 3, "{few} of 23, {many} of 10,003");
}

#[test]
fn a_queue_that_has_become_short_is_not_evicted_and_stale_entries_go() {
    let mut settings = shard(Overload::Disconnect).egress.settings;
    settings.queue_budget = 30_000;
    let shard = Shard::new(0, Arc::new(Inbox::new(1 << 20)), Arc::default(), settings, Clock::system());
    let clients = stuck_clients(&shard, [20, 4, 6].into_iter());
    // The client with the longest queue reads most of it. Then another queue grows beyond the budget.
    clients[0].1.is_stuck.set(false);
    clients[0].1.space.set(Some(18 * 1100));
    clients[0].0.flush();
    (0..20).for_each(|_| clients[2].0.reply(&frame::text(&"x".repeat(1100))));
    shard.wake_due();
    let ended: Vec<_> = clients.iter().map(|(registration, _)| registration.is_ending()).collect();
    assert_eq!(ended, [false, false, true]);
    for _ in 0..2_000 {
        drop(stuck_clients(&shard, [2].into_iter()));
        shard.wake_due();
    }
    assert!(shard.egress.backlogs().borrow().entries() <= 1_100, "entries of clients that are gone are kept");
}

#[test]
fn many_short_queues_are_evicted_until_the_budget_is_kept() {
    let mut settings = shard(Overload::Disconnect).egress.settings;
    settings.queue_budget = 1_000;
    let shard = Shard::new(0, Arc::new(Inbox::new(1 << 20)), Arc::default(), settings, Clock::system());
    let clients: Vec<_> = (0..1_000).map(|_| join(&shard)).collect();
    for (registration, wire) in &clients {
        wire.is_stuck.set(true);
        registration.reply(&frame::text("four"));
        registration.flush();
    }
    (0..1_000).for_each(|_| shard.wake_due());
    let ended = clients.iter().filter(|(registration, _)| registration.is_ending()).count();
    assert!(shard.egress.metrics.queue_bytes.get() <= 1_000, "{ended} are ended");
}

/// Regression: 1. With an engine, a connection holds its user id before it is in its room. 2. A private message came in
/// between, and the client got it before its `welcome`.
#[test]
fn the_first_event_comes_before_private_messages_that_wait_already() {
    let hall = hall::Hall::new(Overload::Disconnect);
    let wire = Rc::<Wire>::default();
    let client = hall.shard.register();
    client.speak(Dialect::V1);
    hall.registry.send(client.id(), &frame::text("private"), None);
    hall.run();
    client.greet(&frame::text("welcome"));
    client.reply(&frame::text("missed"));
    client.attach(Sink::Stream(wire.clone()));
    client.open();
    assert_eq!(hall::seen(&wire), ["welcome", "private", "missed"]);
}

#[test]
fn an_empty_shard_holds_nothing() {
    let shard = shard(Overload::Disconnect);
    let clients: Vec<_> = (0..100).map(|_| join(&shard)).collect();
    let ids: Vec<ConnectionId> = clients.iter().map(|(registration, _)| registration.id()).collect();
    publish(&shard, 1, "left behind");
    shard.accept(&mut {
        let mut items = Vec::new();
        shard.inbox.take(&mut items);
        items
    });
    drop(clients);
    run(&shard, || {});
    assert!(shard.is_empty() && shard.room_count() == 0);
    assert!(shard.inbox.has_space((1 << 30) - 1), "bytes of frames without a recipient still count");
    for id in ids {
        // This has no effect: the connection of this id is gone.
        shard.end(id, EndReason::Restarting);
    }
    let (next, _) = join(&shard);
    assert_eq!(next.status().end, None);
}
