//! Tests of a link against servers: real ones, and made-up ones that misbehave.

use std::time::Duration;

use bytes::Bytes;

use super::super::script::{Reply, Script};
use super::*;

mod breaks;
mod calls;
mod check;
mod proxy;
mod refusals;
mod server;
mod subscriptions;
mod tls;

use server::TestServer;

/// Longer than anything here takes, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most pushes that wait, unless a test is about that.
const PUSH_BYTES: usize = 1 << 20;

/// A link and its events.
struct Tried {
    link: ServerLink,
    events: EventReceiver,
    /// Events that came together with one that was waited for.
    waiting: std::collections::VecDeque<Event>,
}

impl Tried {
    fn start(settings: ServerSettings) -> Self {
        Self::start_with(settings, PUSH_BYTES)
    }

    fn start_with(settings: ServerSettings, push_bytes: usize) -> Self {
        let (sender, events) = event_queue(push_bytes);
        let link = ServerLink::start(LinkId(7), settings, sender);
        Self { link, events, waiting: Default::default() }
    }

    /// Starts a link to the server and waits until it is up.
    async fn up(server: &TestServer) -> Self {
        let mut tried = Self::start(server.settings());
        tried.wait_for_up().await;
        tried
    }

    /// Returns the next event.
    async fn next(&mut self) -> Event {
        if self.waiting.is_empty() {
            let mut events = Vec::new();
            let receiving = self.events.receive(&mut events, 1_000);
            tokio::time::timeout(PATIENCE, receiving).await.expect("no event came");
            self.waiting.extend(events.into_iter().map(|(link, event)| {
                assert_eq!(link, LinkId(7));
                event
            }));
        }
        self.waiting.pop_front().unwrap()
    }

    /// Returns the next event, which must be that the link is up.
    async fn wait_for_up(&mut self) -> Arc<ServerFacts> {
        match self.next().await {
            Event::Up(facts) => facts,
            other => panic!("{other:?} instead of Up"),
        }
    }

    /// Skips events until the link is up.
    async fn skip_to_up(&mut self) -> Arc<ServerFacts> {
        loop {
            if let Event::Up(facts) = self.next().await {
                return facts;
            }
        }
    }

    /// Returns the next event, which must be that the link is down.
    async fn wait_for_down(&mut self) -> DownReason {
        match self.next().await {
            Event::Down(reason) => reason,
            other => panic!("{other:?} instead of Down"),
        }
    }

    /// Carries out a call, and returns its answer, which must be the next event.
    async fn ask(&mut self, call: Call) -> Result<Reply, CallError> {
        self.link.call(99, call);
        match self.next().await {
            Event::Answer { tag: 99, result } => result,
            other => panic!("{other:?} instead of an answer"),
        }
    }
}

fn text(text: &'static str) -> Reply {
    Reply::Bytes(Bytes::from_static(text.as_bytes()))
}

fn command(words: &str) -> Call {
    Call::command(words.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())))
}
