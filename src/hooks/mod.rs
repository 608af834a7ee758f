//! Hooks: asks another server whether a user may connect, and whether a user may enter a room.
//!
//! A question never waits for another one: there is a bound for those under way, and one beyond it counts as a
//! failure. After several failures in a row nothing is asked for some seconds, so that a backend which is down costs
//! newcomers no time and can come up. The configuration says whether a failure refuses the newcomer.

mod answer;
mod circuit;
mod memory;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::answer::Answer;
pub use self::answer::{ConnectAnswer, Refused};
use self::circuit::Circuit;
use self::memory::Answers;
use crate::clock::Clock;
use crate::config::{Config, OnFailure, Url};
use crate::metrics::hooks::{HookGauges, Question};
use crate::names::{RoomName, UserId};
use crate::outbound::signature::Signer;
use crate::outbound::thread::Thread;
use crate::outbound::{self, Client, Method, Request};

/// Most bytes of an answer.
const MAX_ANSWER: usize = 16 * 1024;

/// Takes the answer to a question; called on the thread that asks, or at once.
pub type Then<T> = Box<dyn FnOnce(Result<T, Refused>) + Send>;

/// A newcomer, as the hook `connect` is told.
#[derive(Debug, Serialize)]
pub struct Newcomer<'a> {
    /// The user id of the path.
    pub user: &'a str,
    /// The room to enter first.
    pub room: &'a str,
    /// The client's address.
    pub address: String,
    /// The name in the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    /// The headers of the handshake that `hooks.headers` names.
    pub headers: BTreeMap<&'a str, String>,
}

/// One of the two hooks.
#[derive(Debug)]
struct Hook {
    url: Url,
    circuit: Mutex<Circuit>,
    in_flight: AtomicUsize,
    questions: [AtomicU64; Question::ALL.len()],
}

/// The state that the node's threads and the thread that asks share.
#[derive(Debug)]
struct Shared {
    connect: Option<Hook>,
    join: Option<Hook>,
    signer: Signer,
    timeout: Duration,
    on_failure: OnFailure,
    max_in_flight: usize,
    clock: Clock,
    answers: Mutex<Answers>,
    /// The first part of the questions' ids.
    run: u64,
    next: AtomicU64,
}

/// A question on its way to the thread that asks.
struct Asking {
    is_connect: bool,
    body: Bytes,
    then: Box<dyn FnOnce(Result<Answer, Failure>) + Send>,
}

/// The question has no usable answer.
#[derive(Debug)]
struct Failure;

/// The hooks of a node.
#[derive(Debug)]
pub struct Hooks {
    shared: Arc<Shared>,
    ask: Option<mpsc::Sender<Asking>>,
    thread: Thread,
}

impl Hooks {
    /// Starts the thread that asks; `None` when the configuration has no hook.
    ///
    /// # Errors
    /// `outbound.ca_file` cannot be used, or the thread cannot be made.
    pub fn start(config: &Config, clock: Clock) -> io::Result<Option<Self>> {
        let hooks = &config.hooks;
        let hook = |url: &Option<Url>| {
            url.clone().map(|url| Hook {
                url,
                circuit: Mutex::default(),
                in_flight: AtomicUsize::new(0),
                questions: Default::default(),
            })
        };
        let (connect, join) = (hook(&hooks.connect), hook(&hooks.join));
        if connect.is_none() && join.is_none() {
            return Ok(None);
        }
        let client = Client::new(config.outbound.ca_file.as_deref()).map_err(io::Error::other)?;
        let shared = Arc::new(Shared {
            connect,
            join,
            signer: Signer::new(&hooks.secrets),
            timeout: hooks.timeout,
            on_failure: hooks.on_failure,
            max_in_flight: hooks.max_in_flight,
            answers: Mutex::new(Answers::new(hooks.remember)),
            run: fastrand::u64(..),
            next: AtomicU64::new(1),
            clock,
        });
        // Each hook has at most as many under way as its bound says, so there always is space.
        let (ask, asked) = mpsc::channel(2 * hooks.max_in_flight);
        let asking = Arc::clone(&shared);
        let thread = Thread::start("hooks", move || run(asking, client, asked))?;
        Ok(Some(Self { shared, ask: Some(ask), thread }))
    }

    /// Returns true when newcomers are asked about.
    #[must_use]
    pub fn asks_connect(&self) -> bool {
        self.shared.connect.is_some()
    }

    /// Returns true when entering a room is asked about.
    #[must_use]
    pub fn asks_join(&self) -> bool {
        self.shared.join.is_some()
    }

    /// Asks whether a newcomer may connect. Without the hook everybody may.
    pub fn connect(&self, newcomer: &Newcomer<'_>, then: Then<ConnectAnswer>) {
        let Some(hook) = &self.shared.connect else { return then(Ok(ConnectAnswer::default())) };
        let shared = Arc::clone(&self.shared);
        // Text always is JSON.
        let body = simd_json::to_vec(newcomer).unwrap_or_default();
        self.put(hook, true, body, move |answer| {
            shared.settle(shared.connect.as_ref(), answer.map(Answer::into_connect), then);
        });
    }

    /// Asks whether a user may enter a room. Without the hook everybody may.
    pub fn join(&self, user: &UserId, room: &RoomName, then: Then<()>) {
        let Some(hook) = &self.shared.join else { return then(Ok(())) };
        let pair = (user.clone(), room.clone());
        let known = self.shared.answers.lock().find(&pair, self.shared.clock.now_ms());
        if let Some(is_allowed) = known {
            hook.count(Question::Remembered);
            return then(if is_allowed { Ok(()) } else { Err(Refused::Denied(None)) });
        }
        #[derive(Serialize)]
        struct Join<'a> {
            user: &'a str,
            room: &'a str,
        }
        let body = simd_json::to_vec(&Join { user: user.as_str(), room: room.as_str() }).unwrap_or_default();
        let shared = Arc::clone(&self.shared);
        self.put(hook, false, body, move |answer| {
            let answer = answer.map(Answer::into_join);
            if let Ok(decided) = &answer {
                shared.answers.lock().remember(pair, decided.is_ok(), shared.clock.now_ms());
            }
            shared.settle(shared.join.as_ref(), answer, then);
        });
    }

    /// Puts a question, unless the hook has failed too often or too many are under way.
    fn put(
        &self,
        hook: &Hook,
        is_connect: bool,
        body: Vec<u8>,
        then: impl FnOnce(Result<Answer, Failure>) + Send + 'static,
    ) {
        if !hook.circuit.lock().is_closed(self.shared.clock.now_ms()) {
            hook.count(Question::NotAsked);
            return then(Err(Failure));
        }
        if hook.in_flight.fetch_add(1, Relaxed) >= self.shared.max_in_flight {
            hook.in_flight.fetch_sub(1, Relaxed);
            hook.count(Question::Busy);
            return then(Err(Failure));
        }
        let asking = Asking { is_connect, body: body.into(), then: Box::new(then) };
        let refused = match &self.ask {
            Some(ask) => ask.try_send(asking).err().map(mpsc::error::TrySendError::into_inner),
            None => Some(asking),
        };
        if let Some(asking) = refused {
            hook.in_flight.fetch_sub(1, Relaxed);
            hook.count(Question::Error);
            (asking.then)(Err(Failure));
        }
    }

    /// Returns the figures of each hook.
    #[must_use]
    pub fn gauges(&self) -> Vec<HookGauges> {
        let hooks = [("connect", &self.shared.connect), ("join", &self.shared.join)];
        let hooks = hooks.into_iter().filter_map(|(name, hook)| Some((name, hook.as_ref()?)));
        hooks
            .map(|(name, hook)| HookGauges {
                name,
                in_flight: hook.in_flight.load(Relaxed),
                questions: hook.questions.each_ref().map(|count| count.load(Relaxed)),
            })
            .collect()
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        // The thread ends when nobody can ask any more.
        self.ask = None;
        self.thread.join();
    }
}

impl Hook {
    fn count(&self, question: Question) {
        self.questions[question as usize].fetch_add(1, Relaxed);
    }
}

impl Shared {
    /// Passes an answer on, or what the configuration says about a failure.
    fn settle<T: Default>(
        &self,
        hook: Option<&Hook>,
        answer: Result<Result<T, Refused>, Failure>,
        then: Then<T>,
    ) {
        let decided = match (answer, self.on_failure) {
            (Ok(decided), _) => {
                let question = if decided.is_ok() { Question::Allowed } else { Question::Refused };
                hook.into_iter().for_each(|hook| hook.count(question));
                decided
            }
            (Err(Failure), OnFailure::Allow) => Ok(T::default()),
            (Err(Failure), OnFailure::Refuse) => Err(Refused::NoAnswer),
        };
        then(decided);
    }
}

/// Asks until nobody can put a question any more.
async fn run(shared: Arc<Shared>, client: Client, mut asked: mpsc::Receiver<Asking>) {
    let mut under_way = JoinSet::new();
    while let Some(asking) = asked.recv().await {
        while under_way.try_join_next().is_some() {}
        under_way.spawn(ask(Arc::clone(&shared), client.clone(), asking));
    }
}

async fn ask(shared: Arc<Shared>, client: Client, asking: Asking) {
    let Asking { is_connect, body, then } = asking;
    let (name, hook) = match is_connect {
        true => ("connect", &shared.connect),
        false => ("join", &shared.join),
    };
    let Some(hook) = hook else { return then(Err(Failure)) };
    let id = format!("hook-{:016x}-{}", shared.run, shared.next.fetch_add(1, Relaxed));
    let unix_s = shared.clock.wall_s().max(0) as u64;
    let headers = shared.signer.headers(&id, unix_s, &body);
    let request = Request { method: Method::Post, url: &hook.url, headers, body };
    let answer = client.request(request, shared.timeout, MAX_ANSWER).await;
    let (failure, answer) = match answer {
        Ok(response) => {
            let is_good = (200..300).contains(&response.status);
            match is_good.then(|| Answer::parse(&response.body)).flatten() {
                Some(answer) => (None, Ok(answer)),
                None => (Some((Question::Error, format!("status {}", response.status))), Err(Failure)),
            }
        }
        Err(outbound::Error::Deadline) => {
            (Some((Question::Timeout, "no answer in time".into())), Err(Failure))
        }
        Err(error) => (Some((Question::Error, error.to_string())), Err(Failure)),
    };
    hook.in_flight.fetch_sub(1, Relaxed);
    let now_ms = shared.clock.now_ms();
    match failure {
        None => hook.circuit.lock().succeeded(),
        Some((question, problem)) => {
            hook.count(question);
            if hook.circuit.lock().failed(now_ms) {
                tracing::warn!(
                    hook = name,
                    problem,
                    "a hook does not answer: it is not asked for some seconds"
                );
            }
        }
    }
    then(answer);
}
