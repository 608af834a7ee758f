//! The scripts on the table of nodes: a beat, and the removal of an entry.

use bytes::Bytes;

use smallvec::smallvec;

use super::answer::{Fields, yes_or_no};
use super::details::{Details, Head};
use super::name::NodeName;
use super::table::{Node, Table, TableId};
use super::{GAP_MS, LEASE_MS, MAX_NODES, TABLE_LIFE_S};
use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::keys::Keys;
use crate::broker::redis::script::{BadReply, Call, Reply, Script};

/// Writes a beat, marks the dead, and returns the table.
pub static BEAT: Script = Script::new("beat", include_str!("beat.lua"));
/// Removes an entry from the table.
pub static REMOVE: Script = Script::new("remove", include_str!("remove.lua"));

/// The times by which the script decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Silence after which a node is dead, in milliseconds.
    pub lease_ms: u64,
    /// Longest time between two beats of any nodes within which silence counts, in milliseconds.
    pub gap_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { lease_ms: LEASE_MS, gap_ms: GAP_MS }
    }
}

/// A beat of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beat {
    /// The node.
    pub name: NodeName,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The table that acknowledged a beat of this incarnation; `None` until one has.
    pub seen: Option<TableId>,
    /// The id for a new table, which must never have been used.
    pub new_table: TableId,
}

/// The engine's answer to a beat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BeatReply {
    /// The beat is written. This is the table.
    Beaten(Table),
    /// Another incarnation holds the name. No entry is written.
    Held {
        /// Milliseconds until that incarnation is dead, unless it beats.
        for_ms: u64,
        /// The time of its last beat, by the engine's clock.
        beat_ms: u64,
    },
    /// The incarnation has been declared dead, or another one has its place. Nothing is written.
    Dead,
    /// The table has [`MAX_NODES`] nodes. Nothing is written.
    Full,
}

/// Returns the call that writes a beat.
#[must_use]
pub fn call(keys: &Keys, beat: &Beat, details: &Details, timing: Timing) -> Call {
    let args = vec![
        beat.name.as_str().to_owned().into(),
        beat.incarnation.to_string().into(),
        if beat.seen.is_none() { "1" } else { "0" }.into(),
        beat.seen.map_or_else(Bytes::new, |id| id.to_string().into()),
        beat.new_table.to_string().into(),
        timing.lease_ms.to_string().into(),
        timing.gap_ms.to_string().into(),
        TABLE_LIFE_S.to_string().into(),
        MAX_NODES.to_string().into(),
        details.encode(),
    ];
    Call { script: &BEAT, keys: smallvec![keys.nodes()], args }
}

/// Parses the answer to a beat.
///
/// # Errors
/// The script cannot have given it.
pub fn reply(reply: &Reply) -> Result<BeatReply, BadReply> {
    let mut fields = Fields::new(&BEAT, reply)?;
    let status = fields.bytes("a status")?;
    let now_ms = fields.number("the time")?;
    match &status[..] {
        b"ok" => {
            let id = fields.name("the id of the table")?;
            let mut table = Table { now_ms, id, nodes: Vec::new(), unknown: 0 };
            while !fields.is_empty() {
                let name = fields.name("the name of a node")?;
                match node(name, fields.bytes("the entry of a node")?) {
                    Some(node) => table.nodes.push(node),
                    None => table.unknown += 1,
                }
            }
            Ok(BeatReply::Beaten(table))
        }
        b"held" => {
            let for_ms = fields.number("the rest of the lease")?;
            let beat_ms = fields.number("the time of a beat")?;
            fields.end(BeatReply::Held { for_ms, beat_ms })
        }
        b"dead" => fields.end(BeatReply::Dead),
        b"full" => fields.end(BeatReply::Full),
        _ => Err(fields.bad("a known status")),
    }
}

/// Reads the entry of a node. Details of another version are left out.
pub(super) fn node(name: NodeName, value: &Bytes) -> Option<Node> {
    let end = value.iter().position(|byte| *byte == b'\n')?;
    let head = Head::parse(&value[..end])?;
    Some(Node {
        name,
        incarnation: head.incarnation,
        joined_ms: head.joined_ms,
        beat_ms: head.beat_ms,
        is_live: head.is_live,
        details: Details::parse(&value.slice(end + 1..)).unwrap_or_default(),
    })
}

/// Returns the call that removes the entry of an incarnation which is dead, or which leaves. The entry of another
/// incarnation stays. [`removed`] parses the answer.
#[must_use]
pub fn remove(keys: &Keys, name: &NodeName, incarnation: Incarnation, leaves: bool) -> Call {
    let args = vec![
        name.as_str().to_owned().into(),
        incarnation.to_string().into(),
        if leaves { "1" } else { "0" }.into(),
    ];
    Call { script: &REMOVE, keys: smallvec![keys.nodes()], args }
}

/// Parses the answer to [`remove`]: true when the entry was there.
///
/// # Errors
/// The script cannot have given it.
pub fn removed(reply: &Reply) -> Result<bool, BadReply> {
    yes_or_no(&REMOVE, reply)
}
