//! Reads the table of nodes without a beat, for a question to all nodes: one that has joined since the last beat of
//! this node is to be asked, too.

use smallvec::smallvec;

use super::answer::Fields;
use super::beat::node;
use super::table::Node;
use crate::broker::redis::keys::Keys;
use crate::broker::redis::script::{BadReply, Call, Reply, Script};

/// Returns the entries of the table of nodes.
static READ: Script = Script::new("nodes", "return redis.call('HGETALL', KEYS[1])");

/// Returns the call that reads the table.
#[must_use]
pub fn call(keys: &Keys) -> Call {
    Call { script: &READ, keys: smallvec![keys.nodes()], args: Vec::new() }
}

/// Parses the answer: the nodes that nobody has declared dead.
///
/// # Errors
/// The script cannot have given it.
pub fn reply(reply: &Reply) -> Result<Vec<Node>, BadReply> {
    let mut fields = Fields::new(&READ, reply)?;
    let mut nodes = Vec::new();
    while !fields.is_empty() {
        let (name, value) = (fields.bytes("a name")?, fields.bytes("the entry of a node")?);
        // Names that begin with `#` are about the table.
        let name = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
        nodes.extend(name.and_then(|name| node(name, value)).filter(|node| node.is_live));
    }
    Ok(nodes)
}
