//! The names of keys and channels in the engine. `P` is the configured prefix (`redis.prefix`). The part in braces
//! decides the slot of a Redis Cluster, so that everything of one room is on one server.
//!
//! ```text
//! P:{ROOM}:m     hash: epoch, last offset, earlier epochs, the last call of each node
//! P:{ROOM}:s     stream: one entry for each batch, whose id is the offset of the last message
//! P:{ROOM}:k:B   hash: idempotency keys of interval B of the server's clock; named by the scripts alone
//! P:{ROOM}:w     hash: presence
//! P:{ROOM}:o     hash: whether webhooks were told that somebody is in the room
//! P:{ROOM}       shard channel of the room
//! P:u:{USER}     hash: the connections of a user
//! P:o:{USER}     hash: whether webhooks were told that the user is online
//! P:{all}:n      hash: the nodes
//! P:{all}:x      sorted set: revoked tokens and users
//! P:{all}:t      hash: the incarnations that tell webhooks, each with its node
//! P:{all}:t:BY   sorted set: the users of incarnation BY of whom webhooks are told
//! P:n:{NODE}     shard channel to one node
//! P:c:{all}      shard channel to all nodes
//! ```
//!
//! Names of rooms and users contain no braces, hence no two names are the same: `P:{all}:n` and its like are none of
//! the keys of a room that is called `all`.

use bytes::Bytes;

use super::batch::Incarnation;
use crate::names::{RoomName, UserId};

/// Writes the names of keys and channels with a common prefix. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Keys {
    /// `P:`
    start: Bytes,
}

impl Keys {
    /// Creates the names for a prefix. It must contain no braces, which the configuration checks.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { start: Bytes::from(format!("{prefix}:")) }
    }

    /// Returns the names of a room's keys and of its channel.
    #[must_use]
    pub fn room(&self, room: &RoomName) -> RoomKeys {
        let channel_len = self.start.len() + room.as_str().len() + "{}".len();
        let mut all = Vec::with_capacity((channel_len + 2) * RoomKeys::SUFFIXES.len());
        for suffix in RoomKeys::SUFFIXES {
            all.extend_from_slice(&self.start);
            all.push(b'{');
            all.extend_from_slice(room.as_str().as_bytes());
            all.push(b'}');
            all.extend_from_slice(suffix);
        }
        RoomKeys { all: Bytes::from(all), channel_len }
    }

    /// Returns the room whose channel this is. Other channels, also those of another prefix, give none.
    #[must_use]
    pub fn room_of_channel(&self, channel: &[u8]) -> Option<RoomName> {
        let name = channel.strip_prefix(&*self.start)?.strip_prefix(b"{")?.strip_suffix(b"}")?;
        std::str::from_utf8(name).ok()?.parse().ok()
    }

    /// Returns the key of the connections of a user.
    #[must_use]
    pub fn user(&self, user: &UserId) -> Bytes {
        self.join(&["u:{", user.as_str(), "}"])
    }

    /// Returns the key of the mark that says whether a user was told to be online, in the slot of the user's
    /// connections.
    #[must_use]
    pub fn user_mark(&self, user: &UserId) -> Bytes {
        self.join(&["o:{", user.as_str(), "}"])
    }

    /// Returns the key of the table of nodes.
    #[must_use]
    pub fn nodes(&self) -> Bytes {
        self.join(&["{all}:n"])
    }

    /// Returns the key of the revoked tokens and users.
    #[must_use]
    pub fn revocations(&self) -> Bytes {
        self.join(&["{all}:x"])
    }

    /// Returns the key of the incarnations that tell webhooks.
    #[must_use]
    pub fn tellers(&self) -> Bytes {
        self.join(&["{all}:t"])
    }

    /// Returns the key of the users of whom an incarnation tells.
    #[must_use]
    pub fn told_users(&self, by: Incarnation) -> Bytes {
        self.join(&["{all}:t:", &by.to_string()])
    }

    /// Returns the control channel of one node. The node's name must contain no braces.
    #[must_use]
    pub fn control_of_node(&self, node: &str) -> Bytes {
        self.join(&["n:{", node, "}"])
    }

    /// Returns the control channel that all nodes hear.
    #[must_use]
    pub fn control_of_all(&self) -> Bytes {
        self.join(&["c:{all}"])
    }

    fn join(&self, parts: &[&str]) -> Bytes {
        let mut name = self.start.to_vec();
        parts.iter().for_each(|part| name.extend_from_slice(part.as_bytes()));
        Bytes::from(name)
    }
}

/// The names of a room's keys and of its channel. They are parts of one allocation, and so is every clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoomKeys {
    /// The channel's name and a suffix, once for each of the keys.
    all: Bytes,
    channel_len: usize,
}

impl RoomKeys {
    const SUFFIXES: [&[u8; 2]; 4] = [b":m", b":s", b":w", b":o"];

    /// Returns the name of the room's shard channel.
    #[must_use]
    pub fn channel(&self) -> Bytes {
        self.all.slice(..self.channel_len)
    }

    /// Returns the key of the hash with the room's epoch and last offset.
    #[must_use]
    pub fn meta(&self) -> Bytes {
        self.key(0)
    }

    /// Returns the key of the stream of batches.
    #[must_use]
    pub fn stream(&self) -> Bytes {
        self.key(1)
    }

    /// Returns the key of the presence in the room.
    #[must_use]
    pub fn presence(&self) -> Bytes {
        self.key(2)
    }

    /// Returns the key of the mark that says whether webhooks were told that somebody is in the room.
    #[must_use]
    pub fn occupied(&self) -> Bytes {
        self.key(3)
    }

    fn key(&self, index: usize) -> Bytes {
        let len = self.channel_len + 2;
        self.all.slice(index * len..(index + 1) * len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_has_its_name_as_the_tag_of_all_its_keys() {
        let keys = Keys::new("chat");
        let room = keys.room(&"team:a@b.c-d_e".parse().unwrap());
        assert_eq!(room.channel(), "chat:{team:a@b.c-d_e}");
        assert_eq!(room.meta(), "chat:{team:a@b.c-d_e}:m");
        assert_eq!(room.stream(), "chat:{team:a@b.c-d_e}:s");
        assert_eq!(room.presence(), "chat:{team:a@b.c-d_e}:w");
        assert_eq!(room.occupied(), "chat:{team:a@b.c-d_e}:o");
    }

    #[test]
    fn a_channel_gives_its_room_and_other_channels_give_none() {
        let keys = Keys::new("chat");
        let room: RoomName = "all".parse().unwrap();
        assert_eq!(keys.room_of_channel(&keys.room(&room).channel()), Some(room));
        let foreign = Keys::new("chat2").room(&"lobby".parse().unwrap()).channel();
        let others = [keys.control_of_all(), keys.control_of_node("n1"), foreign, Bytes::from("chat:{a}:m")];
        for other in
            others.iter().map(|other| &**other).chain([&b""[..], b"chat:{}", b"chat:{\xff}", b"chat:{a"])
        {
            assert_eq!(keys.room_of_channel(other), None, "{other:?}");
        }
    }

    #[test]
    fn keys_of_users_nodes_and_revocations_have_their_own_names() {
        let keys = Keys::new("p");
        assert_eq!(keys.user(&"anna".parse().unwrap()), "p:u:{anna}");
        assert_eq!(keys.user_mark(&"anna".parse().unwrap()), "p:o:{anna}");
        assert_eq!((keys.nodes(), keys.revocations()), ("p:{all}:n".into(), "p:{all}:x".into()));
        assert_eq!(keys.tellers(), "p:{all}:t");
        assert_eq!(keys.told_users(Incarnation(17)), "p:{all}:t:0000000000000011");
        assert_eq!(
            (keys.control_of_node("n1"), keys.control_of_all()),
            ("p:n:{n1}".into(), "p:c:{all}".into())
        );
    }
}
