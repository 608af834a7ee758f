//! The options of a client. All of them are checked before anything happens.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::address::Address;
use super::backoff::Backoff;
use super::command::COMMAND_QUEUE;
use super::core::{Core, Settings};
use super::error::BuildError;
use super::handle::{Client, Events};
use super::task;
use super::tls::Tls;
use super::token::TokenSource;
use super::wire::Dialer;
use throng_names::{DisplayName, RoomName, UserId};

/// The options of a client; created by [`Client::builder`].
#[derive(Clone)]
pub struct Builder {
    url: String,
    user: Option<String>,
    room: Option<String>,
    name: Option<String>,
    token: TokenSource,
    ca: Option<Vec<u8>>,
    backoff: Backoff,
    answer_timeout: Duration,
    queue: usize,
    events: usize,
}

/// How long a command may go unanswered unless the program says otherwise.
const DEFAULT_ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time that a program can allow for an answer.
const MAX_ANSWER_TIMEOUT: Duration = Duration::from_secs(3600);

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("url", &self.url)
            .field("user", &self.user)
            .field("room", &self.room)
            .field("name", &self.name)
            .field("token", &self.token)
            .field("ca", &self.ca.as_ref().map(|_| "…"))
            .field("backoff", &self.backoff)
            .field("answer_timeout", &self.answer_timeout)
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
            name: None,
            token: TokenSource::None,
            ca: None,
            backoff: Backoff::default(),
            answer_timeout: DEFAULT_ANSWER_TIMEOUT,
            queue,
            events,
        }
    }

    /// Sets the user id: 3 to 64 characters of `[A-Za-z0-9_.:@-]`. It is required.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    /// Sets the room to enter first: 1 to 64 characters of `[A-Za-z0-9_.:@-]`. Without it, the server's default room is
    /// entered.
    #[must_use]
    pub fn room(mut self, room: &str) -> Self {
        self.room = Some(room.to_owned());
        self
    }

    /// Sets the name that people are shown beside the user id: 1 to 64 characters of any script, without control
    /// characters and characters that change the direction of text. It proves nothing: several users may have the same.
    /// Where the server demands a token, the name of the token counts, and this one is ignored.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Sets the token (JWT), which is sent as `Authorization: Bearer`. This client neither logs nor shows it. The
    /// WebSocket library beneath logs whole handshakes at level `trace`; leave that level off in production.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.token = TokenSource::Fixed(token.to_owned());
        self
    }

    /// Gets the token from a function, in place of [`Builder::token`]: for each connection, and once more before the
    /// token expires, after 75 to 90 per cent of the time that is left. The server takes a new token over the same
    /// connection. While the function fails, the client tries again, with the pauses between connection attempts or
    /// within the time that is left.
    #[must_use]
    pub fn token_from<F, T, E>(mut self, get: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.token = TokenSource::fresh(get);
        self
    }

    /// Adds certificates in PEM to the trusted ones of the system: those of the authority that has signed the server's
    /// certificate, or the server's own certificate when it is self-signed. They are used for `wss://` only.
    #[must_use]
    pub fn ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(pem.into());
        self
    }

    /// Sets how long a command may go unanswered on a connection that is otherwise alive: by default 30 seconds, at
    /// most an hour. After that the client gives the connection up. Messages are sent again on the next one; other
    /// commands fail with [`SendError::Disconnected`](super::SendError::Disconnected).
    #[must_use]
    pub fn answer_within(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout.min(MAX_ANSWER_TIMEOUT);
        self
    }

    /// Sets the delays between connection attempts.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets how many messages may wait for their acks, and how many other commands for their answers: at least 1, by
    /// default 1,024. Commands beyond it fail with [`SendError::QueueFull`](super::SendError::QueueFull).
    #[must_use]
    pub fn queue(mut self, commands: usize) -> Self {
        self.queue = commands.max(1);
        self
    }

    /// Sets how many events may wait unread: at least 1, by default 1,024. [`Events`] describes what happens when more
    /// arrive.
    #[must_use]
    pub fn events(mut self, events: usize) -> Self {
        self.events = events.clamp(1, 1 << 20);
        self
    }

    /// Checks all options and starts a task on the current tokio runtime. The task connects, and reconnects, until
    /// [`Client::close`] is called or every [`Client`] and the [`Events`] are dropped.
    ///
    /// # Errors
    /// [`BuildError`] when an option is wrong. A server that cannot be reached is no error here: the events report it.
    pub fn connect(self) -> Result<(Client, Events), BuildError> {
        let address: Address = self.url.parse()?;
        let user: UserId = self.user.ok_or(BuildError::NoUser)?.parse().map_err(BuildError::User)?;
        let room: Option<RoomName> =
            self.room.map(|room| room.parse()).transpose().map_err(BuildError::Room)?;
        let name: Option<DisplayName> =
            self.name.map(|name| name.parse()).transpose().map_err(BuildError::Name)?;
        let tls = Tls::new(address.is_secure(), self.ca.as_deref())?;
        self.token.check()?;
        let (has_token, can_renew) = (self.token.is_fixed(), self.token.fetches());
        let dialer = Dialer::new(tls, self.token);
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        let settings = Settings {
            user,
            name,
            queue: self.queue,
            has_token,
            can_renew,
            answer_timeout: self.answer_timeout,
        };
        let core = Core::new(settings, room, self.backoff, fastrand::Rng::new(), Instant::now());
        let (commands, command_receiver) = mpsc::channel(COMMAND_QUEUE);
        let (event_sender, events) = mpsc::channel(self.events);
        let ended = Arc::new(OnceLock::new());
        runtime.spawn(task::run(core, address, dialer, command_receiver, event_sender, Arc::clone(&ended)));
        Ok((Client { commands, ended }, Events(events)))
    }
}
