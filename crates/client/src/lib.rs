//! A client of the chat server throng: it stays connected, resumes where it was, and says everything once.
//!
//! ```no_run
//! use throng_client::{Client, Event};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, mut events) = Client::builder("ws://127.0.0.1:8080").user("ann").room("lobby").connect()?;
//! let ack = client.say("lobby", "hi").await?; // once the server has it at its place
//! println!("said, as number {}", ack.offset);
//! while let Some(event) = events.next().await {
//!     if let Event::Message { room, user, text, .. } = event {
//!         println!("{room} {user}: {text}");
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! This crate stands on its own: a program that uses it compiles nothing of the server. It needs a [tokio] runtime
//! and speaks the dialect `throng.v1`, behaving as the server's own client for browsers, `client.js`, does. The
//! rest of this page is a guide, from the first connection to the last error.
//!
//! | you want to | see |
//! |---|---|
//! | connect, and know the state of the connection | [Connect](#connect) |
//! | enter and leave rooms, see who is there | [Rooms](#rooms) |
//! | say something and be sure of it | [Messages](#messages) |
//! | hear what happens | [Events](#events) |
//! | know what a lost connection costs | [Coming back](#coming-back) |
//! | tell errors apart | [Errors](#errors) |
//! | log in | [Tokens](#tokens) |
//! | encrypt | [TLS](#tls) |
//!
//! # Connect
//!
//! [`Client::builder`] takes the server's address, [`Builder::connect`] checks all arguments and starts a task that
//! makes the connection. It does not wait for the server: that nobody answers is no error but news, and the task
//! tries again until it succeeds or trying cannot help.
//!
//! ```
//! use throng_client::{Client, Event, State};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Nobody listens on this port.
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
//! [`Client`] is a handle. Clone it and use it from as many tasks as you like; all clones share one connection. It
//! ends with [`Client::close`], or when every [`Client`] and the [`Events`] are dropped.
//!
//! # Rooms
//!
//! The connection enters one room with its handshake: [`Builder::room`], or the server's default. [`Client::join`]
//! enters others, and the client stays in all of them, over every reconnect, until [`Client::leave`].
//!
//! ```no_run
//! # async fn run(client: throng_client::Client) -> Result<(), throng_client::SendError> {
//! let joined = client.join("builds").await?;
//! println!("in {} with {:?} users", joined.room, joined.members);
//!
//! let there = client.presence("builds", None, 100).await?;
//! for user in &there.users {
//!     println!("{user} is here");
//! }
//! if there.more {
//!     // The next page begins behind the last user of this one.
//!     let last = there.users.last().map(ToString::to_string);
//!     let _next = client.presence("builds", last.as_deref(), 100).await?;
//! }
//! client.leave("builds").await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Event::PresenceDiff`] tells who comes and goes afterwards. [`Client::typing`] shows the others that somebody
//! writes.
//!
//! # Messages
//!
//! [`Client::say`] and [`Client::direct`] return when the server has answered. Until then the message waits in the
//! client: over a reconnect it is said again under the same idempotency key, so that it stands in the room once.
//! Messages of one client keep the order of the calls. At most [`Builder::queue`] of them wait; beyond it a call
//! fails at once with [`SendError::QueueFull`] rather than take memory without end.
//!
//! ```no_run
//! # async fn run(client: throng_client::Client) -> Result<(), throng_client::SendError> {
//! // Concurrent calls need no connection each: they wait in the client's one queue.
//! let (first, second) = tokio::join!(client.say("lobby", "one"), client.say("lobby", "two"));
//! assert!(first?.offset < second?.offset);
//!
//! let connections = client.direct("bob", "a word in private").await?;
//! println!("handed to {connections} connections of bob");
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
//! Dropping the future of a command does not take the command back; it only drops the answer.
//!
//! # Events
//!
//! [`Events::next`] hands out what happens, in order, to one reader. [`Events`] is a
//! [`Stream`](futures_util::Stream), too. Keep reading in a task of its own, or drop the [`Events`] when they do
//! not matter: a reader that neither reads nor goes stops the client, because answers come by the same socket.
//! After [`Builder::events`] unread events the client reads no more, the server drops it as a slow consumer, and
//! after about half a minute unanswered commands fail with [`SendError::Unread`]. When the events are read again,
//! the client comes back where it was.
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
//!             // There may be new events in later versions.
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
//! Names hold only `[A-Za-z0-9_.:@-]`. Texts hold whatever the other user wrote, control characters included:
//! remove those before you write a text to a terminal.
//!
//! # Coming back
//!
//! When a connection is lost, the client makes another one, enters every room again at the last message that it
//! saw, and shows the secret of the connection before, so that it takes its own user id over from a connection that
//! is half dead. Each message of a room arrives once and in order, or one of these events tells which did not:
//!
//! | event | meaning |
//! |---|---|
//! | [`Event::Recovered`] | all missed messages have come; the room is complete |
//! | [`Event::Missed`] | messages of a room are gone: the server no longer has them, or its history began anew |
//! | [`Event::Gap`] | the server left out messages for a client that was too slow; [`Client::history`] may have them |
//! | [`Event::Expelled`] | the room does not let the client in again |
//!
//! [`Event::State`] tells when the next attempt is made. [`Backoff`] decides it: a random time below a ceiling that
//! doubles with each attempt, so that the clients of a server that restarts do not come back all at once. What the
//! server asks for (`after_ms`, `Retry-After`) counts before that.
//!
//! ```
//! use std::time::Duration;
//! use throng_client::{Backoff, Client};
//!
//! // At most 100 ms at first and at most 5 s ever; a connection of a minute begins the count anew.
//! let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5), Duration::from_secs(60));
//! assert_eq!(backoff.ceiling(), Duration::from_millis(100));
//! let _builder = Client::builder("ws://127.0.0.1:8080").user("ann").backoff(backoff);
//! ```
//!
//! Coming back cannot help after the close codes 1002, 1003, 1007, 1008, 3003 and 4500 and above, after 3000 with a
//! token that has expired, after an HTTP answer that is no upgrade (but for the statuses 408, 425, 429 and 5xx), with a
//! certificate that is not trusted, and with a server that speaks no `throng.v1`. The client then ends with
//! [`State::Stopped`].
//!
//! # Errors
//!
//! [`BuildError`] is a mistake in the arguments, found before anything happens:
//!
//! ```
//! use throng_client::{BuildError, Client};
//!
//! let error = Client::builder("ws://127.0.0.1:8080").user("no blanks").connect().unwrap_err();
//! assert!(matches!(error, BuildError::User(_)));
//! assert_eq!(error.to_string(), "user: may only contain letters A-Z and a-z, digits, and _ . : @ -");
//! ```
//!
//! [`SendError`] is how a command failed. Every command ends, with its answer or with one of these; what matters is
//! whether it can have been carried out:
//!
//! ```no_run
//! use std::time::Duration;
//! use throng_client::{Client, SendError};
//!
//! async fn report(client: &Client) -> Result<(), SendError> {
//!     loop {
//!         match client.say("builds", "the build is done").await {
//!             Ok(_) => return Ok(()),
//!             // The server said no, and when to ask again.
//!             Err(SendError::Refused { retry_after: Some(pause), .. }) => tokio::time::sleep(pause).await,
//!             // Too much waits already: nothing was sent.
//!             Err(SendError::QueueFull) => tokio::time::sleep(Duration::from_secs(1)).await,
//!             // It was sent, and nobody knows what came of it: saying it again may say it twice.
//!             Err(error @ (SendError::UnknownOutcome | SendError::Unread)) => return Err(error),
//!             Err(error) => return Err(error),
//!         }
//!     }
//! }
//! ```
//!
//! [`Ended`] is why a connection ended: the close code, where there was one, and a text for people.
//!
//! # Tokens
//!
//! A server with `auth.algorithm` asks for a JWT, whose `sub` is the user id. It goes into the header
//! `Authorization`, never into the address.
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
//! A token that expires ends the connection with close code 3000, and the client with [`State::Stopped`], because
//! it has no other token. Build a new client with a new one.
//!
//! # TLS
//!
//! `wss://` and `https://` addresses need the feature `tls`, which is on by default. It brings rustls with the
//! cryptography of ring, and takes the root certificates of the system. [`Builder::ca`] adds others: those of an
//! authority of your own, or the certificate of a server that has signed its own.
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
//! Without the feature (`default-features = false`) such an address is a [`BuildError::Tls`]. Where the certificate
//! is not trusted, the reason in [`State::Stopped`] begins with [`UNTRUSTED`].
//!
//! [tokio]: https://docs.rs/tokio

// For those who change it. `core` decides and knows neither sockets nor clocks; `task` moves bytes between it and the
// `wire`. Everything that waits has a limit.
//
// ```text
// src/
//   lib.rs       the guide; what is public
//   handle.rs    the handle, and the events
//   builder.rs   what a client is made of
//   address.rs   where the server is
//   event.rs     what the client tells
//   error.rs     what can go wrong
//   backoff.rs   how long to wait before coming back
//   core/        mod (decides, without I/O) · hears (what the server says) · obeys (what the program asks for) · tests
//   command.rs   what a program asks for
//   incoming.rs  what the server says
//   outgoing.rs  what is to be said
//   pending.rs   what waits for its answer
//   rooms.rs     the rooms, and the position in each
//   task.rs      moves bytes between core and wire
//   wire.rs      the socket
//   tls.rs       its encryption
//   failure.rs   does coming back help?
//   moment.rs    a moment by both clocks
// ```

#![forbid(unsafe_code)]

mod address;
mod backoff;
mod builder;
mod command;
mod core;
mod error;
mod event;
mod failure;
mod handle;
mod incoming;
mod moment;
mod outgoing;
mod pending;
mod rooms;
mod task;
mod tls;
mod wire;

pub use backoff::Backoff;
pub use builder::Builder;
pub use error::{BuildError, SendError};
pub use event::{Ack, Ended, Event, History, Joined, Message, Presence, State};
pub use failure::UNTRUSTED;
pub use handle::{Client, Events};
pub use throng_names::{Epoch, NameError, RoomName, UserId};
