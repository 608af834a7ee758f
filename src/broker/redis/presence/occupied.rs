//! Decides which node tells other servers that a room is occupied or vacated.

use smallvec::smallvec;

use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::keys::RoomKeys;
use crate::broker::redis::nodes::{LiveNodes, Outcome, outcome};
use crate::broker::redis::script::{BadReply, Call, Reply, Script};

/// Keeps the mark of a room.
pub static OCCUPIED: Script = Script::new(
    "presence/occupied",
    concat!(
        include_str!("../script/now.lua"),
        include_str!("../script/steps.lua"),
        include_str!("occupied.lua")
    ),
);

/// A step in the life of a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// This node has written that it has members in the room. Happens when the room was vacated.
    Occupied,
    /// This node has written that it has none. Happens when no other node has any: this node then waits, and
    /// asks for the next step.
    Left,
    /// The time is over, in milliseconds. Happens when nobody has come: this node tells.
    Vacated(u64),
}

/// A step of a room that a node takes.
#[derive(Clone, Copy, Debug)]
pub struct Occupation {
    /// The step.
    pub step: Step,
    /// The incarnation of this node.
    pub by: Incarnation,
    /// The number of the step, which this incarnation uses for no other. A repeated call keeps it.
    pub number: u64,
    /// The time after which a room without members is vacated, in milliseconds.
    pub wait_ms: u64,
    /// The life of the room's keys in milliseconds: `redis.room_ttl`.
    pub room_ttl_ms: u64,
}

impl Occupation {
    /// Returns the call of the step. It may be repeated.
    #[must_use]
    pub fn call(&self, keys: &RoomKeys, live: &LiveNodes) -> Call {
        let (step, wait_ms) = match self.step {
            Step::Occupied => ("occupied", self.wait_ms),
            Step::Left => ("left", self.wait_ms),
            Step::Vacated(waited_ms) => ("vacated", waited_ms),
        };
        let args = vec![
            step.into(),
            self.by.to_string().into(),
            self.number.to_string().into(),
            live.list.clone(),
            wait_ms.to_string().into(),
            self.room_ttl_ms.max(2 * wait_ms).to_string().into(),
        ];
        Call { script: &OCCUPIED, keys: smallvec![keys.presence(), keys.occupied()], args }
    }
}

/// Parses the answer.
///
/// # Errors
/// The script cannot have given it.
pub fn reply(reply: &Reply) -> Result<Outcome, BadReply> {
    outcome(&OCCUPIED, reply)
}
