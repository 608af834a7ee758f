//! Observers: one client on each node that is in every room and asks who else is there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::record::Name;
use super::socket::{Heard, Socket};
use crate::checker::presence::{Shown, difference};

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Observers so far: each has a name of its own, because the last one may still be shown.
static OBSERVERS: AtomicUsize = AtomicUsize::new(0);

struct Observer {
    node: usize,
    user: String,
    socket: Socket,
    counter: u64,
}

impl Observer {
    /// Connects to a node and joins every room.
    async fn enter(node: usize, address: SocketAddr, rooms: &[&Name]) -> Result<Self, String> {
        let user = format!("observer-{}", OBSERVERS.fetch_add(1, Ordering::Relaxed));
        let (first, others) = rooms.split_first().ok_or("no rooms")?;
        let path = format!("/ws/chat/{user}?room={first}");
        let problem = |error| format!("observer at node {node}: {error:?}");
        let socket = Socket::connect(address, &path).await.map_err(problem)?;
        let mut observer = Self { node, user, socket, counter: 0 };
        observer.answer(|event| event["type"] == "welcome").await?;
        for room in others {
            observer.ask(json!({"type": "join", "room": &***room}), "joined").await?;
        }
        Ok(observer)
    }

    async fn ask(&mut self, mut command: Value, kind: &str) -> Result<Value, String> {
        self.counter += 1;
        let id = self.counter.to_string();
        command["id"] = id.as_str().into();
        if !self.socket.send(&command).await {
            return Err(format!("node {} takes no command", self.node));
        }
        let answer = self.answer(|event| event["re"] == id.as_str()).await?;
        if answer["type"] == kind {
            Ok(answer)
        } else {
            Err(format!("node {}: {command}: {answer}", self.node))
        }
    }

    /// Reads up to an event that `is_it`.
    async fn answer(&mut self, is_it: impl Fn(&Value) -> bool) -> Result<Value, String> {
        loop {
            match timeout(ANSWER, self.socket.next()).await {
                Ok(Heard::Event(event)) if is_it(&event) => return Ok(event),
                Ok(Heard::Event(event)) if event["type"] == "heartbeat" => {
                    self.socket.send(&json!({"type": "heartbeat_ack"})).await;
                }
                Ok(Heard::Event(_)) => {}
                other => return Err(format!("node {}: {other:?} instead of an answer", self.node)),
            }
        }
    }

    async fn look(&mut self, room: &Name) -> Result<Shown, String> {
        let page = self.ask(json!({"type": "presence", "room": &**room, "limit": 1000}), "presence").await?;
        let users = page["users"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let users: BTreeSet<String> = users.map(str::to_owned).collect();
        Ok(Shown { node: self.node, members: page["members"].as_u64().unwrap_or(0), users })
    }
}

/// Asks every node for the members of every room until all show those of `there`, and the observers; returns the last
/// difference when they do not within `limit`.
pub(crate) fn wait_for_presence(
    nodes: &[SocketAddr],
    there: &BTreeMap<Name, BTreeSet<String>>,
    limit: Duration,
) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let deadline = Instant::now() + limit;
        loop {
            let outcome = Box::pin(look_once(nodes, there, deadline)).await;
            if outcome.is_ok() || Instant::now() > deadline {
                return outcome.map_err(|problem| format!("presence after {limit:?}: {problem}"));
            }
            // The interval between two attempts, after one that could not connect.
            sleep(Duration::from_millis(200)).await;
        }
    })
}

async fn look_once(
    nodes: &[SocketAddr],
    there: &BTreeMap<Name, BTreeSet<String>>,
    deadline: Instant,
) -> Result<(), String> {
    let rooms: Vec<&Name> = there.keys().collect();
    let mut observers = Vec::new();
    for (node, address) in nodes.iter().enumerate() {
        observers.push(Observer::enter(node, *address, &rooms).await?);
    }
    let users: Vec<String> = observers.iter().map(|observer| observer.user.clone()).collect();
    loop {
        let mut found = None;
        for (room, members) in there {
            let there: BTreeSet<String> = members.iter().chain(&users).cloned().collect();
            let mut shown = Vec::new();
            for observer in &mut observers {
                shown.push(observer.look(room).await?);
            }
            found = found.or(difference(room, &there, &shown));
        }
        match found {
            Some(problem) if Instant::now() > deadline => return Err(problem),
            // The interval between two looks, not the length of the wait.
            Some(_) => sleep(Duration::from_millis(100)).await,
            None => break,
        }
    }
    for observer in observers {
        observer.socket.close().await;
    }
    Ok(())
}
