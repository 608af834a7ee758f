//! Measures the engine of several nodes with a `redis-server` of its own: two nodes in this process exchange messages
//! of 150 characters. They have no connections: their members only count.
//!
//! The figures are the CPU time of the engine's thread, of the node that publishes or of the other, and that of the
//! server: on a machine with few cores, the rates say how these threads and the bench share it. Each figure is the best
//! of several rounds, because other load on the machine makes every round worse.

mod members;
mod node;
mod server;

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use throng::testing::broker::room::SharedRoom;

use self::members::Members;
use self::node::Node;
use self::server::Server;
use crate::support::{is_asked_for, is_check};

/// Rooms of most measurements.
const ROOMS: usize = 1_000;
/// Rooms that are followed when connections break.
const MANY_ROOMS: usize = 50_000;
/// Messages under way in as many rooms: at most one in each on average, and at most sixteen.
const WINDOWS: [usize; 2] = [1_000, 16_000];
/// Messages under way in the one hot room, and while connections break.
const WINDOW: usize = 2_000;
/// Messages a second in the measurement of acks.
const RATE: u32 = 10_000;
/// How long each round lasts, and how many rounds there are.
const ROUND: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;

/// How much is measured.
#[derive(Clone, Copy)]
struct Extent {
    rooms: usize,
    many_rooms: usize,
    round: Duration,
    rounds: usize,
}

/// The cost of a round, for each message unless a field says otherwise.
struct Cost {
    per_second: f64,
    batch: f64,
    publisher: Duration,
    receiver: Duration,
    receiver_push: Duration,
    server: Duration,
}

pub(crate) fn all() {
    if !is_asked_for("cluster") {
        return;
    }
    let extent = if is_check() {
        Extent { rooms: 10, many_rooms: 50, round: Duration::from_millis(50), rounds: 1 }
    } else {
        Extent { rooms: ROOMS, many_rooms: MANY_ROOMS, round: ROUND, rounds: ROUNDS }
    };
    let Extent { rounds, round, .. } = extent;
    println!(
        "cluster: messages of 150 characters, best of {rounds} rounds of {round:.1?}; load of the machine {}",
        load()
    );
    let mut server = Server::start();
    let publisher = Node::start("bench-1", server.address());
    let rooms = publisher.open(extent.rooms);
    for window in WINDOWS {
        let cost = best(extent, || saturate(&mut server, &publisher, None, &rooms, window, extent.round));
        print_cost(&format!("{} rooms, {window} messages under way, one node", rooms.len()), &cost);
    }
    let receiver = Node::start("bench-2", server.address());
    receiver.open(extent.rooms);
    for window in WINDOWS {
        let both = Some(&receiver);
        let cost = best(extent, || saturate(&mut server, &publisher, both, &rooms, window, extent.round));
        print_cost(
            &format!("{} rooms, {window} messages under way, another node receives", rooms.len()),
            &cost,
        );
        let Cost { receiver, receiver_push, .. } = cost;
        println!("    the other engine: {receiver_push:.2?} per push, {receiver:.2?} per message");
    }
    let hot = &rooms[..1];
    let cost = best(extent, || saturate(&mut server, &publisher, Some(&receiver), hot, WINDOW, extent.round));
    print_cost(&format!("one room, {WINDOW} messages under way, another node receives"), &cost);
    let rounds = (0..extent.rounds).map(|_| pace(&publisher, &rooms, extent.round));
    let [p50, p99, cpu] = rounds.min().unwrap_or_default();
    println!(
        "  {RATE} messages a second: ack p50 {p50:.2?}, p99 {p99:.2?}; {cpu:.2?} of the engine per message"
    );
    drop(rooms);
    let rooms = publisher.open(extent.many_rooms);
    receiver.open(extent.many_rooms);
    for _ in 0..extent.rounds {
        let (followed, arrived) = break_links(&mut server, &publisher, &receiver, &rooms);
        println!(
            "  the links of a node with {} rooms break: followed again after {followed:.2?}, a message in each has \
             arrived after {arrived:.2?}",
            rooms.len()
        );
    }
    println!("  load of the machine at the end {}\n", load());
}

/// Returns the round that took the publishing engine the least CPU time.
fn best(extent: Extent, mut round: impl FnMut() -> Cost) -> Cost {
    let rounds = (0..extent.rounds).map(|_| round());
    rounds.min_by_key(|cost| cost.publisher).expect("there is a round")
}

fn print_cost(name: &str, cost: &Cost) {
    let Cost { per_second, batch, publisher, server, .. } = cost;
    println!("  {name}: {per_second:.0} messages/s, {batch:.1} in a batch");
    println!("    per message: {publisher:.2?} of the publishing engine, {server:.2?} of the server");
}

/// Publishes into the rooms in turn, with at most `window` messages under way.
fn saturate(
    server: &mut Server,
    publisher: &Node,
    receiver: Option<&Node>,
    rooms: &[SharedRoom<Members>],
    window: usize,
    round: Duration,
) -> Cost {
    let received_before = receiver.map_or(0, Node::delivered);
    let receiver_cpu = |node: Option<&Node>| node.map_or(Duration::ZERO, Node::cpu);
    let before = (publisher.cpu(), receiver_cpu(receiver), server.cpu(), server.publications());
    let began = Instant::now();
    let mut messages: u64 = 0;
    let mut next = rooms.iter().cycle();
    while began.elapsed() < round {
        publisher.wait_for_answers(window - window / 8);
        for room in next.by_ref().take(window / 8) {
            publisher.publish(room);
            messages += 1;
        }
    }
    publisher.wait_for_answers(0);
    let took = began.elapsed();
    if let Some(receiver) = receiver {
        receiver.wait_for_deliveries(received_before + messages);
    }
    let pushes = server.publications() - before.3;
    let of = |cpu: Duration, parts: u64| cpu.div_f64(parts.max(1) as f64);
    let received = receiver_cpu(receiver) - before.1;
    Cost {
        per_second: messages as f64 / took.as_secs_f64(),
        batch: messages as f64 / pushes.max(1) as f64,
        publisher: of(publisher.cpu() - before.0, messages),
        receiver: of(received, messages),
        receiver_push: of(received, pushes),
        server: of(server.cpu() - before.2, messages),
    }
}

/// Publishes at a steady rate, and returns the median and the 99th percentile of the times until an ack, and the CPU
/// time of the engine per message. No message waits for the ack of another, so that an engine that stalls cannot hide
/// it.
fn pace(publisher: &Node, rooms: &[SharedRoom<Members>], round: Duration) -> [Duration; 3] {
    let before = publisher.cpu();
    *publisher.members().acks.lock() = Some(Vec::new());
    let began = Instant::now();
    let mut next = rooms.iter().cycle();
    let mut messages = 0;
    while began.elapsed() < round {
        let due = (began.elapsed().as_secs_f64() * f64::from(RATE)) as usize;
        next.by_ref().take(due - messages).for_each(|room| publisher.publish(room));
        messages = due;
        sleep(Duration::from_secs(1) / RATE);
    }
    publisher.wait_for_answers(0);
    let mut acks = publisher.members().acks.lock().take().unwrap_or_default();
    assert_eq!(acks.len(), messages, "every message is acknowledged");
    acks.sort_unstable();
    let [p50, p99] = [50, 99].map(|percent| acks[acks.len() * percent / 100]);
    [p50, p99, (publisher.cpu() - before).div_f64(messages as f64)]
}

/// Ends the connections of a node, and publishes a message into each of its rooms on the other at once. Returns the
/// time until the rooms are followed again, and until all messages have arrived.
fn break_links(
    server: &mut Server,
    publisher: &Node,
    receiver: &Node,
    rooms: &[SharedRoom<Members>],
) -> (Duration, Duration) {
    let received_before = receiver.delivered();
    let before = server.connections(&receiver.client_name());
    let began = Instant::now();
    for (id, _) in &before {
        server.ask(&format!("CLIENT KILL ID {id}"));
    }
    std::thread::scope(|scope| {
        let arrival = scope.spawn(|| {
            for some in rooms.chunks(WINDOW / 2) {
                publisher.wait_for_answers(WINDOW / 2);
                some.iter().for_each(|room| publisher.publish(room));
            }
            receiver.wait_for_deliveries(received_before + rooms.len() as u64);
            began.elapsed()
        });
        let is_followed = |(id, channels): &(String, usize)| {
            *channels > rooms.len() && before.iter().all(|(old, _)| old != id)
        };
        while !server.connections(&receiver.client_name()).iter().any(is_followed) {
            assert!(
                !arrival.is_finished() || began.elapsed().as_secs() < 60,
                "the rooms are not followed again"
            );
            sleep(Duration::from_millis(20));
        }
        (began.elapsed(), arrival.join().expect("all messages arrive"))
    })
}

/// Returns the load average of the last minute.
fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}
