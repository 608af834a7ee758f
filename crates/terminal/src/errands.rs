//! What is asked of the client, and what came of it: several at once, in the order in which they were typed.

use tokio::task::JoinSet;

use throng_client::{Ack, Client, History, Joined, Presence, SendError};
use throng_names::{RoomName, UserId};

/// So many may be under way; who types waits, or is told so.
pub(super) const MOST: usize = 256;

/// Something to be done with the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Errand {
    Say { room: RoomName, text: String },
    Tell { user: UserId, text: String },
    Join { room: RoomName },
    Leave { room: RoomName },
    Who { room: RoomName },
    History { room: RoomName, before: Option<u64>, limit: u16 },
}

impl Errand {
    /// Whether it brings a text to somebody.
    pub(super) const fn says(&self) -> bool {
        matches!(self, Self::Say { .. } | Self::Tell { .. })
    }
}

/// What the server said to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Said(Ack),
    Told(usize),
    Joined(Joined),
    Left,
    Who(Presence),
    History(History),
}

/// Users on a page of who is there, the most that a server gives.
const USERS: usize = 1000;

/// Those under way.
#[derive(Debug)]
pub(super) struct Errands {
    client: Client,
    running: JoinSet<(Errand, Result<Answer, SendError>)>,
    /// Of those, the ones that say something.
    said: usize,
}

impl Errands {
    pub(super) fn new(client: Client) -> Self {
        Self { client, running: JoinSet::new(), said: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    /// How many of them say something, so that it matters what comes of them.
    pub(super) const fn said(&self) -> usize {
        self.said
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= MOST
    }

    /// Sets out. Tasks of one thread begin in the order in which they are spawned, and the client takes commands in
    /// the order in which they come.
    pub(super) fn start(&mut self, errand: Errand) {
        self.said += usize::from(errand.says());
        let client = self.client.clone();
        self.running.spawn(async move {
            let answer = run(&client, &errand).await;
            (errand, answer)
        });
    }

    /// The next that is done; pending for ever while none is under way.
    ///
    /// # Cancel safety
    /// Cancel safe: what is done stays until it is taken.
    pub(super) async fn next(&mut self) -> (Errand, Result<Answer, SendError>) {
        match self.running.join_next().await {
            Some(Ok(done)) => {
                self.said -= usize::from(done.0.says());
                done
            }
            // Nobody aborts them: it can only be a panic, which is ours.
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => std::future::pending().await,
        }
    }

    /// Shows the others in the room that somebody writes.
    #[cfg(feature = "screen")]
    pub(super) fn typing(&self, room: &RoomName) {
        self.client.typing(room.as_str());
    }

    /// Goes, at most some seconds long; who waits for an answer does not get it any more.
    pub(super) async fn close(&mut self) {
        self.client.close().await;
    }
}

async fn run(client: &Client, errand: &Errand) -> Result<Answer, SendError> {
    match errand {
        Errand::Say { room, text } => client.say(room.as_str(), text).await.map(Answer::Said),
        Errand::Tell { user, text } => client.direct(user.as_str(), text).await.map(Answer::Told),
        Errand::Join { room } => client.join(room.as_str()).await.map(Answer::Joined),
        Errand::Leave { room } => client.leave(room.as_str()).await.map(|()| Answer::Left),
        Errand::Who { room } => client.presence(room.as_str(), None, USERS).await.map(Answer::Who),
        Errand::History { room, before, limit } => {
            client.history(room.as_str(), *before, usize::from(*limit)).await.map(Answer::History)
        }
    }
}

/// The server's code, or one of ours in the same manner.
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
        // A newer client may know more; its text says which it is.
        _ => "failed",
    }
}

/// Whether it is unknown what came of it. Otherwise it was certainly not done.
pub(super) const fn is_unknown(error: &SendError) -> bool {
    use SendError::{BadName, Disconnected, QueueFull, Refused, TooLong};
    !matches!(error, Refused { .. } | QueueFull | TooLong { .. } | BadName(_) | Disconnected)
}
