//! Many [clients](super::v1) in one thread. Each client reads unless an order tells it to stall. The number of orders
//! under way is limited, so that the load follows the speed of the machine. The seed of an order decides at random
//! how a client carries it out.

use std::cell::RefCell;
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
use super::link::ServerAddress;
use super::v1::{Cut, Judge, Resume, V1};

/// The clients' number and behaviour, and the server's settings that they must know.
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
    /// Of 1,000 orders, the number that cut the connection. Orders of no such share publish a message.
    pub(crate) cuts: u32,
    /// Of 1,000 orders, the number after which the client stops reading for a while.
    pub(crate) stalls: u32,
    /// Of 1,000 orders, the number that join or leave a room.
    pub(crate) moves: u32,
    /// Of 1,000 orders, the number that ask something or send a private message.
    pub(crate) asks: u32,
    /// Of 100 messages, the number that have a key.
    pub(crate) keyed: u32,
    /// The server drops messages for a client that does not read, instead of the connection.
    pub(crate) is_lossy: bool,
    /// The server's rooms survive a restart and keep everything.
    pub(crate) is_durable: bool,
    /// Tells the rooms from those of other swarms on the same server.
    pub(crate) round: u32,
}

impl World {
    /// Returns the name of a room.
    fn room(&self, n: usize) -> String {
        format!("room-{}-{n}", self.round)
    }
}

/// An order to a client.
enum Action {
    /// Do something that this seed chooses.
    Anything(u64),
    /// Do nothing: when it is carried out, all orders before it are.
    Pause,
    /// Be connected, and wait for every answer.
    Settle,
}

struct Order {
    action: Action,
    /// Released when the order is carried out.
    _permit: OwnedSemaphorePermit,
}

/// The clients of a test. Must be used inside a `LocalSet`.
pub(crate) struct Swarm {
    world: World,
    server: ServerAddress,
    judge: Judge,
    orders: Vec<mpsc::Sender<Order>>,
    tasks: Vec<JoinHandle<()>>,
    permits: Arc<Semaphore>,
    random: Rng,
}

impl Swarm {
    /// Connects the clients of `world` to these nodes of a server, each to the room of its number modulo the number of
    /// rooms.
    pub(crate) async fn gather(nodes: Vec<SocketAddr>, world: World, seed: u64) -> Self {
        let checker = Checker::new(world.is_lossy);
        let mut checker = if world.is_durable { checker.durable() } else { checker };
        checker.has_several_nodes = nodes.len() > 1;
        let (judge, server) = (Rc::new(RefCell::new(checker)), Rc::new(RefCell::new(nodes)));
        let permits = Arc::new(Semaphore::new(world.at_once));
        let mut swarm = Self {
            world,
            server,
            judge,
            orders: vec![],
            tasks: vec![],
            permits,
            random: Rng::with_seed(seed),
        };
        for n in 0..world.clients {
            let (name, user) = (format!("client-{n}"), format!("user-{}", n / world.per_user));
            let member = Member {
                client: V1::new(&swarm.server, &swarm.judge, &name, &user),
                world,
                home: world.room(n % world.rooms),
                stalled: 0,
            };
            let (orders, inbox) = mpsc::channel(1);
            swarm.orders.push(orders);
            swarm.tasks.push(spawn_local(member.live(inbox)));
        }
        swarm.order_all(|| Action::Settle).await;
        swarm
    }

    /// Gives one order to a client that is not busy with another.
    pub(crate) async fn step(&mut self) {
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("never closed");
        let seed = self.random.u64(..);
        let mut order = Order { action: Action::Anything(seed), _permit: permit };
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

    async fn order(&self, index: usize, action: Action) {
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("never closed");
        let told = self.orders[index].send(Order { action, _permit: permit }).await;
        assert!(told.is_ok(), "client {index} has failed: see above");
    }

    /// Gives the same order to each client, and waits until all have carried it out.
    async fn order_all(&self, action: impl Fn() -> Action) {
        for index in 0..self.orders.len() {
            self.order(index, action()).await;
        }
        let all = u32::try_from(self.world.at_once).expect("a small number");
        let _all = self.permits.acquire_many(all).await.expect("never closed");
    }

    /// Waits until every order is carried out.
    pub(crate) async fn pause(&self) {
        self.order_all(|| Action::Pause).await;
    }

    /// Notes the addresses at which the server was started again.
    pub(crate) fn move_to(&self, nodes: Vec<SocketAddr>) {
        self.server.replace(nodes);
        self.judge.borrow_mut().restarted();
    }

    /// True once a promise has been broken: the test can stop.
    pub(crate) fn is_broken(&self) -> bool {
        self.judge.borrow().is_broken()
    }

    /// Waits until nothing is under way any more, and returns the verdict.
    pub(crate) async fn finish(self) -> (Counts, Report) {
        let mut unsettled = Vec::new();
        if !self.is_broken() {
            self.order_all(|| Action::Settle).await;
            if self.world.is_durable {
                let ends = self.judge.borrow().ends();
                let mut auditor = V1::new(&self.server, &self.judge, "auditor", "auditor");
                Box::pin(auditor.read_all(&ends)).await;
            }
            let deadline = Instant::now() + PATIENCE;
            loop {
                unsettled = self.judge.borrow().unsettled();
                if unsettled.is_empty() || self.is_broken() || Instant::now() > deadline {
                    break;
                }
                // The interval between two looks at the judge, while the clients read on.
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

/// A client, and its state as a member of the swarm.
struct Member {
    client: V1,
    world: World,
    home: String,
    /// Number of orders for which it does not read yet.
    stalled: u32,
}

impl Member {
    async fn live(mut self, mut inbox: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                biased;
                order = inbox.recv() => {
                    let Some(Order { action, _permit }) = order else { return };
                    self.carry_out(action).await;
                }
                _ = self.client.next(), if self.stalled == 0 => {}
            }
        }
    }

    async fn carry_out(&mut self, action: Action) {
        match action {
            Action::Anything(seed) => self.anything(&mut Rng::with_seed(seed)).await,
            Action::Pause => {}
            Action::Settle => {
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
                // Half of the time the message arrives whole: it is appended, and its answer is lost.
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
        // The client may be in this room already, and may not be in the one that it leaves.
        let other = self.world.room(random.usize(..self.world.rooms));
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
            // The number may be that of a user who does not exist.
            0 => json!({"type": "direct", "to": format!("user-{}", random.usize(..users)), "message": text}),
            1 => {
                let user = format!("user-{}", random.usize(..users));
                return self.client.tell(&user, text, random.usize(1..3)).await;
            }
            2 => json!({"type": "history", "room": room, "limit": random.u8(1..=100)}),
            3 => json!({"type": "presence", "room": room}),
            4 => json!({"type": "ping"}),
            _ => {
                // Without an id, because there is no answer.
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
