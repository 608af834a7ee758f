//! Finds the connections of a user.

use smallvec::smallvec;

use super::claim::owners;
use super::{CLOCK_MARGIN_MS, Owner};
use crate::broker::redis::keys::Keys;
use crate::broker::redis::nodes::{Fields, LiveNodes};
use crate::broker::redis::script::{BadReply, Call, Reply, Script};
use crate::names::UserId;

/// Reads the entry of a user, and removes what dead nodes have left in it.
pub static FIND: Script = Script::new(
    "find",
    concat!(include_str!("../script/now.lua"), include_str!("common.lua"), include_str!("find.lua")),
);

/// Returns the call that finds the connections of a user.
#[must_use]
pub fn call(keys: &Keys, user: &UserId, live: &LiveNodes) -> Call {
    let args = vec![live.list.clone(), live.as_of_ms.to_string().into(), CLOCK_MARGIN_MS.to_string().into()];
    Call { script: &FIND, keys: smallvec![keys.user(user)], args }
}

/// Parses the answer: the connections that hold the user id, the longest holder first.
///
/// # Errors
/// The script cannot have given it.
pub fn reply(reply: &Reply) -> Result<Vec<Owner>, BadReply> {
    owners(&mut Fields::new(&FIND, reply)?)
}
