//! Removes what a room remembers of nodes that have left it.

use bytes::Bytes;
use smallvec::smallvec;

use super::{BadReply, Call, Reply, Script};
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::keys::RoomKeys;

/// The script.
pub static FORGET: Script = Script::new("forget", include_str!("forget.lua"));

/// Most incarnations in one call: about what one command of Redis should have, and few enough for Lua's stack.
const MAX_INCARNATIONS: usize = 1000;

/// Builds the calls that remove the last calls of these incarnations: mostly one, and none for none.
///
/// The room no longer recognises a repeated call of theirs. So a node removes its own when none of its calls is open,
/// and those of a dead node when that one can no longer repeat a call.
pub fn calls(keys: &RoomKeys, incarnations: &[Incarnation]) -> impl Iterator<Item = Call> {
    let field = |by: &Incarnation| Bytes::from(format!("n:{by}"));
    incarnations.chunks(MAX_INCARNATIONS).map(move |some| {
        let args = some.iter().map(field).collect();
        Call { script: &FORGET, keys: smallvec![keys.meta()], args }
    })
}

/// Reads the reply: of how many incarnations the room remembered a call.
///
/// # Errors
/// [`BadReply`] when the reply is not one of this script.
pub fn reply(reply: &Reply) -> Result<u64, BadReply> {
    reply.count().ok_or(BadReply { script: FORGET.name, wanted: "a number" })
}
