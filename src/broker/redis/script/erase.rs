//! Forgets a room, because an operator wants it.

use smallvec::smallvec;

use super::{BadReply, Call, Reply, Script};
use crate::broker::redis::keys::RoomKeys;

/// The script.
pub static ERASE: Script = Script::new("erase", concat!(include_str!("room.lua"), include_str!("erase.lua")));

/// Builds a call. Making it twice does no harm.
#[must_use]
pub fn call(keys: &RoomKeys) -> Call {
    Call {
        script: &ERASE,
        keys: smallvec![keys.meta(), keys.stream(), keys.presence()],
        args: vec![keys.channel()],
    }
}

/// Reads the reply: whether the engine had something of the room.
///
/// # Errors
/// [`BadReply`] when the reply is not one of this script.
pub fn reply(reply: &Reply) -> Result<bool, BadReply> {
    reply.count().map(|known| known > 0).ok_or(BadReply { script: ERASE.name, wanted: "a number" })
}
