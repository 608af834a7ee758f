//! The project's own Rust client, with a bound on every wait.

use std::future::Future;
use std::time::Duration;

use throng::client::{Backoff, Builder, Client, Ended, Event, Events, State};

use super::PATIENCE;

/// A client and its events.
pub(crate) struct Own {
    pub(crate) client: Client,
    pub(crate) events: Events,
}

/// Waits for `future` at most [`PATIENCE`]; panics naming `what` and the caller's line when it takes longer.
#[track_caller]
pub(crate) fn patiently<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    within(PATIENCE, what, future)
}

/// Waits for `future` at most `limit`, as [`patiently`] does.
#[track_caller]
pub(crate) fn within<F: Future>(limit: Duration, what: &str, future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        let done = tokio::time::timeout(limit, future).await;
        done.unwrap_or_else(|_| panic!("not within {limit:?}: {what}, at {caller}"))
    }
}

/// Returns a client that reconnects after short delays: tests check that it does, not when.
pub(crate) fn builder(url: &str, user: &str) -> Builder {
    let backoff =
        Backoff::new(Duration::from_millis(20), Duration::from_millis(200), Duration::from_secs(30));
    Client::builder(url).user(user).room("lobby").backoff(backoff)
}

impl Own {
    pub(crate) fn start(builder: Builder) -> Self {
        let (client, events) = builder.connect().expect("good arguments");
        Self { client, events }
    }

    /// Connects as `user` and waits for the welcome.
    pub(crate) async fn enter(url: &str, user: &str) -> Self {
        let mut own = Self::start(builder(url, user));
        own.until("a welcome", |event| matches!(event, Event::Welcome { .. }).then_some(())).await;
        own
    }

    /// Reads events until `wanted` returns something.
    pub(crate) async fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        let search = async {
            let mut seen = Vec::new();
            while let Some(event) = self.events.next().await {
                if let Some(found) = wanted(&event) {
                    return found;
                }
                seen.push(event);
            }
            panic!("the events ended without {what}: {seen:?}")
        };
        patiently(what, search).await
    }

    /// Waits for the next message of any sender and returns its text; none may be lost before.
    pub(crate) async fn heard(&mut self) -> String {
        self.until("a message", |event| match event {
            Event::Message { text, .. } => Some(text.clone()),
            Event::Gap { .. } | Event::Missed { .. } => panic!("{event:?}"),
            _ => None,
        })
        .await
    }

    /// Waits until the connection is gone.
    pub(crate) async fn away(&mut self) {
        self.until("an end", |event| matches!(event, Event::State(State::Waiting { .. })).then_some(()))
            .await;
    }

    /// Waits until the client has stopped for good; returns why.
    pub(crate) async fn stopped(&mut self) -> Ended {
        self.until("a stop", |event| match event {
            Event::State(State::Stopped { reason }) => Some(reason.clone()),
            _ => None,
        })
        .await
    }
}
