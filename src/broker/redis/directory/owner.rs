//! A connection as all nodes know it.

use bytes::Bytes;

use crate::broker::redis::batch::Incarnation;
use crate::broker::redis::nodes::NodeName;
use crate::broker::redis::nodes::text::{hex, parse_hex};
use crate::names::ConnectionId;

/// A connection with the incarnation that has it: no other connection of any node ever equals it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Owner {
    /// The name of the node, which is that of its control channel.
    pub node: NodeName,
    /// The incarnation of the node.
    pub incarnation: Incarnation,
    /// The connection.
    pub connection: ConnectionId,
}

impl Owner {
    /// Writes `INCARNATION:CONNECTION`.
    pub(in crate::broker::redis::directory) fn id(&self) -> Bytes {
        format!("{}:{}", self.incarnation, hex(connection_bits(self.connection))).into()
    }

    /// Parses what [`Owner::id`] writes.
    pub(super) fn parse_id(text: &str) -> Option<(Incarnation, ConnectionId)> {
        let (incarnation, connection) = text.split_once(':')?;
        Some((incarnation.parse().ok()?, connection_of_bits(parse_hex(connection)?)))
    }
}

/// Returns the 64 bits of a connection's id.
pub(in crate::broker::redis) fn connection_bits(id: ConnectionId) -> u64 {
    (id.shard() as u64) << 56 | (id.slot() as u64) << 32 | u64::from(id.generation())
}

/// Returns the connection's id that has these 64 bits.
pub(in crate::broker::redis) fn connection_of_bits(bits: u64) -> ConnectionId {
    let slot = (bits >> 32) as usize & (ConnectionId::MAX_SLOTS - 1);
    ConnectionId::new((bits >> 56) as usize, slot, bits as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_keeps_its_bits() {
        for bits in [0, 1, u64::MAX - 1, 0x0123_4567_89ab_cdef, 1 << 56, 1 << 32] {
            assert_eq!(connection_bits(connection_of_bits(bits)), bits);
        }
        let id = ConnectionId::new(255, ConnectionId::MAX_SLOTS - 1, 7);
        assert_eq!(connection_of_bits(connection_bits(id)), id);
    }

    #[test]
    fn only_the_written_form_of_an_owner_is_parsed() {
        let owner = Owner {
            node: "n1".parse().unwrap(),
            incarnation: Incarnation(9),
            connection: ConnectionId::new(1, 2, 3),
        };
        assert_eq!(&owner.id()[..], b"0000000000000009:0100000200000003");
        assert_eq!(
            Owner::parse_id("0000000000000009:0100000200000003"),
            Some((owner.incarnation, owner.connection))
        );
        for bad in ["", ":", "0000000000000009", "0000000000000009:", "0000000000000009:0100000200000003:"] {
            assert_eq!(Owner::parse_id(bad), None, "{bad:?}");
        }
    }
}
