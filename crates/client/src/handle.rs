//! The two halves that a program holds: the handle for commands, and the stream of events.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use super::builder::Builder;
use super::command::{Command, Data, Reply};
use super::error::SendError;
use super::event::{Ack, Ended, Event, History, Joined, Presence};

/// A handle to a connection that is made again whenever it is lost. All clones share the connection.
///
/// # Cancel safety
/// Dropping the future of a command does not take the command back. It only drops the answer.
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) commands: mpsc::Sender<Command>,
    /// Why the client has stopped, once it has.
    pub(super) ended: Arc<OnceLock<Ended>>,
}

/// The events of a client, for one reader.
///
/// Read them, or drop this value when they do not matter. When [`Builder::events`] of them wait unread, the client
/// stops reading from its socket. Answers to commands then wait too, and the server finally drops the client as a slow
/// consumer. Once the program reads again, the client reads on, or reconnects and resumes.
///
/// A program that waits for a command before it reads events could wait for ever. Commands that are unanswered after
/// the server's heartbeat interval and ten seconds of this, about half a minute, therefore fail with
/// [`SendError::Unread`].
#[derive(Debug)]
pub struct Events(pub(super) mpsc::Receiver<Event>);

impl Client {
    /// Creates the options for a client of the server at `url`, which begins with `ws://`, `wss://`, `http://` or
    /// `https://`. Behind a proxy, it includes the path that the proxy maps to the server's `/`.
    #[must_use]
    pub fn builder(url: &str) -> Builder {
        Builder::new(url)
    }

    /// Sends a message to a room and returns its position there. Without a connection the message waits for the next
    /// one. It never appears twice.
    ///
    /// Messages are sent one after the other in the order of the calls. A message that is refused or lost does not
    /// change that order.
    ///
    /// # Errors
    /// [`SendError::Refused`], [`SendError::QueueFull`], [`SendError::TooLong`], [`SendError::BadName`],
    /// [`SendError::UnknownOutcome`], [`SendError::Unread`], [`SendError::Stopped`].
    pub async fn say(&self, room: &str, text: &str) -> Result<Ack, SendError> {
        let (room, text) = (room.parse()?, text.to_owned());
        self.request(|reply| Command::Say { room, text, data: None, reply }).await
    }

    /// Sends a message that carries data besides its text: any JSON value, which the server passes on in these bytes.
    /// Everything else is as with [`Client::say`].
    ///
    /// # Errors
    /// Those of [`Client::say`], and [`SendError::BadData`]. Where the data is larger than the server allows:
    /// [`SendError::Refused`] with the code `data_too_long`.
    pub async fn say_with_data(&self, room: &str, text: &str, data: &str) -> Result<Ack, SendError> {
        let (room, text, data) = (room.parse()?, text.to_owned(), Some(json(data)?));
        self.request(|reply| Command::Say { room, text, data, reply }).await
    }

    /// Sends a message to one user alone and returns how many connections of that user it was delivered to.
    ///
    /// # Errors
    /// Those of [`Client::say`]. When the user is not connected: [`SendError::Refused`] with the code `user_not_found`.
    pub async fn direct(&self, to: &str, text: &str) -> Result<usize, SendError> {
        let (to, text) = (to.parse()?, text.to_owned());
        self.request(|reply| Command::Direct { to, text, data: None, reply }).await
    }

    /// Sends a message with data to one user alone, as [`Client::direct`] and [`Client::say_with_data`] do.
    ///
    /// # Errors
    /// Those of [`Client::direct`] and of [`Client::say_with_data`].
    pub async fn direct_with_data(&self, to: &str, text: &str, data: &str) -> Result<usize, SendError> {
        let (to, text, data) = (to.parse()?, text.to_owned(), Some(json(data)?));
        self.request(|reply| Command::Direct { to, text, data, reply }).await
    }

    /// Enters a room and stays in it over reconnects, until [`Client::leave`]. Without a connection the call waits for
    /// the next one.
    ///
    /// # Errors
    /// [`SendError::Refused`], [`SendError::QueueFull`], [`SendError::BadName`], [`SendError::Unread`],
    /// [`SendError::Stopped`].
    pub async fn join(&self, room: &str) -> Result<Joined, SendError> {
        let room = room.parse()?;
        self.request(|reply| Command::Join { room, reply }).await
    }

    /// Leaves a room. No event of the room follows from the call on. Leaving succeeds as well when the client is not in
    /// the room or not connected.
    ///
    /// # Errors
    /// [`SendError::QueueFull`], [`SendError::BadName`], [`SendError::Unread`], [`SendError::Stopped`].
    pub async fn leave(&self, room: &str) -> Result<(), SendError> {
        let room = room.parse()?;
        self.request(|reply| Command::Leave { room, reply }).await
    }

    /// Returns a page of a room's history: the last `limit` messages (1 to 100) `before` an offset, or of all. The
    /// request is not repeated after a reconnect.
    ///
    /// # Errors
    /// [`SendError::Disconnected`], [`SendError::Refused`], [`SendError::QueueFull`], [`SendError::BadName`],
    /// [`SendError::Unread`], [`SendError::Stopped`].
    pub async fn history(&self, room: &str, before: Option<u64>, limit: usize) -> Result<History, SendError> {
        let room = room.parse()?;
        self.request(|reply| Command::History { room, before, limit, reply }).await
    }

    /// Returns a page of the users in a room: the first `limit` users behind `after`, or of all. The request is not
    /// repeated after a reconnect.
    ///
    /// # Errors
    /// Those of [`Client::history`].
    pub async fn presence(
        &self,
        room: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Presence, SendError> {
        let (room, after) = (room.parse()?, after.map(str::parse).transpose()?);
        self.request(|reply| Command::Presence { room, after, limit, reply }).await
    }

    /// Shows the other users of a room that this one is typing. The call does nothing without a connection, or while
    /// much else waits to be sent: later it would no longer be true.
    pub fn typing(&self, room: &str) {
        if let Ok(room) = room.parse() {
            // A full queue is treated like a missing connection.
            let _ = self.commands.try_send(Command::Typing { room });
        }
    }

    /// Stops the client for all clones and closes the connection with code 1000. Waits until the client's task has
    /// ended, which takes a few seconds at most.
    ///
    /// Commands that wait fail with [`SendError::Stopped`]. Events that were not read can still be read.
    pub async fn close(&self) {
        if self.commands.send(Command::Close).await.is_ok() {
            self.commands.closed().await;
        }
    }

    /// Hands a command to the task and waits for its result.
    async fn request<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, SendError> {
        let (reply, answer) = oneshot::channel();
        let no_reason = || Ended { code: None, reason: "the client has stopped".to_owned() };
        let stopped = || SendError::Stopped(self.ended.get().cloned().unwrap_or_else(no_reason));
        self.commands.send(command(reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

/// Checks that a text is one JSON value, and keeps its bytes.
fn json(text: &str) -> Result<Data, SendError> {
    RawValue::from_string(text.to_owned()).map_err(|error| SendError::BadData(error.to_string()))
}

impl Events {
    /// Waits for the next event and returns it. Returns `None` once the client has stopped and all its events are read;
    /// the last of them is [`State::Stopped`](super::State::Stopped).
    ///
    /// # Cancel safety
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}

impl futures_util::Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.poll_recv(context)
    }
}
