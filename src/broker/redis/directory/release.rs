//! Releases a user id.

use smallvec::smallvec;

use super::Owner;
use crate::broker::redis::keys::Keys;
use crate::broker::redis::nodes::yes_or_no;
use crate::broker::redis::script::{BadReply, Call, Reply, Script};
use crate::names::UserId;

/// Longest time after which a bucket is full again, in milliseconds. No setting makes it longer; a node that says more
/// is wrong, and must not keep entries for ever.
const MAX_FULL_IN_MS: u64 = 3_600_000;

/// Removes a connection from the entry of its user.
pub static RELEASE: Script = Script::new(
    "release",
    concat!(include_str!("../script/now.lua"), include_str!("common.lua"), include_str!("release.lua")),
);

/// Tokens that are missing in a user's rate bucket when a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Missing {
    /// Thousandths of a token that are missing; 0 for a full bucket.
    pub thousandths: u64,
    /// Milliseconds until the bucket is full.
    pub full_in_ms: u64,
}

/// Returns the call that releases a user id: for every connection that was claimed, or for which the answer to a claim
/// was lost, and again for one that a node is told to end and does not have. It may be repeated. [`reply`] parses the
/// answer.
#[must_use]
pub fn call(keys: &Keys, user: &UserId, owner: &Owner, missing: Missing) -> Call {
    let args = vec![
        owner.id(),
        missing.thousandths.to_string().into(),
        missing.full_in_ms.min(MAX_FULL_IN_MS).to_string().into(),
    ];
    Call { script: &RELEASE, keys: smallvec![keys.user(user)], args }
}

/// Parses the answer to a release: true when the connection held the user id, false when it had been replaced or was
/// not entered.
///
/// # Errors
/// The script cannot have given it.
pub fn reply(reply: &Reply) -> Result<bool, BadReply> {
    yes_or_no(&RELEASE, reply)
}
