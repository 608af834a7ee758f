//! What stands behind a WebSocket path: one type for each endpoint, all of them synchronous. They are handed whole
//! messages and answer through the [`Peer`].

mod chat;
mod echo;
mod heartbeat;
mod messages;
mod secure;
mod with_timeout;

use std::sync::Arc;
use std::time::Duration;

pub use self::chat::{Chat, Entry, V1Entry, position};
pub use self::heartbeat::Heartbeat;
pub use self::with_timeout::WithTimeout;
use crate::config::Config;
use crate::node::Node;
use crate::prefetch::prefetch;
use crate::protocol::close::EndReason;
use crate::protocol::command::Parser;
use crate::protocol::event::{CommandError, v1};
use crate::protocol::frame::Frame;
use crate::rate_limit::{Allowance, Limiter, Refused};
use crate::registry::Registration;

/// A connection as its endpoint sees it.
#[derive(Debug)]
pub struct Peer<'a> {
    /// Its place in the registry.
    pub registration: &'a Registration,
    /// The node.
    pub node: &'a Arc<Node>,
    /// The worker's JSON parser.
    pub parser: &'a mut Parser,
    /// What the connection has used of its rates.
    pub allowance: &'a mut Allowance,
    /// Now, in milliseconds of the node's clock, as of the wake of the connection's task.
    pub now_ms: u64,
}

impl Peer<'_> {
    /// Answers the client. What is queued is written when the messages that were read together are done.
    pub fn reply(&self, frame: &Frame) {
        self.registration.reply(frame);
    }

    /// Counts a command that was refused for its rate: as a strike where the connection itself has used up what it may
    /// send, and not where others of its user's name have.
    ///
    /// # Errors
    /// As [`Peer::strike`].
    fn rate_limited(&mut self) -> Result<(), EndReason> {
        if let Some(limiter) = &self.node.limiter
            && !self.allowance.is_used_up(self.now_ms, limiter)
        {
            self.registration.shard().metrics().rate_limited.add(1);
            return Ok(());
        }
        self.strike()
    }

    /// Answers what was refused of the chat: `re` is the id of the command, where there is one.
    pub fn refuse(&self, re: Option<&str>, error: CommandError) {
        self.registration.shard().metrics().failed(error.code());
        self.reply(&v1::error(re, error));
    }

    /// Now, in the shard's milliseconds, by which [`Endpoint::next_due_ms`] goes.
    fn shard_ms(&self) -> u64 {
        self.registration.shard().now_ms()
    }

    /// Counts something that was refused for its rate.
    ///
    /// # Errors
    /// [`EndReason::RateLimited`] when there were more than `rate_limit.strikes` within a minute.
    pub fn strike(&mut self) -> Result<(), EndReason> {
        self.registration.shard().metrics().rate_limited.add(1);
        match &self.node.limiter {
            Some(limiter) if self.allowance.strike(self.now_ms, limiter) => Err(EndReason::RateLimited),
            _ => Ok(()),
        }
    }

    /// Takes something off what the client may still do, where there are rate limits.
    fn spend(
        &mut self,
        take: impl FnOnce(&mut Allowance, u64, &Limiter) -> Result<(), Refused>,
    ) -> Result<(), CommandError> {
        match &self.node.limiter {
            Some(limiter) => Ok(take(self.allowance, self.now_ms, limiter)?),
            None => Ok(()),
        }
    }

    fn config(&self) -> &Config {
        &self.node.config
    }
}

/// A data message.
#[derive(Debug)]
pub enum Message<'a> {
    /// Text, checked to be UTF-8. Mutable because the JSON parser works in place.
    Text(&'a mut [u8]),
    /// Bytes.
    Binary(&'a mut [u8]),
}

/// Where a WebSocket path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `/ws`
    Echo,
    /// `/ws/secure`
    Secure,
    /// `/ws/messages`
    Messages,
    /// `/ws/with-timeout`
    WithTimeout,
    /// `/ws/heartbeat`
    Heartbeat,
    /// `/ws/chat/{user_id}`
    Chat,
}

/// What a chat path begins with.
pub const CHAT_PREFIX: &str = "/ws/chat/";

impl Route {
    /// The route of a path, without its query.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        Some(match path {
            "/ws" => Self::Echo,
            "/ws/secure" => Self::Secure,
            "/ws/messages" => Self::Messages,
            "/ws/with-timeout" => Self::WithTimeout,
            "/ws/heartbeat" => Self::Heartbeat,
            _ => {
                path.strip_prefix(CHAT_PREFIX).filter(|segment| !segment.contains('/'))?;
                Self::Chat
            }
        })
    }

    /// Its name in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Secure => "secure",
            Self::Messages => "messages",
            Self::WithTimeout => "with-timeout",
            Self::Heartbeat => "heartbeat",
            Self::Chat => "chat",
        }
    }
}

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

const fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_one_endpoint_or_to_none() {
        assert_eq!(Route::parse("/ws"), Some(Route::Echo));
        assert_eq!(Route::parse("/ws/chat/a%20b"), Some(Route::Chat));
        assert_eq!(Route::parse("/ws/chat/"), Some(Route::Chat));
        for path in ["/ws/", "/ws/chat", "/ws/chat/a/b", "/ws/other", "/", "/WS"] {
            assert_eq!(Route::parse(path), None, "{path}");
        }
    }

    #[test]
    fn an_endpoint_is_small() {
        assert!(size_of::<Endpoint>() <= 24, "{}", size_of::<Endpoint>());
    }
}
