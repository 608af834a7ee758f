//! A client of the chat server throng. It reconnects by itself, resumes where it was, and never lets a message appear
//! twice.
//!
//! ```no_run
//! use throng_client::{Client, Event};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, mut events) = Client::builder("ws://127.0.0.1:8080").user("ann").room("lobby").connect()?;
//! let ack = client.say("lobby", "hi").await?; // the server has appended it
//! println!("appended at offset {}", ack.offset);
//! while let Some(event) = events.next().await {
//!     if let Event::Message { room, user, text, .. } = event {
//!         println!("{room} {user}: {text}");
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! This crate stands on its own: a program that uses it compiles nothing of the server. It needs a [tokio] runtime,
//! speaks the dialect `throng.v1`, and behaves like `client.js`, the server's own client for browsers. The rest of this
//! page is a guide, from the first connection to the last error.
//!
//! | you want to | see |
//! |---|---|
//! | connect, and follow the state of the connection | [Connect](#connect) |
//! | enter and leave rooms, list their users | [Rooms](#rooms) |
//! | send a message and know that it was appended | [Messages](#messages) |
//! | receive messages and other events | [Events](#events) |
//! | know what is lost with a connection | [Reconnecting](#reconnecting) |
//! | tell errors apart | [Errors](#errors) |
//! | log in | [Tokens](#tokens) |
//! | encrypt the connection | [TLS](#tls) |
//!
//! # Connect
//!
//! [`Client::builder`] takes the server's address. [`Builder::connect`] checks all options and starts a task that makes
//! the connection. It does not wait for the server: a server that does not answer is reported as an event, and the task
//! tries again until it succeeds or until another attempt cannot help.
//!
//! ```
//! use throng_client::{Client, Event, State};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // No server listens on this port.
//! let (client, mut events) = Client::builder("ws://127.0.0.1:1").user("ann").connect()?;
//! assert_eq!(events.next().await, Some(Event::State(State::Connecting { attempt: 0 })));
//! let Some(Event::State(State::Waiting { delay, reason, .. })) = events.next().await else { panic!() };
//! println!("no connection ({reason}), the next attempt begins in {delay:?}");
//!
//! client.close().await;
//! while let Some(event) = events.next().await {
//!     println!("the last events: {event:?}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Client`] is a handle. Clone it and use it from as many tasks as you like: all clones share one connection. The
//! connection ends with [`Client::close`], or when every [`Client`] and the [`Events`] are dropped.
//!
//! # Rooms
//!
//! The handshake enters one room: that of [`Builder::room`], or the server's default. [`Client::join`] enters others.
//! The client stays in all of them, over every reconnect, until [`Client::leave`].
//!
//! ```no_run
//! # async fn run(client: throng_client::Client) -> Result<(), throng_client::SendError> {
//! let joined = client.join("builds").await?;
//! println!("joined {}, which has {:?} users", joined.room, joined.members);
//!
//! let page = client.presence("builds", None, 100).await?;
//! for user in &page.users {
//!     println!("{user} is here");
//! }
//! if page.more {
//!     // The next page begins behind the last user of this one.
//!     let last = page.users.last().map(ToString::to_string);
//!     let _next = client.presence("builds", last.as_deref(), 100).await?;
//! }
//! client.leave("builds").await?;
//! # Ok(())
//! # }
//! ```
//!
//! Afterwards [`Event::PresenceDiff`] reports the users who enter and leave. [`Client::typing`] shows the others that
//! the user is typing.
//!
//! # Messages
//!
//! [`Client::say`] and [`Client::direct`] return when the server has answered. Until then the client keeps the message.
//! After a reconnect it sends the message again with the same idempotency key, so that it appears in the room once.
//! Messages of one client keep the order of the calls. At most [`Builder::queue`] of them wait. Further calls fail at
//! once with [`SendError::QueueFull`], so that memory stays bounded.
//!
//! ```no_run
//! # async fn run(client: throng_client::Client) -> Result<(), throng_client::SendError> {
//! // Concurrent calls share the connection: their messages wait in one queue.
//! let (first, second) = tokio::join!(client.say("lobby", "one"), client.say("lobby", "two"));
//! assert!(first?.offset < second?.offset);
//!
//! let connections = client.direct("bob", "a word in private").await?;
//! println!("delivered to {connections} connections of bob");
//!
//! // The last 50 messages, oldest first, and the 50 before them.
//! let page = client.history("lobby", None, 50).await?;
//! if let (true, Some(oldest)) = (page.more, page.messages.first()) {
//!     let _older = client.history("lobby", Some(oldest.offset), 50).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Dropping the future of a command does not take the command back. It only drops the answer.
//!
//! A message may carry any JSON value besides its text, with [`Client::say_with_data`] and
//! [`Client::direct_with_data`]. The server passes it on in the bytes that were written; the events and
//! [`Message::data`] have it in them. [`Builder::name`] claims a name for people, which every message then has. It
//! proves nothing: show the user id beside it.
//!
//! ```no_run
//! use serde_json::json;
//! use throng_client::{Client, Event};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let options = Client::builder("ws://127.0.0.1:8080").user("ann").name("Ann M\u{fc}ller");
//! let (client, mut events) = options.connect()?;
//! client.say_with_data("lobby", "look", &json!({"picture": 7}).to_string()).await?;
//! while let Some(event) = events.next().await {
//!     if let Event::Message { user, name, text, data: Some(data), .. } = event {
//!         let data: serde_json::Value = serde_json::from_str(&data)?;
//!         println!("{user} ({name:?}): {text}, with {}", data["picture"]);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Events
//!
//! [`Events::next`] returns the events in order, to one reader. [`Events`] is a [`Stream`](futures_util::Stream), too.
//! Keep reading in a task of its own, or drop the [`Events`] when they do not matter. Events that are kept but not read
//! stop the client, because answers arrive on the same socket: after [`Builder::events`] unread events the client stops
//! reading, the server drops it as a slow consumer, and after about half a minute unanswered commands fail with
//! [`SendError::Unread`]. Once the events are read again, the client resumes where it was.
//!
//! ```no_run
//! use throng_client::{Client, Event, Events, State};
//!
//! async fn read(mut events: Events) {
//!     while let Some(event) = events.next().await {
//!         match event {
//!             Event::Welcome { room, user, .. } => println!("connected as {user}, in {room}"),
//!             Event::Message { room, user, text, .. } => println!("{room} {user}: {text}"),
//!             Event::Direct { user, text, .. } => println!("{user} to you: {text}"),
//!             Event::State(State::Stopped { reason }) => println!("stopped: {reason}"),
//!             // Later versions may add events.
//!             _ => {}
//!         }
//!     }
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, events) = Client::builder("ws://127.0.0.1:8080").user("ann").connect()?;
//! let reader = tokio::spawn(read(events));
//! client.say("lobby", "hi").await?;
//! client.close().await;
//! reader.await?;
//! # Ok(())
//! # }
//! ```
//!
//! Names hold only `[A-Za-z0-9_.:@-]`. Texts hold whatever another user has written, control characters included.
//! Remove those before you print a text on a terminal.
//!
//! # Reconnecting
//!
//! When a connection is lost, the client makes another one and enters every room again, at the last message that it has
//! received. It presents the secret of the previous connection, so that it can take its own user id over if the server
//! still holds that connection for alive. Each message of a room arrives once and in order, or an event reports the
//! loss:
//!
//! | event | meaning |
//! |---|---|
//! | [`Event::Recovered`] | all missed messages have arrived; the room is complete |
//! | [`Event::Missed`] | messages are lost: the server no longer has them, or the room has begun anew |
//! | [`Event::Gap`] | the client was too slow and the server left out messages; [`Client::history`] may have them |
//! | [`Event::Expelled`] | the server did not let the client into the room again, or the server took it out |
//!
//! [`Event::State`] tells when the next attempt begins. [`Backoff`] decides it: a random time below a ceiling that
//! doubles with each attempt, so that the clients of a restarted server do not all come back at once. A delay that the
//! server asks for (`after_ms`, `Retry-After`) takes precedence.
//!
//! ```
//! use std::time::Duration;
//! use throng_client::{Backoff, Client};
//!
//! // At most 100 ms at first and at most 5 s ever. A connection that was up for a minute starts the count anew.
//! let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5), Duration::from_secs(60));
//! assert_eq!(backoff.ceiling(), Duration::from_millis(100));
//! let _builder = Client::builder("ws://127.0.0.1:8080").user("ann").backoff(backoff);
//! ```
//!
//! Reconnecting cannot help in these cases, and the client stops with [`State::Stopped`]:
//!
//! * after the close codes 1002, 1003, 1007, 1008, 3003, and 4500 and above;
//! * after the close code 3000 with a token that has expired;
//! * after an HTTP answer that is no upgrade, except for the statuses 408, 425, 429 and 5xx;
//! * when the server's certificate is not trusted, has expired, or is for another name;
//! * when the server speaks no TLS where it should, or no `throng.v1`.
//!
//! # Errors
//!
//! [`BuildError`] is a mistake in the options, found before anything happens:
//!
//! ```
//! use throng_client::{BuildError, Client};
//!
//! let error = Client::builder("ws://127.0.0.1:8080").user("no blanks").connect().unwrap_err();
//! assert!(matches!(error, BuildError::User(_)));
//! assert_eq!(error.to_string(), "user: may only contain letters A-Z and a-z, digits, and _ . : @ -");
//! ```
//!
//! [`SendError`] is why a command failed. Every command ends, with its answer or with one of these errors. They differ
//! in whether the command may have been carried out:
//!
//! ```no_run
//! use std::time::Duration;
//! use throng_client::{Client, SendError};
//!
//! async fn report(client: &Client) -> Result<(), SendError> {
//!     loop {
//!         match client.say("builds", "the build is done").await {
//!             Ok(_) => return Ok(()),
//!             // The server refused it, and says when to try again.
//!             Err(SendError::Refused { retry_after: Some(pause), .. }) => tokio::time::sleep(pause).await,
//!             // Too many commands wait already: nothing was sent.
//!             Err(SendError::QueueFull) => tokio::time::sleep(Duration::from_secs(1)).await,
//!             // It was sent and may have been appended: sending it again could make it appear twice.
//!             Err(error @ (SendError::UnknownOutcome | SendError::Unread)) => return Err(error),
//!             Err(error) => return Err(error),
//!         }
//!     }
//! }
//! ```
//!
//! [`Ended`] is why a connection ended: the close code, if there was one, and a reason for people.
//!
//! # Tokens
//!
//! A server with `auth.algorithm` asks for a JWT whose `sub` is the user id. The client sends it in the header
//! `Authorization`, never in the address.
//!
//! ```no_run
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let token = std::env::var("THRONG_TOKEN")?;
//! let (_client, _events) =
//!     throng_client::Client::builder("wss://chat.example.org").user("ann").token(&token).connect()?;
//! # Ok(())
//! # }
//! ```
//!
//! When a token expires, the server closes the connection with code 3000. The client stops with [`State::Stopped`],
//! because it has no other token. Give it a function instead: [`Builder::token_from`] gets a fresh token for each
//! connection, and another one before that expires. The server takes it over the same connection, which goes on.
//!
//! ```no_run
//! # async fn ask_our_backend() -> Result<String, std::io::Error> { unreachable!() }
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let builder = throng_client::Client::builder("wss://chat.example.org").user("ann");
//! let (_client, _events) = builder.token_from(|| async { ask_our_backend().await }).connect()?;
//! # Ok(())
//! # }
//! ```
//!
//! If a new token does not allow a room any more, [`Event::Expelled`] says that the client is out of it.
//!
//! # TLS
//!
//! `wss://` and `https://` addresses need the feature `tls`, which is on by default. It uses rustls with the
//! cryptography of ring, and trusts the root certificates of the system. [`Builder::ca`] adds others: those of an
//! authority of your own, or the self-signed certificate of a server.
//!
//! ```no_run
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let ours = std::fs::read("/etc/ssl/our-authority.pem")?;
//! let (_client, _events) =
//!     throng_client::Client::builder("wss://chat.example.org").user("ann").ca(ours).connect()?;
//! # Ok(())
//! # }
//! ```
//!
//! Without the feature (`default-features = false`), [`Builder::connect`] refuses such an address with
//! [`BuildError::Tls`]. When the certificate is not trusted, the reason in [`State::Stopped`] begins with
//! [`UNTRUSTED`].
//!
//! [tokio]: https://docs.rs/tokio

// For developers of this crate: `core` makes all decisions and knows neither sockets nor clocks; `task` moves frames,
// commands and events between it, the program and the socket. Everything that waits has a limit.
//
// ```text
// src/
//   lib.rs             the guide; what is public
//   handle.rs          the handle for commands, and the stream of events
//   builder.rs         the options of a client
//   address.rs         the address of the server, and the URL of one attempt
//   event.rs           the events, and the answers to commands
//   error.rs           the errors of the options, and those of commands
//   backoff.rs         how long to wait before reconnecting
//   core/              mod (the state machine) · incoming (events from the server) · commands (from the program) ·
//                      timing (deadlines) · renewal (of the token) · tests
//   command.rs         the commands of the program, and their form on the wire
//   server_event.rs    the events of the server, parsed and validated
//   outbox.rs          messages that wait for their acks
//   pending.rs         commands that wait for their answers
//   rooms.rs           the wanted rooms, with the membership and the position in each
//   task.rs            moves bytes between program, core and socket
//   token.rs           the token, or the function that gets it
//   wire.rs            the WebSocket
//   connection_end.rs  how a connection ended
//   failure.rs         whether another attempt can help after an error of the socket
//   tls.rs             TLS
//   timestamp.rs       a point in time by two clocks
// ```

#![forbid(unsafe_code)]

mod address;
mod backoff;
mod builder;
mod command;
mod connection_end;
mod core;
mod error;
mod event;
mod failure;
mod handle;
mod outbox;
mod pending;
mod rooms;
mod server_event;
mod task;
mod timestamp;
mod tls;
mod token;
mod wire;

pub use backoff::Backoff;
pub use builder::Builder;
pub use error::{BuildError, SendError};
pub use event::{Ack, Ended, Event, History, Joined, Message, Presence, State};
pub use handle::{Client, Events};
pub use throng_names::{DisplayName, Epoch, NameError, RoomName, UserId};
pub use tls::UNTRUSTED;
