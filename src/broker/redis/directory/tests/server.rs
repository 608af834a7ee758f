//! A real server for tests of scripts, with a user who has the rights of a node.

use redis::{Cmd, Connection};

use crate::broker::redis::script::{Call, Reply};
use crate::broker::redis::testing::{self, run};

/// The rights that the documentation asks for. The scripts must do with them.
const RIGHTS: &str = "~throng:* &throng:* +evalsha +eval +script|load +info +spublish +ssubscribe +sunsubscribe +hmget \
    +hget +hset +hdel +hgetall +xadd +xrange +expire +pexpire +exists +del +zadd +zrange +zrem +zremrangebyscore \
    +time +cluster|shards +cluster|slots +asking +ping +hello +client|setname";

/// A running server with two connections: one with the rights of a node, and one with all.
pub(in crate::broker::redis) struct Server {
    node: Connection,
    admin: Connection,
    _process: testing::Server,
}

impl Server {
    /// Starts a server.
    pub(in crate::broker::redis) fn start() -> Self {
        let process = testing::Server::start(&[]);
        let mut admin = process.connect();
        let rights: Vec<&str> = RIGHTS.split_whitespace().collect();
        let user = command(&["ACL", "SETUSER", "node", "on", "nopass"]).arg(rights).to_owned();
        user.exec(&mut admin).unwrap();
        Self { node: process.connect_as("node"), admin, _process: process }
    }

    /// Calls a script with the rights of a node.
    pub(in crate::broker::redis) fn call(&mut self, call: &Call) -> Result<Reply, String> {
        run(&mut self.node, call).map_err(|error| error.to_string())
    }

    /// Runs a command with all rights.
    pub(in crate::broker::redis) fn admin(&mut self, words: &[&str]) {
        command(words).exec(&mut self.admin).unwrap();
    }

    /// Returns the names of all keys, in order.
    pub(in crate::broker::redis) fn keys(&mut self) -> Vec<String> {
        let mut keys: Vec<String> = command(&["KEYS", "*"]).query(&mut self.admin).unwrap();
        keys.sort();
        keys
    }

    /// Returns the pairs of a hash, in the order of the fields.
    pub(in crate::broker::redis) fn hash(&mut self, key: &str) -> Vec<(String, String)> {
        let mut pairs: Vec<(String, String)> = command(&["HGETALL", key]).query(&mut self.admin).unwrap();
        pairs.sort();
        pairs
    }

    /// Returns how many seconds a key has to live; negative when it has no end, or is not there.
    pub(in crate::broker::redis) fn life(&mut self, key: &str) -> i64 {
        command(&["TTL", key]).query(&mut self.admin).unwrap()
    }

    /// Returns the server's time in Unix milliseconds.
    pub(in crate::broker::redis) fn now_ms(&mut self) -> u64 {
        let (seconds, micros): (u64, u64) = command(&["TIME"]).query(&mut self.admin).unwrap();
        seconds * 1_000 + micros / 1_000
    }
}

fn command(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    command.arg(words);
    command
}
