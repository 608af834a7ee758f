//! The scripts against a real server.

mod cluster;
mod forks;
mod keys;
mod pages;
mod refused;
mod replies;
mod rooms;

use bytes::Bytes;
use redis::{Connection, RedisResult};

use super::Call;
use super::publish::{self, Message, PublishArgs, PublishReply};
use super::sync::{self, SyncReply};
use crate::broker::redis::batch::{Batch, CallId, Incarnation, Record};
use crate::broker::redis::keys::{Keys, RoomKeys};
use crate::broker::redis::testing::{Server, run};
use crate::names::{Epoch, Offset, Position, UserId};

const NODE: Incarnation = Incarnation(0xa1);
const OTHER_NODE: Incarnation = Incarnation(0xb2);
const TTL_MS: u64 = 3_600_000;

/// An entry of a stream: its id, and its fields with their values.
type Entry = (String, Vec<(String, Vec<u8>)>);

/// A room on a server, with a connection to it.
struct Room {
    keys: RoomKeys,
    connection: Connection,
    keep: u64,
}

impl Room {
    fn on(server: &Server) -> Self {
        let keys = Keys::new("test").room(&"lobby".parse().unwrap());
        Self { keys, connection: server.connect(), keep: 1000 }
    }

    fn call(&self, by: Incarnation, number: u64, messages: &[Message]) -> Call {
        let (keep, epoch_seed, room_ttl_ms) = (self.keep, Epoch::random(), TTL_MS);
        let args = PublishArgs { by, number, keep, epoch_seed, room_ttl_ms };
        publish::call(&self.keys, &args, messages.iter())
    }

    fn try_publish(
        &mut self,
        by: Incarnation,
        number: u64,
        messages: &[Message],
    ) -> RedisResult<PublishReply> {
        let call = self.call(by, number, messages);
        let answer = run(&mut self.connection, &call)?;
        Ok(publish::reply(&answer).unwrap())
    }

    fn publish(&mut self, by: Incarnation, number: u64, messages: &[Message]) -> PublishReply {
        self.try_publish(by, number, messages).unwrap()
    }

    fn sync(&mut self) -> SyncReply {
        let call = sync::call(&self.keys, Epoch::random(), TTL_MS);
        sync::reply(&run(&mut self.connection, &call).unwrap()).unwrap()
    }

    /// Returns what a command answers whose first argument is a key.
    fn ask<T: redis::FromRedisValue>(&mut self, command: &str, key: &[u8], arguments: &[&str]) -> T {
        redis::cmd(command).arg(key).arg(arguments).query(&mut self.connection).unwrap()
    }

    /// Returns the batches in the stream with their ids.
    fn stream(&mut self) -> Vec<(String, Batch)> {
        let stream = self.keys.stream();
        let entries: Vec<Entry> = self.ask("XRANGE", &stream, &["-", "+"]);
        let batch = |fields: Vec<(String, Vec<u8>)>| {
            assert_eq!((fields.len(), fields[0].0.as_str()), (1, "d"));
            Batch::parse(&Bytes::from(fields[0].1.clone())).unwrap()
        };
        entries.into_iter().map(|(id, fields)| (id, batch(fields))).collect()
    }

    /// Returns the content of everything on the server that counts as the room's state, but not its times to live.
    fn state(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut names: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut self.connection).unwrap();
        names.sort_unstable();
        let dump = |name: String| (name.clone(), self.ask("DUMP", name.as_bytes(), &[]));
        names.into_iter().map(dump).collect()
    }

    /// Returns the names of the hashes with idempotency keys.
    fn key_hashes(&mut self) -> Vec<String> {
        let mut names: Vec<String> = redis::cmd("KEYS").arg("*:k:*").query(&mut self.connection).unwrap();
        names.sort_unstable();
        names
    }
}

fn user() -> UserId {
    "anna".parse().unwrap()
}

fn plain(text: &str) -> Message {
    (None, Record::encode(&user(), 1_700_000_000_000, format!("\"{text}\"").as_bytes()).unwrap())
}

fn keyed(key: &str, text: &str) -> Message {
    (Some((user(), key.parse().unwrap())), plain(text).1)
}

fn texts(batch: &Batch) -> Vec<&str> {
    batch
        .messages
        .iter()
        .map(|message| std::str::from_utf8(&message.text).unwrap().trim_matches('"'))
        .collect()
}

fn at(epoch: Epoch, offset: u64) -> Position {
    Position { epoch, offset: Offset(offset) }
}
