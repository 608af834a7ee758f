//! Many [clients](super::v1) in one thread. Each reads as long as it is not told to stall, and takes orders, of which
//! only so many are under way: the load follows what the machine can do. What a client does with an order is chosen at
//! random, from the seed of the order.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::json;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinHandle, spawn_local};

use super::PATIENCE;
use super::checker::{Checker, Counts, Report};
use super::link::Place;
use super::v1::{Cut, Judge, Resume, V1};

/// What the clients are like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct World {
    pub(crate) clients: usize,
    /// Connections of one user.
    pub(crate) per_user: usize,
    pub(crate) rooms: usize,
    /// Rooms of one client at once.
    pub(crate) rooms_each: usize,
    /// Orders under way at once.
    pub(crate) at_once: usize,
    /// Of 1,000 orders, so many are to cut the connection, to stop reading for a while, to join or leave a room, and
    /// to ask or tell somebody something; all others are to say something.
    pub(crate) cuts: u32,
    pub(crate) stalls: u32,
    pub(crate) moves: u32,
    pub(crate) asks: u32,
    /// Of 100 messages, so many have a key.
    pub(crate) keyed: u32,
    /// The server drops messages of those who do not read, instead of the connection.
    pub(crate) is_lossy: bool,
    /// The server's rooms outlive it, and keep everything.
    pub(crate) is_durable: bool,
}

/// What a client is to do.
enum What {
    /// Something, chosen by this seed.
    Anything(u64),
    /// Nothing: by then it has done what it was told before.
    Pause,
    /// Be connected, and wait for every answer.
    Settle,
}

struct Order {
    what: What,
    /// Given back when the order is carried out.
    _permit: OwnedSemaphorePermit,
}

/// The clients of a test. Lives in a `LocalSet`.
pub(crate) struct Swarm {
    world: World,
    place: Place,
    judge: Judge,
    orders: Vec<mpsc::Sender<Order>>,
    tasks: Vec<JoinHandle<()>>,
    permits: Arc<Semaphore>,
    random: Rng,
}

impl Swarm {
    /// The clients of `world`, each connected to a room, its number modulo the rooms.
    pub(crate) async fn gather(address: SocketAddr, world: World, seed: u64) -> Self {
        let checker = Checker::new(world.is_lossy);
        let checker = if world.is_durable { checker.durable() } else { checker };
        let (judge, place) = (Rc::new(RefCell::new(checker)), Rc::new(Cell::new(address)));
        let permits = Arc::new(Semaphore::new(world.at_once));
        let mut swarm = Self {
            world,
            place,
            judge,
            orders: vec![],
            tasks: vec![],
            permits,
            random: Rng::with_seed(seed),
        };
        for n in 0..world.clients {
            let (name, user) = (format!("client-{n}"), format!("user-{}", n / world.per_user));
            let member = Member {
                client: V1::new(&swarm.place, &swarm.judge, &name, &user),
                world,
                home: format!("room-{}", n % world.rooms),
                stalled: 0,
            };
            let (orders, inbox) = mpsc::channel(1);
            swarm.orders.push(orders);
            swarm.tasks.push(spawn_local(member.live(inbox)));
        }
        swarm.tell_all(|| What::Settle).await;
        swarm
    }

    /// One order to one client, which is not busy with another.
    pub(crate) async fn step(&mut self) {
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("never closed");
        let seed = self.random.u64(..);
        let mut order = Order { what: What::Anything(seed), _permit: permit };
        loop {
            let index = self.random.usize(..self.world.clients);
            match self.orders[index].try_send(order) {
                Ok(()) => return,
                Err(TrySendError::Full(back)) => order = back,
                Err(TrySendError::Closed(_)) => panic!("client {index} has failed: see above"),
            }
            tokio::task::yield_now().await;
        }
    }

    async fn tell(&self, index: usize, what: What) {
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("never closed");
        let told = self.orders[index].send(Order { what, _permit: permit }).await;
        assert!(told.is_ok(), "client {index} has failed: see above");
    }

    /// The same to each, and waits until all have done it.
    async fn tell_all(&self, what: impl Fn() -> What) {
        for index in 0..self.orders.len() {
            self.tell(index, what()).await;
        }
        let all = u32::try_from(self.world.at_once).expect("a small number");
        let _all = self.permits.acquire_many(all).await.expect("never closed");
    }

    /// Waits until every order is carried out.
    pub(crate) async fn pause(&self) {
        self.tell_all(|| What::Pause).await;
    }

    /// The server has been started again, here.
    pub(crate) fn move_to(&self, address: SocketAddr) {
        self.place.set(address);
        self.judge.borrow_mut().restarted();
    }

    /// True once a promise has been broken: no more is to be learnt.
    pub(crate) fn is_broken(&self) -> bool {
        self.judge.borrow().is_broken()
    }

    /// Waits until nothing is under way any more, and gives the verdict.
    pub(crate) async fn finish(self) -> (Counts, Report) {
        let mut unsettled = Vec::new();
        if !self.is_broken() {
            self.tell_all(|| What::Settle).await;
            if self.world.is_durable {
                let ends = self.judge.borrow().ends();
                let mut auditor = V1::new(&self.place, &self.judge, "auditor", "auditor");
                Box::pin(auditor.read_all(&ends)).await;
            }
            let deadline = Instant::now() + PATIENCE;
            loop {
                unsettled = self.judge.borrow().unsettled();
                if unsettled.is_empty() || self.is_broken() || Instant::now() > deadline {
                    break;
                }
                // How often the judge is asked, while the clients read on.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        for task in self.tasks {
            task.abort();
            let ended = task.await;
            assert!(!ended.is_err_and(|error| error.is_panic()), "a client has failed: see above");
        }
        let checker = Rc::into_inner(self.judge).expect("all clients are gone").into_inner();
        let (counts, mut report) = (checker.counts, checker.finish());
        unsettled.into_iter().for_each(|violation| report.add(violation));
        (counts, report)
    }
}

/// A client and what it is about.
struct Member {
    client: V1,
    world: World,
    home: String,
    /// Orders before it reads again.
    stalled: u32,
}

impl Member {
    async fn live(mut self, mut inbox: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                biased;
                order = inbox.recv() => {
                    let Some(Order { what, _permit }) = order else { return };
                    self.obey(what).await;
                }
                _ = self.client.next(), if self.stalled == 0 => {}
            }
        }
    }

    async fn obey(&mut self, what: What) {
        match what {
            What::Anything(seed) => self.anything(&mut Rng::with_seed(seed)).await,
            What::Pause => {}
            What::Settle => {
                self.stalled = 0;
                while !(self.client.is_connected() && self.client.is_answered().await) {
                    let home = self.home.clone();
                    self.client.connect(&home, Resume::Exact).await;
                }
            }
        }
    }

    async fn anything(&mut self, random: &mut Rng) {
        if self.stalled > 0 {
            self.stalled -= 1;
            return;
        }
        if !self.client.is_connected() {
            return self.come_back(random).await;
        }
        let World { cuts, stalls, moves, asks, .. } = self.world;
        let rooms = self.client.rooms();
        let room =
            if rooms.is_empty() { self.home.clone() } else { rooms[random.usize(..rooms.len())].clone() };
        match random.u32(..1000) {
            n if n < cuts => {
                let cut = [Cut::Close, Cut::Fin, Cut::Reset][random.usize(..3)];
                // Half of the time the message is whole: appended, and its answer lost.
                let share = if random.bool() { 1.0 } else { random.f64() };
                return self.client.cut(cut, &room, share).await;
            }
            n if n < cuts + stalls => {
                self.stalled = random.u32(1..60);
                return;
            }
            n if n < cuts + stalls + moves => self.move_on(random, rooms.len(), &room).await,
            n if n < cuts + stalls + moves + asks => self.ask(random, &room).await,
            _ => self.speak(random, &room).await,
        }
        if random.u8(..10) < 7 {
            self.client.is_answered().await;
        }
    }

    async fn come_back(&mut self, random: &mut Rng) {
        let rooms = self.client.rooms();
        let is_known = !rooms.is_empty() && random.u8(..4) > 0;
        let room = if is_known { rooms[random.usize(..rooms.len())].clone() } else { self.home.clone() };
        let resume = match random.u8(..10) {
            0 => Resume::Fresh,
            1 => Resume::Stale(random.u64(1..20)),
            2 => Resume::Stale(10_000),
            3 => Resume::Future,
            4 => Resume::WrongEpoch,
            _ => Resume::Exact,
        };
        self.client.connect(&room, resume).await;
    }

    async fn move_on(&mut self, random: &mut Rng, count: usize, room: &str) {
        // Sometimes a room that it is in already, or one that it is not in.
        let other = format!("room-{}", random.usize(..self.world.rooms));
        if count < self.world.rooms_each && random.bool() {
            self.client.join(&other, None).await;
        } else {
            let room = if random.u8(..10) == 0 { &other } else { room };
            self.client.command(json!({"type": "leave", "room": room})).await;
        }
    }

    async fn ask(&mut self, random: &mut Rng, room: &str) {
        let users = self.world.clients / self.world.per_user + 1;
        let text = format!("{} in private", self.client.unique_text());
        let command = match random.u8(..6) {
            // Somebody who does not exist, too.
            0 => json!({"type": "direct", "to": format!("user-{}", random.usize(..users)), "message": text}),
            1 => {
                let user = format!("user-{}", random.usize(..users));
                return self.client.tell(&user, text, random.usize(1..3)).await;
            }
            2 => json!({"type": "history", "room": room, "limit": random.u8(1..=100)}),
            3 => json!({"type": "presence", "room": room}),
            4 => json!({"type": "ping"}),
            _ => {
                // Without an id, for there is no answer.
                return self.client.send_raw(&json!({"type": "typing", "room": room}).to_string()).await;
            }
        };
        self.client.command(command).await;
    }

    async fn speak(&mut self, random: &mut Rng, room: &str) {
        for _ in 0..random.u8(1..4) {
            let filler = "x".repeat(random.usize(..450));
            let text = format!("{} {filler}", self.client.unique_text());
            let has_key = random.u32(..100) < self.world.keyed;
            self.client.say(room, text, has_key, random.u8(..5) > 0).await;
        }
    }
}
