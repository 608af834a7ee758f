//! What a client is made of, checked before anything happens.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::address::Address;
use super::command::COMMANDS;
use super::core::{Core, Settings};
use super::error::BuildError;
use super::{Backoff, Client, Events, task, wire};
use crate::names::{RoomName, UserId};

/// How a client shall be; from [`Client::builder`].
#[derive(Clone)]
pub struct Builder {
    url: String,
    user: Option<String>,
    room: Option<String>,
    token: Option<String>,
    backoff: Backoff,
    queue: usize,
    events: usize,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("url", &self.url)
            .field("user", &self.user)
            .field("room", &self.room)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("backoff", &self.backoff)
            .field("queue", &self.queue)
            .field("events", &self.events)
            .finish()
    }
}

impl Builder {
    pub(super) fn new(url: &str) -> Self {
        let (queue, events) = (1024, 1024);
        let url = url.to_owned();
        Self { url, user: None, room: None, token: None, backoff: Backoff::default(), queue, events }
    }

    /// Who to be: 3 to 64 of `[A-Za-z0-9_.:@-]`. Required.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    /// The first room: 1 to 64 of `[A-Za-z0-9_.:@-]`. Without it the server's default.
    #[must_use]
    pub fn room(mut self, room: &str) -> Self {
        self.room = Some(room.to_owned());
        self
    }

    /// A JWT, sent as `Authorization: Bearer`. This client neither logs nor shows it; the WebSocket library beneath
    /// writes whole handshakes to its log at level `trace`, which a program should leave off.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// How long to wait before coming back.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How many messages may wait for their acks, and as many other commands for their answers; at least 1, by default
    /// 1,024. Beyond it [`SendError::QueueFull`](super::SendError::QueueFull).
    #[must_use]
    pub fn queue(mut self, commands: usize) -> Self {
        self.queue = commands.max(1);
        self
    }

    /// How many events are kept for a reader who does not read; at least 1, by default 1,024. See [`Events`] for what
    /// happens beyond.
    #[must_use]
    pub fn events(mut self, events: usize) -> Self {
        self.events = events.clamp(1, 1 << 20);
        self
    }

    /// Checks all this and starts a task on the current tokio runtime, which connects, and reconnects, until
    /// [`Client::close`], or until no [`Client`] and no [`Events`] is left.
    ///
    /// # Errors
    /// [`BuildError`]: what is wrong with the arguments. That there is no server is none: the events tell.
    pub fn connect(self) -> Result<(Client, Events), BuildError> {
        let address: Address = self.url.parse()?;
        let user: UserId = self.user.ok_or(BuildError::NoUser)?.parse().map_err(BuildError::User)?;
        let room: Option<RoomName> =
            self.room.map(|room| room.parse()).transpose().map_err(BuildError::Room)?;
        let dialer = wire::Dialer::new(address.is_secure(), self.token.map(bearer).transpose()?)?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        let settings = Settings { user, queue: self.queue, has_token: dialer.has_token() };
        let core = Core::new(settings, room, self.backoff, fastrand::Rng::new(), Instant::now());
        let (commands, incoming) = mpsc::channel(COMMANDS);
        let (outgoing, events) = mpsc::channel(self.events);
        let ended = Arc::new(OnceLock::new());
        runtime.spawn(task::run(core, address, dialer, incoming, outgoing, Arc::clone(&ended)));
        Ok((Client { commands, ended }, Events(events)))
    }
}

fn bearer(token: String) -> Result<HeaderValue, BuildError> {
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BuildError::Token);
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| BuildError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}
