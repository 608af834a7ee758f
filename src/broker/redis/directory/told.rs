//! Decides which node tells other servers that a user is online or offline.

use smallvec::smallvec;

use super::{CLOCK_MARGIN_MS, ENTRY_LIFE_S};
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::keys::Keys;
use crate::broker::redis::nodes::{LiveNodes, Outcome, outcome};
use crate::broker::redis::script::{BadReply, Call, Reply, Script};
use crate::names::UserId;

/// Keeps the mark of a user.
pub static TOLD: Script = Script::new(
    "told",
    concat!(
        include_str!("../script/now.lua"),
        include_str!("common.lua"),
        include_str!("../script/steps.lua"),
        include_str!("told.lua")
    ),
);

/// A step in the life of a user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A connection of this node has claimed the user id. Happens when the user was offline.
    Online,
    /// A connection of this node has released the user id. Happens when it was the last one: this node then
    /// waits, and asks for the next step.
    Left,
    /// The time is over. Happens when the user has not come back: this node tells.
    Offline,
}

/// A step of a user.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The user.
    pub user: &'a UserId,
    /// The step.
    pub step: Step,
    /// The incarnation of this node.
    pub by: Incarnation,
    /// The number of the step, which this incarnation uses for no other. A repeated call keeps it.
    pub number: u64,
    /// The time after which a user who has left is offline, in milliseconds.
    pub wait_ms: u64,
}

/// Returns the call of a step. It may be repeated.
#[must_use]
pub fn call(keys: &Keys, told: &Told<'_>, live: &LiveNodes) -> Call {
    let step = match told.step {
        Step::Online => "online",
        Step::Left => "left",
        Step::Offline => "offline",
    };
    let args = vec![
        step.into(),
        told.by.to_string().into(),
        told.number.to_string().into(),
        live.list.clone(),
        told.wait_ms.to_string().into(),
        (ENTRY_LIFE_S * 1_000).to_string().into(),
        live.as_of_ms.to_string().into(),
        CLOCK_MARGIN_MS.to_string().into(),
    ];
    Call { script: &TOLD, keys: smallvec![keys.user(told.user), keys.user_mark(told.user)], args }
}

/// Parses the answer.
///
/// # Errors
/// The script cannot have given it.
pub fn reply(reply: &Reply) -> Result<Outcome, BadReply> {
    outcome(&TOLD, reply)
}
