//! Clients that come and go: on a shard and through the node, one by one and all at once.

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion};

use throng::names::{ConnectionId, RoomName, UserId};
use throng::testing::clock::Clock;
use throng::testing::metrics::Metrics;
use throng::testing::node::{Membership, Node};
use throng::testing::registry::Registry;
use throng::testing::registry::directory::Directory;
use throng::testing::shard::bounds::Overload;
use throng::testing::shard::sink::Sink;
use throng::testing::shard::{Registration, Shard};

use crate::support::clock::{self, CpuTime};
use crate::support::crowd::{Crowd, Hall, Layout};
use crate::support::{Null, config, name, per_part, settings};

const MEMBERS: usize = 10_000;
const ROOMS: usize = 1_000;

pub(crate) fn all(criterion: &mut Criterion<CpuTime>) {
    on_a_shard(criterion);
    all_at_once(criterion);
    through_the_node(criterion);
    directory(criterion);
}

fn on_a_shard(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("churn on a shard");
    let mut rng = fastrand::Rng::with_seed(7);
    let mut hall = None;
    let room: RoomName = name("hall");
    let null = Rc::new(Null);
    group.bench_function("one of 10,000 goes, another comes", |bencher| {
        let Hall { topic, crowd, .. } = hall.get_or_insert_with(|| Hall::new(MEMBERS, Layout::Swept));
        bencher.iter(|| {
            drop(crowd.members.swap_remove(rng.usize(..crowd.members.len())));
            let member = crowd.shard.register();
            member.attach(Sink::Stream(null.clone()));
            member.open();
            member.subscribe(topic.id(), 0, &room, Overload::Disconnect);
            crowd.members.push(member);
        });
    });
    let mut clients = None;
    group.bench_function("one of 10,000 moves from room to room of 1,000", |bencher| {
        let (crowd, rooms) = clients.get_or_insert_with(clients_in_rooms);
        bencher.iter(|| {
            let member = rng.usize(..MEMBERS);
            let next = rng.u64(1..=ROOMS as u64);
            crowd.members[member].unsubscribe(std::mem::replace(&mut rooms[member], next), 0);
            crowd.members[member].subscribe(next, 0, &room, Overload::Disconnect);
        });
    });
    group.finish();
}

/// Returns clients in random rooms, and the room of each client.
fn clients_in_rooms() -> (Crowd, Vec<u64>) {
    let registry = Registry::new(1, usize::MAX);
    let mut crowd = Crowd::new(&registry, 0, &Arc::default());
    crowd.add(MEMBERS, Layout::Swept);
    let mut rng = fastrand::Rng::with_seed(8);
    let rooms: Vec<u64> = (0..MEMBERS).map(|_| rng.u64(1..=ROOMS as u64)).collect();
    let hall = name("hall");
    for (member, room) in crowd.members.iter().zip(&rooms) {
        member.subscribe(*room, 0, &hall, Overload::Disconnect);
    }
    (crowd, rooms)
}

/// Measures what a restart of a proxy causes: all members of a room leave and come back at once. Free slots are handed
/// out last in, first out, so that the order of leaving decides the order of slots afterwards.
fn all_at_once(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("churn, everybody goes and comes, of one member");
    let room: RoomName = name("hall");
    for (members, reversed) in [(1_000, false), (10_000, false), (10_000, true)] {
        let mut hall = None;
        let order = if reversed { "the last comer leaves first" } else { "the first comer leaves first" };
        per_part(&mut group, &format!("{members}, {order}"), members, |times| {
            let Hall { topic, crowd, .. } = hall.get_or_insert_with(|| Hall::new(members, Layout::Swept));
            let began = clock::cpu_time();
            for _ in 0..times {
                let leaving = std::mem::take(&mut crowd.members);
                if reversed {
                    leaving.into_iter().rev().for_each(drop);
                } else {
                    drop(leaving);
                }
                crowd.members.extend((0..members).map(|_| {
                    let member = crowd.shard.register();
                    member.subscribe(topic.id(), 0, &room, Overload::Disconnect);
                    member
                }));
            }
            let took = clock::cpu_time() - began;
            // Restores the order of the first iteration.
            crowd.members.sort_unstable_by_key(|member| member.id().slot());
            took
        });
    }
    group.finish();
}

/// A node with one room, and the members of the room.
struct NodeWithRoom {
    node: Arc<Node>,
    shard: Rc<Shard>,
    inside: Vec<(Membership, Registration)>,
}

fn node_with_room(members: usize) -> NodeWithRoom {
    // As in large rooms, one merged notice is sent later instead of one for each member who joins.
    let node = Node::new(config(&["presence.notice_limit=1"]), Metrics::new(1, &[]), Clock::system());
    let inbox = Arc::clone(node.registry.inbox(0));
    let shard = Shard::new(0, inbox, Arc::default(), settings(), Clock::system());
    let room: RoomName = name("hall");
    let inside = (0..members).map(|number| {
        let registration = shard.register();
        let user: UserId = name(&format!("user-{number}"));
        (node.enter(&registration, &room, (&user).into(), None).expect("a room").membership, registration)
    });
    NodeWithRoom { inside: inside.collect(), node: Arc::clone(&node), shard: Rc::clone(&shard) }
}

fn through_the_node(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("churn through the node");
    let user: UserId = name("newcomer");
    for (what, members) in [("enter and leave a room of 10,000", MEMBERS), ("open and close a room", 0)] {
        let mut hall = None;
        group.bench_function(what, |bencher| {
            let NodeWithRoom { node, shard, .. } = hall.get_or_insert_with(|| node_with_room(members));
            let registration = shard.register();
            let room: RoomName = name("hall");
            bencher.iter(|| {
                drop(black_box(
                    node.enter(&registration, &room, (&user).into(), None).expect("a room").membership,
                ))
            });
        });
        drop(hall.map(|hall| hall.inside));
    }
    group.finish();
}

fn directory(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("directory");
    let directory = Directory::default();
    let users: Vec<UserId> = (0..MEMBERS).map(|number| name(&format!("user-{number}"))).collect();
    let id = |number: usize| ConnectionId::new(0, number, 1);
    for (number, user) in users.iter().enumerate() {
        assert!(directory.claim(user, id(number), None).is_ok());
    }
    group.bench_function(BenchmarkId::new("give up and claim, users", MEMBERS), |bencher| {
        let mut turn = 0;
        bencher.iter(|| {
            turn = (turn + 1) % MEMBERS;
            directory.remove(&users[turn], id(turn));
            black_box(directory.claim(&users[turn], id(turn), None)).expect("nobody else");
        });
    });
    group.finish();
}
