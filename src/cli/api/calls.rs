//! The calls as subcommands. The fields of each struct are those of the call, by their names in JSON.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde::{Serialize, Serializer};
use simd_json::OwnedValue;
use simd_json::prelude::*;

use super::access::read_bounded;
use super::batch::{self, Commands};
use super::session::Next;
use super::views::{self, View};
use crate::cli::failure::{Failure, INTERNAL, USAGE};

/// Most bytes of a message from standard input. A server's limit is 1,000,000 characters at most.
const MAX_MESSAGE: u64 = 4_000_000;

/// A call, with a subcommand of its own.
#[derive(Debug, Subcommand)]
pub(super) enum Call {
    /// Publish a message in a room
    Publish(Publish),
    /// Publish a message in several rooms
    Broadcast(Broadcast),
    /// Send a private message to one user or several
    Direct(Direct),
    /// End the connections of a user
    #[command(visible_alias = "kick")]
    Disconnect(Disconnect),
    /// Let a user leave a room
    Leave(Leave),
    /// Forget the history of a room
    Forget(Room),
    /// Make a token, or all tokens of a user, hold no longer
    Revoke(Revoke),
    /// Make the server read its settings again
    Reload(Nothing),
    /// Carry out commands from a file or standard input
    Batch(batch::Source),
    /// List the rooms
    Rooms(Rooms),
    /// Describe a room
    Room(Room),
    /// List the users in a room
    Presence(Presence),
    /// Show the last messages of a room
    History(History),
    /// List the users who are online
    Users(Page),
    /// List the connections of a user
    User(User),
    /// Describe the nodes
    Info(Nothing),
    /// List the connections with the longest queues
    Slow(Slow),
}

#[derive(Debug, Args, Serialize)]
pub(super) struct Publish {
    /// The room
    #[arg(long, value_name = "ROOM")]
    room: String,
    #[command(flatten)]
    #[serde(flatten)]
    message: Message,
}

#[derive(Debug, Args, Serialize)]
pub(super) struct Broadcast {
    /// A room; may be repeated
    #[arg(long = "room", value_name = "ROOM", required = true)]
    rooms: Vec<String>,
    #[command(flatten)]
    #[serde(flatten)]
    message: Message,
}

#[derive(Debug, Args, Serialize)]
pub(super) struct Direct {
    /// A recipient; may be repeated
    #[arg(long, value_name = "USER", required = true)]
    #[serde(serialize_with = "one_or_many")]
    to: Vec<String>,
    #[command(flatten)]
    #[serde(flatten)]
    message: Message,
}

/// A message, which every call that sends one takes alike.
#[derive(Debug, Args, Serialize)]
struct Message {
    /// The message; without it or with `-`, standard input to its end, without the last line break
    #[arg(value_name = "TEXT")]
    message: Option<String>,
    /// Any JSON that clients get beside the message
    #[arg(long, value_name = "JSON", value_parser = json)]
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<OwnedValue>,
    /// The user who is named as the sender [default: `api.user` of the server]
    #[arg(long, value_name = "USER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// The name of the sender that people are shown
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Any text by which the server knows the message if it is sent again: it is published once
    #[arg(long = "idempotency-key", value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

#[derive(Debug, Args, Serialize)]
pub(super) struct Disconnect {
    /// The user
    user: String,
    /// The close code, 4000 to 4999 [default: 4501, after which clients stay away]
    #[arg(long, value_name = "CODE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    /// The reason that clients are told [default: Kicked]
    #[arg(long, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// A connection that stays, as `user` lists it; may be repeated
    #[arg(long, value_name = "CONNECTION")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    except: Vec<String>,
}

#[derive(Debug, Args, Serialize)]
pub(super) struct Leave {
    /// The user
    user: String,
    /// The room
    room: String,
}

#[derive(Debug, Args, Serialize)]
pub(super) struct Room {
    /// The room
    room: String,
}

#[derive(Debug, Args, Serialize)]
pub(super) struct User {
    /// The user
    user: String,
}

#[derive(Debug, Args, Serialize)]
pub(super) struct Nothing {}

#[derive(Debug, Args, Serialize)]
#[group(required = true, multiple = true)]
pub(super) struct Revoke {
    /// The user whose tokens hold no longer
    #[arg(long, value_name = "USER", conflicts_with = "token")]
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Only tokens issued before this moment, in seconds since 1970 [default: before now]
    #[arg(long, value_name = "SECONDS", requires = "user")]
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_before: Option<u64>,
    /// The `jti` of a token
    #[arg(long, value_name = "JTI", requires = "until")]
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// The `exp` of the token, in seconds since 1970
    #[arg(long, value_name = "SECONDS", requires = "token")]
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
}

#[derive(Debug, Args, Serialize)]
pub(super) struct Rooms {
    /// Only rooms like this, where `*` stands for any text
    #[arg(long, value_name = "PATTERN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    page: Page,
}

#[derive(Debug, Args, Serialize)]
pub(super) struct Presence {
    /// The room
    room: String,
    #[command(flatten)]
    #[serde(flatten)]
    page: Page,
}

/// The part of a list that is shown.
#[derive(Debug, Args, Serialize)]
pub(super) struct Page {
    /// Begin behind this name
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// Most rows of a page, 1 to 1000 [default: 100]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    /// Show all pages
    #[arg(long)]
    #[serde(skip)]
    all: bool,
}

#[derive(Debug, Args, Serialize)]
pub(super) struct History {
    /// The room
    room: String,
    /// Only messages before this offset
    #[arg(long, value_name = "OFFSET")]
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
    /// Only messages of this epoch
    #[arg(long, value_name = "EPOCH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
    /// Most messages, 1 to 100 [default: 100]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

#[derive(Debug, Args, Serialize)]
pub(super) struct Slow {
    /// Most connections, 1 to 100 [default: 10]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

/// The work that remains once the command line and the input are read.
pub(super) enum Work {
    One(Prepared),
    Batch(Commands),
}

/// A call that can be made.
pub(super) struct Prepared {
    /// The end of its path.
    pub(super) path: &'static str,
    fields: OwnedValue,
    pub(super) view: &'static View,
    /// True where one page is not enough.
    pub(super) has_all_pages: bool,
}

impl Call {
    /// Reads the input and makes the body of the call.
    ///
    /// # Errors
    /// The input cannot be read or is too long ([`USAGE`]).
    pub(super) fn prepare(self) -> Result<Work, Failure> {
        let one = |path, fields: Fields, view, has_all_pages| {
            let fields = fields.map_err(|error| Failure::new(INTERNAL, error))?;
            Ok(Work::One(Prepared { path, fields, view, has_all_pages }))
        };
        match self {
            Self::Publish(Publish { room, message }) => {
                let call = Publish { room, message: message.read()? };
                one("publish", fields(&call), &views::PUBLISHED, false)
            }
            Self::Broadcast(Broadcast { rooms, message }) => {
                let call = Broadcast { rooms, message: message.read()? };
                one("broadcast", fields(&call), &views::RESULTS, false)
            }
            Self::Direct(Direct { to, message }) => {
                let call = Direct { to, message: message.read()? };
                one("direct", fields(&call), &views::COUNTED, false)
            }
            Self::Disconnect(call) => one("disconnect", fields(&call), &views::COUNTED, false),
            Self::Leave(call) => one("leave", fields(&call), &views::COUNTED, false),
            Self::Forget(call) => one("forget", fields(&call), &views::COUNTED, false),
            Self::Revoke(call) => one("revoke", fields(&call), &views::REVOKED, false),
            Self::Reload(call) => one("reload", fields(&call), &views::RELOADED, false),
            Self::Batch(source) => source.open().map(Work::Batch),
            Self::Rooms(call) => one("rooms", fields(&call), &views::ROOMS, call.page.all),
            Self::Room(call) => one("room", fields(&call), &views::ROOM, false),
            Self::Presence(call) => one("presence", fields(&call), &views::USERS, call.page.all),
            Self::History(call) => one("history", fields(&call), &views::HISTORY, false),
            Self::Users(call) => one("users", fields(&call), &views::USERS, call.all),
            Self::User(call) => one("user", fields(&call), &views::CONNECTIONS, false),
            Self::Info(call) => one("info", fields(&call), &views::NODES, false),
            Self::Slow(call) => one("connections/slow", fields(&call), &views::SLOW, false),
        }
    }
}

type Fields = Result<OwnedValue, simd_json::Error>;

/// Reads a value of an argument that is JSON.
fn json(text: &str) -> Result<OwnedValue, simd_json::Error> {
    simd_json::to_owned_value(&mut text.as_bytes().to_vec())
}

fn fields(call: &impl Serialize) -> Fields {
    simd_json::serde::to_owned_value(call)
}

impl Message {
    /// Reads the text, unless the command line has it.
    fn read(self) -> Result<Self, Failure> {
        let message = match self.message {
            Some(text) if text != "-" => text,
            _ => {
                let text = read_bounded(std::io::stdin().lock(), MAX_MESSAGE).context("standard input");
                let mut text = text.map_err(|error| Failure::new(USAGE, error))?;
                let is_cut = text.ends_with('\n');
                text.truncate(text.len() - usize::from(is_cut));
                text
            }
        };
        Ok(Self { message: Some(message), ..self })
    }
}

/// Writes one recipient as text, because a list has an outcome for each.
fn one_or_many<S: Serializer>(names: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    match names {
        [name] => name.serialize(serializer),
        names => names.serialize(serializer),
    }
}

impl Prepared {
    /// Returns the body of the next call.
    pub(super) fn body(&self) -> String {
        self.fields.encode()
    }

    /// Turns to the next page.
    ///
    /// # Errors
    /// The page does not lie behind the last one, so that there would be no end ([`INTERNAL`]).
    pub(super) fn continue_after(&mut self, next: Next) -> Result<(), Failure> {
        let last = self.fields.get_str("after").unwrap_or_default();
        if next.name.as_str() <= last {
            let error = anyhow::anyhow!("the server's pages do not go on: {last} comes again");
            return Err(Failure::new(INTERNAL, error));
        }
        let turned = self.fields.insert("after", next.name).context("no object");
        turned.map(|_| ()).map_err(|error| Failure::new(INTERNAL, error))
    }
}
