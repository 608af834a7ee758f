//! The protocols that servers speak on top of WebSocket: how a client joins a room, publishes and stays alive.
//!
//! A connection asks its [`Client`] what to send first, and what to do about each text that is no delivery. Nothing
//! here keeps state: every text of a server says by itself what comes next.

use std::time::Duration;

use anyhow::ensure;
use clap::ValueEnum;

use super::target::{authority_and_path, fill_placeholders};

mod centrifugo;
mod phoenix;
mod pusher;
mod socketio;

/// A protocol that `throng bench` speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Protocol {
    /// The chat of throng
    Throng,
    /// The server relays each text to everybody, as it is
    Plain,
    /// The server sends each text back to its sender
    Echo,
    /// Socket.IO 3 and 4 (Engine.IO 4), over WebSocket from the beginning
    Socketio,
    /// Centrifugo, its bidirectional protocol in JSON
    Centrifugo,
    /// Channels of Phoenix, version 2.0.0
    Phoenix,
    /// Pusher Channels 7, with client events in a private channel
    Pusher,
}

/// The answer to a text without a mark, or another consequence of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// It belongs to the protocol, and there is nothing to do.
    Nothing,
    /// It is kept for the report, as it is no part of the protocol.
    Keep,
    /// It demands this answer.
    Answer(String),
    /// The connection has joined its room.
    Joined,
    /// The server does not let the connection join, for this reason.
    Refused(String),
    /// The server reports this error.
    Failed(String),
}

/// Text heartbeats of the protocols without a join, and their answers. A server that gets no answer closes the
/// connection.
const HEARTBEATS: [(&str, &str); 2] =
    [("2", "3"), (r#"{"type":"heartbeat"}"#, r#"{"type":"heartbeat_ack"}"#)];

/// A client of a protocol: everything that is chosen for a run.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) protocol: Protocol,
    /// Room, channel or topic that each connection joins, with placeholders.
    channel: String,
    /// The token that each connection presents, with placeholders.
    token: Option<String>,
    /// Key of the application, from the URL; empty for other protocols than Pusher.
    app_key: String,
    /// Secret of the application, which signs a subscription.
    secret: Option<String>,
    /// Time between two heartbeats of a client, where the protocol has such.
    heartbeat: Duration,
}

impl Protocol {
    /// Returns the path of the URL where the protocol has a usual one.
    fn usual_path(self) -> Option<&'static str> {
        match self {
            Self::Throng | Self::Plain | Self::Echo | Self::Pusher => None,
            Self::Socketio => Some(socketio::PATH),
            Self::Centrifugo => Some(centrifugo::PATH),
            Self::Phoenix => Some(phoenix::PATH),
        }
    }

    /// Returns the channel that a connection joins by default. `None` if the protocol knows no such thing.
    fn usual_channel(self) -> Option<&'static str> {
        match self {
            Self::Throng | Self::Plain | Self::Echo | Self::Socketio => None,
            Self::Centrifugo => Some("bench-{r}"),
            Self::Phoenix => Some("room:bench-{r}"),
            Self::Pusher => Some("private-bench-{r}"),
        }
    }

    /// Returns the URL with the usual path of the protocol if it has none.
    pub(super) fn complete(self, url: &str) -> String {
        let has_path = !authority_and_path(url).1.trim_end_matches('/').is_empty();
        match self.usual_path() {
            Some(path) if !has_path => format!("{}{path}", url.trim_end_matches('/')),
            // The path has the application's key.
            _ if self == Self::Pusher && !url.contains('?') => format!("{url}{}", pusher::QUERY),
            _ => url.to_owned(),
        }
    }

    /// Returns true if a text may have several messages, one in each line.
    pub(super) fn has_lines(self) -> bool {
        self == Self::Centrifugo
    }

    /// Returns the lengths that a heartbeat of the server can have, as bits of their numbers.
    pub(super) fn heartbeat_lens(self) -> u64 {
        match self {
            Self::Throng | Self::Plain | Self::Echo => {
                HEARTBEATS.iter().fold(0, |lens, (beat, _)| lens | 1 << beat.len())
            }
            Self::Socketio => 1 << socketio::PING.len(),
            Self::Centrifugo => 1 << centrifugo::PING.len(),
            Self::Phoenix => 0,
            Self::Pusher => pusher::PING_LENS.fold(0, |lens, len| lens | 1 << len),
        }
    }

    /// Returns true if a connection has to join before it can receive.
    pub(super) fn has_join(self) -> bool {
        !matches!(self, Self::Throng | Self::Plain | Self::Echo)
    }
}

/// The options of the command line about a protocol.
#[derive(Debug, Default)]
pub(super) struct Wishes<'a> {
    pub(super) channel: Option<&'a str>,
    pub(super) token: Option<&'a str>,
    pub(super) secret: Option<&'a str>,
    pub(super) heartbeat: Duration,
}

impl Client {
    /// Returns a client of a server at `url`.
    ///
    /// # Errors
    /// An option has no meaning in the protocol, or one is missing that it needs.
    pub(super) fn new(protocol: Protocol, url: &str, wishes: &Wishes<'_>) -> anyhow::Result<Self> {
        let usual = protocol.usual_channel();
        ensure!(
            wishes.channel.is_none() || usual.is_some(),
            "--channel is for centrifugo, phoenix and pusher: other clients join by the URL or by --hello"
        );
        let takes_token = matches!(protocol, Protocol::Centrifugo | Protocol::Socketio);
        ensure!(
            wishes.token.is_none() || takes_token,
            "--token is for centrifugo and socketio: use --header or the URL for other protocols"
        );
        ensure!(
            wishes.secret.is_some() == (protocol == Protocol::Pusher),
            "--secret is the application's secret of --protocol pusher, which needs one, and of no other"
        );
        let app_key = if protocol == Protocol::Pusher { pusher::key_in(url)? } else { String::new() };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Ok(Self {
            protocol,
            channel: wishes.channel.or(usual).unwrap_or_default().to_owned(),
            token: owned(wishes.token),
            app_key,
            secret: owned(wishes.secret),
            heartbeat: wishes.heartbeat,
        })
    }

    /// Returns the text of a message, in which `%s` stands for the payload.
    pub(super) fn template(&self) -> String {
        match self.protocol {
            Protocol::Throng => r#"{"message":"%s"}"#.into(),
            Protocol::Plain | Protocol::Echo => "%s".into(),
            Protocol::Socketio => socketio::TEMPLATE.into(),
            Protocol::Centrifugo => centrifugo::template(&self.channel),
            Protocol::Phoenix => phoenix::template(&self.channel),
            Protocol::Pusher => pusher::template(&self.channel),
        }
    }

    /// Returns the text that the client sends as soon as the WebSocket is open.
    pub(super) fn first(&self, number: usize, room: usize) -> Option<String> {
        match self.protocol {
            Protocol::Centrifugo => Some(centrifugo::connect(self.token(number, room).as_deref())),
            Protocol::Phoenix => Some(phoenix::join(&self.channel(number, room))),
            Protocol::Throng | Protocol::Plain | Protocol::Echo | Protocol::Socketio | Protocol::Pusher => {
                None
            }
        }
    }

    /// Says what to do about a text of the server that has no mark.
    pub(super) fn react(&self, text: &[u8], number: usize, room: usize) -> Reaction {
        match self.protocol {
            Protocol::Throng | Protocol::Plain | Protocol::Echo => {
                let found = HEARTBEATS.iter().find(|(beat, _)| beat.as_bytes() == text);
                found.map_or(Reaction::Keep, |(_, answer)| Reaction::Answer((*answer).into()))
            }
            Protocol::Socketio => socketio::react(text, || self.token(number, room)),
            Protocol::Centrifugo => centrifugo::react(text, || self.channel(number, room)),
            Protocol::Phoenix => phoenix::react(text),
            Protocol::Pusher => {
                let secret = self.secret.as_deref().unwrap_or_default();
                pusher::react(text, &self.app_key, secret, || self.channel(number, room))
            }
        }
    }

    /// Returns the heartbeat that the clients send on their own, and the time between two of a client.
    pub(super) fn heartbeat(&self) -> Option<(&'static str, Duration)> {
        let text = match self.protocol {
            Protocol::Phoenix => phoenix::HEARTBEAT,
            Protocol::Pusher => pusher::PING,
            _ => return None,
        };
        Some((text, self.heartbeat))
    }

    fn channel(&self, number: usize, room: usize) -> String {
        fill_placeholders(&self.channel, number, room)
    }

    fn token(&self, number: usize, room: usize) -> Option<String> {
        self.token.as_ref().map(|token| fill_placeholders(token, number, room))
    }
}

/// Returns `text` as a string of JSON.
fn quoted(text: &str) -> String {
    // Text can always be written as JSON.
    simd_json::serde::to_string(text).unwrap_or_default()
}

/// Parses the JSON of a text; `None` if it is something else.
fn parsed<'a, T: serde::Deserialize<'a>>(text: &'a mut [u8]) -> Option<T> {
    simd_json::serde::from_slice(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(protocol: Protocol, url: &str, wishes: &Wishes<'_>) -> anyhow::Result<Client> {
        Client::new(protocol, url, wishes)
    }

    #[test]
    fn a_url_without_a_path_gets_the_usual_one() {
        for (protocol, url, expected) in [
            (Protocol::Socketio, "ws://h:1", "ws://h:1/socket.io/?EIO=4&transport=websocket"),
            (Protocol::Socketio, "ws://h:1/mine/?EIO=4", "ws://h:1/mine/?EIO=4"),
            (Protocol::Centrifugo, "wss://h/", "wss://h/connection/websocket"),
            (Protocol::Phoenix, "ws://h", "ws://h/socket/websocket?vsn=2.0.0"),
            (Protocol::Phoenix, "ws://h?vsn=2.0.0", "ws://h?vsn=2.0.0"),
            (Protocol::Plain, "ws://h", "ws://h"),
            (Protocol::Pusher, "ws://h/app/k", "ws://h/app/k?protocol=7&client=throng-bench&version=1"),
        ] {
            assert_eq!(protocol.complete(url), expected);
        }
    }

    #[test]
    fn options_without_a_meaning_are_refused() {
        let (channel, token, secret) = (Some("c"), Some("t"), Some("s"));
        let none = Wishes::default();
        for (protocol, wishes) in [
            (Protocol::Plain, Wishes { channel, ..Wishes::default() }),
            (Protocol::Phoenix, Wishes { token, ..Wishes::default() }),
            (Protocol::Socketio, Wishes { secret, ..Wishes::default() }),
            (Protocol::Pusher, none),
        ] {
            assert!(client(protocol, "ws://h/app/k", &wishes).is_err(), "{protocol:?} {wishes:?}");
        }
        let wishes = Wishes { secret, ..Wishes::default() };
        assert!(client(Protocol::Pusher, "ws://h/", &wishes).is_err(), "there is no key");
        assert!(client(Protocol::Pusher, "ws://h/app/k?protocol=7", &wishes).is_ok());
    }

    #[test]
    fn heartbeats_of_the_simple_protocols_are_answered() {
        let client = client(Protocol::Throng, "ws://h", &Wishes::default()).expect("a client");
        assert_eq!(client.react(b"2", 0, 0), Reaction::Answer("3".into()));
        let beat = br#"{"type":"heartbeat"}"#;
        assert_eq!(client.react(beat, 0, 0), Reaction::Answer(r#"{"type":"heartbeat_ack"}"#.into()));
        assert_eq!((client.react(b"3", 0, 0), client.react(b"", 0, 0)), (Reaction::Keep, Reaction::Keep));
        let shortest_mark = super::super::mark::MARK_BYTES;
        assert!(HEARTBEATS.iter().all(|(beat, _)| beat.len() < shortest_mark));
    }
}
