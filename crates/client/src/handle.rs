//! What a program holds of a connection: a handle for commands, and the events for one reader.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::sync::{mpsc, oneshot};

use super::command::{Command, Reply};
use super::event::{Ack, Ended, Event, History, Joined, Presence};
use super::{Builder, SendError};

/// A handle to a connection that comes back by itself. Clones share it.
///
/// Cancel safety of all commands: dropping a future does not take the command back, it only drops the answer.
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) commands: mpsc::Sender<Command>,
    /// Why the task has ended, once it has.
    pub(super) ended: Arc<OnceLock<Ended>>,
}

/// What happens, for one reader.
///
/// Read it, or drop it when the events do not matter. When [`Builder::events`] of them wait unread, the client stops
/// reading from its socket, so answers to commands stand still too, and the server drops it as a slow consumer in the
/// end; once there is space again, it reads on, or reconnects and resumes. So that no command waits for ever for a
/// reader who waits for the command, all that are unanswered after half a minute or so of this (the server's heartbeat
/// and ten seconds) fail with [`SendError::Unread`].
#[derive(Debug)]
pub struct Events(pub(super) mpsc::Receiver<Event>);

impl Client {
    /// A client of the server at `url`: `ws://`, `wss://`, `http://` or `https://`, with the path under which a proxy
    /// shows the server's `/`, if any.
    #[must_use]
    pub fn builder(url: &str) -> Builder {
        Builder::new(url)
    }

    /// Says something in a room. While away it waits, and it is never said twice.
    ///
    /// Messages are sent one after the other in the order of the calls: what is refused or lost never changes it.
    ///
    /// # Errors
    /// [`SendError::Refused`], [`SendError::QueueFull`], [`SendError::TooLong`], [`SendError::BadName`],
    /// [`SendError::UnknownOutcome`], [`SendError::Unread`], [`SendError::Stopped`].
    pub async fn say(&self, room: &str, text: &str) -> Result<Ack, SendError> {
        let (room, text) = (room.parse()?, text.to_owned());
        self.ask(|reply| Command::Say { room, text, reply }).await
    }

    /// Says something to one user alone, and tells to how many connections of theirs it was handed.
    ///
    /// # Errors
    /// As [`Client::say`]; nobody there is [`SendError::Refused`] with `user_not_found`.
    pub async fn direct(&self, to: &str, text: &str) -> Result<usize, SendError> {
        let (to, text) = (to.parse()?, text.to_owned());
        self.ask(|reply| Command::Direct { to, text, reply }).await
    }

    /// Enters a room and stays in it over reconnects, until [`Client::leave`]. While away it waits.
    ///
    /// # Errors
    /// [`SendError::Refused`], [`SendError::QueueFull`], [`SendError::BadName`], [`SendError::Unread`],
    /// [`SendError::Stopped`].
    pub async fn join(&self, room: &str) -> Result<Joined, SendError> {
        let room = room.parse()?;
        self.ask(|reply| Command::Join { room, reply }).await
    }

    /// Leaves a room: nothing more of it is heard from the call on. Being in none is fine, and so is being away.
    ///
    /// # Errors
    /// [`SendError::QueueFull`], [`SendError::BadName`], [`SendError::Unread`], [`SendError::Stopped`].
    pub async fn leave(&self, room: &str) -> Result<(), SendError> {
        let room = room.parse()?;
        self.ask(|reply| Command::Leave { room, reply }).await
    }

    /// A page of a room's messages: the last `limit` (1 to 100) of those `before` an offset, or of all. Not repeated
    /// after a reconnect.
    ///
    /// # Errors
    /// [`SendError::Disconnected`], [`SendError::Refused`], [`SendError::QueueFull`], [`SendError::BadName`],
    /// [`SendError::Unread`], [`SendError::Stopped`].
    pub async fn history(&self, room: &str, before: Option<u64>, limit: usize) -> Result<History, SendError> {
        let room = room.parse()?;
        self.ask(|reply| Command::History { room, before, limit, reply }).await
    }

    /// A page of who is in a room: the first `limit` users behind `after`, or of all. Not repeated after a reconnect.
    ///
    /// # Errors
    /// As [`Client::history`].
    pub async fn presence(
        &self,
        room: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Presence, SendError> {
        let (room, after) = (room.parse()?, after.map(str::parse).transpose()?);
        self.ask(|reply| Command::Presence { room, after, limit, reply }).await
    }

    /// Shows the others in a room that we write. Without a connection, or when much else is to be sent, nothing
    /// happens: it is about now.
    pub fn typing(&self, room: &str) {
        if let Ok(room) = room.parse() {
            // No space: as when there is no connection.
            let _ = self.commands.try_send(Command::Typing { room });
        }
    }

    /// Goes for good, for all clones, with close code 1000. Waits until the connection's task has ended, at most some
    /// seconds.
    ///
    /// Commands that wait fail with [`SendError::Stopped`]; events that were not read can still be.
    pub async fn close(&self) {
        if self.commands.send(Command::Close).await.is_ok() {
            self.commands.closed().await;
        }
    }

    /// Hands a command to the task and waits for the answer.
    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, SendError> {
        let (reply, answer) = oneshot::channel();
        let no_reason = || Ended { code: None, reason: "the client has ended".to_owned() };
        let gone = || SendError::Stopped(self.ended.get().cloned().unwrap_or_else(no_reason));
        self.commands.send(command(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Events {
    /// The next event; `None` after [`State::Stopped`](super::State::Stopped), or when every [`Client`] is gone and the
    /// task has ended.
    ///
    /// # Cancel safety
    /// Cancel safe: no event is lost.
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
