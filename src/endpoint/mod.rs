//! The endpoints behind the WebSocket paths, and the one for server-sent events: one type for each, all of them
//! synchronous. An endpoint is handed whole
//! messages and answers through its [`Peer`]; it does no I/O of its own.

mod chat;
mod echo;
mod heartbeat;
mod messages;
mod peer;
mod route;
mod secure;
mod stream;
mod with_timeout;

pub use self::chat::{Chat, ChatRequest, V1Request, position, refused_entry};
pub use self::heartbeat::Heartbeat;
pub use self::peer::{Message, Peer, Renewed, TokenRenewal};
pub use self::route::{CHAT_PREFIX, Route, STREAM_PREFIX};
pub use self::stream::{Stream, StreamRequest};
pub use self::with_timeout::WithTimeout;
use crate::node::Node;
use crate::protocol::close::EndReason;
use crate::rate_limit::Refused;
use crate::registry::inquiry::Departure;

/// The endpoint of one connection. Kept to 16 bytes: every connection has one, so that states are boxed.
#[derive(Debug)]
pub enum Endpoint {
    /// Echoes messages.
    Echo {
        /// Echoes text and binary messages unchanged.
        is_raw: bool,
    },
    /// Echoes text behind the name of the token's owner.
    Secure(Box<Box<str>>),
    /// Validates messages.
    Messages,
    /// Echoes text, and ends the connection after a time without a message.
    WithTimeout(Box<WithTimeout>),
    /// Sends heartbeats that have to be acknowledged.
    Heartbeat(Box<Heartbeat>),
    /// Takes part in the chat.
    Chat(Box<Chat>),
    /// Sends the messages of a room as server-sent events.
    Stream(Box<Stream>),
    /// Ends the connection at once. The upgrade was done only so that the client can read the close reason.
    Refused(Box<EndReason>),
}

impl Endpoint {
    /// Begins the conversation. Called once, when the connection is open.
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
            Self::Echo { .. } | Self::Secure(_) | Self::Messages => Ok(()),
            Self::Chat(_) | Self::Stream(_) => Ok(()),
        }
    }

    /// Handles a message.
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
            // Nothing is read from such a client.
            Self::Stream(_) => {}
            Self::Refused(reason) => return Err((**reason).clone()),
        }
        Ok(())
    }

    /// Answers a message whose frames exceeded the connection's rate limit, where the endpoint has a form for errors.
    /// Called instead of [`Endpoint::message`].
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
            Self::Echo { .. } | Self::Secure(_) | Self::WithTimeout(_) => {}
            Self::Stream(_) | Self::Refused(_) => {}
        }
        peer.strike()
    }

    /// Returns true while an earlier command is not finished: missed messages are being sent, a room waits to be left,
    /// or an answer of the engine is waited for. No command is taken meanwhile.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        match self {
            Self::Chat(chat) => chat.is_pending(),
            Self::Stream(stream) => stream.is_pending(),
            _ => false,
        }
    }

    /// Returns true while [`Endpoint::go_on`] has nothing to do until the task is woken.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::Chat(chat) if chat.is_waiting())
    }

    /// Goes on with an earlier command that is not finished, as far as that can be done now.
    ///
    /// # Errors
    /// The reason to end the connection.
    pub fn go_on(&mut self, peer: &mut Peer<'_>) -> Result<(), EndReason> {
        match self {
            Self::Chat(chat) => chat.go_on(peer),
            Self::Stream(stream) => stream.go_on(peer),
            _ => Ok(()),
        }
    }

    /// Leaves a room, because an operator wants it.
    ///
    /// # Errors
    /// The reason to end the connection: it has no other room, and speaks no dialect that could do without one.
    pub fn depart(&mut self, departure: Departure, peer: &mut Peer<'_>) -> Result<(), EndReason> {
        match self {
            Self::Chat(chat) => chat.depart(departure, peer),
            // The asking side may have given up.
            _ => {
                let _ = departure.answer.send(false);
                Ok(())
            }
        }
    }

    /// Returns when [`Endpoint::due`] is to be called though no message comes, in the shard's milliseconds.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<u64> {
        match self {
            Self::WithTimeout(endpoint) => Some(endpoint.due_ms()),
            Self::Heartbeat(endpoint) => Some(endpoint.due_ms()),
            _ => None,
        }
    }

    /// Does what was due at [`Endpoint::next_due_ms`].
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

    /// Notes why the connection ends. Called once, before the endpoint is dropped.
    pub fn ends(&mut self, node: &Node, reason: &EndReason) {
        if let Self::Chat(chat) = self {
            chat.ends(node, reason);
        }
    }

    /// Returns the user, for logs.
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
        assert!(size_of::<Option<Endpoint>>() <= 16, "{}", size_of::<Option<Endpoint>>());
    }
}
