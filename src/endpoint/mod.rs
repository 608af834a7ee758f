//! What stands behind a WebSocket path: one type for each endpoint, all of them synchronous. They are handed whole
//! messages and answer through the [`Peer`].

mod chat;
mod echo;
mod heartbeat;
mod messages;
mod peer;
mod route;
mod secure;
mod with_timeout;

pub use self::chat::{Chat, ChatRequest, V1Request, position};
pub use self::heartbeat::Heartbeat;
pub use self::peer::{Message, Peer};
pub use self::route::{CHAT_PREFIX, Route};
pub use self::with_timeout::WithTimeout;
use crate::chat::rate_limit::Refused;
use crate::prefetch::prefetch;
use crate::protocol::close::EndReason;

/// One connection's endpoint. 24 bytes; what is larger is boxed.
#[derive(Debug)]
pub enum Endpoint {
    /// Sends back what comes.
    Echo {
        /// Text and binary, untouched.
        is_raw: bool,
    },
    /// Sends back lines under the name of the token's owner.
    Secure(Box<str>),
    /// Validates messages.
    Messages,
    /// Ends after a silence.
    WithTimeout(Box<WithTimeout>),
    /// Wants its heartbeats acknowledged.
    Heartbeat(Box<Heartbeat>),
    /// The chat.
    Chat(Box<Chat>),
    /// Upgraded only so that a person can read why not.
    Refused(Box<EndReason>),
}

impl Endpoint {
    /// Called once, when the connection is open.
    ///
    /// # Errors
    /// The reason to end the connection.
    pub fn open(&mut self, peer: &mut Peer<'_>) -> Result<(), EndReason> {
        match self {
            Self::WithTimeout(endpoint) => {
                endpoint.heard(peer.shard_ms());
                Ok(())
            }
            Self::Heartbeat(endpoint) => endpoint.due(peer),
            Self::Refused(reason) => Err((**reason).clone()),
            Self::Echo { .. } | Self::Secure(_) | Self::Messages | Self::Chat(_) => Ok(()),
        }
    }

    /// Called with every message.
    ///
    /// # Errors
    /// The reason to end the connection.
    pub fn message(&mut self, message: Message<'_>, peer: &mut Peer<'_>) -> Result<(), EndReason> {
        let text = match (&*self, message) {
            (Self::Echo { is_raw: true }, message) => {
                echo::raw(&message, peer);
                return Ok(());
            }
            (_, Message::Binary(_)) => return Err(EndReason::BinaryRefused),
            (_, Message::Text(text)) => text,
        };
        match self {
            Self::Echo { .. } => echo::text(text, peer),
            Self::Secure(name) => secure::text(name, text, peer),
            Self::Messages => return messages::text(text, peer),
            Self::WithTimeout(endpoint) => endpoint.text(text, peer),
            Self::Heartbeat(endpoint) => return endpoint.text(text, peer),
            Self::Chat(chat) => return chat.text(text, peer),
            Self::Refused(reason) => return Err((**reason).clone()),
        }
        Ok(())
    }

    /// Called instead of [`Endpoint::message`] when its frames were more than the connection may send: answers where
    /// the endpoint has a form for errors.
    ///
    /// # Errors
    /// [`EndReason::RateLimited`] when that happened too often.
    pub fn refuse(
        &self,
        message: Message<'_>,
        refused: Refused,
        peer: &mut Peer<'_>,
    ) -> Result<(), EndReason> {
        match self {
            Self::Chat(chat) => chat.refuse(message, refused, peer),
            Self::Heartbeat(_) => Heartbeat::refuse(refused.into(), peer),
            Self::Messages => messages::refuse(refused.into(), peer),
            Self::Echo { .. } | Self::Secure(_) | Self::WithTimeout(_) | Self::Refused(_) => {}
        }
        peer.strike()
    }

    /// Has fetched what every poll reads.
    pub fn prefetch(&self) {
        if let Self::Chat(chat) = self {
            prefetch(&**chat);
        }
    }

    /// Has fetched what a message reads besides; reads what [`Endpoint::prefetch`] has fetched.
    pub fn prefetch_room(&self) {
        if let Self::Chat(chat) = self {
            chat.prefetch_room();
        }
    }

    /// True while the client is sent what it missed, or waits to leave a room: no command is taken meanwhile.
    #[must_use]
    pub fn is_replaying(&self) -> bool {
        matches!(self, Self::Chat(chat) if chat.is_replaying())
    }

    /// True while there is nothing to [go on](Endpoint::replay) with until the task is woken.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::Chat(chat) if chat.is_waiting())
    }

    /// Queues more of what it missed, or leaves the room, if that can be done now.
    ///
    /// # Errors
    /// The reason to end the connection.
    pub fn replay(&mut self, peer: &mut Peer<'_>) -> Result<(), EndReason> {
        match self {
            Self::Chat(chat) => chat.replay(peer),
            _ => Ok(()),
        }
    }

    /// When the endpoint wants to be asked again without a message, in the shard's milliseconds.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<u64> {
        match self {
            Self::WithTimeout(endpoint) => Some(endpoint.due_ms()),
            Self::Heartbeat(endpoint) => Some(endpoint.due_ms()),
            _ => None,
        }
    }

    /// Called when that time has come.
    ///
    /// # Errors
    /// The reason to end the connection.
    pub fn due(&mut self, peer: &mut Peer<'_>) -> Result<(), EndReason> {
        match self {
            Self::WithTimeout(endpoint) => endpoint.due(peer),
            Self::Heartbeat(endpoint) => endpoint.due(peer),
            _ => Ok(()),
        }
    }

    /// The user, for logs.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Chat(chat) => Some(chat.user().as_str()),
            Self::Secure(name) => Some(name),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_small() {
        assert!(size_of::<Endpoint>() <= 24, "{}", size_of::<Endpoint>());
    }
}
