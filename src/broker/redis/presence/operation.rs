//! The calls that presence makes: each is a script that does all of it in one step.

use std::time::Duration;

use bytes::Bytes;
use smallvec::smallvec;

use super::payload::{BadPresence, MAX_NUMBER};
use super::snapshot::{Snapshot, entry_field};
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::keys::RoomKeys;
use crate::broker::redis::script::{Call, Reply, Script};

/// Writes a publication and pushes it.
pub static PUBLISH: Script = Script::new("presence/publish", include_str!("publish.lua"));
/// Reads the users of a room.
pub static READ: Script = Script::new("presence/read", include_str!("read.lua"));
/// Removes entries of nodes.
pub static REMOVE: Script = Script::new("presence/remove", include_str!("remove.lua"));

/// A call that presence makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Writes a publication of this node and pushes it.
    Publish(Publication),
    /// Reads the entries of all nodes.
    Read,
    /// Removes the entries of nodes that are dead.
    RemoveDead(Vec<Incarnation>),
    /// Removes the entry of this node, and pushes that it has left the room.
    Close {
        /// This node.
        by: Incarnation,
        /// The number of this publication.
        number: u64,
        /// The payload.
        payload: Bytes,
    },
}

/// A publication of this node, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// This node.
    pub by: Incarnation,
    /// Its number.
    pub number: u64,
    /// The number of the publication that this one changes; `None` for one that tells everything.
    pub base: Option<u64>,
    /// The node's entry.
    pub entry: Bytes,
    /// How many pieces the node's list has.
    pub pieces: usize,
    /// How many users the node has.
    pub count: usize,
    /// The pieces that have changed.
    pub changed: Vec<(usize, Bytes)>,
    /// The payload.
    pub payload: Bytes,
}

/// The result of an [`Operation`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The number of this node's last publication that is stored.
    Stored(u64),
    /// The entries of all nodes.
    Snapshot(Snapshot),
    /// How many of the entries were not removed, because they are newer.
    Stayed(u64),
}

impl Operation {
    /// Returns the call of the operation's script. `life` is how long what is stored lives after it: `redis.room_ttl`.
    #[must_use]
    pub fn call(&self, keys: &RoomKeys, life: Duration) -> Call {
        let life = || Bytes::from(life.as_millis().to_string());
        let number = |number: u64| Bytes::from(number.to_string());
        let both = || smallvec![keys.presence(), keys.channel()];
        match self {
            Self::Publish(publication) => {
                let Publication { by, number: n, base, entry, pieces, changed, payload, .. } = publication;
                let base = base.map_or_else(Bytes::new, number);
                let pieces = number(*pieces as u64);
                let mut args =
                    vec![entry_field(*by), number(*n), base, entry.clone(), pieces, payload.clone(), life()];
                for (field, names) in changed {
                    args.extend([number(*field as u64), names.clone()]);
                }
                Call { script: &PUBLISH, keys: both(), args }
            }
            Self::Read => {
                Call { script: &READ, keys: smallvec![keys.presence(), keys.occupied()], args: vec![life()] }
            }
            Self::RemoveDead(nodes) => {
                let pairs = nodes.iter().flat_map(|node| [entry_field(*node), number(MAX_NUMBER)]);
                let args = std::iter::once(Bytes::new()).chain(pairs).collect();
                Call { script: &REMOVE, keys: both(), args }
            }
            Self::Close { by, number: n, payload } => {
                let args = vec![payload.clone(), entry_field(*by), number(*n)];
                Call { script: &REMOVE, keys: both(), args }
            }
        }
    }

    /// Reads the reply to the operation's call.
    ///
    /// # Errors
    /// The reply is not of the script's form.
    pub fn answer(&self, reply: &Reply) -> Result<Answer, BadPresence> {
        let number = || match reply {
            Reply::Int(number) => u64::try_from(*number).map_err(|_| BadPresence::Reply),
            _ => Err(BadPresence::Reply),
        };
        match self {
            Self::Publish(_) => number().map(Answer::Stored),
            Self::Read => Snapshot::parse(reply).map(Answer::Snapshot),
            Self::RemoveDead(_) | Self::Close { .. } => number().map(Answer::Stayed),
        }
    }
}
