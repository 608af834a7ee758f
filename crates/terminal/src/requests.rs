//! Requests to the server: several at once, sent in the order in which they were typed.

use tokio::task::JoinSet;

use throng_client::{Ack, Client, History, Joined, Presence, SendError};
use throng_names::{RoomName, UserId};

/// Most requests that may be under way. Beyond it, typed lines wait or are refused.
pub(super) const MAX_CONCURRENT: usize = 256;
/// Users that one request lists: the most that a server returns.
const USERS_PER_PAGE: usize = 1000;

/// A request to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    Say { room: RoomName, text: String },
    Direct { user: UserId, text: String },
    Join { room: RoomName },
    Leave { room: RoomName },
    Users { room: RoomName },
    History { room: RoomName, before: Option<u64>, limit: u16 },
}

impl Request {
    /// Returns true when the request sends a message to a room or a user.
    pub(super) const fn is_message(&self) -> bool {
        matches!(self, Self::Say { .. } | Self::Direct { .. })
    }
}

/// The server's response to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Response {
    Acked(Ack),
    /// The number of connections that a direct message was delivered to.
    Delivered(usize),
    Joined(Joined),
    Left,
    Users(Presence),
    History(History),
}

/// The requests that are under way.
#[derive(Debug)]
pub(super) struct Requests {
    client: Client,
    running: JoinSet<(Request, Result<Response, SendError>)>,
    /// How many of the requests under way are messages.
    messages: usize,
}

impl Requests {
    pub(super) fn new(client: Client) -> Self {
        Self { client, running: JoinSet::new(), messages: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// Returns how many messages are unanswered. The outcome of other requests does not matter once the chat ends.
    pub(super) const fn unanswered_messages(&self) -> usize {
        self.messages
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= MAX_CONCURRENT
    }

    /// Starts a request. The tasks of a runtime with one thread begin in the order in which they are spawned, and the
    /// client takes commands in the order in which they arrive, so that requests keep their order.
    pub(super) fn start(&mut self, request: Request) {
        self.messages += usize::from(request.is_message());
        let client = self.client.clone();
        self.running.spawn(async move {
            let response = run(&client, &request).await;
            (request, response)
        });
    }

    /// Waits for the next response. Never resolves while no request is under way.
    ///
    /// # Cancel safety
    /// Cancel safe: a response stays until it is taken.
    pub(super) async fn next(&mut self) -> (Request, Result<Response, SendError>) {
        match self.running.join_next().await {
            Some(Ok(done)) => {
                self.messages -= usize::from(done.0.is_message());
                done
            }
            // No request is ever aborted: the error is a panic, which goes on here.
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => std::future::pending().await,
        }
    }

    /// Shows the other users of the room that this one is typing.
    #[cfg(feature = "screen")]
    pub(super) fn typing(&self, room: &RoomName) {
        self.client.typing(room.as_str());
    }

    /// Closes the connection, which takes some seconds at most. Requests under way are not answered any more.
    pub(super) async fn close(&mut self) {
        self.client.close().await;
    }
}

async fn run(client: &Client, request: &Request) -> Result<Response, SendError> {
    match request {
        Request::Say { room, text } => client.say(room.as_str(), text).await.map(Response::Acked),
        Request::Direct { user, text } => client.direct(user.as_str(), text).await.map(Response::Delivered),
        Request::Join { room } => client.join(room.as_str()).await.map(Response::Joined),
        Request::Leave { room } => client.leave(room.as_str()).await.map(|()| Response::Left),
        Request::Users { room } => {
            client.presence(room.as_str(), None, USERS_PER_PAGE).await.map(Response::Users)
        }
        Request::History { room, before, limit } => {
            client.history(room.as_str(), *before, usize::from(*limit)).await.map(Response::History)
        }
    }
}

/// Returns the server's error code, or a code of the same form for an error of the client.
pub(super) fn code_of(error: &SendError) -> &str {
    match error {
        SendError::Refused { code, .. } => code,
        SendError::QueueFull => "queue_full",
        SendError::TooLong { .. } => "message_too_long",
        SendError::BadName(_) => "invalid_name",
        SendError::Disconnected => "disconnected",
        SendError::UnknownOutcome => "unknown_outcome",
        SendError::Unread => "unread",
        SendError::Stopped(_) => "stopped",
        // A later client may have more errors; their texts explain them.
        _ => "failed",
    }
}

/// Returns true when the request may have been carried out. Otherwise it certainly was not.
pub(super) const fn is_outcome_unknown(error: &SendError) -> bool {
    match error {
        SendError::Refused { .. }
        | SendError::QueueFull
        | SendError::TooLong { .. }
        | SendError::BadName(_)
        | SendError::Disconnected => false,
        SendError::UnknownOutcome | SendError::Unread | SendError::Stopped(_) => true,
        // Nothing is known about the errors of a later client.
        _ => true,
    }
}
