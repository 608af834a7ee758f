//! What a client is made of, checked before anything happens.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::address::Address;
use super::command::COMMANDS;
use super::core::{Core, Settings};
use super::error::BuildError;
use super::tls::Tls;
use super::{Backoff, Client, Events, task, wire};
use throng_names::{RoomName, UserId};

/// How a client shall be; from [`Client::builder`].
#[derive(Clone)]
pub struct Builder {
    url: String,
    user: Option<String>,
    room: Option<String>,
    token: Option<String>,
    ca: Option<Vec<u8>>,
    backoff: Backoff,
    answer: Duration,
    queue: usize,
    events: usize,
}

/// How long a command may go unanswered unless the program says otherwise, and the most that it may say.
const ANSWER: Duration = Duration::from_secs(30);
const LONGEST_ANSWER: Duration = Duration::from_secs(3600);

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("url", &self.url)
            .field("user", &self.user)
            .field("room", &self.room)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("ca", &self.ca.as_ref().map(|_| "…"))
            .field("backoff", &self.backoff)
            .field("answer", &self.answer)
            .field("queue", &self.queue)
            .field("events", &self.events)
            .finish()
    }
}

impl Builder {
    pub(super) fn new(url: &str) -> Self {
        let (queue, events) = (1024, 1024);
        Self {
            url: url.to_owned(),
            user: None,
            room: None,
            token: None,
            ca: None,
            backoff: Backoff::default(),
            answer: ANSWER,
            queue,
            events,
        }
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

    /// Certificates to trust besides those of the system, in PEM: of the authority that has signed the server's, or
    /// the server's own where nobody has. Only `wss://` looks at them.
    #[must_use]
    pub fn ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(pem.into());
        self
    }

    /// How long a command may go unanswered on a connection that lives otherwise, up to an hour; by default 30 seconds.
    /// Beyond it the connection is given up: what was said is said again on the next one, other commands fail with
    /// [`SendError::Disconnected`](super::SendError::Disconnected).
    #[must_use]
    pub fn answer_within(mut self, answer: Duration) -> Self {
        self.answer = answer.min(LONGEST_ANSWER);
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
        let tls = Tls::new(address.is_secure(), self.ca.as_deref())?;
        let dialer = wire::Dialer::new(tls, self.token.map(bearer).transpose()?);
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        let (queue, has_token, answer) = (self.queue, dialer.has_token(), self.answer);
        let settings = Settings { user, queue, has_token, answer };
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
