//! Asks where a room is.

use bytes::Bytes;
use smallvec::smallvec;

use super::{BadReply, Call, Lives, Reply, Script, number};
use crate::broker::redis::keys::RoomKeys;
use crate::names::{Epoch, Offset};

/// The script.
pub static SYNC: Script = Script::new("sync", concat!(include_str!("room.lua"), include_str!("sync.lua")));

/// Where a room is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncReply {
    /// The room's epoch.
    pub epoch: Epoch,
    /// The offset of the last message; 0 when there was none.
    pub last: Offset,
    /// The room's earlier epochs.
    pub lives: Lives,
}

/// Builds a call. It makes the room fork or begin anew when that is due, and lets its keys live for `room_ttl_ms` from
/// now. When a new epoch begins, the script derives it from the random number `epoch_seed`.
#[must_use]
pub fn call(keys: &RoomKeys, epoch_seed: Epoch, room_ttl_ms: u64) -> Call {
    Call {
        script: &SYNC,
        keys: smallvec![keys.meta(), keys.stream(), keys.presence()],
        args: vec![keys.channel(), Bytes::copy_from_slice(&epoch_seed.digits()), number(room_ttl_ms)],
    }
}

/// Reads the reply.
///
/// # Errors
/// [`BadReply`] when the reply is not one of this script.
pub fn reply(reply: &Reply) -> Result<SyncReply, BadReply> {
    let bad = |wanted| BadReply { script: SYNC.name, wanted };
    let Some([epoch, last, lives]) = reply.array() else {
        return Err(bad("an array of 3"));
    };
    Ok(SyncReply {
        epoch: epoch.epoch().ok_or(bad("the epoch"))?,
        last: last.offset().ok_or(bad("the last offset"))?,
        lives: lives.lives().ok_or(bad("the list of earlier epochs"))?,
    })
}
